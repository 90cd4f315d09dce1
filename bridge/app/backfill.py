"""Backfills by command: what is asked for, handed to a running bridge or done here, and watched.

The job itself is an order in the journal (`bridge.app.backfills` works on it); this is the side of
the person who gives it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain, count
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from bridge import settings
from bridge.app.jobs import job_json
from bridge.app.parts import World, build, selected_by
from bridge.app.windows import window_of
from bridge.errors import BridgeError, ConfigError, JournalError
from bridge.journal import rules
from bridge.journal.ledger import DestinationStanding, Ledger
from bridge.journal.lock import is_held, say_task
from bridge.journal.orders import Orders
from bridge.model import SECOND, Backfill, BackfillApp, BackfillState, Json, Tick
from bridge.settings.problems import nearest
from bridge.timestamps import format_tick

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_LOOK_EVERY: Final = 0.25
_AWAY: Final = 15.0
"""Seconds that a bridge may be away, for a reload or a restart, before nobody waits for it."""


class Asked(Struct, frozen=True):
    """What to backfill: the window, apps by name or pattern, destinations by name (none: all).

    ``name`` is the job's, None for one made of the time. ``own_stream`` as in `Backfill`.
    """

    since: settings.Start
    until: settings.Start
    apps: Sequence[str] = ()
    destinations: Sequence[str] = ()
    name: str | None = None
    own_stream: bool = True


class AppPlan(Struct, frozen=True):
    """How much of an app's window is known to be journaled, and from where on all of it is."""

    name: str
    known: int
    whole_from: Tick | None


class Plan(Struct, frozen=True):
    """What an order would come to. ``resumed``: the job is there already; ``held``: a bridge runs.

    ``destinations`` are those that the records are for. ``busy`` is the command that holds the
    journal for something else, empty for none.
    """

    job: Backfill
    apps: tuple[AppPlan, ...]
    destinations: tuple[str, ...]
    cautions: tuple[str, ...]
    resumed: bool
    held: bool
    busy: str = ""


class Sight(Struct, frozen=True):
    """A job at one moment; ``waiting`` are records that each of its destinations has still to take.

    ``held``: a bridge runs, or a command that works on it; ``busy`` is a command that holds the
    journal for something else, empty for none. ``resting`` are those of its destinations that
    nothing is sent to now, ``reached`` the cursors of the others.
    """

    job: Backfill
    waiting: dict[str, int] = field(default_factory=dict)
    resting: tuple[str, ...] = ()
    reached: tuple[int, ...] = ()
    held: bool = False
    busy: str = ""

    @property
    def entries(self) -> int:
        """How many entries it has met."""
        return sum(app.added + app.known for app in self.job.apps)

    @property
    def delivered(self) -> bool:
        """Whether all is read, and nothing of it waits but for a destination that rests."""
        return self.job.state is BackfillState.DONE and not self.waiting


class Ended(Struct, frozen=True):
    """How it ended for who waited; ``obstacles`` are empty where all is read and delivered.

    ``interrupted``: by Ctrl-C, which stops the job too.
    """

    sight: Sight
    obstacles: tuple[str, ...] = ()
    interrupted: bool = False


class Stop(Struct):
    """Asks who waits to stop; with ``job``, the job too."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    job: bool = False

    def ask(self, *, job: bool) -> None:
        """Stop now."""
        self.job = job
        self.event.set()

    def listen(self) -> None:
        """Take Ctrl-C for a word about the job, SIGTERM for one about this process."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, partial(self.ask, job=True))
        loop.add_signal_handler(signal.SIGTERM, partial(self.ask, job=False))


