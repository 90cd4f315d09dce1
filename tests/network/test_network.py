"""The connections under httpx: whole answers, named errors, bounds, and the way past proxies."""

from __future__ import annotations

import asyncio
import gc
import ssl
import struct
from contextlib import suppress
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import httpcore
import httpx
import pytest
from support.certificates import HOST, make
from support.loopback import Handler, read_head, serving

from bridge import network
from bridge.errors import ConfigError, causes, network_error_in

LARGE = bytes(range(256)) * 16_384
"""More than a connection keeps unread."""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the machine's own variables."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of a private authority."""
    return make(tmp_path_factory.mktemp("certificates"))


def ok(body: bytes, *headers: bytes) -> bytes:
    """An answer."""
    lines = (b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def clients(trust: ssl.SSLContext | None = None, *, timeout: float = 10.0) -> httpx.AsyncClient:
    """What is tested."""
    return network.client(
        trust or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), headers={}, timeout=timeout
    )


def asked(
    handler: Handler, *, timeout: float = 10.0, content: bytes = b"{}"
) -> httpx.Response | httpx.HTTPError:
    """What one request to a server on loopback comes to."""

    async def main() -> httpx.Response | httpx.HTTPError:
        async with serving(handler) as port, clients(timeout=timeout) as client:
            try:
                return await client.post(f"http://127.0.0.1:{port}/", content=content)
            except httpx.HTTPError as error:
                return error

    return asyncio.run(main())


@pytest.mark.parametrize("secure", [False, True])
def test_large_answers_come_whole_over_one_connection(certificates: Path, *, secure: bool) -> None:
    """Also where reading pauses in between."""
    opened = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        for _ in range(3):
            await read_head(reader)
            writer.write(ok(LARGE))
            await writer.drain()

    async def main() -> None:
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        trust = ssl.create_default_context(cafile=certificates / "ca.pem")
        scheme = "https" if secure else "http"
        async with serving(handler, served if secure else None) as port, clients(trust) as client:
            for _ in range(3):
                answer = await client.post(
                    f"{scheme}://127.0.0.1:{port}/",
                    content=LARGE,
                    extensions={"sni_hostname": HOST},
                )
                assert answer.content == LARGE

    asyncio.run(main())
    assert opened == 1


def test_a_connection_listens_to_no_more_than_its_bound() -> None:
    """Until what came in is taken; nothing of it is cut."""
    connection = network.Connection()
    transport = _Transport()
    connection.connection_made(transport)
    for _ in range(4):
        assert transport.reading
        connection.data_received(LARGE[: network.UNREAD // 4])
    assert not transport.reading
    assert len(asyncio.run(connection.read(1))) == network.UNREAD
    assert transport.reading


def test_writing_waits_for_room() -> None:
    """And not for ever."""
    connection = network.Connection()
    transport = _Transport()
    connection.connection_made(transport)
    connection.pause_writing()

    async def main() -> None:
        with pytest.raises(httpcore.WriteTimeout):
            await connection.write(b"late", timeout=0.001)
        writing = asyncio.create_task(connection.write(b"in time", timeout=10))
        await asyncio.sleep(0)
        assert transport.written == []
        connection.resume_writing()
        await writing

    asyncio.run(main())
    assert transport.written == [b"in time"]


def test_an_early_answer_is_read_before_the_error_behind_it() -> None:
    """A server that refuses a body unread resets the connection, and says why before."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

    answer = asked(handler, content=LARGE)
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 413


def test_a_silent_server_is_a_timeout() -> None:
    """Named as httpx names it."""

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    assert isinstance(asked(handler, timeout=0.01), httpx.TimeoutException)


def test_a_server_that_leaves_is_told_from_one_that_breaks_off() -> None:
    """No answer at all, half an answer, and a reset."""

    async def leaves(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_head(reader)

    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(ok(b"whole")[:-1])

    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        opened = writer.get_extra_info("socket")
        opened.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))

    assert isinstance(asked(leaves), httpx.RemoteProtocolError)
    assert isinstance(asked(breaks_off), httpx.RemoteProtocolError)
    reset = asked(resets)
    assert isinstance(reset, httpx.ReadError)
    assert network_error_in(reset) == "Connection reset by peer"


def test_a_connection_that_ended_while_idle_is_not_used_again() -> None:
    """The next request gets a new one; nobody has to ask twice."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(ok(b"once"))

    async def main() -> list[bytes]:
        async with serving(handler) as port, clients() as client:
            url = f"http://127.0.0.1:{port}/"
            return [(await client.post(url, content=b"{}")).content for _ in range(20)]

    assert asyncio.run(main()) == [b"once"] * 20


def test_a_request_that_is_given_up_lets_go_of_its_connection() -> None:
    """The server sees its end."""
    seen = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(ok(b"whole")[:-1])
        seen.set()
        assert await reader.read() == b""

    async def main() -> None:
        async with serving(handler) as port, clients() as client:
            asking = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/", content=b"{}"))
            await seen.wait()
            asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"", LARGE], ids=["empty", "large"])
