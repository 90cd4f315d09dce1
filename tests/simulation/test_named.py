"""What must hold whatever else changes, each by name in a world of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from support.simulation import traffic
from support.simulation.claims import tells_of_a_gap
from support.simulation.plan import HOUR, KEY, BackendPlan, Change, Life, Outage, Plan, Setup
from support.simulation.traffic import NOON, Crowd
from support.simulation.universe import Universe, journal_folder, simulate

from bridge.model import MILLISECOND, SECOND, Gap, GapKind, Tick
from bridge.simulator.faults import Poisoned, Spell
from bridge.simulator.logs_api import LogsApiConfig
from bridge.simulator.store import Written

SETUP = Setup(apps=("app",), backends=("backend",), page_size=1000, concurrency=4)
BY_DEFAULT = Setup(
    apps=("app",),
    backends=("backend",),
    page_size=1000,
    concurrency=4,
    sweeps=("15s", "2m", "15m"),
    requests_per_second=5,
)
NO_GAPS: Mapping[str, tuple[Gap, ...]] = {"app": ()}
random = Random(1)


def planned(entries: Iterable[Written], *lives: Life, **changes: Any) -> Plan:
    """A plan of one app and one backend in which nothing goes wrong but what is said."""
    quiet = Plan(
        seed=1,
        setup=SETUP,
        entries=tuple(entries),
        api=LogsApiConfig(key=KEY),
        backends=(BackendPlan("backend", 0.0, (), 10**8, "gzip"),),
        latency=0.05,
        lives=lives,
    )
    return replace(quiet, **changes)


def lines(count: int, *, start: Tick, step: Tick, kind: str = "line") -> Sequence[Written]:
    """Entries at even steps, visible at once."""
    return tuple(traffic.burst(random, "app", start, many=count, step=step, kind=kind))


def all_arrived(world: Universe, entries: Iterable[Written]) -> bool:
    """Whether the backend has these, each of them once but for repeats, and nothing else."""
    first_uids = {(received.uid, received.body) for received in world.backends["backend"].records}
    return Counter(body for _, body in first_uids) == Counter(w.raw["message"] for w in entries)


def arrived(world: Universe) -> list[str]:
    """The messages at the backend, as often as they came."""
    return [received.body for received in world.backends["backend"].records]


def test_entries_that_come_late_arrive_and_none_twice() -> None:
    """Up to 6 s late, with sweeps at 3 and 8 s."""
    entries = [
        Written(w.raw, w.tick, w.tick + random.randrange(6 * SECOND))
        for w in lines(600, start=NOON, step=50 * MILLISECOND)
    ]
    world = simulate(planned(entries, Life(SETUP, 60.0)))
    assert sorted(arrived(world)) == sorted(w.raw["message"] for w in entries)
    assert world.gaps == NO_GAPS


@pytest.mark.parametrize("kind", Crowd)
def test_a_crowd_on_one_tick_arrives_or_its_gap_says_how_much(kind: Crowd) -> None:
    """2,500 on one microsecond where a page shows 1,000; those of eight jobs can all be found."""
    crowd = tuple(traffic.crowd(random, "app", NOON + SECOND, many=2_500, kind=kind))
    around = lines(100, start=NOON + MILLISECOND, step=20 * MILLISECOND)
    api = LogsApiConfig(key=KEY, cap=1_000)
    world = simulate(planned([*crowd, *around], Life(SETUP, 30.0), api=api))
    shown = {w.raw["message"] for w in crowd} & set(arrived(world))
    assert len(shown) == 2_500 if kind is Crowd.JOBS else 1_000 <= len(shown) < 2_500
    tick = NOON + SECOND
    gap = Gap(GapKind.CROWDED, tick, tick + 1, at_least=len(shown))
    assert world.gaps == {"app": (gap,)}
    assert {w.raw["message"] for w in around} < set(arrived(world))
    assert len(arrived(world)) == len(shown) + len(around) + 1  # the record of the gap


def test_an_entry_an_hour_ahead_hides_nothing() -> None:
    """Nor does half an hour of outage after it: what was written arrives before that hour is up."""
    ahead = NOON + 3600 * SECOND
    stamped = Written(traffic.plain(random, "app", ahead, "app ahead"), ahead, NOON + 3 * SECOND)
    others = lines(500, start=NOON, step=4 * SECOND)
    outage, after = Life(SETUP, 20.0, downtime=HOUR / 2), Life(SETUP, 300.0)
    with journal_folder() as folder:
        world = Universe(planned([stamped, *others], outage, after), folder)
        world.live(outage)
        assert "app ahead" in arrived(world)
        world.live(after)
        assert all_arrived(world, [stamped, *others])
        world.finish()
        world.verify()
    assert all_arrived(world, [stamped, *others])
    assert world.gaps == NO_GAPS


def test_a_cap_that_falls_in_the_middle_of_a_backlog_loses_nothing() -> None:
    """From 1,000 to 100 entries a page, and up again."""
    backlog = lines(20_000, start=NOON - 1_000 * SECOND, step=50 * MILLISECOND)
    changes = (Change(NOON + SECOND, 100, None), Change(NOON + 30 * SECOND, 1_000, None))
    api = LogsApiConfig(key=KEY, cap=1_000)
    world = simulate(planned(backlog, Life(SETUP, 60.0), api=api, changes=changes))
    assert sorted(arrived(world)) == sorted(w.raw["message"] for w in backlog)
    assert world.gaps == NO_GAPS
    assert world.logs.statuses[200] > 20_000 / 1_000


@pytest.mark.parametrize("steps", [0, 4, 11])
@pytest.mark.parametrize("nth", range(0, 40, 8))
def test_a_kill_during_a_backlog_loses_nothing(nth: int, steps: int) -> None:
    """At many points of it, twice."""
    backlog = lines(1_500, start=NOON - 300 * SECOND, step=200 * MILLISECOND)
    killed = Life(SETUP, 60.0, crash_at_closed=(nth, steps))
    world = simulate(planned(backlog, killed, killed, api=LogsApiConfig(key=KEY, cap=100)))
    assert all_arrived(world, backlog)
    assert world.gaps == NO_GAPS


@pytest.mark.parametrize("steps", range(0, 15, 2))
@pytest.mark.parametrize("nth", [3, 5])
def test_a_kill_during_a_sweep_loses_nothing(nth: int, steps: int) -> None:
    """At many points of a sweep that finds something."""
    late = [
        Written(w.raw, w.tick, w.tick + random.randrange(7 * SECOND))
        for w in lines(60, start=NOON, step=300 * MILLISECOND)
    ]
    killed = Life(SETUP, 60.0, crash_at_closed=(nth, steps))
    world = simulate(planned(late, killed, killed))
    assert all_arrived(world, late)
    assert world.gaps == NO_GAPS


def test_what_lies_around_a_poisoned_window_arrives_meanwhile() -> None:
    """Ten seconds of a backlog fail for hours: a gap tells of them, until they can be read."""
    entries = lines(400, start=NOON - 400 * SECOND, step=SECOND)
    window = Poisoned(NOON - 200 * SECOND, NOON - 190 * SECOND)
    spell = Spell(NOON, NOON + int(3 * HOUR * SECOND), window)
    life = Life(SETUP, 2 * HOUR)
    with journal_folder() as folder:
        world = Universe(planned(entries, life, poison=(spell,)), folder)
        world.live(life)
        meanwhile = set(arrived(world))
        world.finish()
        world.verify()
    around = [w for w in entries if not window.start - SECOND <= w.tick <= window.end + SECOND]
    assert meanwhile >= {w.raw["message"] for w in around}
    told = [r.body for r in world.backends["backend"].records if tells_of_a_gap(r.record)]
    assert told
    assert sorted(arrived(world)) == sorted([*(w.raw["message"] for w in entries), *told])
    # Nothing was there, so nothing can show that these seconds are whole.
    left = [w for gap in world.gaps["app"] for w in entries if gap.floor <= w.tick < gap.ceiling]
    assert left == []


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("nth", range(8))
def test_an_outage_that_begins_in_a_sweep_loses_nothing(nth: int, everything: bool) -> None:
    """Of sweeps alone, or of everything, for longer than one of them is tried."""
    late = [
        Written(w.raw, w.tick, w.tick + random.randrange(7 * SECOND))
        for w in lines(100, start=NOON, step=200 * MILLISECOND)
    ]
    life = Life(SETUP, 200.0, outage=Outage(nth, 90.0, everything))
    world = simulate(planned(late, life))
    assert sorted(arrived(world)) == sorted(w.raw["message"] for w in late)
    assert world.gaps == NO_GAPS


def test_reading_again_costs_little() -> None:
    """At 200 entries a second every entry is served less than five times, sweeps included."""
    warm, measured = Life(BY_DEFAULT, 930.0), Life(BY_DEFAULT, 280.0)
    entries = lines(200 * 1_210, start=NOON, step=5 * MILLISECOND)
    with journal_folder() as folder:
        world = Universe(planned(entries, setup=BY_DEFAULT), folder)
        world.live(warm)
        served, delivered = world.logs.served, len(arrived(world))
        world.live(measured)
        served, delivered = world.logs.served - served, len(arrived(world)) - delivered
    assert delivered > 200 * 270
    assert served < 5 * delivered


def test_an_idle_app_costs_one_request_an_interval_and_its_sweeps() -> None:
    """An hour: one look every 15 s, after some quick ones; a sweep a minute, of two requests."""
    entries = lines(1, start=NOON, step=1)
    life = Life(BY_DEFAULT, HOUR)
    with journal_folder() as folder:
        world = Universe(planned(entries, setup=BY_DEFAULT), folder)
        world.live(life)
    assert 3600 / 15 <= world.counted.open <= 3600 / 15 + 20
    assert world.counted.closed <= 2 * 60


@pytest.mark.parametrize("skew", [0, -3, 2])
def test_retention_that_passed_while_away_is_told_whatever_our_clock_says(skew: int) -> None:
    """The server's time decides what was long ago, from the first look of a restart on."""
    hour = int(HOUR) * SECOND
    entries = lines(400, start=NOON, step=30 * SECOND)
    life = Life(SETUP, 30.0, downtime=3 * HOUR)
    api = LogsApiConfig(key=KEY, retention=hour)
    world = simulate(planned(entries, life, api=api, skew=skew * hour))
    (gap,) = world.gaps["app"]
    assert gap.kind is GapKind.RETENTION
    assert NOON <= gap.floor < NOON + SECOND
