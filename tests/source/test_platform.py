"""The Platform API client: what goes out, what each answer means, and reading through it whole."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiRefused,
    ApiThrottled,
    ApiUnauthorized,
    ApiUnavailable,
)
from bridge.mapping.severity import INFO, severity_number
from bridge.model import MILLISECOND, SECOND, Entry, Filter, Page, Query, Tick
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.manual_clock import ManualClock
from bridge.simulator.platform_api import PlatformApiFake, PlatformConfig
from bridge.simulator.times import naive
from bridge.simulator.transport import CoreTransport
from bridge.source.fingerprint import content_hash
from bridge.source.platform import PlatformApi
from bridge.source.walk import Walk
from bridge.timestamps import format_tick, parse_tick

T0: Tick = 1_758_284_170_599_608
KEY = "id-1:secret-2"
PLAIN = Query(Filter(), T0, None, 10)
EMPTY: Any = {"items": [], "next_cursor": None, "has_more": False}
Handler = Callable[[httpx.Request], httpx.Response]


def ask(handler: Handler, query: Query = PLAIN, *, key: str = KEY, **options: Any) -> Page:
    """Ask one client for a page."""

    async def main() -> Page:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            api = PlatformApi(client, base_url="http://api.test/", key=lambda: key, **options)
            return await api.page(query)

    return asyncio.run(main())


def answering(status: int, body: Any, **headers: str) -> Handler:
    """A server with one answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx.Response(
        status, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def fault(status: int, body: Any, **headers: str) -> ApiError:
    """The error that one answer comes to."""
    with pytest.raises(ApiError) as caught:
        ask(answering(status, body, **headers))
    return caught.value


def error(kind: str, message: str) -> dict[str, Any]:
    """An error body as documented."""
    return {"error": {"type": kind, "message": message}}


def test_a_request_is_as_documented() -> None:
    """Method, path, key, every parameter, the filters as a bare array; never a cursor."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=EMPTY)

    wanted = Filter(
        app_id="owner/app",
        revision="r",
        search="a b&c+d",
        level="INFO",
        job_id="j",
        request_id="q",
        traceback=True,
        labels=(("fal_env", "prod"), ("n", "7")),
    )
    ask(handler, Query(wanted, T0, T0 + 1_000, 1_000))
    (request,) = seen
    assert request.method == "POST"
    assert str(request.url).startswith("http://api.test/v1/serverless/logs/history?")
    assert request.headers["authorization"] == f"Key {KEY}"
    assert dict(request.url.params) == {
        "limit": "1000",
        "start": "2025-09-19T12:16:10.599608Z",
        "end": "2025-09-19T12:16:10.600608Z",
        "app_id": "owner/app",
        "revision": "r",
        "search": "a b&c+d",
        "level": "info",
        "job_id": "j",
        "request_id": "q",
        "traceback": "true",
    }
    assert json.loads(request.content) == [
        {"key": "fal_env", "value": "prod", "condition_type": "equals"},
        {"key": "n", "value": "7", "condition_type": "equals"},
    ]


def test_an_open_top_has_no_end_and_no_filters_are_an_empty_array() -> None:
    """``start`` is always sent: without it the server would choose one."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=EMPTY)

    ask(handler)
    assert dict(seen[0].url.params) == {"limit": "10", "start": "2025-09-19T12:16:10.599608Z"}
    assert seen[0].content == b"[]"


def test_a_page_keeps_the_server_s_order_and_date() -> None:
    """Every form of time is read; what has none is kept; an item need not be an object."""
    items = [
        {"timestamp": "2025-09-19T12:16:12.123Z", "level": "info", "message": "millis"},
        {"timestamp": "2025-09-19T12:16:11.599609Z", "message": "micros"},
        {"timestamp": "2025-09-19T12:16:11", "message": "naive"},
        {"timestamp": "never", "message": "odd"},
        None,
    ]
    body = {"items": items, "next_cursor": "2025-09-19T12:16:11.000Z", "has_more": True}
    page = ask(answering(200, body, date="Fri, 19 Sep 2025 12:16:12 GMT"))
    assert [e.raw for e in page.entries] == items
    assert [e.tick for e in page.entries] == [
        parse_tick("2025-09-19T12:16:12.123Z"),
        T0 + 1_000_001,
        parse_tick("2025-09-19T12:16:11Z"),
        None,
        None,
    ]
    assert page.served_at == parse_tick("2025-09-19T12:16:12Z")
    assert page.size == len(json.dumps(body))


def test_what_stands_on_an_inclusive_start_is_left_out() -> None:
    """The port's bounds are exclusive; anything further below is the walk's to judge."""
    items = [{"timestamp": format_tick(T0 + n)} for n in (1, 0, 0, -1)]
    page = ask(answering(200, {"items": items, "has_more": False}))
    assert [e.tick for e in page.entries] == [T0 + 1, T0 - 1]


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b'{"items": [{"message": "cut',
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"items": null, "has_more": false}',
        b'{"items": {}}',
        b'{"error": {"type": "server_error", "message": "degraded"}}',
        b'{"items": [], "next_cursor": "2025-09-19T12:16:11.000Z", "has_more": true}',
    ],
)
def test_an_odd_200_is_asked_again_never_read_as_empty(body: bytes) -> None:
    """No list of items, or an empty one that claims more: no page."""
    caught = fault(200, body)
    assert type(caught) is ApiUnavailable
    assert "cannot be read" in str(caught)


