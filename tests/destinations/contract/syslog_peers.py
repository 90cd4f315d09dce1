"""Syslog receivers: in this process, and a real rsyslogd; and the files of the file destination."""

from __future__ import annotations

import asyncio
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from destinations.contract.harness import Decide, Met, Rig, takes
from destinations.contract.peers import TIMEOUT, Reached
from support import certificates, rsyslog
from support.relp_receiver import Receiver, Reply
from support.syslog_parser import Parsed, parse

from bridge.destinations.file import File
from bridge.destinations.rfc5424 import Layout
from bridge.destinations.syslog import Syslog
from bridge.destinations.tls import Tls

_OVER_TLS = frozenset({"tls", "relps"})
_REPLIES = {
    Met.TAKEN: Reply.ACK,
    Met.TROUBLED: Reply.REFUSE,
    Met.BLOCKED: Reply.ODD,
    Met.UNANSWERED: Reply.RESET,
    Met.SILENT: Reply.HOLD,
}


class _Receiver(Reached, ABC):
    """What all of them share: they listen on a port that they keep."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    @abstractmethod
    def taken(self) -> list[bytes]:
        """The messages taken so far."""

    async def start(self) -> None:
        """See `Peer.start`."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """See `Peer.stop`."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers():
            writer.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def arrived(self, records: int) -> list[str]:
        """See `Peer.arrived`."""
        while len(self.taken) < records:  # noqa: ASYNC110 - what comes sets no event
            await asyncio.sleep(0.005)
        return [parse(message).uid for message in self.taken]

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return _shown(uid, map(parse, self.taken))

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    @abstractmethod
    def _writers(self) -> Sequence[asyncio.StreamWriter]: ...


class StreamPeer(_Receiver):
    """Takes octet-counted messages and answers nothing."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(tls)
        self._taken: list[bytes] = []
        self._open: list[asyncio.StreamWriter] = []

    @property
    def taken(self) -> list[bytes]:
        """See `_Receiver.taken`."""
        return self._taken

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        try:
            while count := await reader.readuntil(b" "):
                self._taken.append(await reader.readexactly(int(count)))
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()

    def _writers(self) -> Sequence[asyncio.StreamWriter]:
        return self._open


class RelpPeer(_Receiver):
    """Takes messages over RELP and answers each as it is told to."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(tls)
        self._receiver = Receiver(decide=self._reply)

    @property
    def taken(self) -> list[bytes]:
        """See `_Receiver.taken`."""
        return self._receiver.taken

    def _reply(self, number: int) -> Reply:
        message = self._receiver.seen[number]
        met = self.meet([parse(message).uid])
        if met is Met.UNANSWERED:
            self._receiver.taken.append(message)
        return _REPLIES[met]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._receiver.serve(reader, writer)

    def _writers(self) -> Sequence[asyncio.StreamWriter]:
        return self._receiver.writers


class UdpPeer(Reached, asyncio.DatagramProtocol):
    """Takes datagrams."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self._taken: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 - the hook's signature
        """See `asyncio.DatagramProtocol`."""
        self._taken.append(data)

    async def start(self) -> None:
        """See `Peer.start`."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, ("127.0.0.1", self.port)
        )
        self.port = self._transport.get_extra_info("sockname")[1]

    async def stop(self) -> None:
        """See `Peer.stop`."""
        assert self._transport is not None
        self._transport.close()
        await asyncio.sleep(0)

    async def arrived(self, records: int) -> list[str]:
        """See `Peer.arrived`."""
        while len(self._taken) < records:  # noqa: ASYNC110 - what comes sets no event
            await asyncio.sleep(0.005)
        return [parse(message).uid for message in self._taken]

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return _shown(uid, map(parse, self._taken))


