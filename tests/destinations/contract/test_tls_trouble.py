"""TLS that does not fit, under the real forwarder: held and named, nothing lost, then mended."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

import grpc
import pytest
from delivery.fakes import uids_of
from destinations.contract.syslog_peers import RelpPeer, StreamPeer
from destinations.contract.test_delivering import filled
from destinations.otlp_grpc_server import Call, GrpcReceiver
from msgspec.structs import replace
from support import certificates
from support.loopback import OK, read_request

from bridge.clock import SystemClock
from bridge.delivery.forwarder import Forwarder
from bridge.destinations import Destination
from bridge.destinations.otlp_grpc import OtlpGrpc
from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.rfc5424 import Layout
from bridge.destinations.syslog import Syslog
from bridge.destinations.tls import Tls
from bridge.journal import Journal

pytestmark = pytest.mark.server("openssl")

PATIENCE = 30
ENTRIES = 300


class Backend(Protocol):
    """A backend over TLS that keeps its port."""

    port: int

    async def start(self) -> None:
        """Listen."""
        ...

    async def stop(self) -> None:
        """Go, and every connection with it."""
        ...

    async def arrived(self, records: int) -> list[str]:
        """The uids of what it took, at least so many."""
        ...


class Https(StreamPeer):
    """OTLP/HTTP in protobuf and gzip."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(tls)
        self._uids: list[str] = []

    async def arrived(self, records: int) -> list[str]:  # noqa: ARG002 - all is there at once
        """See `Backend.arrived`."""
        return self._uids

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                self._uids += uids_of(gzip.decompress(await read_request(reader)))
                writer.write(OK)
                await writer.drain()


class Grpc:
    """OTLP/gRPC."""

    def __init__(self, credentials: grpc.ServerCredentials) -> None:
        self._receiver = GrpcReceiver(self._answer, credentials)
        self._uids: list[str] = []

    @property
    def port(self) -> int:
        """See `Backend.port`."""
        return self._receiver.port

    @port.setter
    def port(self, port: int) -> None:
        self._receiver.port = port

    async def start(self) -> None:
        """See `Backend.start`."""
        await self._receiver.start()

    async def stop(self) -> None:
        """See `Backend.stop`."""
        await self._receiver.stop()

    async def arrived(self, records: int) -> list[str]:  # noqa: ARG002 - all is there at once
        """See `Backend.arrived`."""
        return self._uids

    async def _answer(self, call: Call) -> bytes:
        self._uids += uids_of(call.body)
        return b""


def backend(kind: str, keys: Path, name: str) -> Backend:
    """One of a kind with this certificate, which demands one of its client."""
    if kind == "grpc":
        pair = ((keys / f"{name}.key").read_bytes(), (keys / f"{name}.pem").read_bytes())
        ca = (keys / "ca.pem").read_bytes()
        return Grpc(grpc.ssl_server_credentials([pair], ca, require_client_auth=True))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / f"{name}.pem", keys / f"{name}.key")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(keys / "ca.pem")
    return {"http": Https, "tls": StreamPeer, "relps": RelpPeer}[kind](tls)


def destination(kind: str, port: int, trust: Tls) -> Destination:
    """The way there."""
    url = f"https://127.0.0.1:{port}"
    if kind == "grpc":
        return OtlpGrpc("backend", url, {}, compression="gzip", timeout=10, tls=trust)
    if kind == "http":
        return OtlpHttp(
            *("backend", f"{url}/v1/logs", {}), compression="gzip", timeout=10, tls=trust
        )
    endpoint = f"{kind}://127.0.0.1:{port}"
    return Syslog("backend", endpoint, layout=Layout(), timeout=10, tls=trust)


@dataclass(frozen=True)
class Trouble:
    """What is wrong, and how each kind names it; ``http``'s words are those of all by default."""

    change: Callable[[Tls, Path], Tls] = lambda tls, _: tls
    certificate: str = "server"
    words: str = "certificate verification failed"
    grpc: str = "CERTIFICATE_VERIFY_FAILED"