def test_an_answer_too_many_acknowledges_nothing(body: bytes) -> None:
    """What a server says twice is no answer to the next request, which it may never take."""
    taken: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append((await read_head(reader)).split(b" ")[1])
        writer.write(ok(body) * 2)
        await reader.read()  # no second request is taken

    async def main() -> list[bytes]:
        answered = []
        async with serving(handler) as port, clients() as client:
            for path in (b"/1", b"/2", b"/3", b"/4"):
                with suppress(httpx.RemoteProtocolError):
                    await client.post(f"http://127.0.0.1:{port}{path.decode()}", content=b"{}")
                    answered.append(path)
        return answered

    answered = asyncio.run(main())
    assert len(answered) >= 2
    assert set(answered) <= set(taken)


def test_what_came_unasked_is_no_answer() -> None:
    """Not even where the pool has not noticed it: nothing is written on such a connection."""
    connection = network.Connection()
    connection.connection_made(_Transport())
    connection.data_received(ok(b""))
    with pytest.raises(httpcore.RemoteProtocolError, match="before its request"):
        asyncio.run(connection.write(b"POST"))


def test_an_end_of_our_own_is_no_end_of_an_answer() -> None:
    """Of a body that only the connection's end bounds, the first half would pass for whole."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await reader.read()

    async def main() -> None:
        async with (
            serving(handler) as port,
            clients() as client,
            client.stream("POST", f"http://127.0.0.1:{port}/", content=b"{}") as answer,
        ):
            parts = answer.aiter_raw()
            assert await anext(parts) == b"half of it"
            await client.aclose()
            with pytest.raises(httpx.ReadError):
                await anext(parts)

    asyncio.run(main())


@pytest.mark.parametrize("host", ["logs..example.com", f"{'a' * 64}.example.com"])
def test_what_cannot_name_a_host_is_no_connection(host: str) -> None:
    """It is told as one that was not found, not as a mistake of ours."""

    async def main() -> None:
        async with clients() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://{host}/")

    asyncio.run(main())


@pytest.mark.filterwarnings("always::ResourceWarning")
def test_given_up_at_any_turn_it_leaves_no_socket(recwarn: pytest.WarningsRecorder) -> None:
    """The event loop's turns, one after another, from before it connects to behind the answer."""
    came = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(ok(b""))

    async def given_up(port: int, turns: int) -> None:
        nonlocal came
        async with clients() as client:
            asked = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/", content=b"{}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
            came += not asked.cancelled()

    async def main() -> None:
        async with serving(handler) as port:
            for turns in range(60):
                await given_up(port, turns)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others)

    asyncio.run(main())
    gc.collect()
    assert 0 < came < 60
    assert not [str(one.message) for one in recwarn if "unclosed" in str(one.message)]