def planned(config: settings.Settings, asked: Asked, now: Tick) -> Plan:
    """What an order would come to; nothing is changed.

    Raises:
        ConfigError: the window, an app, a destination or the name cannot be used.
        JournalUnusable: the journal cannot be read.
    """
    wanted, known, whole = _job(config, asked, now), dict[str, int](), dict[str, Tick]()
    same, held, busy = None, False, ""
    if config.journal.path.exists():
        with Ledger.open(config.journal.path) as ledger:
            same = _same(ledger, wanted, named=asked.name is not None)
            wanted, busy = same or wanted, _busy(ledger, same.name if same else None)
            held = ledger.held and not busy
            whole = {one.record.name: one.record.whole_from for one in ledger.apps()}
            known = {
                app.name: ledger.count(app.name, wanted.floor, wanted.ceiling)
                for app in wanted.apps
            }
    return Plan(
        job=wanted,
        apps=tuple(
            AppPlan(app.name, known.get(app.name, 0), whole.get(app.name)) for app in wanted.apps
        ),
        destinations=tuple(one.name for one in config.destinations if _takes(wanted, one.name)),
        cautions=tuple(cautions(config, asked, now)),
        resumed=same is not None,
        held=held,
        busy=busy,
    )


def cautions(config: settings.Settings, asked: Asked, now: Tick) -> list[str]:
    """What becomes of a job's records that somebody may not expect.

    Raises:
        ConfigError: as `planned`.
    """
    job = _job(config, asked, now)
    return [
        f"{one.name}: records older than {settings.format_duration(one.max_age)} become dead "
        "letters, until there is no room for more and it is held: see max_age and too_old"
        for one in config.destinations
        if one.max_age is not None
        and one.too_old == "dead_letter"
        and _takes(job, one.name)
        and now - job.floor > one.max_age * SECOND
    ]


async def run(
    config: settings.Settings,
    world: World,
    asked: Asked | str,
    *,
    show: Callable[[Sight], None],
    stop: Stop,
    patience: float,
    detach: bool = False,
) -> Ended:
    """Backfill, or go on with the job of a name: by the bridge that runs, or else here.

    Shows how it comes on until all is read and delivered, ``stop`` is asked for, or nothing comes
    on for ``patience`` seconds. ``detach``: give the order only, and wait for nothing.

    Raises:
        ConfigError: what is asked for, or the settings, cannot be used.
        JournalError: there is no such job, or one of that name already, or another command holds
            the journal.
        JournalUnusable: the journal cannot be used.
    """
    path = config.journal.path
    if detach or (path.exists() and is_held(path)):
        job = _ordered(config, asked, world.clock.now(), attended=not detach)
        if detach:
            return Ended(look(config, job.name))
        return await _watched(config, world, job.name, show=show, stop=stop, patience=patience)
    if isinstance(asked, str):  # what is wrong with it is said before anything
        look(config, asked)
    else:
        _job(config, asked, world.clock.now())
    async with AsyncExitStack() as stack:
        bridge = await build(config, world, stack, reading=False)
        job = _ordered(config, asked, world.clock.now())
        say_task(config.journal.path, _task(job.name))
        async with _showing(config, world, job.name, show):
            obstacles = await bridge.backfill(job, patience, stop.event)
    if stop.event.is_set() and stop.job:
        cancel(config, job.name)
    sight = look(config, job.name)
    show(sight)
    if not obstacles and sight.job.state is not BackfillState.DONE:
        obstacles = ["it was stopped by command"]
    return Ended(sight, tuple(obstacles), interrupted=stop.job)


def look(config: settings.Settings, name: str) -> Sight:
    """How a job stands.

    Raises:
        JournalError: there is no such job.
        JournalUnusable: there is no journal, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        jobs = {job.name: job for job in ledger.backfills()}
        if name not in jobs:
            raise rules.not_known("backfill", name, jobs)
        return _sight(ledger, jobs[name])


def _sight(ledger: Ledger, job: Backfill) -> Sight:
    last = max(app.last_seq for app in job.apps)
    takers = [one for one in ledger.destinations() if _takes(job, one.name)]
    behind = [one for one in takers if one.cursor < last]
    busy = _busy(ledger, job.name)
    return Sight(
        job,
        {one.name: one.records for one in behind if not _rests(one)},
        tuple(one.name for one in behind if _rests(one)),
        tuple(one.cursor for one in takers if not _rests(one)),
        ledger.held and not busy,
        busy,
    )


def listed(config: settings.Settings) -> tuple[Sight, ...]:
    """Every job that is not forgotten, in the order of coming.

    Raises:
        JournalUnusable: there is no journal, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        return tuple(_sight(ledger, job) for job in ledger.backfills())


