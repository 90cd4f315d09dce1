"""The fake Platform API, line by line of the document, and its unpleasant sides."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from bridge.model import MILLISECOND, SECOND
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.faults import (
    BoundsCut,
    BoundsIgnored,
    Fault,
    Faults,
    Faulty,
    LimitIgnored,
    OldestFirst,
)
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake, TracebackPlace
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.simulator.platform_api import PATH, BothApis, PlatformApiFake, PlatformConfig
from bridge.simulator.rate_limit import RateLimit
from bridge.simulator.times import naive
from bridge.timestamps import format_tick

KEY = "key-id:key-secret"
AUTHORIZED = (("authorization", f"Key {KEY}"), ("content-type", "application/json"))
EXACT = PlatformConfig(step=1)


def entry(message: object, tick: int, *, app: str = "alpha", **fields: Any) -> dict[str, Any]:
    """An entry like the document's, with a few labels."""
    labels = {"app": app, "app_id": "rev-1", **fields.pop("labels", {})}
    base = {"timestamp": naive(tick), "level": "INFO", "message": message, "app": app}
    return {**base, "revision": "rev-1", **fields, "labels": labels}


class Fal:
    """The fake with both its faces, at noon."""

    def __init__(
        self, account: LogsApiConfig | None = None, config: PlatformConfig | None = None
    ) -> None:
        self.clock = ManualClock()
        self.logs = LogsApiFake(self.clock, account)
        self.platform = PlatformApiFake(self.logs, self.clock, config)
        self.both = BothApis(self.logs, self.platform)

    def write(self, message: object, tick: int, **fields: Any) -> None:
        """Put an entry at a tick."""
        self.logs.write(entry(message, tick, **fields), tick)

    def ask(self, *query: tuple[str, str], body: object = ()) -> Answer:
        """One authorized request."""
        text = json.dumps(body).encode()
        return self.both.answer(Request("POST", PATH, query, AUTHORIZED, text))

    def page(self, *query: tuple[str, str], body: object = ()) -> dict[str, Any]:
        """The answer to a request that must succeed."""
        answer = self.ask(*query, body=body)
        assert answer.status == 200, answer.body
        page: dict[str, Any] = json.loads(answer.body)
        assert set(page) == {"items", "next_cursor", "has_more"}
        return page

    def messages(self, *query: tuple[str, str], body: object = ()) -> list[Any]:
        """The messages of a page, in its order."""
        return [item["message"] for item in self.page(*query, body=body)["items"]]


def error(answer: Answer) -> tuple[str, str]:
    """Type and message of an error in the documented form."""
    body = json.loads(answer.body)
    assert set(body) == {"error"}
    return body["error"]["type"], body["error"]["message"]


def test_an_item_is_as_documented() -> None:
    """Times in milliseconds with a Z, levels in lower case, labels as they are."""
    fal = Fal()
    fal.write("m", NOON - 999_001)
    (item,) = fal.page()["items"]
    assert item["timestamp"] == "2025-09-19T11:59:59.000Z"
    assert item["level"] == "info"
    assert item["labels"] == {"app": "alpha", "app_id": "rev-1"}


@pytest.mark.parametrize("raw", [None, "text", {"message": "m"}, {"timestamp": 5, "level": 7}])
def test_odd_entries_are_shown_as_they_are(raw: object) -> None:
    """Without labels, without a time, or no object at all; no filter stumbles over them."""
    fal = Fal()
    fal.logs.write(raw, NOON - 1_000)
    assert fal.page()["items"] == [raw]
    filters = [{"key": "a", "value": "b"}]
    assert fal.page(("level", "debug"), ("search", "x"), body=filters)["items"] == []


def test_newest_first_and_a_hundred_unless_asked_otherwise() -> None:
    """And the date of the clock."""
    fal = Fal()
    for n in range(150):
        fal.write(n, NOON - (150 - n) * MILLISECOND)
    assert fal.messages() == list(range(149, 49, -1))
    assert fal.messages(("limit", "3")) == [149, 148, 147]
    assert fal.ask().header("date") == "Fri, 19 Sep 2025 12:00:00 GMT"


@pytest.mark.parametrize(("inclusive", "expected"), [(True, [1, 0]), (False, [1])])
def test_the_bounds(inclusive: bool, expected: list[int]) -> None:
    """``end`` is exclusive; ``start`` is as it is configured."""
    fal = Fal(config=PlatformConfig(step=1, start_inclusive=inclusive))
    for n in range(3):
        fal.write(n, NOON - 10 + n)
    bounds = (("start", format_tick(NOON - 10)), ("end", format_tick(NOON - 8)))
    assert fal.messages(*bounds) == expected


