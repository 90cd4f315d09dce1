"""Syslog over UDP, TCP and TLS: framing, dead peers, refused certificates, endpoints."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from destinations.requests import request
from destinations.test_tls import alerting
from hypothesis import given
from hypothesis import strategies as st
from support import certificates
from support.ports import free_port
from support.relp_receiver import Receiver, receiving
from support.syslog_parser import parse

from bridge.destinations.datagram import LARGEST
from bridge.destinations.endpoint import Endpoint, parse_endpoint
from bridge.destinations.otlp_answer import NOT_REACHED
from bridge.destinations.rfc5424 import Layout
from bridge.destinations.stream import Framing, framed
from bridge.destinations.syslog import Syslog
from bridge.destinations.tls import Tls
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict

DELIVERED = Outcome(Verdict.DELIVERED)
OPENSSL = pytest.mark.server("openssl")


class Sink:
    """Takes connections and keeps what comes; a test may end them."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[bytearray] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.turns_away = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writers.append(writer)
        kept = bytearray()
        self.connections.append(kept)
        try:
            while not self.turns_away and (data := await reader.read(65_536)):
                kept += data
        except OSError:
            pass
        writer.transport.abort()

    def messages(self) -> list[bytes]:
        """Everything that came, taken apart by its octet counts."""
        found: list[bytes] = []
        for kept in self.connections:
            rest = bytes(kept)
            while rest:
                count, _, rest = rest.partition(b" ")
                found.append(rest[: int(count)])
                rest = rest[int(count) :]
        return found

    def uids(self) -> list[str]:
        """Which records they are of."""
        return [parse(message).uid for message in self.messages()]


@asynccontextmanager
async def sinking(tls: ssl.SSLContext | None = None) -> AsyncIterator[Sink]:
    """A sink on a loopback port."""
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, ssl=tls)
    server.get_loop().set_exception_handler(lambda *_: None)  # failed handshakes are the point
    async with server:
        sink.port = server.sockets[0].getsockname()[1]
        yield sink
        for writer in sink.writers:
            writer.transport.abort()
        await settle()


async def settle() -> None:
    """Let both sides see what is there."""
    for _ in range(5):
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    """Let the others run until something holds."""
    while not holds():  # noqa: ASYNC110 - what is waited for is the other side's plain state
        await asyncio.sleep(0)


def to_port(
    port: int,
    *,
    scheme: str = "tcp",
    trust: Tls | None = None,
    framing: Framing = "octet-counting",
    timeout: float = 10,
) -> Syslog:
    """The way to a port of this machine."""
    return Syslog(
        "syslog",
        f"{scheme}://127.0.0.1:{port}",
        layout=Layout(),
        timeout=timeout,
        tls=trust or Tls(),
        framing=framing,
    )


def play(scene: Callable[[Sink], Awaitable[Any]], tls: ssl.SSLContext | None = None) -> Sink:
    """A scene with a sink; what is left of it."""

    async def main() -> Sink:
        async with sinking(tls) as sink:
            await scene(sink)
        return sink

    return asyncio.run(main())


def test_messages_are_counted() -> None:
    """Octets, not characters (RFC 6587, 3.4.1); one connection for all requests."""
    assert framed("é".encode(), "octet-counting") == b"2 \xc3\xa9"

    async def scene(sink: Sink) -> None:
        to = to_port(sink.port)
        assert (to.name, to.acknowledged) == ("syslog", False)
        for uid in "abc":
            assert await to.send(request(uid, body="é\nü")) == DELIVERED
        await to.aclose()
        await to.aclose()

    sink = play(scene)
    assert [parse(message).message for message in sink.messages()] == ["é\nü"] * 3
    assert len(sink.connections) == 1


def test_messages_are_lines() -> None:
    """By option (RFC 6587, 3.4.2): a line break in one would end it and is written out."""

    async def scene(sink: Sink) -> None:
        to = to_port(sink.port, framing="lf")
        assert await to.send(request("a", "b", body="x\ny")) == DELIVERED
        await to.aclose()

    (kept,) = play(scene).connections
    first, second, rest = bytes(kept).split(b"\n")
    assert [parse(first).uid, parse(second).uid, rest] == ["a", "b", b""]
    assert parse(first).message == "x\\ny"


@given(st.binary(max_size=100))
def test_framing(message: bytes) -> None:
    """It can be undone."""
    count, _, rest = framed(message, "octet-counting").partition(b" ")
    assert (int(count), rest) == (len(message), message)
    assert framed(message, "lf") == message + b"\n"


def test_a_large_request_arrives_whole() -> None:
    """More than the kernel takes at once."""
    uids = [f"u{n}" for n in range(2_000)]

    async def scene(sink: Sink) -> None:
        to = to_port(sink.port)
        assert await to.send(request(*uids, body="x" * 3_000)) == DELIVERED
        await to.aclose()

    assert play(scene).uids() == uids


