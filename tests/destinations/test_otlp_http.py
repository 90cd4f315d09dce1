"""The OTLP/HTTP destination: what goes out, and what becomes of the network's troubles."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from destinations.otlp_decoding import decoded, from_json
from destinations.requests import joined, request
from support.loopback import OK, read_request, serving
from support.virtual import VirtualLoop, run_virtually

from bridge import __version__
from bridge.destinations.otlp_body import Compression
from bridge.destinations.otlp_http import LARGEST_ANSWER, OtlpHttp, Protocol
from bridge.destinations.tls import Tls
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict
from bridge.payload import Request
from bridge.simulator import exchange

URL = "http://collector.test:4318/v1/logs"
SECRET = "hunter2-hunter2"
Handler = Callable[[httpx.Request], httpx.Response]


def otlp(
    handler: Handler | httpx.AsyncBaseTransport,
    *,
    url: str = URL,
    compression: Compression = "gzip",
    headers: dict[str, str] | None = None,
    protocol: Protocol = "http/protobuf",
    max_payload: int | None = None,
) -> OtlpHttp:
    """A destination over a handler or a transport."""
    transport = (
        handler if isinstance(handler, httpx.AsyncBaseTransport) else httpx.MockTransport(handler)
    )
    given = {"Authorization": f"Bearer {SECRET}"} if headers is None else headers
    return OtlpHttp(
        "backend",
        url,
        given,
        compression=compression,
        timeout=10,
        tls=Tls(),
        protocol=protocol,
        max_payload=max_payload,
        transport=transport,
    )


def send(destination: OtlpHttp, sent: Request | None = None) -> Outcome:
    """Send once, in virtual time, and close."""

    async def main() -> Outcome:
        try:
            return await destination.send(sent or request("u"))
        finally:
            await destination.aclose()

    return run_virtually(main(), loop=VirtualLoop())


def seen_by(
    compression: Compression, sent: Request, *, protocol: Protocol = "http/protobuf"
) -> httpx.Request:
    """The HTTP request that a send makes."""
    seen: list[httpx.Request] = []

    def handler(incoming: httpx.Request) -> httpx.Response:
        seen.append(incoming)
        return httpx.Response(200)

    headers = {
        "X-Scope-OrgID": "tenant",
        "user-agent": "mine",
        "content-type": "text/plain",
        "content-encoding": "br",
    }
    destination = otlp(handler, compression=compression, headers=headers, protocol=protocol)
    assert send(destination, sent) == Outcome(Verdict.DELIVERED)
    return seen[0]


def test_gzip_sends_the_stored_bytes() -> None:
    """One batch goes out as the journal keeps it, as a POST of protobuf."""
    sent = request("u1", "u2")
    seen = seen_by("gzip", sent)
    assert seen.content == sent.parts[0].gzip
    assert (seen.method, str(seen.url)) == ("POST", URL)
    assert seen.headers["content-type"] == "application/x-protobuf"
    assert seen.headers["content-encoding"] == "gzip"
    assert seen.headers["user-agent"] == f"fal-log-bridge/{__version__}"
    assert seen.headers["x-scope-orgid"] == "tenant"


def test_joined_batches_are_one_gzip_member() -> None:
    """Receivers silently drop a second member (trap 27)."""
    sent = joined(["u1"], ["u2", "u3"])
    content = seen_by("gzip", sent).content
    assert gzip.decompress(content) == sent.raw
    assert content.count(b"\x1f\x8b\x08") == 1


def test_without_compression_the_bytes_are_plain() -> None:
    """No content coding is named."""
    sent = joined(["u1"], ["u2"])
    seen = seen_by("none", sent)
    assert seen.content == sent.raw
    assert "content-encoding" not in seen.headers


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
@pytest.mark.parametrize("compression", ["gzip", "none", "zstd"])
def test_every_encoding_and_coding(protocol: Protocol, compression: Compression) -> None:
    """The headers say what the body is, whatever was configured besides."""
    sent = joined(["u1"], ["u2", "u3"])
    seen = seen_by(compression, sent, protocol=protocol)
    coding = None if compression == "none" else compression
    assert seen.headers.get("content-encoding") == coding
    is_json = protocol == "http/json"
    assert seen.headers["content-type"] == f"application/{'json' if is_json else 'x-protobuf'}"
    incoming = exchange.Request(
        "POST", "/v1/logs", headers=tuple(seen.headers.items()), body=seen.content
    )
    assert decoded(incoming).body == (from_json(sent.json) if is_json else sent.raw)


def test_json_that_says_so_is_read_as_an_answer() -> None:
    """A backend answers JSON with JSON."""
    partial = {"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}
    headers = {"content-type": "application/json"}
    answer = httpx.Response(200, content=json.dumps(partial), headers=headers)
    outcome = send(otlp(lambda _: answer, protocol="http/json"))
    assert (outcome.verdict, outcome.refused) == (Verdict.DELIVERED, 2)


@pytest.mark.parametrize("missing", ["backports", "compression"])
def test_zstd_that_is_not_installed_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The error names the extra; nothing else needs it."""
    for name in (missing, f"{missing}.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    if (missing == "compression") == (sys.version_info >= (3, 14)):
        with pytest.raises(ConfigError, match=r"pip install 'fal-log-bridge\[zstd\]'"):
            otlp(Silent(), compression="zstd")
    else:
        assert otlp(Silent(), compression="zstd").name == "backend"
    assert otlp(Silent(), compression="gzip").name == "backend"


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
@pytest.mark.parametrize("compression", ["gzip", "none", "zstd"])
def test_max_payload_is_judged_without_asking(protocol: Protocol, compression: Compression) -> None:
    """By what is sent, before compression, to the byte."""
    sent = request("u", body="x" * 10_000)
    size = len(sent.json if protocol == "http/json" else sent.raw)
    asked: list[httpx.Request] = []

    def handler(incoming: httpx.Request) -> httpx.Response:
        asked.append(incoming)
        return httpx.Response(200)

    def outcome(most: int) -> Outcome:
        return send(
            otlp(handler, compression=compression, protocol=protocol, max_payload=most), sent
        )

    refused = outcome(size - 1)
    assert refused.verdict is Verdict.TOO_LARGE
    assert str(size) in refused.reason
    assert not asked
    assert outcome(size) == Outcome(Verdict.DELIVERED)


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
@pytest.mark.parametrize("compression", ["gzip", "none", "zstd"])
def test_a_send_again_is_byte_equal(protocol: Protocol, compression: Compression) -> None:
    """Body and headers do not change from try to try."""
    seen: list[tuple[bytes, httpx.Headers]] = []

    def handler(incoming: httpx.Request) -> httpx.Response:
        seen.append((incoming.content, incoming.headers))
        return httpx.Response(503)

    sent = joined(["u1"], ["u2"])
    destination = otlp(handler, protocol=protocol, compression=compression)

    async def main() -> None:
        for _ in range(3):
            assert (await destination.send(sent)).verdict is Verdict.RETRY
        await destination.aclose()

    asyncio.run(main())
    assert seen == [seen[0]] * 3


def failing(error: Exception) -> Handler:
    """A transport that raises."""

    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ConnectTimeout(""),
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.WriteError("broken pipe"),
        httpx.WriteTimeout(""),
        httpx.PoolTimeout(""),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ProxyError("502 Bad Gateway"),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError(),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
    ],
)
def test_the_networks_troubles_pass(error: Exception) -> None:
    """DNS, refused, reset, timeout and protocol trouble are retried (trap 21)."""
    outcome = send(otlp(failing(error)))
    assert outcome.verdict is Verdict.RETRY
    assert "no answer from http://collector.test:4318/v1/logs" in outcome.reason


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (httpx.ReadError("connection reset"), True),
        (httpx.WriteError("broken pipe"), True),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), True),
        (httpx.ConnectError("connection refused"), False),
        (httpx.ProxyError("502 Bad Gateway"), False),
    ],
)
def test_a_connection_that_broke_may_be_the_requests_own_fault(
    error: Exception, *, own: bool
) -> None:
    """One that could not be made is not."""
    assert send(otlp(failing(error))).own_fault == own


