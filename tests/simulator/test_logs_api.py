"""The fake Logs API, line by line of the document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.model import SECOND
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake, TracebackPlace
from bridge.simulator.logs_query import BodyForm
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.simulator.rate_limit import RateLimit
from bridge.simulator.times import naive

KEY = "key-id:key-secret"
JSON = ("content-type", "application/json")
AUTHORIZED = (("authorization", f"Key {KEY}"), JSON)


def entry(message: object, tick: int, *, app: str = "alpha", **fields: Any) -> dict[str, Any]:
    """An entry like the document's, with a few labels."""
    labels = {"app": app, "app_id": "rev-1", **fields.pop("labels", {})}
    base = {"timestamp": naive(tick), "level": "INFO", "message": message, "app": app}
    return {**base, "revision": "rev-1", **fields, "labels": labels}


def made(config: LogsApiConfig | None = None, *messages: str) -> tuple[LogsApiFake, ManualClock]:
    """A fake at noon with one entry a second up to then, the last message the newest."""
    clock = ManualClock()
    fake = LogsApiFake(clock, config)
    for at, message in enumerate(messages):
        tick = NOON - (len(messages) - at) * SECOND
        fake.write(entry(message, tick), tick)
    return fake, clock


def ask(fake: LogsApiFake, *query: tuple[str, str], body: object = None) -> Answer:
    """One authorized request."""
    text = json.dumps({} if body is None else body).encode()
    return fake.answer(Request("POST", "/logs/", query, AUTHORIZED, text))


def page(fake: LogsApiFake, *query: tuple[str, str], body: object = None) -> list[Any]:
    """The page of a request that must succeed."""
    answer = ask(fake, *query, body=body)
    assert answer.status == 200, answer.body
    found = json.loads(answer.body)
    assert isinstance(found, list)
    return found


def messages(fake: LogsApiFake, *query: tuple[str, str], body: object = None) -> list[Any]:
    """The messages of a page, in its order."""
    return [item["message"] for item in page(fake, *query, body=body)]


def detail(answer: Answer) -> Any:
    """The ``detail`` of an error."""
    return json.loads(answer.body)["detail"]


@pytest.mark.parametrize("value", ["", KEY, f"Bearer {KEY}", "Key other", f"key {KEY}"])
def test_a_wrong_key_is_a_401_with_a_detail(value: str) -> None:
    """Only ``Authorization: Key <key>`` is let in."""
    fake, _ = made()
    headers = (("authorization", value), JSON)
    answer = fake.answer(Request("POST", "/logs/", (), headers, b"{}"))
    assert answer.status == 401
    assert "key" in detail(answer)
    assert fake.statuses == {401: 1}


def test_a_key_may_change_while_it_runs() -> None:
    """A corrected key is accepted without a restart."""
    fake, _ = made(LogsApiConfig(key="other"))
    assert ask(fake).status == 401
    fake.config = LogsApiConfig(key=KEY)
    assert ask(fake).status == 200


def test_other_paths_and_methods() -> None:
    """404 and 405 in FastAPI's form, and its redirect to the path with a slash."""
    fake, _ = made()
    assert fake.answer(Request("POST", "/log/", (), AUTHORIZED)).status == 404
    wrong = fake.answer(Request("GET", "/logs/", (), AUTHORIZED))
    assert (wrong.status, wrong.header("Allow")) == (405, "POST")
    moved = fake.answer(Request("POST", "/logs", (("since", "a+b"), ("limit", "1")), AUTHORIZED))
    assert (moved.status, moved.header("location")) == (307, "/logs/?since=a%2Bb&limit=1")


def test_newest_first_and_the_date_of_the_clock() -> None:
    """The order of the document's example; ``Date`` in whole seconds."""
    fake, clock = made(None, "old", "new")
    clock.tick += 1_999_999
    assert messages(fake) == ["new", "old"]
    assert ask(fake).header("date") == "Fri, 19 Sep 2025 12:00:01 GMT"


def test_the_default_limit_is_100() -> None:
    """Only the newest hundred without a limit."""
    fake, _ = made(None, *(str(n) for n in range(150)))
    assert messages(fake) == [str(n) for n in reversed(range(50, 150))]
    assert len(page(fake, ("limit", "120"))) == 120


def test_a_cap_is_silent_and_may_fall() -> None:
    """A larger limit is lowered without a word, a smaller one holds."""
    fake, _ = made(LogsApiConfig(cap=5), *"abcdefgh")
    assert messages(fake, ("limit", "7")) == list("hgfed")
    assert messages(fake, ("limit", "2")) == list("hg")
    fake.config = LogsApiConfig(cap=1)
    assert messages(fake, ("limit", "7")) == ["h"]