def cancel(config: settings.Settings, name: str) -> Backfill:
    """Stop a job where it is; it can be resumed.

    Raises:
        JournalError: there is no such job.
        JournalUnusable: there is no journal, or it cannot be used.
    """
    with Orders.open(config.journal.path) as orders:
        return orders.stop_backfill(name)


def forget(config: settings.Settings, name: str) -> None:
    """Forget a job that is not active, and with it which entries it journaled.

    Raises:
        JournalError: there is no such job, or it is active.
        JournalUnusable: there is no journal, or it cannot be used.
    """
    with Orders.open(config.journal.path) as orders:
        orders.forget_backfill(name)


def as_json(sight: Sight) -> Json:
    """A job as one document; times are ISO 8601, UTC."""
    job = sight.job
    return {
        **job_json(job),
        "waiting_records": dict(sight.waiting),
        "resting_destinations": list(sight.resting),
        "delivered": sight.delivered and not sight.resting,
    }


def _job(config: settings.Settings, asked: Asked, now: Tick) -> Backfill:
    floor, ceiling = window_of(asked.since, asked.until, now)
    if ceiling > now:
        raise ConfigError(
            f"{format_tick(ceiling)} is in the future",
            where="--until",
            hint="a backfill reads what is past; --until now is the latest",
        )
    apps = _matching(asked.apps, [app.name for app in config.apps])
    audience = _chosen(asked.destinations, [one.name for one in config.destinations])
    name = asked.name or f"{datetime.fromtimestamp(now // SECOND, UTC):%Y%m%dT%H%M%S}"
    if not _NAME.match(name):
        raise ConfigError(
            f"{name!r} cannot be a name",
            where="--name",
            hint="letters, digits, dots, hyphens and underscores, 64 at most",
        )
    told = {
        "since": str(asked.since),
        "until": str(asked.until),
        "apps": apps,
        "destinations": audience,
        "own_stream": asked.own_stream,
    }
    return Backfill(
        name=name,
        asked=json.dumps(told, sort_keys=True),
        floor=floor,
        ceiling=ceiling,
        audience=tuple(audience),
        own_stream=asked.own_stream,
        apps=tuple(
            BackfillApp(app.name, *selected_by(app, config), floor)
            for app in config.apps
            if app.name in apps
        ),
        created_at=now,
    )


