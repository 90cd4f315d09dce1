"""Draws what will happen in a simulated world from a seed. Pure.

`plan` draws a common world and then, each with its own chance and its own randomness, the variants
in `_VARIANTS`. To extend the simulation, give `Plan` a field, write a variant that sets it, and
apply it in `universe.Universe`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from random import Random

from msgspec.structs import replace
from support.simulation import traffic
from support.simulation.plan import (
    HOUR,
    KEY,
    START,
    BackendPlan,
    Change,
    Life,
    Outage,
    Plan,
    Setup,
)
from support.simulation.traffic import LATEST, NOON, Crowd
from support.virtual import Crash

from bridge.model import MILLISECOND, SECOND, Tick
from bridge.simulator.faults import DateMissing, DateOff, Fault, Poisoned, Reply, Spell
from bridge.simulator.logs_api import LogsApiConfig
from bridge.simulator.logs_query import BodyForm
from bridge.simulator.otlp_backend import Refusals
from bridge.simulator.store import Written


def plan(seed: int) -> Plan:
    """Draw a plan."""
    drawn = _common(seed)
    for variant, chance in _VARIANTS.items():
        random = Random(f"{seed}/{variant.__name__}")
        if random.random() < chance:
            drawn = variant(random, drawn)
    return drawn


def _common(seed: int) -> Plan:
    random = Random(seed)
    apps = tuple(f"app-{n}" for n in range(random.choice([1, 1, 2, 4])))
    seconds = random.choice([5, 20, 60])
    backends = tuple(_backend(random, n, seconds) for n in range(random.choice([1, 1, 2])))
    setup = Setup(
        apps=() if random.random() < 0.2 else apps,
        backends=tuple(b.name for b in backends),
        page_size=random.choice([100, 250, 1000]),
        concurrency=random.choice([1, 2, 4]),
    )
    spells = random.choice([3, 10, 30])
    return Plan(
        seed=seed,
        setup=setup,
        entries=tuple(traffic.steady(random, apps, (-30, seconds), spells, "line")),
        api=LogsApiConfig(
            key=KEY,
            cap=random.choice([None, None, 100, 200]),
            max_limit=random.choice([None, None, None, 100, 500]),
            body=random.choice(list(BodyForm)),
        ),
        backends=backends,
        seconds=seconds,
        start=random.choice(["1h", START]),
        cut=random.choice([None, None, None, MILLISECOND, SECOND]),
        api_share=random.choice([0, 0, 0.1, 0.3]),
        api_trouble=_spells(random, seconds, [Reply(500), Reply(401), Reply(403), Reply(503)]),
        latency=random.choice([0, 0.05, 0.4]),
        max_bytes=random.choice([20_000, 10**9, 10**9]),
        skew=random.choice([0, 0, -3600, 3600]) * SECOND,
        lives=tuple(_life(random, seconds, setup) for _ in range(random.choice([0, 1, 3, 6]))),
    )


def _backend(random: Random, number: int, seconds: int) -> BackendPlan:
    refusals: list[Fault] = [Reply(s) for s in (401, 404, 302, 260, 503, 400)]
    return BackendPlan(
        name=f"backend-{number}",
        share=random.choice([0, 0, 0.1, 0.3]),
        trouble=_spells(random, seconds, refusals),
        max_bytes=random.choice([10_000, 30_000, 10**8, 10**8]),
        compression=random.choice(["gzip", "gzip", "none"]),
    )


def _spells(random: Random, seconds: int, kinds: Sequence[Fault]) -> tuple[Spell, ...]:
    begin = NOON + int(random.uniform(0, seconds) * SECOND)
    spell = Spell(begin, begin + int(random.expovariate(1 / 10) * SECOND), random.choice(kinds))
    return (spell,) if random.random() < 0.4 else ()


def _life(random: Random, seconds: int, setup: Setup) -> Life:
    kind = random.choice(["step", "step", "closed", "statement", "disk", "calm"])
    crash = Crash() if kind == "statement" else sqlite3.OperationalError("disk I/O error")
    closed = int(random.expovariate(1 / 8)), int(random.expovariate(1 / 10))
    return Life(
        setup=setup,
        seconds=random.uniform(0.1, seconds),
        crash_at_step=int(random.expovariate(1 / 600)) if kind == "step" else None,
        crash_at_closed=closed if kind == "closed" else None,
        fault_at_statement=random.randrange(600) if kind in ("statement", "disk") else None,
        fault=crash if kind in ("statement", "disk") else None,
        downtime=random.choice([0.0, 0.5, 30.0]),
    )


def _moment(random: Random, drawn: Plan) -> Tick:
    return NOON + int(random.uniform(0, drawn.seconds) * SECOND)


def _caps_that_change(random: Random, drawn: Plan) -> Plan:
    """Caps and limits that fall and rise while a backlog is read, or later."""
    app = random.choice(drawn.apps)
    backlog = traffic.burst(
        random, app, NOON - 600 * SECOND, many=600, step=random.choice([1, 300_000]), kind="backlog"
    )
    moments = sorted(random.uniform(0, random.choice([2, drawn.seconds])) for _ in range(3))
    caps, limits = [1000, 100, 200, None], [None, None, 100, 500]
    changes = tuple(
        Change(NOON + int(at * SECOND), random.choice(caps), random.choice(limits))
        for at in moments
    )
    return replace(drawn, entries=(*drawn.entries, *backlog), changes=changes)


def _a_killed_backlog(random: Random, drawn: Plan) -> Plan:
    """The first lives are killed while they catch up with more pages than the live edge takes."""
    drawn = _set_up(drawn, lambda setup: replace(setup, page_size=25))
    app, step = random.choice(drawn.apps), random.choice([1, 1000]) * MILLISECOND
    backlog = traffic.burst(random, app, NOON - 400 * SECOND, many=300, step=step, kind="backlog")
    at_statement = Life(
        drawn.setup, 30.0, fault_at_statement=random.randrange(20, 150), fault=Crash()
    )
    at_slice = Life(drawn.setup, 30.0, crash_at_closed=(random.randrange(30), random.randrange(20)))
    lives = (*random.sample([at_statement, at_slice], 2), *drawn.lives)
    return replace(drawn, start=START, entries=(*drawn.entries, *backlog), lives=lives)


def _a_failing_sweep(random: Random, drawn: Plan) -> Plan:
    """The API begins to fail at some request for a closed window, and for longer than one waits."""
    app, seconds = random.choice(drawn.apps), random.choice([5, 90, 90, 600])
    late = (
        replace(w, visible_at=w.tick + random.randrange(LATEST))
        for w in traffic.burst(random, app, NOON, many=150, step=SECOND // 5, kind="swept")
    )
    outage = Outage(random.randrange(12), seconds, everything=random.random() < 0.5)
    failing = Life(drawn.setup, 40.0 + seconds, outage=outage)
    return replace(
        drawn,
        start=START,
        entries=(*drawn.entries, *late),
        lives=(failing, *drawn.lives),
    )


def _a_crowd(random: Random, drawn: Plan) -> Plan:
    """More entries on one microsecond than a page shows; of most kinds, a gap must tell of it."""
    app, tick, many = random.choice(drawn.apps), _moment(random, drawn), random.choice([101, 250])
    crowd = traffic.crowd(random, app, tick, many=many, kind=random.choice([*Crowd, Crowd.JOBS]))
    api = replace(drawn.api, cap=100, max_limit=None)
    return replace(drawn, entries=(*drawn.entries, *crowd), api=api)


def _an_entry_ahead(random: Random, drawn: Plan) -> Plan:
    """One entry is stamped an hour ahead; then, perhaps, half an hour of outage."""
    app, now = random.choice(drawn.apps), _moment(random, drawn)
    ahead = now + int(random.choice([60, HOUR]) * SECOND)
    entry = Written(traffic.plain(random, app, ahead, f"{app} ahead"), ahead, now)
    drawn = replace(drawn, start=START, entries=(*drawn.entries, entry))
    return _down(random, drawn, HOUR / 2) if random.random() < 0.5 else drawn


def _an_app_off(random: Random, drawn: Plan) -> Plan:
    """The clock of one app's workers is wrong: an hour ahead, or some seconds behind."""
    app = random.choice(drawn.apps)
    by = random.choice([3600 * SECOND, 60 * SECOND, -2 * SECOND, -5 * SECOND])
    return replace(
        drawn,
        start=START,
        entries=tuple(traffic.shifted(w, by) if w.raw["app"] == app else w for w in drawn.entries),
    )