def test_a_limit_beyond_the_largest_is_refused() -> None:
    """The other way a server may limit pages: plainly."""
    fake, _ = made(LogsApiConfig(max_limit=1000), "a")
    assert ask(fake, ("limit", "1000")).status == 200
    answer = ask(fake, ("limit", "1001"))
    assert answer.status == 422
    assert detail(answer)[0]["loc"] == ["query", "limit"]


def test_bounds_are_exclusive_to_the_microsecond() -> None:
    """Logs after since, logs before until."""
    fake, _ = made()
    for offset in (-1, 0, 1):
        fake.write(entry(offset, NOON + offset), NOON + offset)
    since = ("since", naive(NOON))
    until = ("until", naive(NOON) + "Z")
    assert messages(fake, since) == [1]
    assert messages(fake, until) == [-1]
    assert messages(fake, ("since", naive(NOON - 1)), ("until", naive(NOON + 1))) == [0]
    assert messages(fake, since, until) == []


def test_ties_have_a_stable_order() -> None:
    """Of entries on one tick the last written comes first, every time, cut or not."""
    fake, _ = made()
    for name in "abc":
        fake.write(entry(name, NOON), NOON)
    assert messages(fake) == list("cba")
    assert messages(fake, ("limit", "2")) == list("cb")


def test_without_a_range_only_recent_logs_are_shown() -> None:
    """As the document says; either bound alone lifts that."""
    fake, _ = made(LogsApiConfig(recent=60 * SECOND))
    for age in (3600, 10):
        fake.write(entry(age, NOON - age * SECOND), NOON - age * SECOND)
    assert messages(fake) == [10]
    assert messages(fake, ("since", "2025-09-19T00:00:00Z")) == [10, 3600]
    assert messages(fake, ("until", naive(NOON))) == [10, 3600]


def test_what_is_past_retention_is_gone() -> None:
    """Not shown, and not kept."""
    fake, clock = made(LogsApiConfig(retention=60 * SECOND), "a")
    clock.tick += 59 * SECOND
    assert messages(fake, ("since", "2025-09-19T00:00:00Z")) == ["a"]
    clock.tick += 1 * SECOND + 1
    assert messages(fake, ("since", "2025-09-19T00:00:00Z")) == []
    assert fake.kept == 0


def test_a_late_entry_shows_only_once_it_is_visible() -> None:
    """It then stands in its place, behind what was shown before."""
    fake, clock = made(None, "first", "last")
    fake.write(entry("late", NOON - 1_500_000), NOON - 1_500_000, visible_at=NOON + SECOND)
    assert messages(fake) == ["last", "first"]
    clock.tick = NOON + SECOND
    assert messages(fake) == ["last", "late", "first"]


def test_an_entry_of_the_future_shows_at_once() -> None:
    """An app's clock may be ahead of the server's."""
    fake, _ = made(None, "now")
    fake.write(entry("ahead", NOON + 3600 * SECOND), NOON + 3600 * SECOND)
    assert messages(fake) == ["ahead", "now"]


FILTERS = [
    ("app_id", "beta", ["other app"]),
    ("app_id", "nobody", []),
    ("app_id", "rev-1", []),
    ("revision", "rev-2", ["other revision"]),
    ("job_id", "job-2", ["other job"]),
    ("request_id", "req-1", ["request"]),
    ("search", "OTHER", ["other job", "other revision", "other app"]),
    ("search", "no such", []),
]


@pytest.mark.parametrize(("name", "value", "expected"), FILTERS)
def test_each_filter(name: str, value: str, expected: list[str]) -> None:
    """``app_id`` is the app's name, unlike ``labels.app_id``; ids match their labels."""
    fake, _ = made()
    fake.write(entry("other app", NOON - 5, app="beta"), NOON - 5)
    fake.write(entry("other revision", NOON - 4, revision="rev-2"), NOON - 4)
    fake.write(entry("other job", NOON - 3, labels={"fal_job_id": "job-2"}), NOON - 3)
    fake.write(entry("request", NOON - 2, labels={"fal_request_id": "req-1"}), NOON - 2)
    assert messages(fake, (name, value)) == expected


@pytest.mark.parametrize(
    ("minimum", "expected"),
    [
        ("DEBUG", ["CRITICAL", "stderr", "error", "WARNING", "INFO", "debug"]),
        ("INFO", ["CRITICAL", "stderr", "error", "WARNING", "INFO"]),
        ("WARNING", ["CRITICAL", "error", "WARNING"]),
        ("ERROR", ["CRITICAL", "error"]),
    ],
)
def test_level_is_a_minimum(minimum: str, expected: list[str]) -> None:
    """Any case; streams count as INFO; an unknown or absent level passes no minimum."""
    fake, _ = made()
    levels = ["TRACE", "debug", "INFO", "WARNING", "error", "stderr", "CRITICAL", "odd", None]
    for at, level in enumerate(levels):
        fake.write(entry(level, NOON + at, level=level), NOON + at)
    assert messages(fake, ("level", minimum)) == expected
    assert len(page(fake)) == len(levels)


