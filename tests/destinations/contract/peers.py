"""Peers in this process: each really decodes what comes, and answers as it is told to."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from delivery.fakes import BLOCKED, DOWN, REJECTED, TOO_LARGE, Answer, Backend, refusing, uids_of
from destinations.contract.harness import SECRET, Decide, Met, Rig, takes
from destinations.otlp_decoding import decoded
from destinations.otlp_grpc_server import Call, GrpcReceiver
from msgspec.structs import replace

from bridge.destinations.console import Console
from bridge.destinations.otlp_body import Compression
from bridge.destinations.otlp_grpc import GrpcCompression, OtlpGrpc
from bridge.destinations.otlp_http import OtlpHttp, Protocol
from bridge.destinations.tls import Tls
from bridge.payload import Request, records_of, uid_of
from bridge.simulator import exchange
from bridge.simulator.exchange import Drop
from bridge.simulator.otlp_backend import OtlpBackend
from bridge.simulator.server import serving

HEADERS = {"X-Key": SECRET}
TIMEOUT = 30.0
_FOR_EVER = 1e6

_FAKE = {
    Met.TAKEN: Answer(seconds=0),
    Met.TROUBLED: refusing(DOWN, 0),
    Met.TOO_LARGE: refusing(TOO_LARGE, 0),
    Met.REJECTED: refusing(REJECTED, 0),
    Met.BLOCKED: refusing(BLOCKED, 0),
    Met.UNANSWERED: Answer(DOWN, seconds=0),
}
_STATUSES = {Met.TROUBLED: 503, Met.TOO_LARGE: 413, Met.REJECTED: 400, Met.BLOCKED: 401}
_CODES = {
    Met.TROUBLED: (grpc.StatusCode.UNAVAILABLE, "not now"),
    Met.TOO_LARGE: (grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max"),
    Met.REJECTED: (grpc.StatusCode.INVALID_ARGUMENT, "not valid"),
    Met.BLOCKED: (grpc.StatusCode.UNAUTHENTICATED, "unknown"),
}


class Reached:
    """Tells who waits that a request came."""

    def __init__(self) -> None:
        self.decide: Decide = takes
        self._came = asyncio.Event()

    def meet(self, uids: Sequence[str]) -> Met:
        """A request came; how is it met?"""
        self._came.set()
        return self.decide(uids)

    async def reached(self) -> None:
        """See `Peer.reached`."""
        await self._came.wait()
        self._came.clear()


class FakePeer(Reached):
    """The fake that the forwarder is tested with."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = Backend(decide=self._answer)
        self._up = True

    async def start(self) -> None:
        """See `Peer.start`."""
        self._up = True

    async def stop(self) -> None:
        """See `Peer.stop`."""
        self._up = False

    async def arrived(self, records: int) -> list[str]:  # noqa: ARG002 - all is there at once
        """See `Peer.arrived`."""
        return list(self.backend.kept.elements())

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return _body(uid, *(sent.request.raw for sent in self.backend.sends))

    def _answer(self, request: Request) -> Answer:
        if not self._up:
            return refusing(DOWN, 0)
        return _FAKE[self.meet(uids_of(request.raw))]


class _Stream(io.BytesIO):
    """A stream that can be full."""

    full = False

    def write(self, data: Any, /) -> int:
        """Fail while it is full."""
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(data)