def _hours(random: Random, drawn: Plan) -> Plan:
    """The bridge, the API or a backend is down for hours, while the apps write on."""
    seconds = random.uniform(1, 3) * HOUR
    out = Spell(NOON, NOON + int(seconds * SECOND), Reply(503))
    kind = random.choice(["bridge", "api", "backend"])
    if kind == "bridge":
        return _down(random, drawn, seconds)
    drawn = _writing_on(random, drawn, seconds)
    drawn = replace(drawn, lives=(*drawn.lives, Life(drawn.setup, seconds + 60)))
    if kind == "api":
        return replace(drawn, api_trouble=(*drawn.api_trouble, out))
    victim, *others = drawn.backends
    return replace(drawn, backends=(replace(victim, trouble=(*victim.trouble, out)), *others))


def _down(random: Random, drawn: Plan, seconds: float) -> Plan:
    drawn = _writing_on(random, drawn, seconds)
    life = Life(drawn.setup, random.uniform(1, 20), downtime=seconds)
    return replace(drawn, lives=(*drawn.lives, life))


def _writing_on(random: Random, drawn: Plan, seconds: float) -> Plan:
    """Traffic during hours in which little else happens; idle polls are rare, to be quick."""
    more = traffic.steady(random, drawn.apps, (0, seconds), 10, "hours")
    drawn = replace(drawn, start=START, entries=(*drawn.entries, *more))
    return _set_up(drawn, lambda setup: replace(setup, max_interval="5m"))