@pytest.mark.parametrize(
    "error",
    [
        httpx.UnsupportedProtocol("Request URL is missing an 'http://' or 'https://' protocol."),
        httpx.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'"),
        httpx.InvalidURL("Invalid port: '99999'"),
        LookupError(f"something else about {SECRET}"),
        ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] certificate required"),
    ],
)
def test_what_only_a_person_can_mend_blocks(error: Exception) -> None:
    """A wrong URL, header or certificate, and whatever is not known; never the secret."""
    outcome = send(otlp(failing(error)))
    assert outcome.verdict is Verdict.BLOCKED
    assert "http://collector.test:4318/v1/logs" in outcome.reason
    assert SECRET not in outcome.reason


@pytest.mark.parametrize("url", ["ftp://collector.test/v1/logs", "collector", "http://"])
def test_a_url_that_is_none_blocks(url: str) -> None:
    """Without a transport of its own, httpx says so; nothing raises."""
    destination = OtlpHttp("backend", url, {}, compression="none", timeout=10, tls=Tls())
    assert send(destination).verdict is Verdict.BLOCKED


class Silent(httpx.AsyncBaseTransport):
    """Never answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        await asyncio.sleep(1e6)
        raise AssertionError(request)


class Dripping(httpx.AsyncByteStream):
    """Sends a byte every five seconds."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(5)
            yield b"."


