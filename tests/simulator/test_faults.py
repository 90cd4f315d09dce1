"""Each fault, who it strikes, and that a seed repeats it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

import pytest

from bridge.model import SECOND
from bridge.simulator.exchange import Answer, Drop, Request
from bridge.simulator.faults import (
    BoundsCut,
    BoundsIgnored,
    DateMissing,
    DateOff,
    Dropped,
    During,
    Fault,
    Faults,
    Faulty,
    LimitIgnored,
    OldestFirst,
    Poisoned,
    Reply,
    Shortened,
    Slow,
    Spell,
    Truncated,
    api_faults,
    backend_faults,
    script,
    spells,
)
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.simulator.times import http_date

ASK = Request("POST", "/logs/", (("limit", "10"), ("since", "2025-09-19T12:00:00.123456Z")))
PAGE = b'[{"n": 3}, {"n": 2}, {"n": 1}]'


HEALTHY = Answer(200, (("date", http_date(NOON)), ("x", "y")), PAGE)


@dataclass
class Recorder:
    """A healthy core that remembers what it was asked."""

    seen: list[Request] = field(default_factory=list)
    healthy: Answer = HEALTHY

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        self.seen.append(request)
        return self.healthy


def struck(fault: Fault, request: Request = ASK) -> tuple[Answer, Recorder]:
    """One request under one fault."""
    core = Recorder()
    return fault.apply(core, request), core


def test_a_reply_instead() -> None:
    """Any status, body and headers; the core never hears of it."""
    answer, core = struck(Reply(302, b"away", (("location", "/login"),)))
    assert answer == Answer(302, (("location", "/login"),), b"away")
    assert core.seen == []


def test_a_reply_after_handling_loses_the_answer_only() -> None:
    """The core took the request; the server's date stays."""
    answer, core = struck(Reply(500, b"oops", handled=True))
    assert (answer.status, answer.body, answer.header("x")) == (500, b"oops", "")
    assert answer.header("date") == http_date(NOON)
    assert core.seen == [ASK]


@pytest.mark.parametrize(("when", "heard"), [(Drop.BEFORE, 0), (Drop.AFTER, 1)])
def test_a_dropped_connection(when: Drop, heard: int) -> None:
    """Before handling the core hears nothing, after it everything."""
    answer, core = struck(Dropped(when))
    assert answer.drop is when
    assert len(core.seen) == heard