def test_label_filters_must_all_match() -> None:
    """The documented body, with one filter and with two."""
    fake, _ = made()
    fake.write(entry("a", NOON, labels={"fal_env": "prod"}), NOON)
    fake.write(entry("b", NOON, labels={"fal_env": "prod", "fal_node_id": "n"}), NOON)
    fake.write(entry("c", NOON, labels={"fal_env": "dev"}), NOON)
    one = {"key": "fal_env", "value": "prod"}
    two = {"key": "fal_node_id", "value": "n"}
    assert messages(fake, body={"extra_filters": [one]}) == ["b", "a"]
    assert messages(fake, body={"extra_filters": [one, two]}) == ["b"]
    assert messages(fake, body={"extra_filters": []}) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("query", "keys", "named"),
    [
        ([], ["environment", "environment"], "environment"),
        ([("app_id", "alpha")], ["app"], "app"),
        ([("revision", "r")], ["app_id"], "app_id"),
        ([("job_id", "j")], ["fal_job_id"], "fal_job_id"),
        ([("request_id", "r")], ["fal_request_id"], "fal_request_id"),
        ([("level", "INFO")], ["level"], "level"),
    ],
)
def test_a_label_key_given_twice_is_a_400(
    query: list[tuple[str, str]], keys: list[str], named: str
) -> None:
    """In the body alone, or in the body and behind a query parameter."""
    fake, _ = made()
    filters = [{"key": key, "value": str(at)} for at, key in enumerate(keys)]
    answer = ask(fake, *query, body={"extra_filters": filters})
    assert answer.status == 400
    assert detail(answer) == f"Duplicate label key found: {named}"


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        (("since", "yesterday"), ["query", "since"]),
        (("until", "2025-09-19T12:00:00 00:00"), ["query", "until"]),
        (("limit", "many"), ["query", "limit"]),
        (("limit", "0"), ["query", "limit"]),
        (("limit", ""), ["query", "limit"]),
        (("level", "LOUD"), ["query", "level"]),
        (("level", "STDERR"), ["query", "level"]),
        (("traceback", "maybe"), ["query", "traceback"]),
    ],
)
def test_a_bad_parameter_is_a_422(query: tuple[str, str], loc: list[str]) -> None:
    """In the document's form: loc, msg, type."""
    fake, _ = made()
    answer = ask(fake, query)
    assert answer.status == 422
    (finding,) = detail(answer)
    assert finding["loc"] == loc
    assert set(finding) == {"loc", "msg", "type"}


def test_the_documents_own_422() -> None:
    """Word by word."""
    fake, _ = made()
    expected = {"loc": ["query", "since"], "msg": "invalid datetime format", "type": "value_error"}
    assert detail(ask(fake, ("since", "x"))) == [expected]


def test_all_findings_come_at_once() -> None:
    """As validators of this kind report them."""
    fake, _ = made()
    answer = ask(fake, ("since", "x"), ("limit", "y"), body=[])
    assert [item["loc"] for item in detail(answer)] == [
        ["query", "since"],
        ["query", "limit"],
        ["body"],
    ]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (b"", ["body"]),
        (b"{", ["body"]),
        (b"null", ["body"]),
        (b'"text"', ["body"]),
        (b'{"extra_filters": null}', ["body", "extra_filters"]),
        (b'{"extra_filters": ["x"]}', ["body", "extra_filters", 0]),
        (b'{"extra_filters": [{"key": "a"}]}', ["body", "extra_filters", 0, "value"]),
        (b'{"extra_filters": [{"key": 1, "value": "b"}]}', ["body", "extra_filters", 0, "key"]),
        (b"[" * 100_000, ["body"]),
    ],
)
def test_a_bad_body_is_a_422_that_points_at_it(body: bytes, loc: list[str | int]) -> None:
    """Absent, broken, of the wrong kind, or with a wrong filter inside."""
    fake, _ = made()
    answer = fake.answer(Request("POST", "/logs/", (), AUTHORIZED, body))
    assert answer.status == 422
    assert detail(answer)[0]["loc"] == loc


def test_a_body_must_be_declared_json() -> None:
    """Another content type is not read."""
    fake, _ = made()
    headers = (AUTHORIZED[0], ("content-type", "text/plain"))
    assert fake.answer(Request("POST", "/logs/", (), headers, b"{}")).status == 422
    charset = (AUTHORIZED[0], ("content-type", "application/json; charset=utf-8"))
    assert fake.answer(Request("POST", "/logs/", (), charset, b"{}")).status == 200