def _set_up(drawn: Plan, changed: Callable[[Setup], Setup]) -> Plan:
    lives = tuple(replace(life, setup=changed(life.setup)) for life in drawn.lives)
    return replace(drawn, setup=changed(drawn.setup), lives=lives)


def _poisoned(random: Random, drawn: Plan) -> Plan:
    """Whatever touches some seconds of an app fails for more than an hour; the rest succeeds."""
    app = random.choice(drawn.apps) if drawn.setup.apps else None
    begin = NOON - int(random.uniform(0, 1800) * SECOND)
    window = Poisoned(begin, begin + int(random.uniform(1, 60) * SECOND), app)
    seconds = random.uniform(1.2, 2.5) * HOUR
    inside = traffic.burst(
        random, app or drawn.apps[0], begin, many=5, step=100 * MILLISECOND, kind="poisoned"
    )
    drawn = _writing_on(random, drawn, seconds)
    return replace(
        drawn,
        entries=(*drawn.entries, *inside),
        poison=(Spell(NOON, NOON + int(seconds * SECOND), window),),
        lives=(*drawn.lives, Life(drawn.setup, seconds + 60)),
    )


def _a_full_disk(random: Random, drawn: Plan) -> Plan:
    """Nothing can be written for a while."""
    begin = random.uniform(0, drawn.seconds)
    return replace(drawn, disk_full=((begin, begin + random.expovariate(1 / 20)),))


def _other_setups(random: Random, drawn: Plan) -> Plan:
    """Apps, destinations, filters and figures change from life to life; all are back in the end."""
    lives = tuple(replace(life, setup=_other(random, drawn.setup)) for life in drawn.lives)
    return replace(drawn, start=START, lives=lives)