@pytest.mark.parametrize(
    "transport",
    [Silent(), httpx.MockTransport(lambda _: httpx.Response(200, stream=Dripping()))],
    ids=["silent", "dripping"],
)
def test_the_timeout_holds_for_the_whole_send(transport: httpx.AsyncBaseTransport) -> None:
    """Neither silence nor a dripping answer holds a request for longer."""
    loop = VirtualLoop()
    outcome = run_virtually(otlp(transport).send(request("u")), loop=loop)
    assert outcome == Outcome(
        Verdict.RETRY,
        "no answer from http://collector.test:4318/v1/logs within 10 s",
        own_fault=True,
    )
    assert loop.time() == pytest.approx(10)


class Endless(httpx.AsyncByteStream):
    """An answer without an end."""

    sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 65_536
            yield b"x" * 65_536


def test_an_answer_is_read_up_to_a_bound() -> None:
    """4 MiB, as OTLP says; what was read is judged."""
    body = Endless()
    outcome = send(otlp(lambda _: httpx.Response(503, stream=body)))
    assert outcome.verdict is Verdict.RETRY
    assert LARGEST_ANSWER < body.sent <= LARGEST_ANSWER + 2 * 65_536


class Broken(httpx.AsyncByteStream):
    """An answer that breaks off."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{}"
        raise httpx.ReadError("connection lost")


@pytest.mark.parametrize("status", [200, 202])
def test_half_an_acknowledgement_is_none(status: int) -> None:
    """It is sent again: the other half may have said that records were refused."""
    outcome = send(otlp(lambda _: httpx.Response(status, stream=Broken())))
    assert outcome.verdict is Verdict.RETRY


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, Verdict.REJECTED),
        (413, Verdict.TOO_LARGE),
        (503, Verdict.RETRY),
        (401, Verdict.BLOCKED),
    ],
)
def test_a_body_that_breaks_off_leaves_the_status_its_meaning(
    status: int, verdict: Verdict
) -> None:
    """What came of it is still told."""
    outcome = send(otlp(lambda _: httpx.Response(status, stream=Broken())))
    assert (outcome.verdict, outcome.answer) == (verdict, "{}")


def test_a_page_that_breaks_off_is_a_page() -> None:
    """A login form is no acceptance, whole or not."""
    headers = {"Content-Type": "text/html", "Content-Encoding": "br"}
    assert send(otlp(as_it_is(200, b"\x0b\x02\x80", headers))).verdict is Verdict.BLOCKED


class Plain(httpx.AsyncByteStream):
    """A body as it comes over the wire."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def as_it_is(status: int, body: bytes, headers: dict[str, str]) -> Handler:
    """A backend whose one answer nothing decodes on the way."""
    return lambda _: httpx.Response(status, stream=Plain(body), headers=headers)


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br", "zstd", "deflate", "?"])
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (400, Verdict.REJECTED),
        (413, Verdict.TOO_LARGE),
        (503, Verdict.RETRY),
        (404, Verdict.BLOCKED),
    ],
)
def test_a_body_that_cannot_be_decoded_leaves_the_status_its_meaning(
    coding: str, status: int, verdict: Verdict
) -> None:
    """It is no network trouble: a 200 is delivered with a warning, a 400 is about records."""
    outcome = send(otlp(as_it_is(status, b"{}", {"Content-Encoding": coding})))
    assert (outcome.verdict, outcome.own_fault) == (verdict, False)
    assert "Content-Encoding" in outcome.reason


@pytest.mark.parametrize("coding", ["gzip", "X-GZIP", "identity, gzip"])
def test_an_answer_in_gzip_is_read_though_nobody_asked_for_it(coding: str) -> None:
    """Some proxies compress whatever passes."""
    body = gzip.compress(b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"old"}}')
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    outcome = send(otlp(as_it_is(200, body, headers)))
    assert (outcome.refused, outcome.answer) == (3, "old")
    assert send(otlp(as_it_is(204, b"", headers))) == Outcome(Verdict.DELIVERED)


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip"])
def test_an_answer_that_unfolds_costs_no_more_than_one_that_does_not(coding: str) -> None:
    """Kilobytes that decode to 64 MiB; 4 MiB of them are looked at."""
    body = gzip.compress(b"\0" * (1 << 26))
    body = gzip.compress(body) if "," in coding else body
    tracemalloc.start()
    try:
        outcome = send(otlp(as_it_is(200, body, {"Content-Encoding": coding})))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.reason
    assert peak < 12 * LARGEST_ANSWER