@pytest.mark.parametrize("has_more", [True, False, None, "?"])
def test_what_is_said_of_more_pages_changes_no_page(has_more: object) -> None:
    """Neither the cursor nor ``has_more`` is proof of anything."""
    items = [{"timestamp": format_tick(T0 + 1)}]
    page = ask(answering(200, {"items": items, "next_cursor": 5, "has_more": has_more}))
    assert [e.tick for e in page.entries] == [T0 + 1]


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
        (307, ApiRefused),
    ],
)
def test_each_status_has_its_meaning(status: int, kind: type[ApiError]) -> None:
    """What to do follows from the kind; the status, the type and the message are shown."""
    caught = fault(status, error("some_type", "what went wrong"))
    assert type(caught) is kind
    assert f"answered {status}" in str(caught)
    assert ": some_type: what went wrong" in str(caught)
    assert "/v1/serverless/logs/history" in str(caught)


def test_a_gateway_s_error_in_another_form_is_shown_too() -> None:
    """FastAPI's form, and none at all."""
    assert "Service down" in str(fault(503, {"detail": "Service down"}))
    assert "Bad Gateway" in str(fault(502, b"<html>\n<b>Bad Gateway"))
    assert '{"error": "plain"}' in str(fault(500, b'{"error": "plain"}'))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"x_ratelimit_reset": "3.5"}, 3.5),
        ({"x_ratelimit_reset": "1758284181", "date": "Fri, 19 Sep 2025 12:16:11 GMT"}, 10.0),
        ({}, None),
    ],
)
def test_a_throttling_server_says_how_long(headers: dict[str, str], seconds: float | None) -> None:
    """As with the REST API."""
    caught = fault(429, error("rate_limited", "slow down"), **headers)
    assert isinstance(caught, ApiThrottled)
    assert caught.retry_after == seconds


def test_a_limit_beyond_the_document_is_refused_without_asking() -> None:
    """So that a smaller one is tried; the largest is asked for as it is."""
    with pytest.raises(ApiLimitRefused, match="at most 1000 entries, not 1001"):
        ask(answering(200, EMPTY), Query(Filter(), T0, None, 1_001))
    assert ask(answering(200, EMPTY), Query(Filter(), T0, None, 1_000)).entries == ()


def test_a_limit_that_the_server_refuses_is_told_apart() -> None:
    """Should it become less than the document says."""
    message = "limit: must be between 1 and 500"
    assert type(fault(400, error("validation_error", message))) is ApiLimitRefused


def test_an_answer_over_the_cap_is_told_apart() -> None:
    """So that a smaller limit is asked for; memory stays bounded."""
    with pytest.raises(ApiAnswerTooLarge):
        ask(answering(200, b'{"items": [' + b" " * 5_000 + b"]}"), answer_limit=4_000)


def test_the_key_is_never_in_an_error() -> None:
    """Not when a server repeats it, nor where its words are cut short in the middle of it."""
    for status in (400, 401, 403, 404, 422, 429, 500):
        assert "secret-2" not in str(fault(status, error("t", f"no such key: {KEY}")))
    for before in range(270, 300):
        assert "id-1" not in str(fault(500, error("t", "x" * before + KEY)))


@pytest.mark.parametrize("key", ["bad\nkey", "kéy"])
def test_a_key_that_no_header_carries_is_a_refused_key(key: str) -> None:
    """Said plainly, and without the key."""
    with pytest.raises(ApiUnauthorized) as caught:
        ask(answering(200, EMPTY), key=key)
    assert key not in str(caught.value)