def _other(random: Random, setup: Setup) -> Setup:
    without = random.choice([*setup.apps[1:], "none", "none"])
    spared = random.choice([*setup.backends[1:], "none", "none"])
    return replace(
        setup,
        apps=tuple(app for app in setup.apps if app != without),
        backends=tuple(name for name in setup.backends if name != spared),
        labels=random.choice([(), (), (("fal_env", "prod"),), (("source", "run"),)]),
        sweeps=random.choice([("3s", "8s"), ("8s",), ("2s", "5s", "8s"), ("4s", "10s"), ("30s",)]),
        page_size=random.choice([setup.page_size, 100, 1000]),
        concurrency=random.choice([setup.concurrency, 1, 4]),
    )


def _refusing(random: Random, drawn: Plan) -> Plan:
    """A backend does not take some of the records."""
    first, *others = drawn.backends
    how = random.choice([Refusals.WHOLE, Refusals.REST_KEPT])
    first = replace(first, refuses=random.choice([2, 7, 30]), refusals=how)
    return replace(drawn, backends=(first, *others))


def _a_stepping_clock(random: Random, drawn: Plan) -> Plan:
    """The bridge's own wall clock steps back and forth by minutes and hours."""
    by = [0, 60, -60, 3600, -3600, 5 * 3600]
    moments = sorted(random.uniform(0, drawn.seconds) for _ in range(random.choice([1, 3])))
    return replace(drawn, steps=tuple((at, random.choice(by) * SECOND) for at in moments))


def _strange_dates(random: Random, drawn: Plan) -> Plan:
    """The API's ``Date`` is missing, or wrong by seconds to hours, always or for a while.

    A bridge that believes the time to be later than it is looks for late entries too early; so
    nothing is late then.
    """
    kinds: list[Fault] = [DateMissing(), *(DateOff(s * SECOND) for s in (3, 60, 7200, -60, -7200))]
    begin, end = sorted(_moment(random, drawn) for _ in range(2))
    whole = Spell(0, 2**62, random.choice(kinds))
    spell = Spell(begin, end, random.choice(kinds))
    dates = random.choice([(whole,), (spell,), (spell, whole)])
    skews = (drawn.skew, *(skew for _, skew in drawn.steps))
    ahead = any(
        max(skews) > 0 if isinstance(s.fault, DateMissing) else _by(s.fault) > 0 for s in dates
    )
    drawn = replace(drawn, dates=dates, start=START)
    return _orderly(drawn) if ahead else drawn


def _by(fault: Fault) -> Tick:
    return fault.by if isinstance(fault, DateOff) else 0


def _orderly(drawn: Plan) -> Plan:
    return replace(drawn, entries=tuple(traffic.orderly(w) for w in drawn.entries))


def _retention(random: Random, drawn: Plan) -> Plan:
    """The API forgets what is older than an hour or two; what was not read by then is a gap.

    Late ones may be forgotten before any sweep, and what is poisoned before it can be read; and
    only with a true time can be told what is forgotten.
    """
    if drawn.dates:
        return drawn
    if random.random() < 0.7:
        drawn = _down(random, drawn, random.uniform(2, 5) * HOUR)
    kept = random.choice([3600, 7200]) * SECOND
    return _orderly(replace(drawn, poison=(), api=replace(drawn.api, retention=kept)))


Variant = Callable[[Random, Plan], Plan]
_VARIANTS: dict[Variant, float] = {
    _caps_that_change: 0.1,
    _a_killed_backlog: 0.06,
    _a_failing_sweep: 0.06,
    _a_crowd: 0.1,
    _an_entry_ahead: 0.08,
    _an_app_off: 0.1,
    _hours: 0.06,
    _poisoned: 0.04,
    _a_full_disk: 0.08,
    _other_setups: 0.2,
    _refusing: 0.08,
    _a_stepping_clock: 0.08,
    _strange_dates: 0.1,
    _retention: 0.06,
}
"""In this order: later ones may calm what earlier ones drew."""