@pytest.mark.parametrize("location", ["http://[::1/x", "http://h:port/", "\x7f://", "//h:99999999"])
def test_a_redirect_to_what_is_no_url_blocks_too(location: str) -> None:
    """It is an answer like any other redirect, not a broken connection."""
    outcome = send(otlp(lambda _: httpx.Response(307, headers={"Location": location})))
    assert outcome.verdict is Verdict.BLOCKED
    assert "redirects to" in outcome.reason


def test_redirects_are_not_followed() -> None:
    """One request, and the place it was sent to is named."""
    seen: list[str] = []

    def handler(incoming: httpx.Request) -> httpx.Response:
        seen.append(str(incoming.url))
        return httpx.Response(302, headers={"Location": "https://sso.test/login"})

    outcome = send(otlp(handler))
    assert outcome.verdict is Verdict.BLOCKED
    assert "redirects to https://sso.test/login" in outcome.reason
    assert seen == [URL]


@pytest.mark.parametrize(
    ("headers", "echo"),
    [
        ({"Authorization": f"Bearer {SECRET}"}, f"invalid token {SECRET}"),
        ({"Authorization": f"Bearer {SECRET}"}, f'{{"message": "no Bearer {SECRET}"}}'),
        ({"dd-api-key": SECRET}, f"<title>key {SECRET} unknown</title>"),
        ({"x-key": "schlüssel-é"}, "wrong key schlüssel-é"),
    ],
)
def test_secrets_that_a_backend_quotes_are_not_shown(headers: dict[str, str], echo: str) -> None:
    """Reasons end up in logs."""
    outcome = send(otlp(lambda _: httpx.Response(401, content=echo.encode()), headers=headers))
    assert outcome.verdict is Verdict.BLOCKED
    assert not any(value.rpartition(" ")[2] in outcome.reason for value in headers.values())
    assert "***" in outcome.reason


@pytest.mark.parametrize(
    "spelled",
    [
        r"YWJj\/ZGVm+Z2hp\/anNv==",
        r"YWJj/ZGVm\u002BZ2hp/anNv\u003d\u003D",
        r"YWJj\\\/ZGVm\\u002bZ2hp\\\/anNv==",
        "YWJj%2FZGVm%2bZ2hp%2fanNv%3D%3D",
        "YWJj&#x2F;ZGVm&#43;Z2hp&#047;anNv&#61;=",
    ],
)
@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "application/json", '{"partialSuccess":{"errorMessage":"no %s"}}'),
        (200, "text/plain", "thanks, %s"),
        (400, "application/json", '{"message":"bad credential %s"}'),
        (400, "application/json", '{"message":"' + "." * 220 + '%s"}'),
        (401, "application/json", '{"error":{"code":7,"told":"%s"}}'),
        (401, "text/plain", "." * 4_080 + "%s"),
        (503, "text/html", "<html><title>%s</title>"),
        (503, "", "%s"),
    ],
)
def test_secrets_are_not_shown_however_they_were_escaped(
    spelled: str, status: int, content_type: str, body: str
) -> None:
    """Neither in the reason nor in what is kept of the answer, nor the half that was cut off."""
    headers = {"Authorization": "Basic YWJj/ZGVm+Z2hp/anNv=="}
    content = (body % spelled).encode()
    answer = httpx.Response(status, content=content, headers={"Content-Type": content_type})
    outcome = send(otlp(lambda _: answer, headers=headers))
    assert "*" in outcome.reason + outcome.answer
    for part in ("YWJj", "ZGVm", "Z2hp", "anNv"):
        assert part not in outcome.reason + outcome.answer


def test_a_location_that_quotes_a_secret_is_not_shown() -> None:
    """Also not in the path."""
    answer = httpx.Response(302, headers={"Location": f"/login/{SECRET}"})
    assert SECRET not in send(otlp(lambda _: answer)).reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Key", "a\r\nX-Other: b"),
        ("X-Key", " padded"),
        ("X-Key", "\u20ac"),
        ("X Key", "a"),
        ("", "a"),
        ("X-Ké", "a"),
    ],
)
def test_a_header_that_cannot_be_sent_stops_the_start(name: str, value: str) -> None:
    """The error names the header and never its value."""
    with pytest.raises(ConfigError) as caught:
        otlp(Silent(), headers={name: f"{value}{SECRET}" if value != " padded" else value})
    assert SECRET not in str(caught.value)
    assert "backend" in str(caught.value)


