"""Probes: each way an API may behave is told apart, and what cannot be told is unknown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.audited import Scene
from support.virtual import VirtualClock, run_virtually

from bridge.errors import ApiRefused, ApiThrottled, ApiUnauthorized
from bridge.model import MILLISECOND, SECOND, Filter, Tick
from bridge.simulator.exchange import Answer, Core, Request
from bridge.simulator.faults import (
    BoundsCut,
    BoundsIgnored,
    Fault,
    Faults,
    Faulty,
    OldestFirst,
    Reply,
)
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.logs_query import BodyForm
from bridge.simulator.times import naive, parsed
from bridge.simulator.transport import CoreTransport
from bridge.source.account import Account
from bridge.source.limiter import Limiter
from bridge.source.platform import PlatformApi
from bridge.source.probes import MOST_REQUESTS, Probed, Standing, probed
from bridge.source.rest import RestApi

NOON: Tick = 1_758_283_200 * SECOND
KEY = "id:secret"
HOUR = 3_600 * SECOND
OK, ODD, UNKNOWN = Standing.OK, Standing.ODD, Standing.UNKNOWN


@dataclass(frozen=True)
class Inclusive:
    """The server shows what stands on its bounds."""

    names: tuple[str, ...] = ("since", "until")

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        for name, step in (("since", -1), ("until", 1)):
            text = request.parameter(name)
            if text is not None and name in self.names:
                request = request.with_parameter(name, naive(parsed(text) + step))
        return core.answer(request)


@dataclass(frozen=True)
class Undated:
    """The server sends no Date."""

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        headers = tuple(h for h in answer.headers if h[0] != "date")
        return replace(answer, headers=headers)


@dataclass(frozen=True)
class Shuffled:
    """The server follows no order."""

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        page = json.loads(answer.body)
        return replace(answer, body=json.dumps(page[1::2] + page[::2]).encode())


class Api:
    """A simulated API with traits; entries are written by their distance from noon, in ticks."""

    def __init__(
        self,
        *traits: Fault,
        config: LogsApiConfig | None = None,
        ago: Sequence[Tick] = (),
        offset: Tick = 0,
        logged_at: bool = False,
        skew: Tick = 0,
    ) -> None:
        self.clock = VirtualClock(NOON, skew=skew)
        self.requests = 0
        self.bodies: list[bytes] = []
        fake = LogsApiFake(VirtualClock(NOON), config or LogsApiConfig(key=KEY))
        for n, back in enumerate(ago):
            tick = NOON - back + offset
            labels = {"logged_at": f"{naive(NOON - back)}+00:00"} if logged_at else {}
            raw = {"timestamp": naive(tick), "message": f"{n}", "labels": labels}
            fake.write(raw, tick, visible_at=0)
        self.core = Faulty(fake, Faults(traits), Random(1))

    def answer(self, request: Request) -> Answer:
        """Count and answer."""
        self.requests += 1
        self.bodies.append(request.body)
        return self.core.answer(request)

    def probe(self, dialect: Callable[..., RestApi | PlatformApi] = RestApi) -> dict[str, Probed]:
        """Every finding, by its probe's name."""

        async def main() -> list[Probed]:
            limiter = Limiter(self.clock, requests_per_second=5, concurrency=4)
            transport = CoreTransport(self, self.clock)
            async with httpx.AsyncClient(transport=transport) as client:
                api = dialect(client, base_url="http://api.test", key=lambda: KEY)
                account = Account(api, limiter, self.clock)
                return await probed(account, "one", Filter(), self.clock)

        found = run_virtually(main())
        assert self.requests <= MOST_REQUESTS
        return {one.probe: one for one in found}


def spread(count: int, step: Tick = 7_001_001) -> list[Tick]:
    """Distances from noon, every one off the millisecond's edges."""
    return [SECOND + 333 + n * step for n in range(count)]


WHOLE = [40 * SECOND, 50 * SECOND]
"""Entries on whole seconds, which no cut moves."""


def told(found: dict[str, Probed], name: str) -> tuple[Standing, str]:
    """A finding in short."""
    return found[name].standing, found[name].finding


