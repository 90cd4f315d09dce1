"""The composition root: builds the bridge from its settings, runs it, and stops it in order.

Reading stops first, since nothing is lost by it; then the destinations finish what is being sent
and store their cursors, within a grace period; then the journal closes. What was not delivered
waits in the journal. The loops may be cancelled at any await, so a deadline costs repeats at most.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import IO, Any, Final

import httpx

from bridge import __version__, settings
from bridge.clock import Clock, SystemClock
from bridge.delivery.forwarder import Forwarder
from bridge.destinations import Destination
from bridge.destinations.console import Console
from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.tls import Tls
from bridge.errors import JournalError, proxy_error
from bridge.journal import Journal
from bridge.journal.sqlite import SqliteJournal
from bridge.mapping import Mapper
from bridge.mapping.severity import INFO, severity_number
from bridge.model import SECOND
from bridge.source.account import Account
from bridge.source.limiter import Limiter
from bridge.source.rest import RestApi
from bridge.source.tailer import AppSpec, Tailer
from bridge.telemetry import Emit
from bridge.telemetry.service import (
    CaughtUp,
    ConfigWarning,
    InternalError,
    NotCaughtUp,
    Progress,
    Started,
    Stopped,
    Stopping,
)

API_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
GRACE: Final = 8.0
"""Seconds that destinations have to finish at a stop; container runtimes kill after ten."""

IN_FLIGHT: Final = 4
"""Requests on their way to one destination at a time."""

_PROGRESS_EVERY: Final = 30.0
_RESTART_AFTER: Final = 15.0
_LOOK_EVERY: Final = 0.25


@dataclass(frozen=True, slots=True)
class World:
    """What the bridge touches besides its settings; tests put their own in place.

    Transports stand in for the network, ``open_journal`` for the file.
    """

    clock: Clock
    random: Random
    emit: Emit
    out: IO[bytes]
    open_journal: Callable[[settings.Journal, Clock], Journal]
    api_transport: httpx.AsyncBaseTransport | None = None
    otlp_transport: Callable[[str], httpx.AsyncBaseTransport | None] = lambda _: None


def real_world(emit: Emit) -> World:
    """The machine's clock, network, disk and standard output."""
    jitter = Random()  # noqa: S311 - spreads retries, keeps no secret
    return World(SystemClock(), jitter, emit, sys.stdout.buffer, _open_journal)


def _open_journal(place: settings.Journal, clock: Clock) -> Journal:
    return SqliteJournal.open(place.path, max_bytes=place.max_bytes, clock=clock)