def test_a_truncated_body_promises_more_than_it_brings() -> None:
    """The body is whole, only its way is cut."""
    answer, _ = struck(Truncated(0.5))
    assert (answer.body, answer.cut) == (PAGE, len(PAGE) // 2)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_shortened_body_is_never_whole(share: float) -> None:
    """A complete HTTP answer that is not complete JSON."""
    answer, _ = struck(Shortened(share))
    assert len(answer.body) == min(int(len(PAGE) * share), len(PAGE) - 1)
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(answer.body)


def test_a_slow_answer_is_dated_when_it_is_sent() -> None:
    """What it holds is older than its date."""
    answer, _ = struck(Slow(4.0))
    assert answer.delay == 4.0
    assert answer.header("date") == http_date(NOON + 4 * SECOND)
    assert (answer.header("x"), answer.body) == ("y", PAGE)


def test_a_wrong_date() -> None:
    """The server's clock is wrong; the page is not."""
    answer, _ = struck(DateOff(-3600 * SECOND))
    assert answer.header("date") == http_date(NOON - 3600 * SECOND)
    assert answer.body == PAGE


def test_a_missing_date() -> None:
    """The other headers stay."""
    answer, _ = struck(DateMissing())
    assert (answer.header("date"), answer.header("x"), answer.body) == ("", "y", PAGE)


@pytest.mark.parametrize(
    ("since", "until", "fails"),
    [
        ("12:00:00", "12:00:05", False),
        ("12:00:00", "12:00:05.000001", True),
        ("12:00:06", None, True),
        ("12:00:06.999998", "12:00:08", True),
        ("12:00:06.999999", None, False),
        (None, None, True),
    ],
)
def test_a_poisoned_window(since: str | None, until: str | None, fails: bool) -> None:
    """It fails for bounds, exclusive as they are, that hold any tick of the window."""
    given = {"since": since, "until": until}
    query = tuple((name, f"2025-09-19T{time}") for name, time in given.items() if time)
    poisoned = Poisoned(NOON + 5 * SECOND, NOON + 7 * SECOND)
    answer, _ = struck(poisoned, Request("POST", "/logs/", query))
    assert answer.status == (500 if fails else 200)


def test_a_window_is_poisoned_for_one_app() -> None:
    """Others are answered."""
    poisoned = Poisoned(NOON, NOON + 5 * SECOND, "alpha")
    answers = [struck(poisoned, ASK.with_parameter("app_id", app))[0] for app in ("alpha", "beta")]
    assert [answer.status for answer in answers] == [500, 200]


def test_a_trait_for_a_time_stands_beside_other_faults() -> None:
    """A server whose date is wrong for a while may be slow as well."""
    clock = ManualClock()
    off = During(clock, (Spell(NOON + 1, NOON + 2, DateOff(60 * SECOND)),))
    faulty = Faulty(Recorder(), Faults(traits=(off,), schedule=lambda *_: Slow(1.0)), Random(1))
    dates = []
    for clock.tick in range(NOON, NOON + 3):
        dates.append(faulty.answer(ASK).header("date"))
    assert dates == [http_date(NOON + s * SECOND) for s in (1, 61, 1)]


def test_bounds_are_cut_to_milliseconds() -> None:
    """Both bounds, downward; the rest of the query stays."""
    _, core = struck(BoundsCut(), ASK.with_parameter("until", "2025-09-19T12:00:01.999999"))
    (seen,) = core.seen
    assert seen.parameter("since") == "2025-09-19T12:00:00.123000"
    assert seen.parameter("until") == "2025-09-19T12:00:01.999000"
    assert seen.parameter("limit") == "10"


def test_an_unreadable_bound_reaches_the_core_unchanged() -> None:
    """Which refuses it by itself."""
    _, core = struck(BoundsCut(), ASK.with_parameter("since", "never"))
    assert core.seen[0].parameter("since") == "never"


def test_bounds_are_ignored() -> None:
    """The server looks further on both sides."""
    _, core = struck(BoundsIgnored(SECOND), ASK.with_parameter("until", "2025-09-19T12:00:02"))
    assert core.seen[0].parameter("since") == "2025-09-19T11:59:59.123456"
    assert core.seen[0].parameter("until") == "2025-09-19T12:00:03"


def test_the_limit_is_ignored() -> None:
    """Whatever was asked."""
    _, core = struck(LimitIgnored(3))
    assert core.seen[0].parameter("limit") == "3"


def test_the_wrong_order() -> None:
    """Oldest first; an error stays as it is."""
    answer, core = struck(OldestFirst())
    assert [item["n"] for item in json.loads(answer.body)] == [1, 2, 3]
    core.healthy = Answer(503, body=b"not json")
    assert OldestFirst().apply(core, ASK) == core.healthy


def test_traits_hold_for_every_request_also_for_a_struck_one() -> None:
    """A server with coarse bounds may be slow as well."""
    core = Recorder()
    faults = Faults(traits=(BoundsCut(), LimitIgnored(7)), schedule=script(None, Slow(1.0)))
    faulty = Faulty(core, faults, Random(1))
    answers = [faulty.answer(ASK) for _ in range(2)]
    assert [answer.delay for answer in answers] == [0.0, 1.0]
    for seen in core.seen:
        assert seen.parameter("since") == "2025-09-19T12:00:00.123000"
        assert seen.parameter("limit") == "7"
    assert faulty.struck == 1


def test_a_script_names_the_first_requests_faults() -> None:
    """In order; afterwards all is well."""
    faulty = Faulty(Recorder(), Faults(schedule=script(Reply(500), None, Reply(429))), Random(1))
    assert [faulty.answer(ASK).status for _ in range(5)] == [500, 200, 429, 200, 200]


def test_a_spell_lasts_from_start_to_end() -> None:
    """Half-open, by the clock."""
    clock = ManualClock()
    outage = Spell(NOON + 1, NOON + 3, Reply(503))
    faulty = Faulty(Recorder(), Faults(schedule=spells(clock, [outage])), Random(1))
    statuses = []
    for _ in range(5):
        statuses.append(faulty.answer(ASK).status)
        clock.tick += 1
    assert statuses == [200, 503, 503, 200, 200]


def test_faults_may_end_while_it_runs() -> None:
    """A server that is mended."""
    faulty = Faulty(Recorder(), Faults(share=1.0, mix=(Reply(503),)), Random(1))
    assert faulty.answer(ASK).status == 503
    faulty.faults = Faults()
    assert faulty.answer(ASK).status == 200


@pytest.mark.parametrize("faults", [api_faults(0.3), backend_faults(0.3)])
def test_chance_is_a_share_and_repeats_with_its_seed(faults: Faults) -> None:
    """Thirty per cent are thirty per cent, and the same ones for the same seed."""
    runs = []
    for seed in (1, 1, 2):
        faulty = Faulty(Recorder(), faults, Random(seed))
        runs.append([faulty.answer(ASK) for _ in range(1_000)])
        assert 250 < faulty.struck < 350
    assert runs[0] == runs[1] != runs[2]
    assert len(set(runs[0])) > len(faults.mix) / 2


def test_half_of_the_backend_faults_strike_after_acceptance() -> None:
    """The sender cannot know, and must send again."""
    mix = backend_faults(1.0).mix
    late = [fault for fault in mix if struck(fault)[1].seen]
    assert len(late) * 2 == len(mix)