def test_no_answer_is_asked_again() -> None:
    """Whatever the way it failed."""

    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    with pytest.raises(ApiUnavailable, match="no answer: reset"):
        ask(handler)


def test_an_entry_of_this_dialect_is_taken_like_any() -> None:
    """Its level in lower case, its labels missing, its time with a Z or without."""

    def entry(**raw: object) -> Entry:
        return Entry(raw, parse_tick(raw["timestamp"]))

    stamps = ("2024-11-09T10:30:45.123Z", "2024-11-09T10:30:45.123000", "2024-11-09T10:30:45.123")
    hashes = {
        content_hash(entry(timestamp=stamp, level=level, message="m", app="a"))
        for stamp in stamps
        for level in ("info", "INFO")
    }
    assert len(hashes) == 1
    assert severity_number("info", stderr=INFO) == severity_number("INFO", stderr=INFO)


def account(
    ticks: Sequence[Tick], clock: Any, *, cap: int, config: PlatformConfig
) -> PlatformApiFake:
    """The simulator with a numbered entry on each of these ticks."""
    logs = LogsApiFake(clock, LogsApiConfig(key=KEY, cap=cap))
    for number, tick in enumerate(ticks):
        raw = {"timestamp": naive(tick), "level": "INFO", "message": str(number), "app": "app"}
        logs.write(raw, tick, visible_at=tick)
    return PlatformApiFake(logs, clock, config)


async def walked(api: PlatformApi, walk: Walk) -> list[str]:
    """Drive a walk to its end: what it found, oldest first."""
    while not walk.done:
        bounds = walk.bounds
        try:
            page = await api.page(Query(Filter(), bounds.since, bounds.until, bounds.limit))
        except ApiLimitRefused:
            assert walk.shrink()
        else:
            walk.take(page)
    return [found.entry.raw["message"] for found in walk.found()]


def tied(count: int, most: int, step: Tick, seed: int) -> list[Tick]:
    """Ticks in groups of up to ``most``, a few steps apart, up to just below `T0`."""
    random = Random(seed)
    ticks: list[Tick] = []
    tick = T0 - T0 % MILLISECOND
    while len(ticks) < count:
        tick -= random.choice([1, 3, 400]) * step
        ticks += [tick] * random.randint(1, most)
    return ticks[:count][::-1]


CONFIGS = [
    PlatformConfig(step=step, start_inclusive=inclusive)
    for step in (1, MILLISECOND)
    for inclusive in (True, False)
]


@pytest.mark.parametrize("config", CONFIGS)
@given(seed=st.integers(0, 2**32), cap=st.sampled_from([20, 50, 100]))
@settings(max_examples=30, deadline=None)  # a busy machine is no failure
def test_a_walk_finds_every_tie(config: PlatformConfig, seed: int, cap: int) -> None:
    """Ties at page borders, pages silently smaller than asked for: each entry once."""
    ticks = tied(300, cap // 3, MILLISECOND if config.step > 1 else 1, seed)
    clock = ManualClock(T0 + SECOND)

    async def main() -> list[str]:
        transport = CoreTransport(account(ticks, clock, cap=cap, config=config), clock)
        async with httpx.AsyncClient(transport=transport) as client:
            api = PlatformApi(client, base_url="http://api.test", key=lambda: KEY)
            walk = Walk(
                floor=ticks[0], ceiling=T0, anchor=None, limit=1_000, documented_page=cap // 2
            )
            found = await walked(api, walk)
            assert walk.crowds == []
            return found

    assert Counter(asyncio.run(main())) == Counter(str(n) for n in range(300))


def test_the_cursor_alone_would_lose() -> None:
    """What the walk is held against: a reader that trusts ``next_cursor`` misses ties."""
    ticks = tied(300, 12, MILLISECOND, 1)
    server = account(ticks, ManualClock(T0 + SECOND), cap=20, config=PlatformConfig())
    transport = CoreTransport(server, ManualClock())
    url = "http://api.test/v1/serverless/logs/history"

    async def main() -> list[str]:
        read: list[str] = []
        params = {"start": format_tick(ticks[0] - SECOND), "end": format_tick(T0)}
        async with httpx.AsyncClient(transport=transport) as client:
            while True:
                answer = await client.post(
                    url, params=params, headers={"Authorization": f"Key {KEY}"}, json=[]
                )
                page = answer.json()
                read += [item["message"] for item in page["items"]]
                if not page["has_more"]:
                    return read
                params["cursor"] = page["next_cursor"]

    assert len(asyncio.run(main())) < 300