def _matching(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """The apps of these names and patterns, sorted; all for none."""
    for pattern in wanted:
        if not any(name == pattern or fnmatchcase(name, pattern) for name in known):
            raise _unknown("app", pattern, known)
    chosen = (n for n in known if any(n == p or fnmatchcase(n, p) for p in wanted or ("*",)))
    return sorted(chosen)


def _chosen(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in known:
            raise _unknown("destination", name, known)
    return sorted(set(wanted))


def _unknown(what: str, name: str, known: Iterable[str]) -> ConfigError:
    guess = nearest(name, known)
    mend = f"did you mean {guess!r}? " if guess else ""
    return ConfigError(
        f"there is no {what} {name!r}",
        where=f"--{what}",
        hint=f"{mend}there are: {', '.join(known)}",
    )


def _ordered(
    config: settings.Settings, asked: Asked | str, now: Tick, *, attended: bool = False
) -> Backfill:
    """Give the order, in the journal; the job as it stands.

    ``attended``: only if whoever holds the journal would work on it.
    """
    path = config.journal.path
    if isinstance(asked, str):
        if attended:
            with Ledger.open(path) as ledger:
                _check_attended(ledger, asked)
        with Orders.open(path) as orders:
            return orders.resume_backfill(asked)
    wanted = _job(config, asked, now)
    with Ledger.open(path) as ledger:
        same = _same(ledger, wanted, named=asked.name is not None)
        if attended:
            _check_attended(ledger, same.name if same else None)
        if asked.name is None:
            wanted = _renamed(wanted, frozenset(job.name for job in ledger.backfills()))
    with Orders.open(path) as orders:
        return orders.begin_backfill(same or wanted, resume=same is not None)


def _task(name: str) -> str:
    return f"backfill {name}"


def _busy(ledger: Ledger, name: str | None) -> str:
    """The command that holds the journal for something else than the job of a name."""
    task = ledger.task
    return "" if name is not None and task == _task(name) else task


def _check_attended(ledger: Ledger, name: str | None) -> None:
    """Refuse an order that nobody would take while this process waits for it."""
    if busy := _busy(ledger, name):
        raise JournalError(
            f"in use by another command, which takes no orders: {busy}",
            where="backfill",
            hint="give this command again when that one has ended; with --detach the next run of "
            "the bridge does it",
        )


def _same(ledger: Ledger, wanted: Backfill, *, named: bool) -> Backfill | None:
    """The job that the same command gave and that is not done; the newest of several.

    Raises:
        JournalError: one of that name was asked for in other words, or is done.
    """
    jobs = ledger.backfills()
    for job in reversed(jobs):
        same = job.asked == wanted.asked and job.state is not BackfillState.DONE
        if same and (not named or job.name == wanted.name):
            return job
    if named and any(job.name == wanted.name for job in jobs):
        word = shlex.quote(wanted.name)
        raise JournalError(
            "there is one of that name already, for something else or done",
            where=f"backfill {wanted.name}",
            hint=f"give another --name, or look at it: fal-log-bridge backfill list; go on with "
            f"it: fal-log-bridge backfill --resume {word}",
        )
    return None


def _renamed(job: Backfill, taken: frozenset[str]) -> Backfill:
    """The job under a name that is still free."""
    names = (f"{job.name}-{number}" for number in count(2))
    free = next(name for name in chain((job.name,), names) if name not in taken)
    return replace(job, name=free)


def _takes(job: Backfill, destination: str) -> bool:
    return not job.audience or destination in job.audience


def _rests(one: DestinationStanding) -> bool:
    return one.paused or not one.in_use


@asynccontextmanager
async def _showing(
    config: settings.Settings, world: World, name: str, show: Callable[[Sight], None]
) -> AsyncIterator[None]:
    """Show a job now and then, meanwhile."""

    async def showing() -> None:
        while True:
            with suppress(BridgeError):  # the work itself says it
                show(look(config, name))
            await world.clock.sleep(_LOOK_EVERY)

    task = asyncio.create_task(showing())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _watched(
    config: settings.Settings,
    world: World,
    name: str,
    *,
    show: Callable[[Sight], None],
    stop: Stop,
    patience: float,
) -> Ended:
    """Watch a bridge work on a job."""
    clock = world.clock
    moved = seen = clock.monotonic()
    before: object = None
    while True:
        sight, now = look(config, name), clock.monotonic()
        show(sight)
        mark = (sight.job.share, sight.entries, sight.reached)
        moved, before = (now if mark != before else moved), mark
        seen = now if sight.held else seen
        if sight.delivered:
            return Ended(sight)
        if stop.event.is_set():
            if stop.job:
                cancel(config, name)
            return Ended(look(config, name), ("interrupted",), interrupted=stop.job)
        if sight.job.state is BackfillState.STOPPED:
            return Ended(sight, ("it was stopped by command",))
        if sight.busy:
            return Ended(sight, (f"another command holds the journal: {sight.busy}",))
        if now - seen > _AWAY:
            return Ended(sight, ("the bridge that worked on it has ended",))
        if now - moved > patience:
            return Ended(sight, tuple(_standing(sight)) or ("no progress",))
        await clock.sleep(_LOOK_EVERY)


def _standing(sight: Sight) -> Iterable[str]:
    """What stands in the way."""
    yield from (f"{app.name}: {app.note}" for app in sight.job.apps if app.note)
    if sight.job.state is BackfillState.DONE:
        yield from (f"{name} has {count:,} still to take" for name, count in sight.waiting.items())
