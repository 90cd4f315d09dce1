"""The parts of a running bridge, and the order in which they start and stop.

Reading stops first, since nothing is lost by it; then the destinations finish what is being sent
and store their cursors, within a grace period; then the journal closes. What was not delivered
waits in the journal. The loops may be cancelled at any await, so a deadline costs repeats at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from bridge.app.backfills import Backfills
from bridge.app.metered import Metered
from bridge.app.silences import Silences
from bridge.clock import Clock
from bridge.delivery.forwarder import Forwarder, Forwarding
from bridge.destinations.file import File
from bridge.errors import JournalError
from bridge.journal import Journal
from bridge.model import SECOND, Backfill
from bridge.source.account import Account
from bridge.source.scout import Scout
from bridge.source.tailer import Tailer
from bridge.tasks import cancelled
from bridge.telemetry import Emit
from bridge.telemetry.service import HungUp, InternalError, Progress

GRACE: Final = 8.0
"""Seconds that destinations have to finish at a stop; container runtimes kill after ten."""

_PROGRESS_EVERY: Final = 30.0
_RESTART_AFTER: Final = 15.0
_LOOK_EVERY: Final = 0.25


class Bridge:
    """A running bridge: its tailers, its forwarders and the journal between them.

    ``sending`` is what each forwarder sends through, in their order.
    """

    def __init__(
        self,
        *,
        tailers: Sequence[Tailer],
        forwarders: Sequence[Forwarder],
        files: Sequence[File],
        sending: Sequence[Metered],
        silences: Silences,
        scout: Scout,
        backfills: Backfills,
        account: Account,
        journal: Journal,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self.tailers = tailers
        self.forwarders = forwarders
        self.sending = sending
        self.silences = silences
        self.backfills = backfills
        self.account = account
        self.journal = journal
        self._clock = clock
        self._emit = emit
        self._files = files
        self._scout = scout
        self._unread: set[str] = set()
        self._job: Backfill | None = None

    def hang_up(self) -> None:
        """What SIGHUP asks of a running bridge: files are opened anew, as after a rotation."""
        for file in self._files:
            file.reopen()
        self._emit(HungUp(tuple(file.name for file in self._files)))

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until ``stop`` is set, then finish within the grace period."""
        halt = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            delivering = self._start_delivering(group, halt)
            reading = [
                group.create_task(self._keep(t.name, t.run), name=f"read {t.name}")
                for t in self.tailers
            ]
            reading.append(group.create_task(self._keep("backfills", self.backfills.run)))
            watching = [
                group.create_task(self._report_progress()),
                group.create_task(self.silences.run()),
                group.create_task(self._keep("scout", self._scout.run)),
            ]
            await stop.wait()
            await cancelled([*reading, *watching])
            await self._finish(delivering, halt)

    async def run_once(self, patience: float, stop: asyncio.Event | None = None) -> list[str]:
        """Forward everything up to now; what stood in the way, if it did not come to that.

        ``patience`` is how many seconds may pass without any progress; ``stop`` ends it early.
        An empty answer means that all is delivered or dead-lettered.
        """
        return await self._deliver(self._catch_up(), patience, stop)

    async def backfill(self, job: Backfill, patience: float, stop: asyncio.Event) -> list[str]:
        """Read one backfill, and nothing else, and deliver; see `run_once`.

        Waits for its destinations only, and for none that is paused. It ends early when the
        backfill is stopped by command.
        """
        self._job = job
        return await self._deliver(self._fill_back(job.name), patience, stop)

    async def _deliver(
        self, work: Coroutine[Any, Any, None], patience: float, stop: asyncio.Event | None
    ) -> list[str]:
        halt, stop = asyncio.Event(), stop or asyncio.Event()
        obstacles: list[str] = []
        async with asyncio.TaskGroup() as group:
            delivering = self._start_delivering(group, halt)
            catching_up = group.create_task(work)
            while not catching_up.done() and not obstacles:
                if await self._stuck(catching_up, patience, stop):
                    obstacles = (
                        ["stopped by a signal; the rest waits in the journal"]
                        if stop.is_set()
                        else self.obstacles()
                    )
            await cancelled([catching_up])
            await self._finish(delivering, halt)
        return obstacles

    def obstacles(self) -> list[str]:
        """Why not everything is read and delivered, one sentence for each app and destination."""
        reading = [
            f"{t.name}: {t.trouble or 'the API has not answered yet'}"
            for t in self.tailers
            if t.name in self._unread
        ]
        sending = [
            f"{s.destination}: {s.trouble.reason if s.trouble else 'has not answered yet'}"
            for s in self._awaited()
            if s.trouble or s.outstanding
        ]
        return [*reading, *self.backfills.obstacles, *sending] or ["no progress"]

    async def _catch_up(self) -> None:
        self._unread = {tailer.name for tailer in self.tailers}
        async with asyncio.TaskGroup() as group:
            for tailer in self.tailers:
                group.create_task(self._read_once(tailer))
        await self._drained()

    async def _fill_back(self, name: str) -> None:
        await self._keep(name, partial(self.backfills.finish, name))
        last = await self._last_seq()
        while any(state.cursor < last for state in self._awaited()):
            await self._clock.sleep(_LOOK_EVERY)

    def _awaited(self) -> list[Forwarding]:
        """The destinations that are waited for: for a backfill its own, but one that rests."""
        states, job = [f.state for f in self.forwarders], self._job
        if job is None:
            return states
        return [
            state
            for state in states
            if not state.paused and (not job.audience or state.destination in job.audience)
        ]

    async def _drained(self) -> None:
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
            tuple(self.backfills.left.items()),
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
        await cancelled(late)

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
