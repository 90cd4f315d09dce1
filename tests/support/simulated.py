"""The whole bridge in a simulated world: virtual time, a fake API, fake backends, seeded trouble.

A `Plan` is a pure function of its seed and says everything that will happen; a `Universe` makes
it happen, life after life of the bridge, with the real source, journal and delivery. What is
outside the bridge (logs, backends, the journal's file, time) survives its lives. To extend the
simulation, give `Plan` another field, draw it in `plan`, and apply it in `Universe`.
"""

from __future__ import annotations

import asyncio
import io
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from support.journal import Disk
from support.virtual import Crash, VirtualClock, VirtualLoop, run_virtually

from bridge import settings
from bridge.app import Bridge, World, build
from bridge.clock import Clock
from bridge.errors import JournalError
from bridge.journal import Journal
from bridge.journal.sqlite import SqliteJournal
from bridge.model import MILLISECOND, SECOND, Tick
from bridge.simulator.faults import (
    BoundsCut,
    Fault,
    Faults,
    Faulty,
    Reply,
    Spell,
    api_faults,
    backend_faults,
    spells,
)
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.logs_query import BodyForm
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.store import Written
from bridge.simulator.transport import CoreTransport
from bridge.telemetry import Event
from bridge.telemetry.service import InternalError
from bridge.timestamps import format_tick

NOON: Tick = 1_758_283_200 * SECOND
KEY = "id:secret"
SWEEPS = ("3s", "8s")
LATEST = 8 * SECOND
"""How late entries may become visible: by the last sweep."""


@dataclass(frozen=True)
class BackendPlan:
    """One destination: its faults, when it is down or refuses, and the largest request it takes."""

    name: str
    share: float
    trouble: tuple[Spell, ...]
    max_bytes: int
    compression: str


@dataclass(frozen=True)
class Life:
    """One run of the bridge: ends at a time, a loop step or a statement, whichever comes first."""

    seconds: float
    crash_at_step: int | None
    fault_at_statement: int | None
    fault: BaseException | None
    downtime: float


@dataclass(frozen=True)
class Plan:
    """Everything that will happen, drawn from one seed."""

    seed: int
    apps: tuple[str, ...]
    whole_account: bool
    entries: tuple[Written, ...]
    api: LogsApiConfig
    cut_bounds: bool
    api_share: float
    api_trouble: tuple[Spell, ...]
    latency: float
    page_size: int
    concurrency: int
    max_bytes: int
    skew: Tick
    backends: tuple[BackendPlan, ...]
    lives: tuple[Life, ...]


