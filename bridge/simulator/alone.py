"""The simulated account on a port of its own, for a bridge in another process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from bridge.clock import Clock
from bridge.model import SECOND, Tick
from bridge.simulator.account import APPS, Account, crowd
from bridge.simulator.faults import (
    BoundsCut,
    BoundsIgnored,
    During,
    Fault,
    Faulty,
    LimitIgnored,
    OldestFirst,
    Poisoned,
    Spell,
    api_faults,
)
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.platform_api import BothApis, PlatformApiFake
from bridge.simulator.store import Written
from bridge.simulator.writer import keep_writing

_PROGRESS_EVERY: Final = 1.0


CROWD: Final = 2_500
"""Lines of a crowd: more than a page of the size that is asked for at first."""
_FOREVER: Final[Tick] = 10 * 365 * 24 * 3_600 * SECOND


class Trait(StrEnum):
    """A way in which the server deviates from the document, always or after a while (`Plan`)."""

    CUT_BOUNDS = "cut-bounds"
    OLDEST_FIRST = "oldest-first"
    IGNORE_LIMIT = "ignore-limit"
    IGNORE_BOUNDS = "ignore-bounds"
    CROWD = "crowd"
    """One tick of the first app holds `CROWD` lines that are alike."""
    POISON = "poison"
    """Every request of the first app that reaches one certain second fails."""


_ALWAYS: Final[dict[Trait, Fault]] = {
    Trait.CUT_BOUNDS: BoundsCut(),
    Trait.OLDEST_FIRST: OldestFirst(),
    Trait.IGNORE_LIMIT: LimitIgnored(),
    Trait.IGNORE_BOUNDS: BoundsIgnored(),
}


class Plan(Struct, frozen=True):
    """What to simulate: ``rate`` in entries a second, ``history`` in seconds before the start.

    So many seconds after the start, at ``trouble_after``, stand the crowd and the poisoned second.
    """

    port: int = 9845
    host: str = "127.0.0.1"
    rate: float = 5.0
    apps: tuple[str, ...] = APPS
    seed: int = 1
    late: float = 0.02
    history: float = 600.0
    api: LogsApiConfig = field(default_factory=LogsApiConfig)
    faults: float = 0.0
    traits: tuple[Trait, ...] = ()
    trouble_after: float = 60.0


class Progress(Struct, frozen=True):
    """So far: entries written, requests answered by status, requests that a fault struck."""

    written: int
    statuses: Counter[int]
    struck: int


async def run_alone(
    plan: Plan,
    clock: Clock,
    stop: asyncio.Event,
    *,
    ready: Callable[[str], None],
    progress: Callable[[Progress], None],
) -> Progress:
    """Write and serve until ``stop`` is set, and return the last count.

    ``ready`` gets the URL once it is served and the history is written, ``progress`` a count
    every second.

    Raises:
        ConfigError: the address cannot be had.
    """
    from bridge.simulator.server import serving  # noqa: PLC0415 - a web server, only when it runs

    fake = LogsApiFake(clock, plan.api)
    both = BothApis(fake, PlatformApiFake(fake, clock))
    now = clock.now()
    trouble_at = now + int(plan.trouble_after * SECOND)
    traits = tuple(_trait(each, plan, trouble_at, clock) for each in plan.traits)
    faults = replace(api_faults(plan.faults), traits=tuple(each for each in traits if each))
    core = Faulty(both, faults, Random(plan.seed))  # noqa: S311 - reproducible, not secret
    start = now - int(plan.history * SECOND)
    account = Account(plan.seed, start, plan.rate, plan.apps, plan.late)
    written = 0

    def put(entry: Written) -> None:
        nonlocal written
        fake.add(entry)
        written += 1

    def so_far() -> Progress:
        return Progress(written, both.statuses, core.struck)

    for entry in account.entries_between(start, now):
        put(entry)
    if Trait.CROWD in plan.traits:
        for entry in crowd(account, trouble_at, CROWD):
            put(entry)
    async with serving(core, plan.port, plan.host) as url, asyncio.TaskGroup() as group:
        ready(url)
        tasks = (
            group.create_task(keep_writing(account, clock, put, since=now), name="account"),
            group.create_task(_keep_reporting(clock, lambda: progress(so_far())), name="progress"),
        )
        await stop.wait()
        for task in tasks:
            task.cancel()
    return so_far()


def _trait(trait: Trait, plan: Plan, trouble_at: Tick, clock: Clock) -> Fault | None:
    """What a trait does to requests; nothing where it is about entries."""
    if trait is not Trait.POISON:
        return _ALWAYS.get(trait)
    # Not before its time: until then an open upper bound does not reach it.
    poisoned = Poisoned(trouble_at, trouble_at + SECOND, plan.apps[0])
    return During(clock, (Spell(trouble_at, trouble_at + _FOREVER, poisoned),))


async def _keep_reporting(clock: Clock, report: Callable[[], None]) -> None:
    while True:
        await clock.sleep(_PROGRESS_EVERY)
        report()