@pytest.mark.parametrize("how", ["close", "half", "reset"])
def test_a_connection_that_ended_meanwhile_is_replaced(how: str) -> None:
    """Before anything is written to it."""

    async def scene(sink: Sink) -> None:
        to = to_port(sink.port)
        assert await to.send(request("a")) == DELIVERED
        await until(lambda: len(sink.uids()) == 1)
        (writer,) = sink.writers
        if how == "half":
            writer.write_eof()
        else:
            writer.write(b"bye")
            writer.close() if how == "close" else writer.transport.abort()
        await settle()
        assert await to.send(request("b")) == DELIVERED
        await to.aclose()

    sink = play(scene)
    assert sink.uids() == ["a", "b"]
    assert len(sink.connections) == 2


def test_an_end_while_writing_is_no_delivery() -> None:
    """The whole request comes again: nobody knows what of it was read."""

    async def scene(sink: Sink) -> None:
        to = to_port(sink.port)
        sink.turns_away = True
        outcome = await to.send(request(*"abc", body="x" * 1_000_000))
        assert outcome.verdict is Verdict.RETRY
        assert f"tcp://127.0.0.1:{sink.port}" in outcome.reason
        sink.turns_away = False
        assert await to.send(request("a")) == DELIVERED
        await to.aclose()

    play(scene)


def test_a_frozen_receiver_is_noticed() -> None:
    """Where its buffers are full; what they hold counts as handed over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def main() -> Outcome:
            to = to_port(listener.getsockname()[1], timeout=0.2)
            uids = [str(n) for n in range(2_000)]
            outcome = await to.send(request(*uids, body="x" * 7_000))
            await to.aclose()
            return outcome

        outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.RETRY
    assert "nothing more was taken by tcp://127.0.0.1:" in outcome.reason
    assert outcome.reason.endswith("within 0.2 s")


@pytest.mark.parametrize("scheme", ["tcp", "relp", "udp"])
def test_nobody_listens(scheme: str) -> None:
    """A reason, and another try."""
    port = free_port(socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM)

    async def main() -> Outcome:
        to = to_port(port, scheme=scheme)
        outcome = await to.send(request("a", "b"))
        await to.aclose()
        return outcome

    assert asyncio.run(main()) == Outcome(
        Verdict.RETRY,
        f"no connection to {scheme}://127.0.0.1:{port}: Connection refused ({NOT_REACHED})",
    )


@pytest.mark.parametrize("scheme", ["tcp", "relp", "udp"])
def test_a_name_that_is_not_known(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS passes (trap 21)."""

    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> Outcome:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        to = Syslog("s", f"{scheme}://nowhere.test:1", layout=Layout(), timeout=5, tls=Tls())
        return await to.send(request("a"))

    assert asyncio.run(main()) == Outcome(
        Verdict.RETRY,
        f"no connection to {scheme}://nowhere.test:1: Name or service not known ({NOT_REACHED})",
    )


def test_a_given_up_send_is_begun_anew() -> None:
    """A torn message never has another one behind it on its connection."""

    async def scene(sink: Sink) -> None:
        to = to_port(sink.port)
        for turns in range(12):
            sending = asyncio.create_task(to.send(request("torn", body="x" * 7_000)))
            for _ in range(turns):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert await to.send(request("a")) == DELIVERED
        await until(lambda: b'"a"' in sink.connections[-1])
        await to.aclose()

    sink = play(scene)
    for message in sink.messages():  # the last one of a connection may be torn
        assert message.startswith(b"<134>1 ")
        assert message.count(b"<134>") == 1
    assert sink.uids()[-1] == "a"


def test_datagrams() -> None:
    """One message each, nothing around it."""

    async def main() -> list[bytes]:
        with socket.socket(type=socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            to = to_port(receiver.getsockname()[1], scheme="udp")
            assert not to.acknowledged
            uids = [f"u{n}" for n in range(40)]
            assert await to.send(request(*uids)) == DELIVERED
            await to.aclose()
            return [receiver.recv(65_536) for _ in uids]

    messages = asyncio.run(main())
    assert [parse(message).uid for message in messages] == [f"u{n}" for n in range(40)]


def test_a_datagram_that_the_way_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """It blocks and names the setting."""

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()

        async def too_long(*_: Any) -> None:
            raise OSError(90, "Message too long")

        monkeypatch.setattr(loop, "sock_sendall", too_long)
        return await to_port(9, scheme="udp").send(request("a"))

    outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.BLOCKED
    assert outcome.reason.endswith("lower max_message_bytes")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("udp://logs.test", Endpoint("udp", "logs.test", 514)),
        ("tls://logs.test/", Endpoint("tls", "logs.test", 6514)),
        ("tcp://[::1]:601", Endpoint("tcp", "::1", 601)),
        ("relps://logs.test:2514", Endpoint("relps", "logs.test", 2514)),
    ],
)
def test_endpoints(text: str, endpoint: Endpoint) -> None:
    """A scheme, a host, and a port where there is no usual one."""
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(endpoint.url) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "logs.test:514",
        "http://logs.test:514",
        "tcp://logs.test",
        "relp://logs.test",
        "tcp://:514",
        "tcp://logs.test:514/path",
        "tcp://logs.test:514?x=1",
        "tcp://me:hunter2@logs.test:514",
        "tcp://logs.test:99999",
        "tcp://[::1",
        "",
    ],
)
def test_odd_endpoints_stop_the_start(text: str) -> None:
    """The error shows how one looks, and no password."""
    with pytest.raises(ConfigError) as error:
        parse_endpoint(text)
    assert "tcp://logs.example.com:514" in error.value.hint
    assert "hunter2" not in str(error.value)