class Bridge:
    """The parts of a running bridge, and the order in which they start and stop."""

    def __init__(
        self,
        *,
        tailers: Sequence[Tailer],
        forwarders: Sequence[Forwarder],
        journal: Journal,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self.tailers = tailers
        self.forwarders = forwarders
        self.journal = journal
        self._clock = clock
        self._emit = emit
        self._unread: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until ``stop`` is set, then finish within the grace period."""
        halt = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            delivering = self._start_delivering(group, halt)
            reading = [
                group.create_task(self._keep(t.name, t.run), name=f"read {t.name}")
                for t in self.tailers
            ]
            progress = group.create_task(self._report_progress())
            await stop.wait()
            await _cancelled([*reading, progress])
            await self._finish(delivering, halt)

    async def run_once(self, patience: float, stop: asyncio.Event | None = None) -> list[str]:
        """Forward everything up to now; what stood in the way, if it did not come to that.

        ``patience`` is how many seconds may pass without any progress; ``stop`` ends it early.
        An empty answer means that all is delivered or dead-lettered.
        """
        halt, stop = asyncio.Event(), stop or asyncio.Event()
        obstacles: list[str] = []
        async with asyncio.TaskGroup() as group:
            delivering = self._start_delivering(group, halt)
            catching_up = group.create_task(self._catch_up())
            while not catching_up.done() and not obstacles:
                if await self._stuck(catching_up, patience, stop):
                    obstacles = (
                        ["stopped by a signal; the rest waits in the journal"]
                        if stop.is_set()
                        else self.obstacles()
                    )
            await _cancelled([catching_up])
            await self._finish(delivering, halt)
        return obstacles

    def obstacles(self) -> list[str]:
        """Why not everything is read and delivered, one sentence for each app and destination."""
        reading = [
            f"{t.name}: {t.trouble or 'the API has not answered yet'}"
            for t in self.tailers
            if t.name in self._unread
        ]
        states = [f.state for f in self.forwarders]
        sending = [
            f"{s.destination}: {s.trouble.reason if s.trouble else 'has not answered yet'}"
            for s in states
            if s.trouble or s.outstanding
        ]
        return [*reading, *sending] or ["no progress"]

    async def _catch_up(self) -> None:
        self._unread = {tailer.name for tailer in self.tailers}
        async with asyncio.TaskGroup() as group:
            for tailer in self.tailers:
                group.create_task(self._read_once(tailer))
        last = await self._last_seq()
        for forwarder in self.forwarders:
            await forwarder.drained(last)

    async def _last_seq(self) -> int:
        while True:
            try:
                return (await self.journal.stats()).last_seq
            except JournalError:
                await self._clock.sleep(_LOOK_EVERY)

    async def waiting(self) -> int:
        """How many records the slowest destination has still to take."""
        try:
            backlogs = (await self.journal.stats()).backlogs
        except JournalError:
            return sum(f.state.outstanding for f in self.forwarders)
        return max((b.records for b in backlogs), default=0)

    async def _read_once(self, tailer: Tailer) -> None:
        await self._keep(tailer.name, tailer.run_once)
        self._unread.discard(tailer.name)

    async def _stuck(self, task: asyncio.Task[None], patience: float, stop: asyncio.Event) -> bool:
        """Watch a task until it ends or progresses; True if it did neither for that long."""
        before, deadline = self._marker(), self._clock.monotonic() + patience
        while self._clock.monotonic() < deadline:
            done, _ = await asyncio.wait([task], timeout=_LOOK_EVERY)
            if done or self._marker() != before:
                return False
            if stop.is_set():
                break
        return True

    def _marker(self) -> tuple[object, ...]:
        """Changes whenever the bridge gets anywhere."""
        states = [f.state for f in self.forwarders]
        return (
            tuple((t.position, t.read) for t in self.tailers),
            tuple((s.cursor, s.delivered, s.dead_lettered) for s in states),
        )

    def _start_delivering(
        self, group: asyncio.TaskGroup, halt: asyncio.Event
    ) -> list[asyncio.Task[None]]:
        return [
            group.create_task(f.run(halt), name=f"deliver to {f.state.destination}")
            for f in self.forwarders
        ]

    async def _finish(self, delivering: Sequence[asyncio.Task[None]], halt: asyncio.Event) -> None:
        halt.set()
        _, late = await asyncio.wait(delivering, timeout=GRACE) if delivering else ((), ())
        await _cancelled(late)

    async def _keep(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run an app's loop; a defect in it is told and stops this app only, for a while."""
        while True:
            try:
                return await loop()
            except Exception as error:  # one failing app must not stop another
                self._emit(InternalError.of(name, error))
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                await self._clock.sleep(_RESTART_AFTER)

    async def _report_progress(self) -> None:
        """Now and then, one line with rate and lag."""
        read, delivered = self._totals()
        while True:
            await self._clock.sleep(_PROGRESS_EVERY)
            read_now, delivered_now = self._totals()
            try:
                stats = await self.journal.stats()
            except JournalError:
                continue  # told by those whose work it stops
            behind = max(stats.backlogs, key=lambda b: b.records, default=None)
            lagging = max(self.tailers, key=lambda t: t.lag or 0.0, default=None)
            self._emit(
                Progress(
                    read_per_second=(read_now - read) / _PROGRESS_EVERY,
                    delivered_per_second=(delivered_now - delivered) / _PROGRESS_EVERY,
                    app=lagging.name if lagging else "",
                    app_lag=(lagging.lag or 0.0) if lagging else 0.0,
                    destination=behind.destination if behind else "",
                    destination_lag=self._age(behind.oldest if behind else None),
                    backlog=behind.records if behind else 0,
                )
            )
            read, delivered = read_now, delivered_now

    def _age(self, oldest: int | None) -> float:
        return 0.0 if oldest is None else max(0, self._clock.now() - oldest) / SECOND

    def _totals(self) -> tuple[int, int]:
        return (
            sum(t.read for t in self.tailers),
            sum(f.state.delivered for f in self.forwarders),
        )


async def build(config: settings.Settings, world: World, stack: AsyncExitStack) -> Bridge:
    """Build every part; the stack releases them in reverse order.

    Raises:
        ConfigError: the settings, or what the journal holds of them, cannot be used.
        JournalUnusable: the journal cannot be opened.
    """
    journal = world.open_journal(config.journal, world.clock)
    stack.push_async_callback(journal.aclose)
    forwarders = []
    for one in config.destinations:
        destination = _destination(one, world)
        stack.push_async_callback(destination.aclose)
        # All are in use before the first delivers, or it could clear away what others have to come.
        await journal.attach(destination.name)
        forwarders.append(_forwarder(destination, journal, world))
    account = await _account(config, world, stack)
    tailers = [_tailer(app, config, account, journal, world) for app in config.apps]
    for tailer in tailers:
        await tailer.resume()
    return Bridge(
        tailers=tailers,
        forwarders=forwarders,
        journal=journal,
        clock=world.clock,
        emit=world.emit,
    )


async def _account(config: settings.Settings, world: World, stack: AsyncExitStack) -> Account:
    try:
        client = httpx.AsyncClient(
            timeout=API_TIMEOUT,
            transport=world.api_transport,
            headers={"User-Agent": f"fal-log-bridge/{__version__}"},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise proxy_error(error) from error
    await stack.enter_async_context(client)
    api = RestApi(client, base_url=config.fal.base_url, key=config.fal.key_source())
    limiter = Limiter(
        world.clock,
        requests_per_second=config.poll.requests_per_second,
        concurrency=config.poll.concurrency,
    )
    return Account(api, limiter, world.clock)


def _tailer(
    app: settings.App,
    config: settings.Settings,
    account: Account,
    journal: Journal,
    world: World,
) -> Tailer:
    selection = app.filter
    stream = {"api": config.fal.api, "app_id": selection.app_id}
    spec = AppSpec(
        name=app.name,
        named=app.name != app.app_id,
        stream=json.dumps(stream, sort_keys=True),
        filters=json.dumps(asdict(replace(selection, app_id=None)), sort_keys=True),
        filter=selection,
        start=app.start.resolve,
        interval=config.poll.interval,
        max_interval=config.poll.max_interval,
        page_size=config.poll.page_size,
        late_sweeps=tuple(round(age * SECOND) for age in config.poll.late_sweeps),
    )
    mapper = Mapper(
        service=app.service,
        fallback_service=app.app_id or app.name,
        resource=app.resource,
        stderr_severity=severity_number(app.stderr_level, stderr=INFO),
    )
    return Tailer(
        spec,
        account=account,
        journal=journal,
        encode=mapper.encode,
        clock=world.clock,
        random=world.random,
        emit=world.emit,
    )


def _destination(one: settings.Destination, world: World) -> Destination:
    if isinstance(one, settings.Console):
        return Console(one.name, world.out)
    return OtlpHttp(
        one.name,
        one.url,
        {name: value.get_secret_value() for name, value in one.headers.items()},
        compression=one.compression,
        timeout=one.timeout,
        tls=Tls(**one.tls.model_dump()),
        transport=world.otlp_transport(one.name),
    )


def _forwarder(destination: Destination, journal: Journal, world: World) -> Forwarder:
    # One at a time on the console, so that lines come in order.
    in_flight = 1 if isinstance(destination, Console) else IN_FLIGHT
    return Forwarder(
        destination, journal, world.clock, world.emit, world.random, in_flight=in_flight
    )


async def run(config: settings.Settings, emit: Emit) -> int:
    """The service: forward until SIGTERM or SIGINT; the exit code."""
    stop = _stop_on_signals(emit)
    async with AsyncExitStack() as stack:
        bridge = await build(config, real_world(emit), stack)
        _say_started(config, emit)
        await bridge.run(stop)
        waiting = await bridge.waiting()
    emit(Stopped(waiting))
    return 0


async def run_once(config: settings.Settings, emit: Emit, patience: float) -> int:
    """Forward everything up to now; the exit code."""
    stop = _stop_on_signals(emit)
    async with AsyncExitStack() as stack:
        bridge = await build(config, real_world(emit), stack)
        _say_started(config, emit)
        obstacles = await bridge.run_once(patience, stop)
    for obstacle in obstacles:
        emit(NotCaughtUp(obstacle))
    if not obstacles:
        dead = sum(f.state.dead_lettered for f in bridge.forwarders)
        emit(CaughtUp(sum(t.read for t in bridge.tailers), dead))
    return 1 if obstacles else 0


def _say_started(config: settings.Settings, emit: Emit) -> None:
    for warning in config.warnings:
        emit(ConfigWarning(warning))
    emit(
        Started(
            version=__version__,
            apps=tuple(app.name for app in config.apps),
            destinations=tuple(one.name for one in config.destinations),
            journal=str(config.journal.path),
        )
    )


def _stop_on_signals(emit: Emit) -> asyncio.Event:
    """Set by the first signal, which drains; a second one does not wait for that."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)  # as process 1 nothing else ends us; the journal is safe
        emit(Stopping(number.name))
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, received, number)
    return stop


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