def test_bounds_are_cut_to_the_step() -> None:
    """An ``end`` within a millisecond loses all of it, a ``start`` wins all of it."""
    fal = Fal()
    for n in range(3):
        fal.write(n, NOON - 5_000 + n)
    assert fal.messages(("end", format_tick(NOON - 4_998))) == []
    assert fal.messages(("start", format_tick(NOON - 4_998))) == [2, 1, 0]


def test_the_default_range_is_the_last_day_up_to_now() -> None:
    """What is stamped ahead of time shows only when an ``end`` beyond it is asked for."""
    fal = Fal()
    for n, tick in enumerate([NOON - 90_000 * SECOND, NOON - SECOND, NOON + 60 * SECOND]):
        fal.write(n, tick)
    assert fal.messages() == [1]
    assert fal.messages(("start", "2025-09-18")) == [1, 0]
    assert fal.messages(("end", "2025-09-20")) == [2, 1]


def test_the_cursor_loses_ties() -> None:
    """It is the last shown time and an exclusive bound; ``has_more`` is said of a full page."""
    fal = Fal()
    for n in range(5):
        fal.write(n, NOON - SECOND)
    fal.write("old", NOON - 2 * SECOND)
    first = fal.page(("limit", "3"))
    assert [item["message"] for item in first["items"]] == [4, 3, 2]
    assert first["has_more"] is True
    assert first["next_cursor"] == "2025-09-19T11:59:59.000Z"
    second = fal.page(("limit", "3"), ("cursor", first["next_cursor"]))
    assert [item["message"] for item in second["items"]] == ["old"]
    assert (second["has_more"], second["next_cursor"]) == (False, None)
    assert fal.page(("limit", "6"))["has_more"] is True


def test_a_cap_is_silent() -> None:
    """Fewer than asked for, and more to come."""
    fal = Fal(LogsApiConfig(cap=2))
    for n in range(3):
        fal.write(n, NOON - SECOND)
    page = fal.page(("limit", "1000"))
    assert [item["message"] for item in page["items"]] == [2, 1]
    assert page["has_more"] is True


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([("app_id", "alpha")], ["a", "job", "request"]),
        ([("app_id", "owner/beta")], ["b"]),
        ([("app_id", "alpha,owner/beta"), ("limit", "1")], ["a"]),
        ([("app_id", "alpha"), ("app_id", "beta"), ("revision", "rev-2")], ["b"]),
        ([("job_id", "j")], ["job"]),
        ([("request_id", "r")], ["request"]),
        ([("search", "REQ")], ["request"]),
        ([("level", "error")], ["b"]),
        ([("level", "WARNING")], ["b"]),
    ],
)
def test_each_filter(query: list[tuple[str, str]], expected: list[str]) -> None:
    """Names of apps with their owner or without, repeated or with commas; levels in any case."""
    fal = Fal(config=EXACT)
    fal.write("a", NOON - 1)
    fal.write("b", NOON - 2, app="beta", revision="rev-2", level="ERROR")
    fal.write("job", NOON - 3, labels={"fal_job_id": "j"})
    fal.write("request", NOON - 4, labels={"fal_request_id": "r"})
    assert fal.messages(*query) == expected


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (None, "prod", ["a"]),
        ("equals", "prod", ["a"]),
        ("not_equals", "prod", ["b", "none"]),
        ("in", ["prod", "dev"], ["a", "b"]),
        ("not_in", ["prod", "dev"], ["none"]),
    ],
)
def test_label_conditions(condition: str | None, value: object, expected: list[str]) -> None:
    """The four kinds, ``equals`` by default."""
    fal = Fal(config=EXACT)
    fal.write("a", NOON - 1, labels={"fal_env": "prod"})
    fal.write("b", NOON - 2, labels={"fal_env": "dev"})
    fal.write("none", NOON - 3)
    kind = {} if condition is None else {"condition_type": condition}
    assert fal.messages(body=[{"key": "fal_env", "value": value, **kind}]) == expected


@pytest.mark.parametrize(
    ("query", "named"),
    [
        (("limit", "0"), "limit: must be between 1 and 1000"),
        (("limit", "1001"), "limit: must be between 1 and 1000"),
        (("limit", "many"), "limit: "),
        (("start", "yesterday"), "start: "),
        (("end", "2025-09-19T12:00:00 00:00"), "end: "),
        (("cursor", "5"), "cursor: "),
        (("level", "loud"), "level: "),
        (("traceback", "maybe"), "traceback: "),
        (("app_id", ""), "app_id: "),
        (("app_id", ",".join(["a"] * 51)), "app_id: must be 1 to 50"),
        (("run_source", "cron"), "run_source: "),
    ],
)
def test_a_wrong_parameter_is_refused(query: tuple[str, str], named: str) -> None:
    """Named in the message, in the documented form."""
    answer = Fal().ask(query)
    assert answer.status == 400
    kind, message = error(answer)
    assert kind == "validation_error"
    assert message.startswith(named)


