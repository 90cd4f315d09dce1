"""The REST client: what goes out, what each answer means, and that the key stays secret."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiRefused,
    ApiThrottled,
    ApiUnauthorized,
    ApiUnavailable,
)
from bridge.model import SECOND, Filter, Page, Query
from bridge.source.answers import complaint
from bridge.source.rest import RestApi
from bridge.timestamps import parse_tick

T0 = 1_758_284_170_599_608
KEY = "id-1:secret-2"
PLAIN = Query(Filter(), T0, None, 10)
Handler = Callable[[httpx.Request], httpx.Response]


def ask(
    handler: Handler, *queries: Query, key: str = KEY, base: str = "http://api.test", **options: Any
) -> Page:
    """Ask one client for pages; the last one."""

    async def main() -> Page:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            api = RestApi(client, base_url=base, key=lambda: key, **options)
            for query in queries or (PLAIN,):
                page = await api.page(query)
            return page

    return asyncio.run(main())


def answering(status: int, body: Any = b"[]", **headers: str) -> Handler:
    """A server with one answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx.Response(
        status, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def fault(status: int, body: Any = b"[]", **headers: str) -> ApiError:
    """The error that one answer comes to."""
    with pytest.raises(ApiError) as caught:
        ask(answering(status, body, **headers))
    return caught.value


def test_a_request_is_as_documented() -> None:
    """Method, path, key, every parameter, the filters in the body."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    wanted = Filter(
        app_id="owner/app",
        revision="r",
        search="a b&c+d",
        level="INFO",
        job_id="j",
        request_id="q",
        traceback=True,
        labels=(("fal_env", "prod"),),
    )
    ask(handler, Query(wanted, T0, T0 + 1_000, 100), base="http://api.test/")
    (request,) = seen
    assert request.method == "POST"
    assert request.url.path == "/logs/"
    assert request.headers["authorization"] == f"Key {KEY}"
    assert dict(request.url.params) == {
        "limit": "100",
        "since": "2025-09-19T12:16:10.599608Z",
        "until": "2025-09-19T12:16:10.600608Z",
        "app_id": "owner/app",
        "revision": "r",
        "search": "a b&c+d",
        "level": "INFO",
        "job_id": "j",
        "request_id": "q",
        "traceback": "true",
    }
    assert b"+" not in request.url.query.replace(b"a+b", b"")
    assert json.loads(request.content) == {"extra_filters": [{"key": "fal_env", "value": "prod"}]}


def test_without_filters_the_body_is_an_empty_object() -> None:
    """As the document's examples send it."""
    bodies = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(200, json=[])

    ask(handler)
    assert bodies == [b"{}"]


def test_a_server_that_wants_a_bare_array_gets_one_from_then_on() -> None:
    """A 422 about the body switches the form, once for all requests."""
    bodies: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        if isinstance(bodies[-1], list):
            return httpx.Response(200, json=[])
        return httpx.Response(422, json={"detail": [{"loc": ["body"], "msg": "not a list"}]})

    ask(handler, PLAIN, Query(Filter(labels=(("a", "b"),)), T0, None, 10))
    assert bodies == [{}, [], [{"key": "a", "value": "b"}]]


def test_a_server_that_accepts_neither_form_is_refused_with_its_words() -> None:
    """Two tries, then the server's own complaint."""
    body = {"detail": [{"loc": ["body", "extra_filters"], "msg": "no", "type": "x"}]}
    error = fault(422, body)
    assert isinstance(error, ApiRefused)
    assert "body.extra_filters: no" in str(error)


def test_a_page_keeps_the_server_s_order_and_date() -> None:
    """Entries as given, ticks from their timestamps, the Date in ticks."""
    entries = [
        {"timestamp": "2025-09-19T12:16:10.599608", "message": "new"},
        {"timestamp": "never", "message": "odd"},
        {"timestamp": "2025-09-19T12:16:10", "message": "old"},
    ]
    page = ask(answering(200, entries, date="Fri, 19 Sep 2025 12:16:11 GMT"))
    assert [e.raw["message"] for e in page.entries] == ["new", "odd", "old"]
    assert [e.tick for e in page.entries] == [T0, None, parse_tick("2025-09-19T12:16:10Z")]
    assert page.served_at == parse_tick("2025-09-19T12:16:11Z")


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Sep 2025 12:16:11 GMT"])
def test_a_missing_or_odd_date_is_none(date: str) -> None:
    """The server then tells no time."""
    assert ask(answering(200, [], date=date)).served_at is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiRefused),
        (401, ApiUnauthorized),
        (403, ApiUnauthorized),
        (404, ApiRefused),
        (408, ApiUnavailable),
        (422, ApiRefused),
        (429, ApiThrottled),
        (500, ApiUnavailable),
        (503, ApiUnavailable),
        (204, ApiUnavailable),
        (301, ApiRefused),
    ],
)
def test_each_status_has_its_meaning(status: int, kind: type[ApiError]) -> None:
    """What to do follows from the kind; the status and the server's words are shown."""
    error = fault(status, {"detail": "Duplicate label key found: environment"})
    assert type(error) is kind
    assert str(status) in str(error)
    assert "Duplicate label key found: environment" in str(error)


