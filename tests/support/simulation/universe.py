"""The whole bridge in a simulated world: virtual time, a fake API, fake backends, seeded trouble.

A `Universe` makes happen what its `Plan` says, life after life of the bridge, with the real
source, journal and delivery. What is outside the bridge (logs, backends, the journal's file, time)
survives its lives.
"""

from __future__ import annotations

import asyncio
import io
import sqlite3
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from msgspec.structs import replace
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support.journal import Disk
from support.simulation import claims, verify
from support.simulation.plan import KEY, BackendPlan, Life, Outage, Plan, Setup
from support.simulation.traffic import LATEST, NOON
from support.simulation.watch import Watch, Watched
from support.virtual import Crash, VirtualClock, VirtualLoop, run_virtually

from bridge import settings
from bridge.app.bridge import Bridge
from bridge.app.parts import World, build
from bridge.clock import Clock
from bridge.errors import JournalError
from bridge.journal import Journal
from bridge.model import SECOND, Gap, Tick
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.faults import (
    BoundsCut,
    During,
    Faults,
    Faulty,
    api_faults,
    backend_faults,
    spells,
)
from bridge.simulator.logs_api import LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.transport import CoreTransport
from bridge.telemetry import Event


@contextmanager
def journal_folder() -> Iterator[Path]:
    """Where a journal is kept: in memory if the system has such a place, since it syncs a lot."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def simulate(plan: Plan) -> Universe:
    """Run a plan to its end and verify what came of it."""
    with journal_folder() as folder:
        universe = Universe(plan, folder)
        universe.run()
        universe.verify()
    return universe


class _Api:
    """The fake API with limits that change by time; counts open and closed windows asked for."""

    def __init__(self, logs: LogsApiFake, clock: Clock, plan: Plan) -> None:
        self.closed = 0
        self.open = 0
        self.outage: Outage | None = None
        self._until: Tick = 0
        self._logs = logs
        self._clock = clock
        self._changes = list(plan.changes)

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        closed = request.parameter("until") is not None
        self.closed += closed
        self.open += not closed
        if self._is_out(closed=closed):
            return Answer(503)
        while self._changes and self._changes[0].at <= self._clock.now():
            change = self._changes.pop(0)
            self._logs.config = replace(
                self._logs.config, cap=change.cap, max_limit=change.max_limit
            )
        return self._logs.answer(request)

    def _is_out(self, *, closed: bool) -> bool:
        """Whether the planned outage has begun, by the request that it begins with, and lasts."""
        now = self._clock.now()
        if self.outage is None or self.closed <= self.outage.nth:
            return False
        self._until = self._until or now + int(self.outage.seconds * SECOND)
        return now < self._until and (closed or self.outage.everything)

    def plan_outage(self, outage: Outage | None) -> None:
        """Let it begin so many requests for closed windows from now; None for none."""
        self._until = 0
        self.outage = outage and replace(outage, nth=outage.nth + self.closed)


class _SmallDisk(Disk):
    """A disk that is full at times: reading goes on, and nothing can be written."""

    def __init__(self, full: Callable[[], bool]) -> None:
        super().__init__()
        self.journal: Watched | None = None
        self._full = full

    def watch(self, sql: str, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """See `Disk.watch`."""
        if self.journal is not None and self.journal.looking:
            return run()
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "COMMIT")) and self._full():
            raise sqlite3.OperationalError("database or disk is full")
        return super().watch(sql, run)


@dataclass
class Universe:
    """The world of one plan, and what has happened in it.

    ``gaps`` are the open ones of each app at the end; ``attached`` is since when each destination
    has been in use without a pause.
    """

    plan: Plan
    folder: Path
    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    gaps: dict[str, tuple[Gap, ...]] = field(default_factory=dict)
    attached: dict[str, Tick] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        self.random = Random(plan.seed + 1)
        self.outside = VirtualClock(NOON)
        self.clock = VirtualClock(NOON, skew=plan.skew, steps=plan.steps)
        self.disk = _SmallDisk(self._disk_is_full)
        self.watch = Watch(self.outside)
        self.logs = LogsApiFake(self.outside, plan.api)
        self.logs.add(*plan.entries)
        self.counted = _Api(self.logs, self.outside, plan)
        cut = () if plan.cut is None else (BoundsCut(plan.cut),)
        faults = replace(
            api_faults(plan.api_share),
            traits=(During(self.outside, plan.dates), *cut, During(self.outside, plan.poison)),
            schedule=spells(self.outside, plan.api_trouble),
        )
        self.api = Faulty(self.counted, faults, self.random)
        self.backends = {b.name: OtlpBackend(_backend_config(b)) for b in plan.backends}
        self.fronts = {b.name: self._front(b) for b in plan.backends}

    def _front(self, backend: BackendPlan) -> Faulty:
        trouble = spells(self.outside, backend.trouble)
        faults = replace(backend_faults(backend.share), schedule=trouble)
        return Faulty(self.backends[backend.name], faults, self.random)

    def _disk_is_full(self) -> bool:
        return any(begin <= self.clock.monotonic() < end for begin, end in self.plan.disk_full)

    def run(self) -> None:
        """Every life of the plan, then the calm one."""
        for life in self.plan.lives:
            self.live(life)
        self.finish()

    def finish(self) -> None:
        """A calm life that catches up with everything."""
        self._calm()
        obstacles = self._inside(self.plan.setup, self._catch_up, VirtualLoop(start=self.now))
        assert obstacles == [], obstacles

    def live(self, life: Life) -> None:
        """One life, whatever ends it, and the pause after it."""
        loop = VirtualLoop(start=self.now, crash_at=life.crash_at_step)
        if life.fault is not None:
            self.disk.plan(life.fault, skip=life.fault_at_statement or 0)
        loop.doomed = self._doom(life, loop)
        self.counted.plan_outage(life.outage)
        try:
            self._inside(life.setup, partial(self._run_until, self.now + life.seconds), loop)
        except Crash:
            pass
        except JournalError:
            assert life.fault is not None or self.plan.disk_full  # at the start or at the end
        finally:
            self.disk.calm()
            self.now += life.downtime

    def _doom(self, life: Life, loop: VirtualLoop) -> Callable[[], bool]:
        """When the life is to end: its statement was reached, or its request and some steps."""
        if isinstance(life.fault, Crash):
            return lambda: not self.disk.armed
        if life.crash_at_closed is None:
            return lambda: False
        nth, steps = life.crash_at_closed
        nth += self.counted.closed

        def doomed() -> bool:
            if loop.crash_at is None and self.counted.closed > nth:
                loop.crash_at = loop.steps + steps
            return False

        return doomed

    def _inside(self, setup: Setup, body: Callable[[Bridge], Any], loop: VirtualLoop) -> Any:
        async def main() -> Any:
            async with AsyncExitStack() as stack:
                self.watch.begin()
                bridge = await build(self._settings(setup), self._world(), stack)
                await self.watch.look(bridge)
                result = await body(bridge)
                await self.watch.look(bridge)
                return result

        now = NOON + int(self.now * SECOND)
        self.attached = {name: self.attached.get(name, now) for name in setup.backends}
        self.journal: Watched | None = None
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
        obstacles = await bridge.run_once(patience=600)
        for tailer in bridge.tailers:
            self.gaps[tailer.name] = tuple(await bridge.journal.gaps(tailer.name))
        return obstacles

    def _calm(self) -> None:
        """All trouble is over, and the time has come to which even the last entries are found."""
        newest = max((w.tick - NOON for w in self.plan.entries), default=0)
        spared = max((end for _, end in self.plan.disk_full), default=0.0)
        self.now = max(self.now, (newest + LATEST) / SECOND + 1.0, spared)
        self.counted.plan_outage(None)
        cut = tuple(t for t in self.api.faults.traits if isinstance(t, BoundsCut))
        self.api.faults = Faults(traits=cut)
        for name, front in self.fronts.items():
            front.faults = Faults()
            backend = self.backends[name]
            backend.config = replace(backend.config, refuse=None)

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
        journal = Watched.open(
            place.path,
            max_bytes=place.max_bytes,
            clock=clock,
            inline=True,
            connect=self.disk.connect,
        )
        assert isinstance(journal, Watched)
        journal.watch = self.watch
        self.journal = self.disk.journal = journal
        return journal

    def _settings(self, setup: Setup) -> settings.Settings:
        return settings.Settings.model_validate(
            {
                "fal": {"base_url": "http://api.test", "key": KEY},
                "apps": list(self._apps(setup)),
                "poll": {
                    "interval": setup.interval,
                    "max_interval": setup.max_interval,
                    "page_size": setup.page_size,
                    "late_sweeps": setup.sweeps,
                    "requests_per_second": setup.requests_per_second,
                    "concurrency": setup.concurrency,
                },
                "journal": {
                    "path": str(self.folder / "journal.sqlite"),
                    "max_bytes": self.plan.max_bytes,
                },
                "destinations": [
                    self._destination(b) for b in self.plan.backends if b.name in setup.backends
                ],
            }
        )

    def _apps(self, setup: Setup) -> Iterator[dict[str, Any]]:
        common = {"start": self.plan.start, "labels": dict(setup.labels)}
        if not setup.apps:
            yield {"name": claims.ACCOUNT, **common}
        yield from ({"app_id": app, **common} for app in setup.apps)

    def _destination(self, backend: BackendPlan) -> dict[str, Any]:
        ca = self.folder / "ca.pem"
        ca.write_text(_one_ca())
        return {
            "name": backend.name,
            "type": "otlp",
            "endpoint": f"http://{backend.name}.test",
            "compression": backend.compression,
            "tls": {"ca_file": str(ca)},
        }

    def verify(self) -> None:
        """Everything arrived or is accounted for, and nothing else: see `verify`."""
        verify.check(self)

    @property
    def dead(self) -> Mapping[str, set[str]]:
        """What each destination refused for good."""
        return verify.dead_letters(self.folder / "journal.sqlite")


@cache
def _one_ca() -> str:
    """One certificate to trust: no TLS is spoken here, and reading them all takes long."""
    return ssl.DER_cert_to_PEM_cert(httpx.create_ssl_context().get_ca_certs(binary_form=True)[0])


def _backend_config(backend: BackendPlan) -> BackendConfig:
    def refuse(record: LogRecord) -> str | None:
        number = record.body.string_value.rpartition(" ")[2]
        hit = number.isdigit() and int(number) % backend.refuses == 1
        return "not to my taste" if hit else None

    return BackendConfig(
        max_bytes=backend.max_bytes,
        refuse=refuse if backend.refuses else None,
        refusals=backend.refusals,
    )