def test_cancellation_passes() -> None:
    """A stop is not taken for a backend's failure."""

    async def main() -> None:
        destination = otlp(Silent())
        sending = asyncio.create_task(destination.send(request("u")))
        await asyncio.sleep(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await destination.aclose()

    run_virtually(main())


def test_connections_are_used_again() -> None:
    """Twenty sends in a row, one connection, on a real socket."""
    connections: list[int] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        number = len(connections) - 1
        while True:
            await read_request(reader)
            connections[number] += 1
            writer.write(OK)

    async def main() -> None:
        async with serving(count) as port:
            destination = real(port)
            for number in range(20):
                assert await destination.send(request(str(number))) == Outcome(Verdict.DELIVERED)
            await destination.aclose()

    asyncio.run(main())
    assert connections == [20]


def real(port: int) -> OtlpHttp:
    """A destination on a loopback port."""
    url = f"http://127.0.0.1:{port}/v1/logs"
    return OtlpHttp("backend", url, {}, compression="gzip", timeout=10, tls=Tls())


def test_a_connection_that_ends_without_an_answer_is_retried() -> None:
    """On a real socket, after the request arrived: perhaps it was taken, so it goes again."""

    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async def main() -> Outcome:
        async with serving(hang_up) as port:
            destination = real(port)
            outcome = await destination.send(request("u"))
            await destination.aclose()
            return outcome

    outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.RETRY
    assert "RemoteProtocolError" in outcome.reason


def test_nobody_listens() -> None:
    """A refused connection on a real socket is retried."""

    async def main() -> Outcome:
        async with serving(lambda *_: asyncio.sleep(0)) as port:
            pass
        destination = real(port)
        outcome = await destination.send(request("u"))
        await destination.aclose()
        return outcome

    outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.RETRY
    assert "ConnectError" in outcome.reason


def test_the_usual_variables_name_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes to the proxy, for the backend."""
    targets: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        targets.append(await reader.readline())
        await read_request(reader)
        writer.write(OK)

    async def main() -> Outcome:
        async with serving(proxy) as port:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
            destination = OtlpHttp("backend", URL, {}, compression="gzip", timeout=10, tls=Tls())
            outcome = await destination.send(request("u"))
            await destination.aclose()
            return outcome

    assert asyncio.run(main()) == Outcome(Verdict.DELIVERED)
    assert targets == [f"POST {URL} HTTP/1.1\r\n".encode()]


@pytest.mark.parametrize(
    ("proxy", "what"),
    [
        ("socks5://127.0.0.1:1", "a SOCKS proxy is not supported"),
        ("ftp://user:pa55w0rd@127.0.0.1", "the proxy's address cannot be used"),
        ("http://[::1", "the proxy's address cannot be used"),
    ],
)
def test_an_unusable_proxy_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, proxy: str, what: str
) -> None:
    """A proxy variable that cannot be used is named, and its password is not."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError) as caught:
        OtlpHttp("b", "http://b.test", {}, compression="gzip", timeout=1.0, tls=Tls())
    assert str(caught.value).startswith("the proxy variables (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)")
    assert what in str(caught.value)
    assert "pa55w0rd" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_connection_is_named(host: str) -> None:
    """What the system said is told, also where several addresses were tried."""

    async def main() -> Outcome:
        url = f"http://{host}:1/v1/logs"
        destination = OtlpHttp("b", url, {}, compression="gzip", timeout=5.0, tls=Tls())
        try:
            return await destination.send(request("u"))
        finally:
            await destination.aclose()

    outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.RETRY
    assert "refused" in outcome.reason.lower()


def test_https_to_a_plain_port_is_told_with_its_mend() -> None:
    """A backend that speaks plain HTTP gets a hint."""

    async def main() -> Outcome:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()

        async with serving(plain) as port:
            url = f"https://127.0.0.1:{port}/v1/logs"
            destination = OtlpHttp("b", url, {}, compression="gzip", timeout=5.0, tls=Tls())
            outcome = await destination.send(request("u"))
            await destination.aclose()
            return outcome

    outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.BLOCKED
    assert "is it http:// rather than https://?" in outcome.reason