def test_a_largest_limit_of_the_account_s_holds_here_too() -> None:
    """A server may accept less than its document says."""
    fal = Fal(LogsApiConfig(max_limit=500))
    assert fal.ask(("limit", "500")).status == 200
    assert error(fal.ask(("limit", "501")))[1] == "limit: must be between 1 and 500"


@pytest.mark.parametrize(
    "body",
    [
        {"extra_filters": []},
        [5],
        [{"value": "v"}],
        [{"key": "k"}],
        [{"key": "k", "value": "v", "condition_type": "like"}],
        [{"key": "k", "value": "v", "condition_type": "in"}],
        [{"key": "k", "value": ["v"]}],
    ],
)
def test_a_wrong_body_is_refused(body: object) -> None:
    """The REST API's object included."""
    answer = Fal().ask(body=body)
    assert answer.status == 400
    assert error(answer)[1].startswith("body: ")


def test_other_refusals_have_the_same_form() -> None:
    """A wrong key, another path, another method, JSON that is none."""
    fal = Fal()
    wrong = fal.both.answer(Request("POST", PATH, (), (("authorization", "Key no"),), b"[]"))
    assert (wrong.status, error(wrong)[0]) == (401, "authorization_error")
    lost = fal.both.answer(Request("POST", "/v1/serverless/logs", (), AUTHORIZED, b"[]"))
    assert (lost.status, error(lost)[0]) == (404, "not_found")
    got = fal.both.answer(Request("GET", PATH, (), AUTHORIZED))
    assert (got.status, got.header("allow")) == (405, "POST")
    assert fal.both.answer(Request("POST", PATH, (), AUTHORIZED, b"[")).status == 400
    assert fal.both.statuses == {401: 1, 404: 1, 405: 1, 400: 1}


def test_one_rate_limit_for_the_account() -> None:
    """Requests to either API count; each refuses in its own form."""
    fal = Fal(LogsApiConfig(rate=RateLimit(1, 5.0, retry_after=False, reset=True)))
    rest = Request("POST", "/logs/", (), AUTHORIZED, b"{}")
    assert fal.both.answer(rest).status == 200
    answer = fal.ask()
    assert (answer.status, error(answer)[0]) == (429, "rate_limited")
    assert answer.header("x-ratelimit-reset") == "5"
    assert "detail" in json.loads(fal.both.answer(rest).body)


def test_both_apis_show_the_same_account() -> None:
    """One store: what is late, and what is past retention, is so for both."""
    fal = Fal(LogsApiConfig(retention=60 * SECOND))
    fal.write("m", NOON - SECOND)
    fal.logs.write(entry("late", NOON - SECOND), NOON - SECOND, visible_at=NOON + SECOND)
    since = (("since", "2025-09-19T11:00:00Z"),)

    def shown() -> list[list[str]]:
        rest = fal.both.answer(Request("POST", "/logs/", since, AUTHORIZED, b"{}"))
        return [[item["message"] for item in json.loads(rest.body)], fal.messages()]

    assert shown() == [["m"], ["m"]]
    fal.clock.tick += SECOND
    assert shown() == [["late", "m"], ["late", "m"]]
    fal.clock.tick += 60 * SECOND
    assert shown() == [[], []]


@pytest.mark.parametrize("place", list(TracebackPlace))
def test_tracebacks_come_only_on_request(place: TracebackPlace) -> None:
    """Where the account is configured to show them."""
    fal = Fal(LogsApiConfig(tracebacks=place))
    fal.logs.write(entry("failed", NOON - SECOND), NOON - SECOND, traceback="Traceback: boom")
    assert "boom" not in json.dumps(fal.page(("traceback", "false")))
    assert "boom" in json.dumps(fal.page(("traceback", "true")))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (OldestFirst(), [1, 2]),
        (BoundsCut(SECOND), [1, 0]),
        (BoundsIgnored(10 * SECOND), [3, 2, 1, 0]),
        (LimitIgnored(1), [2]),
    ],
)
def test_faults_befall_this_dialect_too(fault: Fault, expected: list[int]) -> None:
    """The same wrapper, with this dialect's bounds and pages."""
    fal = Fal(config=EXACT)
    for n in range(4):
        fal.write(n, NOON - 10 * SECOND + n * SECOND // 2)
    core = Faulty(fal.both, Faults(traits=(fault,)), Random(1))
    query = (
        ("start", format_tick(NOON - 10 * SECOND + 1)),
        ("end", format_tick(NOON - 9 * SECOND + SECOND // 2)),
    )
    answer = core.answer(Request("POST", PATH, query, AUTHORIZED, b"[]"))
    assert [item["message"] for item in json.loads(answer.body)["items"]] == expected