class ConsolePeer(Reached):
    """Standard output, read back; stopped, it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.out = _Stream()

    async def start(self) -> None:
        """See `Peer.start`."""
        self.out.full = False

    async def stop(self) -> None:
        """See `Peer.stop`."""
        self.out.full = True

    async def arrived(self, records: int) -> list[str]:  # noqa: ARG002 - all is there at once
        """See `Peer.arrived`."""
        return [line["uid"] for line in self._lines()]

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return next(str(line["body"]) for line in self._lines() if line["uid"] == uid)

    def _lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


class HttpPeer(Reached):
    """An OTLP/HTTP receiver on a loopback port, of protobuf and JSON in any coding."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = OtlpBackend()
        self.port = 0
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """See `Peer.start`."""
        url = await self._running.enter_async_context(serving(self, self.port))
        self.port = int(url.rpartition(":")[2])

    async def stop(self) -> None:
        """See `Peer.stop`."""
        await self._running.aclose()

    async def arrived(self, records: int) -> list[str]:  # noqa: ARG002 - all is there at once
        """See `Peer.arrived`."""
        return list(self.backend.uids.elements())

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return next(record.body for record in self.backend.records if record.uid == uid)

    def answer(self, request: exchange.Request) -> exchange.Answer:
        """See `exchange.Core`."""
        plain = decoded(request)
        if not (uids := uids_of(plain.body)):  # a probe
            return exchange.Answer(200)
        met = self.meet(uids)
        if met in _STATUSES:
            said = f"{request.header('x-key')} may not do this here"
            text = (("content-type", "text/plain"),)
            return exchange.Answer(_STATUSES[met], text, said.encode())
        if met is Met.SILENT:
            return exchange.Answer(503, delay=_FOR_EVER)
        drop = Drop.AFTER if met is Met.UNANSWERED else None
        return replace(self.backend.answer(plain), drop=drop)


class GrpcPeer(Reached):
    """An OTLP/gRPC receiver on a loopback port."""

    def __init__(self) -> None:
        super().__init__()
        self.uids: list[str] = []
        self.bodies: list[bytes] = []
        self.receiver = GrpcReceiver(self._answer)
        self._dropping: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """See `Peer.start`."""
        await self.receiver.start()

    async def stop(self) -> None:
        """See `Peer.stop`."""
        await asyncio.gather(*self._dropping)
        await self.receiver.stop()

    async def arrived(self, records: int) -> list[str]:  # noqa: ARG002 - all is there at once
        """See `Peer.arrived`."""
        return list(self.uids)

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return _body(uid, *self.bodies)

    async def _answer(self, call: Call) -> bytes:
        uids = uids_of(call.body)
        met = self.meet(uids)
        if met in _CODES:
            code, said = _CODES[met]
            await call.fail(code, f"{said} {call.metadata['x-key']!r}")
        if met is Met.SILENT:
            await call.never()
        self.uids += uids
        self.bodies.append(call.body)
        if met is Met.UNANSWERED:
            self._dropping.append(asyncio.create_task(self._drop()))
            await call.never()
        return b""

    async def _drop(self) -> None:
        await self.receiver.stop()
        await self.receiver.start()


def _body(uid: str, *raws: bytes) -> str:
    """The text of a record in encoded requests."""
    found = (record for raw in raws for _, _, record in records_of(raw))
    return next(record.body.string_value for record in found if uid_of(record) == uid)


@asynccontextmanager
async def fake(_: Path) -> AsyncIterator[Rig]:
    """The forwarder's fake."""
    peer = FakePeer()
    yield Rig(peer.backend, peer)


@asynccontextmanager
async def console(_: Path) -> AsyncIterator[Rig]:
    """The console."""
    peer = ConsolePeer()
    yield Rig(Console("backend", peer.out), peer)


@asynccontextmanager
async def otlp_http(_: Path, *, protocol: Protocol, compression: Compression) -> AsyncIterator[Rig]:
    """OTLP/HTTP on loopback."""
    peer = HttpPeer()
    await peer.start()
    destination = OtlpHttp(
        "backend",
        f"http://127.0.0.1:{peer.port}/v1/logs",
        HEADERS,
        compression=compression,
        timeout=TIMEOUT,
        tls=Tls(),
        protocol=protocol,
    )
    try:
        yield Rig(destination, peer)
    finally:
        await destination.aclose()
        await peer.stop()
    assert not peer.backend.violations


@asynccontextmanager
async def otlp_grpc(_: Path, *, compression: GrpcCompression) -> AsyncIterator[Rig]:
    """OTLP/gRPC on loopback."""
    peer = GrpcPeer()
    await peer.start()
    destination = OtlpGrpc(
        "backend",
        f"http://127.0.0.1:{peer.receiver.port}",
        HEADERS,
        compression=compression,
        timeout=TIMEOUT,
        tls=Tls(),
    )
    try:
        yield Rig(destination, peer)
    finally:
        await destination.aclose()
        await peer.stop()