TROUBLES = {
    "wrong CA": Trouble(lambda tls, keys: replace(tls, ca_file=keys / "other-ca.pem")),
    "wrong host": Trouble(
        lambda tls, _: replace(tls, server_name_override="other.test"),
        words="'other.test'",
        grpc="Hostname Verification",
    ),
    "no client certificate": Trouble(
        lambda tls, _: replace(tls, cert_file=None, key_file=None),
        grpc="set tls.cert_file",
    ),
    "expired": Trouble(certificate="expired", words="has expired", grpc="has expired"),
}


@asynccontextmanager
async def forwarding(to: Destination, journal: Journal) -> AsyncIterator[Forwarder]:
    """A forwarder that runs."""
    forwarder = Forwarder(to, journal, SystemClock(), lambda _: None, Random(1))
    stop = asyncio.Event()
    running = asyncio.create_task(forwarder.run(stop))
    yield forwarder
    stop.set()
    await running
    await to.aclose()


async def held(forwarder: Forwarder, words: str) -> None:
    """Wait until it is held for this reason; nothing was delivered."""
    async with asyncio.timeout(PATIENCE):
        while (  # noqa: ASYNC110 - its state sets no event
            trouble := forwarder.state.trouble
        ) is None or words not in trouble.reason:
            await asyncio.sleep(0.02)
    assert forwarder.state.delivered == 0
    assert forwarder.state.cursor == 0
    assert forwarder.state.dead_lettered == 0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates."""
    return certificates.make(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize("kind", ["http", "grpc", "tls", "relps"])
def test_files_that_are_mended_in_place_are_read_again(
    keys: Path, kind: str, tmp_path: Path
) -> None:
    """Without another start: the next try after a failure looks at them."""
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    shutil.copy(keys / "other-ca.pem", ca)
    shutil.copy(keys / "server.pem", cert)
    shutil.copy(keys / "server.key", key)
    tls = Tls(ca, cert, key, server_name_override=certificates.HOST)
    words = TROUBLES["wrong CA"].grpc if kind == "grpc" else TROUBLES["wrong CA"].words

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # failed handshakes
        journal, uids = await filled(SystemClock(), entries=ENTRIES)
        last = (await journal.stats()).last_seq
        peer = backend(kind, keys, "server")
        await peer.start()
        to = destination(kind, peer.port, tls)
        async with forwarding(to, journal) as forwarder, asyncio.timeout(PATIENCE):
            await held(forwarder, words)
            shutil.copy(keys / "client.pem", cert)
            shutil.copy(keys / "client.key", key)
            shutil.copy(keys / "ca.pem", ca)
            await forwarder.drained(last)
        assert set(await peer.arrived(ENTRIES)) == uids
        await peer.stop()

    asyncio.run(main())


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("kind", ["http", "grpc", "tls", "relps"])
def test_it_is_held_and_named_and_passes_when_mended(keys: Path, kind: str, trouble: str) -> None:
    """Settings are mended by a start with others, the backend's certificate while it runs."""
    wrong = TROUBLES[trouble]
    right = Tls(
        ca_file=keys / "ca.pem",
        cert_file=keys / "client.pem",
        key_file=keys / "client.key",
        server_name_override=certificates.HOST,
    )
    words = wrong.grpc if kind == "grpc" else wrong.words
    if trouble == "no client certificate" and kind != "grpc":
        # Whether the alert arrives before the connection is reset, the kernel decides.
        words = "127.0.0.1" if kind == "http" else "certificate"

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # failed handshakes
        journal, uids = await filled(SystemClock(), entries=ENTRIES)
        last = (await journal.stats()).last_seq
        peer = backend(kind, keys, wrong.certificate)
        await peer.start()
        port = peer.port
        first = destination(kind, port, wrong.change(right, keys))
        async with forwarding(first, journal) as forwarder, asyncio.timeout(PATIENCE):
            await held(forwarder, words)
            assert not await peer.arrived(0)
            if trouble == "expired":
                await peer.stop()
                peer = backend(kind, keys, "server")
                peer.port = port
                await peer.start()
                await forwarder.drained(last)
        if trouble != "expired":
            second = destination(kind, port, right)
            async with forwarding(second, journal) as forwarder, asyncio.timeout(PATIENCE):
                await forwarder.drained(last)
        assert set(await peer.arrived(ENTRIES)) == uids
        await peer.stop()

    asyncio.run(main())