class RsyslogPeer:
    """A real rsyslogd; it keeps its port, queue and output."""

    def __init__(self, receiver: rsyslog.Rsyslog, *, crashes: bool) -> None:
        """``crashes`` is whether it stops by kill -9; then its queue may give some out twice."""
        self.decide: Decide = takes
        self.receiver = receiver
        self._end = receiver.kill if crashes else receiver.stop

    async def start(self) -> None:
        """See `Peer.start`."""
        await asyncio.to_thread(self.receiver.start)

    async def stop(self) -> None:
        """See `Peer.stop`."""
        await asyncio.to_thread(self._end)

    async def reached(self) -> None:
        """See `Peer.reached`."""
        raise NotImplementedError("it cannot be directed, so nothing waits for that")

    async def arrived(self, records: int) -> list[str]:
        """See `Peer.arrived`."""
        missing = f"records are missing: {self.receiver.said()}"
        enough = self.receiver.uids
        await asyncio.to_thread(rsyslog.eventually, lambda: len(enough()) >= records, missing)
        return self.receiver.uids()

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return _shown(uid, self.receiver.messages())


class FilePeer(Reached):
    """The file, read back; stopped, its folder is gone."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder / "logs"
        self._away = folder / "away"
        self._folder.mkdir()
        self.path = self._folder / "out"

    async def start(self) -> None:
        """See `Peer.start`."""
        self._away.rename(self._folder)

    async def stop(self) -> None:
        """See `Peer.stop`."""
        self._folder.rename(self._away)

    async def arrived(self, records: int) -> list[str]:  # noqa: ARG002 - all is there at once
        """See `Peer.arrived`."""
        return [line["uid"] for line in self._lines()]

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        return next(str(line["body"]) for line in self._lines() if line["uid"] == uid)

    def _lines(self) -> list[Any]:
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]


@asynccontextmanager
async def syslog(folder: Path, *, scheme: str) -> AsyncIterator[Rig]:
    """Syslog to a receiver in this process."""
    keys = _keys(folder) if scheme in _OVER_TLS else None
    peer: StreamPeer | RelpPeer | UdpPeer
    if scheme == "udp":
        peer = UdpPeer()
    else:
        tls = _server_side(keys) if keys else None
        peer = (RelpPeer if scheme.startswith("relp") else StreamPeer)(tls)
    await peer.start()
    destination = _destination(scheme, peer.port, keys)
    try:
        yield Rig(destination, peer)
    finally:
        await destination.aclose()
        await peer.stop()


@asynccontextmanager
async def real_syslog(folder: Path, *, scheme: str, crashes: bool = False) -> AsyncIterator[Rig]:
    """Syslog to rsyslogd; over RELP it has a queue that survives being killed."""
    keys = _keys(folder) if scheme in _OVER_TLS else None
    receiver = rsyslog.Rsyslog(
        *(folder, rsyslog.inputs(scheme, keys)),
        durable=scheme.startswith("relp"),
        synced=False,
    )
    peer = RsyslogPeer(receiver, crashes=crashes)
    await peer.start()
    destination = _destination(scheme, receiver.port, keys)
    try:
        yield Rig(destination, peer)
    finally:
        await destination.aclose()
        await peer.stop()


@asynccontextmanager
async def file(folder: Path) -> AsyncIterator[Rig]:
    """A file."""
    peer = FilePeer(folder)
    destination = File("backend", peer.path)
    yield Rig(destination, peer)
    await destination.aclose()


def _destination(scheme: str, port: int, keys: Path | None) -> Syslog:
    trust = Tls()
    if keys is not None:
        trust = Tls(
            ca_file=keys / "ca.pem",
            cert_file=keys / "client.pem",
            key_file=keys / "client.key",
            server_name_override=certificates.HOST,
        )
    endpoint = f"{scheme}://127.0.0.1:{port}"
    return Syslog("backend", endpoint, layout=Layout(), timeout=TIMEOUT, tls=trust)


def _keys(folder: Path) -> Path:
    """Certificates, made once for all tests of this process."""
    keys = folder.parent / "contract-keys"
    if not keys.exists():
        keys.mkdir()
        certificates.make(keys)
    return keys


def _server_side(keys: Path) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / "server.pem", keys / "server.key")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(keys / "ca.pem")
    return tls


def _shown(uid: str, messages: Iterable[Parsed]) -> str:
    return next(message.message for message in messages if message.uid == uid)