def test_as_documented() -> None:
    """An API that keeps to its document is fine in everything, with numbers for it."""
    found = Api(ago=spread(1_200)).probe()
    assert list(found) == [
        "page", "order", "bounds", "precision", "limit", "timestamps", "date", "body",
    ]  # fmt: skip
    assert {one.standing for one in found.values()} == {OK}
    assert not any(one.harmful or one.meaning for one in found.values())
    assert told(found, "order") == (OK, "newest first")
    assert found["order"].evidence == {"entries": 100, "rising": 0, "falling": 99}
    assert told(found, "bounds") == (OK, "exclusive")
    assert told(found, "precision") == (OK, "microsecond")
    assert told(found, "limit") == (OK, "at least 1,200 honoured; too few entries to tell (1,200)")
    assert told(found, "timestamps") == (OK, "UTC")
    assert told(found, "date") == (OK, "sent")
    assert told(found, "body") == (OK, "filters in an object")


@pytest.mark.parametrize(
    ("names", "finding"),
    [
        (("since", "until"), "inclusive"),
        (("since",), "since is inclusive"),
        (("until",), "until is inclusive"),
    ],
)
@pytest.mark.parametrize("count", [1, 30])
def test_inclusive_bounds(names: tuple[str, ...], finding: str, count: int) -> None:
    """What stands on a bound and is shown tells, already from one entry."""
    found = Api(Inclusive(names), ago=spread(count)).probe()
    assert told(found, "bounds") == (ODD, finding)
    assert told(found, "precision") == (OK, "microsecond")
    assert not found["bounds"].harmful  # what the walk is shown twice it takes once


def test_an_inclusive_until_is_read_to_its_end(tmp_path: Path) -> None:
    """Page by page, nothing twice: why the probe calls it odd and not harmful."""
    scene = Scene(tmp_path, cap=20)
    for n in range(300):
        scene.write(f"{n}", NOON - (n + 1) * 1_700_000)
    for _ in range(19):
        scene.write("tie", NOON - 100 * SECOND)
    scene.front.faults = Faults(traits=(Inclusive(("until",)),))
    assert len(scene.fill()) == 319


@pytest.mark.parametrize(("step", "finding"), [(MILLISECOND, "millisecond"), (SECOND, "second")])
@pytest.mark.parametrize("inclusive", [False, True])
def test_cut_bounds(step: Tick, finding: str, inclusive: bool) -> None:
    """A cut is not taken for an inclusive bound, nor hides one."""
    # Cut first, then shown or not: the traits' first is the outermost.
    traits: tuple[Fault, ...] = (BoundsCut(step), *((Inclusive(),) if inclusive else ()))
    found = Api(*traits, ago=[*spread(20), *WHOLE]).probe()
    assert told(found, "precision") == (ODD, finding)
    assert told(found, "bounds") == ((ODD, "inclusive") if inclusive else (OK, "exclusive"))
    assert not found["precision"].harmful


def test_a_cut_without_an_entry_it_does_not_move() -> None:
    """Then what stands on a bound cannot be asked for, and exclusive stays unknown."""
    found = Api(BoundsCut(), ago=spread(20)).probe()
    assert told(found, "bounds") == (UNKNOWN, "the answers do not settle it")
    assert told(found, "precision") == (ODD, "millisecond")


def test_bounds_that_are_not_kept() -> None:
    """Pages that reach far outside are harmful."""
    found = Api(BoundsIgnored(), ago=spread(20)).probe()
    assert told(found, "bounds") == (ODD, "not kept")
    assert found["bounds"].harmful
    assert found["bounds"].evidence["reach_microseconds"] > SECOND


@pytest.mark.parametrize(
    ("fault", "finding"), [(OldestFirst(), "oldest first"), (Shuffled(), "mixed")]
)
def test_order(fault: Fault, finding: str) -> None:
    """Any other order is harmful, and what rests on it stays unknown."""
    found = Api(fault, ago=spread(30)).probe()
    assert told(found, "order") == (ODD, finding)
    assert found["order"].harmful
    assert found["limit"].standing is UNKNOWN


@pytest.mark.parametrize(
    ("config", "count", "standing", "finding"),
    [
        (LogsApiConfig(cap=100), 300, ODD, "at most 100 a page, without a word"),
        (LogsApiConfig(cap=100), 100, UNKNOWN, "too few entries to tell (100)"),
        (LogsApiConfig(cap=1_000), 1_100, OK, "at most 1,000 a page, without a word"),
        (LogsApiConfig(cap=2_000), 2_100, OK, "at most 2,000 a page, without a word"),
        (LogsApiConfig(max_limit=1_000), 1_100, OK, "1,000 honoured, 10,000 refused"),
        (LogsApiConfig(max_limit=500), 30, ODD, "1,000 refused, 500 accepted"),
        (LogsApiConfig(max_limit=100), 30, ODD, "1,000 refused, 100 accepted"),
        (LogsApiConfig(), 1_000, OK, "at least 1,000 honoured; too few entries to tell (1,000)"),
        (LogsApiConfig(), 10_100, OK, "10,000 honoured"),
        (LogsApiConfig(), 30, UNKNOWN, "too few entries to tell (30)"),
    ],
)
def test_limit(config: LogsApiConfig, count: int, standing: Standing, finding: str) -> None:
    """A refusal, a silent cap and too few entries are three things."""
    found = Api(config=replace(config, key=KEY), ago=spread(count, 7_001)).probe()
    assert told(found, "limit") == (standing, finding)
    assert not found["limit"].harmful