def test_nothing_said_in_the_open_passes_for_secured() -> None:
    """Bytes from before the handshake end it."""
    connection = network.Connection()
    connection.connection_made(_Transport())
    connection.data_received(ok(b"injected"))
    with pytest.raises(httpcore.ConnectError, match="before the TLS handshake"):
        asyncio.run(connection.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))


def test_what_came_in_time_is_in_time() -> None:
    """However late a busy event loop gets to see it."""

    async def main() -> bytes:
        connection = network.Connection()
        connection.connection_made(_Transport())
        reading = asyncio.create_task(connection.read(1, timeout=0))
        asyncio.get_running_loop().call_soon(connection.data_received, b"here")
        return await reading

    assert asyncio.run(main()) == b"here"


def test_nobody_waits_to_write_to_who_has_left() -> None:
    """What it said before may be read at once."""
    connection = network.Connection()
    connection.connection_made(_Transport())
    connection.pause_writing()
    connection.eof_received()
    with pytest.raises(httpcore.WriteError):
        asyncio.run(connection.write(b"more"))


def test_cookies_are_not_kept() -> None:
    """What a server sets is not sent back."""
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heads.append(await read_head(reader))
            writer.write(ok(b"", b"Set-Cookie: session=1; Path=/"))

    async def main() -> None:
        async with serving(handler) as port, clients() as client:
            for _ in range(2):
                await client.post(f"http://127.0.0.1:{port}/", content=b"{}")

    asyncio.run(main())
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


def test_an_untrusted_server_is_no_connection(certificates: Path) -> None:
    """The reason stands behind the error."""

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> httpx.ConnectError:
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        trust = ssl.create_default_context(cafile=certificates / "other-ca.pem")
        async with serving(handler, served) as port, clients(trust) as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get(f"https://127.0.0.1:{port}/", extensions={"sni_hostname": HOST})
            return caught.value

    why = asyncio.run(main())
    assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(why))


def test_a_handshake_that_nobody_answers_is_a_timeout(certificates: Path) -> None:
    """The time to connect includes it."""

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        trust = ssl.create_default_context(cafile=certificates / "ca.pem")
        async with serving(handler) as port, clients(trust, timeout=0.01) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(f"https://127.0.0.1:{port}/")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("variables", "proxied"),
    [
        ({"ALL_PROXY": "{}"}, True),
        ({"HTTP_PROXY": "{}"}, True),
        ({"HTTPS_PROXY": "{}"}, False),
        ({"ALL_PROXY": "{}", "NO_PROXY": "127.0.0.1"}, False),
        ({"ALL_PROXY": "{}", "NO_PROXY": "*"}, False),
        ({}, False),
    ],
)
def test_proxy_variables_are_obeyed(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, proxied: bool
) -> None:
    """A request goes to the proxy where they say so, and straight where they do not."""
    lines: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await read_head(reader)).partition(b"\r\n")[0])
        writer.write(ok(b""))

    async def main() -> int:
        async with serving(handler) as port:
            for name, value in variables.items():
                monkeypatch.setenv(name, value.format(f"http://127.0.0.1:{port}"))
            async with clients() as client:
                await client.post(f"http://127.0.0.1:{port}/here", content=b"{}")
            return port

    port = asyncio.run(main())
    target = f"http://127.0.0.1:{port}/here" if proxied else "/here"
    assert lines == [f"POST {target} HTTP/1.1".encode()]


def test_an_unusable_proxy_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named when the client is built."""
    monkeypatch.setenv("ALL_PROXY", "ftp://proxy.test")
    with pytest.raises(ConfigError, match="proxy"):
        clients()


def test_the_errors_of_several_addresses_are_told_as_one() -> None:
    """As asyncio joins them in a text."""
    both = "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] …"
    assert network_error_in(OSError(both)) == "Connection refused"


class _Transport(asyncio.Transport):
    """A transport that writes to a list."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.written: list[bytes] = []

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