def test_the_documented_validation_error_is_shown() -> None:
    """A person sees which parameter is wrong."""
    detail = [{"loc": ["query", "since"], "msg": "invalid datetime format", "type": "value_error"}]
    assert "query.since: invalid datetime format" in str(fault(422, {"detail": detail}))


def test_a_refused_limit_is_told_apart() -> None:
    """So that a smaller one is tried."""
    detail = [{"loc": ["query", "limit"], "msg": "ensure this value is less than 1000"}]
    assert type(fault(422, {"detail": detail})) is ApiLimitRefused


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"x_ratelimit_reset": "3.5"}, 3.5),
        (
            {
                "retry_after": "Fri, 19 Sep 2025 12:16:31 GMT",
                "date": "Fri, 19 Sep 2025 12:16:11 GMT",
            },
            20.0,
        ),
        ({"x_ratelimit_reset": "1758284181", "date": "Fri, 19 Sep 2025 12:16:11 GMT"}, 10.0),
        ({}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
    ],
)
def test_a_throttling_server_says_how_long(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After in seconds or as a date, or fal's x-ratelimit-reset."""
    error = fault(429, {"detail": "slow down"}, **headers)
    assert isinstance(error, ApiThrottled)
    assert error.retry_after == seconds


@pytest.mark.parametrize("body", [b"<html></html>", b'[{"message": "cut', b"{}", b"", b"null"])
def test_an_odd_200_is_asked_again_never_read_as_empty(body: bytes) -> None:
    """Not a whole array: no page (trap 25)."""
    assert type(fault(200, body)) is ApiUnavailable


def test_an_answer_over_the_cap_is_told_apart() -> None:
    """So that a smaller limit is asked for; memory stays bounded."""
    with pytest.raises(ApiAnswerTooLarge):
        ask(answering(200, b"[" + b" " * 5_000 + b"]"), answer_limit=4_000)


class Plain(httpx.AsyncByteStream):
    """A body as it comes over the wire."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def as_it_is(status: int, body: bytes, coding: str) -> Handler:
    """A server whose one answer nothing decodes on the way."""
    headers = {"Content-Encoding": coding}
    return lambda _: httpx.Response(status, stream=Plain(body), headers=headers)


def test_answers_are_asked_for_and_read_in_gzip() -> None:
    """No other coding is asked for, whatever is installed."""
    seen: list[str] = []
    page = gzip.compress(b'[{"timestamp":"2026-01-01T00:00:00","message":"m"}]')

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["accept-encoding"])
        return as_it_is(200, page, "gzip")(request)

    assert len(ask(handler).entries) == 1
    assert seen == ["gzip"]


def test_an_answer_that_unfolds_over_the_cap_is_too_large_in_bounded_memory() -> None:
    """It is not unfolded any further than the cap."""
    body = gzip.compress(b" " * (1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(ApiAnswerTooLarge):
            ask(as_it_is(200, body, "gzip"), answer_limit=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 23


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(gzip.compress(b"[]")), "gzip, gzip"),
        (b"[]", "br"),
        (b"[]", "gzip"),
        (gzip.compress(b"[]")[:-1], "gzip"),
        (gzip.compress(b"[") + gzip.compress(b"]"), "gzip"),
    ],
    # gzip writes the time into its header: workers that begin in different seconds would not
    # agree on names made of the bytes.
    ids=["gzip twice", "other coding", "no gzip", "cut off", "two members"],
)
def test_an_answer_that_cannot_be_decoded_is_no_page(body: bytes, coding: str) -> None:
    """It is asked again; any other status says what it says."""
    with pytest.raises(ApiUnavailable, match=r"cannot be read: it is .* Content-Encoding"):
        ask(as_it_is(200, body, coding))
    with pytest.raises(ApiUnauthorized):
        ask(as_it_is(401, body, coding))


def test_an_error_that_quotes_the_key_is_masked() -> None:
    """HTTP libraries quote the header that they could not send."""

    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError(f"Illegal header value b'Key {KEY}'")

    with pytest.raises(ApiUnavailable) as caught:
        ask(handler)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("connection refused"),
        httpx.ReadError("reset"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ConnectTimeout(""),
        httpx.PoolTimeout(""),
    ],
)
def test_a_broken_connection_is_asked_again(error: httpx.HTTPError) -> None:
    """No answer, whatever the way it failed (trap 21)."""

    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ApiUnavailable, match="no answer"):
        ask(handler)


def test_a_certificate_problem_says_what_to_set() -> None:
    """A private CA is the usual cause."""

    def handler(request: httpx.Request) -> httpx.Response:
        try:
            raise ssl.SSLCertVerificationError("self-signed certificate")
        except ssl.SSLError as error:
            raise httpx.ConnectError(str(error), request=request) from error

    with pytest.raises(ApiUnavailable, match="SSL_CERT_FILE"):
        ask(handler)


@pytest.mark.parametrize("key", ["bad\nkey", "kéy", "\x00"])
def test_a_key_that_no_header_carries_is_a_refused_key(key: str) -> None:
    """Said plainly, and without the key."""
    with pytest.raises(ApiUnauthorized) as caught:
        ask(answering(200), key=key)
    assert key not in str(caught.value)


def test_the_key_is_never_in_an_error() -> None:
    """Not even when the server echoes nothing but its own words."""
    for status in (400, 401, 403, 404, 422, 429, 500):
        assert "secret-2" not in str(fault(status, {"detail": f"no such key: {KEY}"}))


def test_what_a_server_says_is_shown_on_one_bounded_line() -> None:
    """An HTML page or an escape sequence does not fill the log."""
    text = str(fault(502, b"<html>\n\x1b[31mBad Gateway\n" + b"x" * 10_000))
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 600


@pytest.mark.parametrize(
    "body",
    [
        b"no " * 1_000_000,
        b'{"detail": [' + b'"no", ' * 100_000 + b'"no"]}',
        b'["no' + b"o" * 200_000,
    ],
)
def test_a_long_complaint_is_not_read_to_its_end(body: bytes) -> None:
    """Sixteen megabytes would hold up everything else for seconds, for one line of the log."""
    assert complaint(body).startswith(("no", '["no'))
    assert len(complaint(body)) <= 65_536


def test_now_is_a_whole_second() -> None:
    """A Date has no fraction."""
    page = ask(answering(200, [], date="Fri, 19 Sep 2025 12:16:11 GMT"))
    assert (page.served_at or 0) % SECOND == 0