@pytest.mark.parametrize(
    ("offset", "logged_at", "standing", "finding", "harmful"),
    [
        (0, True, OK, "UTC", False),
        (2 * HOUR, True, ODD, "2 h ahead of UTC", False),
        (2 * HOUR, False, ODD, "2 h ahead of UTC", False),
        (5 * HOUR + HOUR // 2, False, ODD, "5.5 h ahead of UTC", False),
        (-5 * HOUR, True, ODD, "5 h behind UTC", True),
        (-5 * HOUR, False, UNKNOWN, "the newest entry is 5 h old", False),
    ],
)
def test_timestamps(
    offset: Tick, logged_at: bool, standing: Standing, finding: str, harmful: bool
) -> None:
    """Local times show beside ``logged_at``, or ahead of ``Date``; behind it may be silence."""
    found = Api(ago=spread(20), offset=offset, logged_at=logged_at).probe()
    assert told(found, "timestamps") == (standing, finding)
    assert found["timestamps"].harmful is harmful


def test_no_date() -> None:
    """Without a Date there is nothing to compare times with."""
    found = Api(Undated(), ago=spread(20)).probe()
    assert told(found, "date") == (ODD, "not sent")
    assert told(found, "timestamps") == (UNKNOWN, "nothing to compare with")


@pytest.mark.parametrize(
    ("skew", "standing", "finding"),
    [
        (HOUR, ODD, "60 min behind this machine's clock"),
        (-3 * HOUR, ODD, "3 h ahead of this machine's clock"),
        (4 * 60 * SECOND, OK, "sent"),
    ],
)
def test_skew(skew: Tick, standing: Standing, finding: str) -> None:
    """A machine whose clock is wrong is told so, and finds everything all the same."""
    found = Api(ago=spread(20), skew=skew).probe()
    assert told(found, "date") == (standing, finding)
    assert told(found, "bounds") == (OK, "exclusive")
    assert told(found, "timestamps") == (OK, "UTC")


def test_array_body() -> None:
    """The body's form is what the API took."""
    api = Api(config=LogsApiConfig(key=KEY, body=BodyForm.ARRAY), ago=spread(5))
    api.requests -= 1  # the one in which the form was learned
    assert told(api.probe(), "body") == (OK, "filters as a bare array")
    assert set(api.bodies[1:]) == {b"[]"}


def test_no_entries() -> None:
    """An app that shows nothing is asked for nothing more, and nothing is claimed."""
    api = Api()
    found = api.probe()
    assert list(found) == ["page", "date", "body"]
    assert told(found, "page") == (UNKNOWN, "answered, but shows no entry of the last 7 d")
    assert api.requests == 3


def test_one_entry() -> None:
    """One entry tells of bounds and time, not of order and limit."""
    found = Api(ago=[3 * HOUR + 333]).probe()
    assert told(found, "page") == (OK, "1 entry")
    assert told(found, "order") == (UNKNOWN, "too few entries to tell")
    assert told(found, "bounds") == (OK, "exclusive")
    assert told(found, "precision") == (OK, "microsecond")
    assert told(found, "limit") == (UNKNOWN, "too few entries to tell (1)")
    assert told(found, "timestamps") == (UNKNOWN, "the newest entry is 3 h old")


def test_a_full_page_proves_nothing() -> None:
    """Where a page is full of others, that it does not show an entry tells nothing."""
    api = Api(ago=[300_333])
    fake = api.core._core
    assert isinstance(fake, LogsApiFake)

    def crowd(number: int, _: Request) -> None:
        if number == 3:  # after the looks at three spans
            for n in range(150):
                fake.write({"timestamp": naive(NOON - 100_000 + n)}, NOON - 100_000 + n)

    api.core.faults = Faults(schedule=crowd)
    found = api.probe()
    assert told(found, "bounds") == (UNKNOWN, "the answers do not settle it")
    assert found["bounds"].evidence["since_requests"] == 3


def test_entries_without_a_time() -> None:
    """They are counted, and no more is made of them."""
    api = Api()
    fake = api.core._core
    assert isinstance(fake, LogsApiFake)
    fake.write({"timestamp": "soon"}, NOON - SECOND, visible_at=0)
    fake.write("no object", NOON - SECOND, visible_at=0)
    found = api.probe()
    assert told(found, "page") == (OK, "2 entries")
    assert {found[n].standing for n in ("order", "bounds", "precision", "limit")} == {UNKNOWN}


def test_platform_api() -> None:
    """Another dialect goes through the same probes; it has one form of body, and a known limit."""

    def answer(request: Request) -> Answer:
        renamed = {"start": "since", "end": "until"}
        query = tuple((renamed.get(key, key), value) for key, value in request.query)
        asked = replace(request, path="/logs/", query=query, body=b"{}")
        items = json.loads(core.answer(asked).body)
        text = json.dumps({"items": items, "next_cursor": None, "has_more": False})
        return Answer(200, (("content-type", "application/json"),), text.encode())

    api = Api(ago=spread(1_100))
    core = api.core

    class Renaming:
        """The REST simulator under the other dialect's names."""

        def answer(self, request: Request) -> Answer:
            """See `Core.answer`."""
            return answer(request)

    api.core = Faulty(Renaming(), Faults(), Random(1))
    found = api.probe(PlatformApi)
    assert "body" not in found
    assert told(found, "limit") == (OK, "1,000 honoured, 10,000 refused")
    assert told(found, "bounds") == (OK, "exclusive")


@pytest.mark.parametrize(
    ("status", "error"), [(401, ApiUnauthorized), (422, ApiRefused), (429, ApiThrottled)]
)
def test_no_first_page(status: int, error: type[Exception]) -> None:
    """Without a first page there is nothing to say but why."""
    with pytest.raises(error):
        Api(Reply(status, b'{"detail": "no"}')).probe()


def test_a_later_failure_is_a_finding() -> None:
    """What is not answered is unknown, with the reason; the rest is told."""
    api = Api(ago=spread(20))
    refusal = Reply(400, b'{"detail": "too far back"}')
    api.core.faults = Faults(schedule=lambda n, _: refusal if n > 0 else None)
    found = api.probe()
    assert told(found, "order") == (OK, "newest first")
    for name in ("bounds", "precision", "limit"):
        assert told(found, name) == (UNKNOWN, "not answered")
        assert "too far back" in found[name].meaning
    assert told(found, "date") == (OK, "sent")


def test_one_empty_answer_is_not_believed() -> None:
    """An answer that is empty by accident does not make bounds odd."""
    api = Api(ago=spread(20))
    asked: list[str] = []

    def second_bound(_: int, request: Request) -> Fault | None:
        """An empty answer to the first request for the second upper bound."""
        until = request.parameter("until")
        if until is None or parsed(until) % SECOND == 0 or until in asked:
            return None
        asked.append(until)
        return Reply(200, b"[]") if len(asked) == 2 else None

    api.core.faults = Faults(schedule=second_bound)
    found = api.probe()
    assert len(asked) == 2
    assert told(found, "bounds") == (OK, "exclusive")
    assert told(found, "precision") == (OK, "microsecond")


@given(
    ago=st.lists(st.integers(0, 20 * SECOND), max_size=40),
    step=st.sampled_from([1, MILLISECOND, SECOND]),
    inclusive=st.booleans(),
    cap=st.sampled_from([None, 3, 20]),
)
def test_never_wrong(ago: list[Tick], step: Tick, inclusive: bool, cap: int | None) -> None:
    """Whatever entries there are: a finding is the truth, or unknown."""
    traits: tuple[Fault, ...] = (BoundsCut(step), *((Inclusive(),) if inclusive else ()))
    found = Api(*traits, config=LogsApiConfig(key=KEY, cap=cap), ago=ago).probe()
    names = {1: "microsecond", MILLISECOND: "millisecond", SECOND: "second"}
    truths = {
        "bounds": "inclusive" if inclusive else "exclusive",
        "precision": names[step],
        "order": "newest first",
        "limit": f"at most {cap} a page, without a word",
    }
    for probe, truth in truths.items():
        if probe in found and found[probe].standing is not UNKNOWN:
            said = found[probe].finding
            assert said == truth or (probe == "bounds" and inclusive and said.endswith(truth))
    assert not any(one.harmful for one in found.values())