def plan(seed: int) -> Plan:
    """Draw a plan."""
    random = Random(seed)
    apps = tuple(f"app-{n}" for n in range(random.choice([1, 1, 2, 4])))
    seconds = random.choice([5, 20, 60])
    return Plan(
        seed=seed,
        apps=apps,
        whole_account=random.random() < 0.2,
        entries=tuple(_traffic(random, apps, seconds)),
        api=LogsApiConfig(
            key=KEY,
            cap=random.choice([None, None, 100, 200]),
            max_limit=random.choice([None, None, None, 100, 500]),
            body=random.choice(list(BodyForm)),
        ),
        cut_bounds=random.random() < 0.3,
        api_share=random.choice([0, 0, 0.1, 0.3]),
        api_trouble=_spells(random, seconds, [Reply(500), Reply(401), Reply(403), Reply(503)]),
        latency=random.choice([0, 0.05, 0.4]),
        page_size=random.choice([100, 250, 1000]),
        concurrency=random.choice([1, 4]),
        max_bytes=random.choice([20_000, 10**9, 10**9]),
        skew=random.choice([0, 0, -3600, 3600]) * SECOND,
        backends=tuple(_backend(random, n, seconds) for n in range(random.choice([1, 1, 2]))),
        lives=tuple(_life(random, seconds) for _ in range(random.choice([0, 1, 3, 6]))),
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


def _life(random: Random, seconds: int) -> Life:
    kind = random.choice(["step", "step", "statement", "disk", "calm"])
    crash = Crash() if kind == "statement" else sqlite3.OperationalError("disk I/O error")
    return Life(
        seconds=random.uniform(0.1, seconds),
        crash_at_step=int(random.expovariate(1 / 600)) if kind == "step" else None,
        fault_at_statement=random.randrange(200) if kind in ("statement", "disk") else None,
        fault=crash if kind in ("statement", "disk") else None,
        downtime=random.choice([0.0, 0.5, 30.0]),
    )


def _traffic(random: Random, apps: Sequence[str], seconds: int) -> Iterator[Written]:
    """Entries in spells of different kinds: steady, bursts of ties, dense milliseconds, repeats."""
    number = 0
    for _ in range(random.choice([3, 10, 30])):
        app = random.choice(apps)
        tick = NOON + int(random.uniform(-30, seconds) * SECOND)
        step = random.choice([0, 1, 7, 300, MILLISECOND, 40 * MILLISECOND])
        many = random.choice([1, 5, 20])
        copies = random.choice([1, 1, 1, 2, 3])
        lateness = random.choice([0, 0.2, 1])
        for _ in range(many):
            late = int(random.uniform(0, LATEST)) if random.random() < lateness else 0
            raw = _raw(random, app, tick, f"{app} {number}")
            yield from [Written(raw, tick, tick + late)] * copies
            number += 1
            tick += step


def _raw(random: Random, app: str, tick: Tick, message: str) -> Any:
    """An entry as JSON; now and then an odd one, still recognisable by its message."""
    stamp = format_tick(tick).removesuffix("Z")
    labels: Any = {"app": app, "fal_job_id": f"job-{random.randrange(3)}", "source": "run"}
    raw = {"timestamp": stamp, "level": "INFO", "message": message, "app": app, "labels": labels}
    oddity = random.random()
    if oddity < 0.02:
        raw["labels"] = random.choice([None, [], 7, {"x": 10**30, "y": {"z": [None]}}])
    elif oddity < 0.04:
        raw["level"] = random.choice([None, 3, "loud", "stderr"])
    elif oddity < 0.05:
        raw["labels"] = {"app": app, "\ud800": "\udfff"}
    return raw


@contextmanager
def journal_folder() -> Iterator[Path]:
    """Where a journal is kept: in memory if the system has such a place, since it syncs a lot."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@dataclass
class Universe:
    """The world of one plan, and what has happened in it."""

    plan: Plan
    folder: Path
    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    positions: dict[str, Tick] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.plan.seed + 1)
        self.outside = VirtualClock(NOON)
        self.clock = VirtualClock(NOON, skew=self.plan.skew)
        self.disk = Disk()
        logs = LogsApiFake(self.outside, self.plan.api)
        logs.add(*self.plan.entries)
        traits = (BoundsCut(),) if self.plan.cut_bounds else ()
        faults = replace(
            api_faults(self.plan.api_share),
            traits=traits,
            schedule=spells(self.outside, self.plan.api_trouble),
        )
        self.api = Faulty(logs, faults, self.random)
        self.backends = {b.name: OtlpBackend(_backend_config(b)) for b in self.plan.backends}
        self.fronts = {b.name: self._front(b) for b in self.plan.backends}

    def _front(self, backend: BackendPlan) -> Faulty:
        trouble = spells(self.outside, backend.trouble)
        faults = replace(backend_faults(backend.share), schedule=trouble)
        return Faulty(self.backends[backend.name], faults, self.random)

    def run(self) -> None:
        """Every life of the plan, then a calm one that must catch up with everything."""
        for life in self.plan.lives:
            self._live(life)
            self.now += life.downtime
        self._calm()
        newest = max((w.tick - NOON for w in self.plan.entries), default=0)
        self.now = max(self.now, (newest + LATEST) / SECOND + 1.0)
        obstacles = self._inside(self._catch_up, VirtualLoop(start=self.now))
        assert obstacles == [], obstacles

    def _live(self, life: Life) -> None:
        loop = VirtualLoop(start=self.now, crash_at=life.crash_at_step)
        if life.fault is not None:
            self.disk.plan(life.fault, skip=life.fault_at_statement or 0)
            loop.doomed = lambda: isinstance(life.fault, Crash) and not self.disk.armed
        try:
            self._inside(partial(self._run_until, self.now + life.seconds), loop)
        except Crash:
            pass
        except JournalError:
            assert life.fault is not None  # the disk failed at the start or at the end
        finally:
            self.disk.calm()

    def _inside(self, body: Callable[[Bridge], Any], loop: VirtualLoop) -> Any:
        async def main() -> Any:
            async with AsyncExitStack() as stack:
                bridge = await build(self._settings(), self._world(), stack)
                await self._check_monotonic(bridge)
                result = await body(bridge)
                await self._check_monotonic(bridge)
                return result

        self.journal: SqliteJournal | None = None
        try:
            return run_virtually(main(), loop=loop, killed=self._release)
        finally:
            self.now = loop.time()

    def _release(self) -> None:
        """What the system does for a killed process: close its files."""
        if self.journal is not None:
            self.journal.abandon()

    async def _run_until(self, end: float, bridge: Bridge) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_at(end, stop.set)
        await bridge.run(stop)

    async def _catch_up(self, bridge: Bridge) -> list[str]:
        return await bridge.run_once(patience=600)

    async def _check_monotonic(self, bridge: Bridge) -> None:
        """Positions and cursors never move back, in a life or from one to the next."""
        for backlog in (await bridge.journal.stats()).backlogs:
            assert backlog.cursor >= self.cursors.get(backlog.destination, 0)
            self.cursors[backlog.destination] = backlog.cursor
        for tailer in bridge.tailers:
            record = await bridge.journal.app(tailer.name)
            if record is not None:
                assert record.position >= self.positions.get(tailer.name, 0)
                self.positions[tailer.name] = record.position

    def _calm(self) -> None:
        self.api.faults = replace(self.api.faults, share=0.0, schedule=None)
        for front in self.fronts.values():
            front.faults = Faults()

    def _world(self) -> World:
        return World(
            clock=self.clock,
            random=self.random,
            emit=self.events.append,
            out=io.BytesIO(),
            open_journal=self._open_journal,
            api_transport=self._transport(self.api),
            otlp_transport=lambda name: self._transport(self.fronts[name]),
        )

    def _transport(self, core: Faulty) -> httpx.AsyncBaseTransport:
        latency = partial(self.random.uniform, 0, self.plan.latency)
        return CoreTransport(core, self.outside, latency)

    def _open_journal(self, place: settings.Journal, clock: Clock) -> Journal:
        self.journal = SqliteJournal.open(
            place.path,
            max_bytes=place.max_bytes,
            clock=clock,
            inline=True,
            connect=self.disk.connect,
        )
        return self.journal

    def _settings(self) -> settings.Settings:
        apps: list[dict[str, Any]] = [{"app_id": app, "start": "1h"} for app in self.plan.apps]
        if self.plan.whole_account:
            apps = [{"name": "account", "start": "1h"}]
        return settings.Settings.model_validate(
            {
                "fal": {"base_url": "http://api.test", "key": KEY},
                "apps": apps,
                "poll": {
                    "page_size": self.plan.page_size,
                    "late_sweeps": SWEEPS,
                    "requests_per_second": 50,
                    "concurrency": self.plan.concurrency,
                },
                "journal": {
                    "path": str(self.folder / "journal.sqlite"),
                    "max_bytes": self.plan.max_bytes,
                },
                "destinations": [
                    {
                        "name": b.name,
                        "type": "otlp",
                        "endpoint": f"http://{b.name}.test",
                        "compression": b.compression,
                    }
                    for b in self.plan.backends
                ],
            }
        )

    def verify(self) -> None:
        """Everything visible arrived everywhere; a repeat has the same uid and the same bytes."""
        wanted = Counter(w.raw["message"] for w in self.plan.entries)
        for name, backend in self.backends.items():
            assert not backend.violations, (name, backend.violations)
            uids: dict[str, set[str]] = {}
            first: dict[str, bytes] = {}
            for received in backend.records:
                uids.setdefault(received.body, set()).add(received.uid)
                same = received.record.SerializeToString(deterministic=True)
                assert first.setdefault(received.uid, same) == same, received.body
            arrived = Counter({body: len(ids) for body, ids in uids.items()})
            assert arrived == wanted, (name, wanted - arrived, arrived - wanted)
        defects = [e for e in self.events if isinstance(e, InternalError)]
        assert defects == []


def _backend_config(backend: BackendPlan) -> BackendConfig:
    return BackendConfig(max_bytes=backend.max_bytes)
