"""The simulated account on a port of its own, for a bridge in another process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Final

from bridge.clock import Clock
from bridge.model import SECOND
from bridge.simulator.account import APPS, Account
from bridge.simulator.faults import (
    BoundsCut,
    BoundsIgnored,
    Fault,
    Faulty,
    LimitIgnored,
    OldestFirst,
    api_faults,
)
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.platform_api import BothApis, PlatformApiFake
from bridge.simulator.store import Written
from bridge.simulator.writer import keep_writing

_PROGRESS_EVERY: Final = 1.0


class Trait(StrEnum):
    """A way in which the server always deviates from the document."""

    CUT_BOUNDS = "cut-bounds"
    OLDEST_FIRST = "oldest-first"
    IGNORE_LIMIT = "ignore-limit"
    IGNORE_BOUNDS = "ignore-bounds"


_TRAITS: Final[dict[Trait, Fault]] = {
    Trait.CUT_BOUNDS: BoundsCut(),
    Trait.OLDEST_FIRST: OldestFirst(),
    Trait.IGNORE_LIMIT: LimitIgnored(),
    Trait.IGNORE_BOUNDS: BoundsIgnored(),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate: ``rate`` in entries a second, ``history`` in seconds before the start."""

    port: int = 9845
    rate: float = 5.0
    apps: tuple[str, ...] = APPS
    seed: int = 1
    late: float = 0.02
    history: float = 600.0
    api: LogsApiConfig = field(default_factory=LogsApiConfig)
    faults: float = 0.0
    traits: tuple[Trait, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
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
        ConfigError: the port cannot be had.
    """
    from bridge.simulator.server import serving  # noqa: PLC0415 - a web server, only when it runs

    fake = LogsApiFake(clock, plan.api)
    faults = replace(api_faults(plan.faults), traits=tuple(_TRAITS[each] for each in plan.traits))
    both = BothApis(fake, PlatformApiFake(fake, clock))
    core = Faulty(both, faults, Random(plan.seed))  # noqa: S311 - reproducible, not secret
    now = clock.now()
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
    async with serving(core, plan.port) as url, asyncio.TaskGroup() as group:
        ready(url)
        tasks = (
            group.create_task(keep_writing(account, clock, put, since=now), name="account"),
            group.create_task(_keep_reporting(clock, lambda: progress(so_far())), name="progress"),
        )
        await stop.wait()
        for task in tasks:
            task.cancel()
    return so_far()


async def _keep_reporting(clock: Clock, report: Callable[[], None]) -> None:
    while True:
        await clock.sleep(_PROGRESS_EVERY)
        report()