@pytest.mark.parametrize(
    ("form", "object_status", "array_status"),
    [(BodyForm.OBJECT, 200, 422), (BodyForm.ARRAY, 422, 200), (BodyForm.BOTH, 200, 200)],
)
def test_body_forms(form: BodyForm, object_status: int, array_status: int) -> None:
    """The documented object, the bare array of fal's client, or both; else a 422 at the body."""
    fake, _ = made(LogsApiConfig(body=form), "a")
    filters = [{"key": "app", "value": "alpha"}]
    both = (ask(fake, body={"extra_filters": filters}), ask(fake, body=filters))
    assert [answer.status for answer in both] == [object_status, array_status]
    for answer in both:
        if answer.status == 422:
            assert [item["loc"] for item in detail(answer)] == [["body"]]


@pytest.mark.parametrize("place", list(TracebackPlace))
def test_tracebacks_come_only_on_request(place: TracebackPlace) -> None:
    """In the labels as documented, or in the message as fal's tests expect."""
    fake, _ = made(LogsApiConfig(tracebacks=place))
    raw = entry("failed", NOON, level="ERROR")
    fake.write(raw, NOON, traceback="Traceback: boom")
    fake.write({"app": "alpha", "message": "no labels"}, NOON - 1, traceback="T")
    assert page(fake)[0] == page(fake, ("traceback", "false"))[0] == raw
    shown = page(fake, ("traceback", "true"))
    if place is TracebackPlace.LABELS:
        assert [item["labels"]["traceback"] for item in shown] == ["Traceback: boom", "T"]
        assert shown[0]["message"] == "failed"
    else:
        assert [item["message"] for item in shown] == ["Traceback: boom", "T"]
        assert "traceback" not in shown[0]["labels"]


ODD: list[Any] = [
    {},
    None,
    "text",
    ["list"],
    {"app": "alpha", "message": None, "level": None, "labels": None},
    {"app": "alpha", "message": "lone \ud800 surrogate", "labels": {"n": 10**40, "deep": [{}]}},
    {"app": 7, "timestamp": "not a time", "labels": "text"},
    {"app": "alpha", "message": "x" * 300_000},
]


def test_any_json_value_is_shown_as_it_is() -> None:
    """Odd entries at any tick, unchanged, and no filter stumbles over them."""
    fake, _ = made()
    for at, raw in enumerate(ODD):
        fake.write(raw, NOON - at)
    assert page(fake) == ODD
    everything = [("level", "DEBUG"), ("search", "a"), ("revision", "r"), ("traceback", "true")]
    assert page(fake, *everything, body={"extra_filters": [{"key": "a", "value": "b"}]}) == []


@pytest.mark.parametrize(
    ("limit", "header"),
    [
        (RateLimit(2, 2.5), ("retry-after",)),
        (RateLimit(2, 2.5, retry_after=False, reset=True), ("x-ratelimit-reset",)),
        (RateLimit(2, 2.5, reset=True), ("retry-after", "x-ratelimit-reset")),
        (RateLimit(2, 2.5, retry_after=False), ()),
    ],
)
def test_a_rate_limit(limit: RateLimit, header: tuple[str, ...]) -> None:
    """429 beyond it, with the headers it is configured to send, until the window is over."""
    fake, clock = made(LogsApiConfig(rate=limit), "a")
    assert [ask(fake).status for _ in range(2)] == [200, 200]
    clock.tick += SECOND
    answer = ask(fake)
    assert answer.status == 429
    named = [name for name in ("retry-after", "x-ratelimit-reset") if answer.header(name)]
    assert tuple(named) == header
    assert {answer.header(name) for name in named} <= {"2"}
    clock.tick += 3 * SECOND // 2
    assert ask(fake).status == 200


def test_the_last_of_a_repeated_parameter_counts() -> None:
    """As FastAPI takes it."""
    fake, _ = made(None, *"abc")
    assert messages(fake, ("limit", "1"), ("limit", "2")) == ["c", "b"]


def test_requests_are_kept_for_those_who_look() -> None:
    """What was asked, and how it was answered."""
    fake, _ = made(None, "a")
    ask(fake, ("limit", "7"))
    assert [request.parameter("limit") for request in fake.requests] == ["7"]
    assert fake.statuses == {200: 1}


def test_entries_are_counted_as_often_as_they_are_served() -> None:
    """In every page anew; a refusal serves none."""
    fake, _ = made(None, "a", "b", "c")
    page(fake, ("limit", "2"))
    page(fake, ("limit", "10"))
    ask(fake, ("limit", "none"))
    assert fake.served == 5