def test_what_no_datagram_holds_stops_the_start() -> None:
    """It could never be sent."""
    with pytest.raises(ConfigError, match="max_message_bytes"):
        Syslog(
            "s",
            "udp://h:1",
            layout=Layout(max_message_bytes=LARGEST + 1),
            timeout=1,
            tls=Tls(),
        )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates."""
    return certificates.make(tmp_path_factory.mktemp("keys"))


def server_side(keys: Path, *, name: str = "server", demands: bool = False) -> ssl.SSLContext:
    """How the receiver speaks TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / f"{name}.pem", keys / f"{name}.key")
    if demands:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(keys / "ca.pem")
    return tls


def trusting(keys: Path, *, ca: str = "ca", host: str | None = certificates.HOST) -> Tls:
    """Settings that reach the receiver."""
    return Tls(ca_file=keys / f"{ca}.pem", server_name_override=host)


def over_tls(scheme: str, trust: Tls, tls: ssl.SSLContext) -> Outcome:
    """What one send over TLS comes to."""

    async def main() -> Outcome:
        async with sinking(tls) as sink, receiving(Receiver(), tls) as receiver:
            port = sink.port if scheme == "tls" else receiver.port
            to = to_port(port, scheme=scheme, trust=trust)
            outcome = await to.send(request(*map(str, range(500)), body="x" * 500))
            await to.aclose()
            return outcome

    return asyncio.run(main())


@OPENSSL
@pytest.mark.parametrize("scheme", ["tls", "relps"])
def test_certificates(keys: Path, scheme: str) -> None:
    """The right one passes; a wrong CA, a wrong host and an expired one hold, each by name."""
    good = server_side(keys)
    assert over_tls(scheme, trusting(keys), good) == DELIVERED
    for trust, tls, why in (
        (trusting(keys, ca="other-ca"), good, "unable to get local issuer certificate"),
        (trusting(keys, host=None), good, "IP address mismatch"),
        (trusting(keys), server_side(keys, name="expired"), "certificate has expired"),
    ):
        outcome = over_tls(scheme, trust, tls)
        assert outcome.verdict is Verdict.BLOCKED
        assert outcome.reason.startswith(f"TLS with {scheme}://127.0.0.1:")
        assert why in outcome.reason


@OPENSSL
@pytest.mark.parametrize("scheme", ["tls", "relps"])
def test_a_client_certificate(keys: Path, scheme: str) -> None:
    """Shown where it is demanded."""
    trust = Tls(
        ca_file=keys / "ca.pem",
        cert_file=keys / "client.pem",
        key_file=keys / "client.key",
        server_name_override=certificates.HOST,
    )
    assert over_tls(scheme, trust, server_side(keys, demands=True)) == DELIVERED


@OPENSSL
@pytest.mark.parametrize("scheme", ["tls", "relps"])
def test_an_alert_after_the_handshake(keys: Path, scheme: str) -> None:
    """TLS 1.3 tells a client only then that its certificate was missed."""

    async def main(port: int) -> Outcome:
        to = to_port(port, scheme=scheme, trust=trusting(keys))
        outcome = await to.send(request("a"))
        await to.aclose()
        return outcome

    with alerting(keys) as port:
        outcome = asyncio.run(main(port))
    assert outcome.verdict is Verdict.BLOCKED
    assert "certificate" in outcome.reason.lower()


@OPENSSL
def test_a_receiver_that_closes_instead_of_saying_why(keys: Path) -> None:
    """It is guessed at, and held."""

    async def scene(sink: Sink) -> None:
        sink.turns_away = True
        to = to_port(sink.port, scheme="tls", trust=trusting(keys))
        outcome = await to.send(request("a"))
        assert outcome.verdict is Verdict.BLOCKED
        assert "it may demand a client certificate (tls.cert_file)" in outcome.reason
        sink.turns_away = False
        assert await to.send(request("a")) == DELIVERED
        await to.aclose()

    play(scene, server_side(keys))


@OPENSSL
def test_an_end_together_with_the_handshake(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asyncio then gives no transport; it is an end like one a moment later."""

    async def scene(sink: Sink) -> None:
        async def over_already(*_: Any, **__: Any) -> None:
            return None

        to = to_port(sink.port, scheme="tls", trust=trusting(keys))
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.get_running_loop(), "start_tls", over_already)
            outcome = await to.send(request("a"))
        assert outcome.verdict is Verdict.BLOCKED
        assert "right after the TLS handshake" in outcome.reason
        assert await to.send(request("a")) == DELIVERED
        await to.aclose()

    play(scene, server_side(keys))
