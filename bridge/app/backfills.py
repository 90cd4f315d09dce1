"""Runs the backfills that the journal asks for, beside whatever else runs.

A job is an order in the journal, so that a command beside a running bridge can give it, watch it
and stop it, and so that it outlives whoever works on it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from bridge.clock import Clock
from bridge.delivery.forwarder import Forwarder
from bridge.errors import BackfillStopped, JournalError
from bridge.journal import Journal
from bridge.model import SECOND, Backfill, BackfillApp
from bridge.source.backfill import Backfiller
from bridge.telemetry import Emit
from bridge.telemetry.reading import BackfillBegun, BackfillEnded

EVERY: Final = 1.0
"""Seconds from one look at the journal to the next."""

_AHEAD: Final = 1_000
"""Entries of backfills that a destination may still have to take when more are stored: what live
ones may have to wait for."""
_LOOK_EVERY: Final = 0.05
_APPS: Final = 4
"""How many apps are read at a time."""


class Room:
    """Lets backfills store no more than the destinations take at once.

    Batches are delivered in the order in which they were stored, so that live entries wait for
    what was stored before them. A destination in trouble delivers nothing anyway, and is not
    waited for: the journal's bound for backfills ends that.
    """

    def __init__(self, forwarders: Sequence[Forwarder], clock: Clock) -> None:
        self._forwarders = forwarders
        self._clock = clock
        self._ahead: deque[tuple[int, int]] = deque()

    def stored(self, seq: int, entries: int) -> None:
        """So many entries went into the journal, up to this batch."""
        self._ahead.append((seq, entries))

    async def wait(self) -> None:
        """Return when little of what was stored is still to be delivered."""
        while self._waiting() >= _AHEAD:
            await self._clock.sleep(_LOOK_EVERY)

    def _waiting(self) -> int:
        states = [forwarder.state for forwarder in self._forwarders]
        cursors = [state.cursor for state in states if state.trouble is None]
        if not cursors:
            self._ahead.clear()
        while self._ahead and self._ahead[0][0] <= min(cursors):
            self._ahead.popleft()
        return sum(entries for _, entries in self._ahead)


Engage: TypeAlias = Callable[[Backfill, BackfillApp, Room], Backfiller | str]
"""Makes who reads an app for a job; or says why nobody can."""


class Backfills:
    """The backfills of a bridge."""

    def __init__(
        self,
        *,
        journal: Journal,
        forwarders: Sequence[Forwarder],
        engage: Engage,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._journal = journal
        self._room = Room(forwarders, clock)
        self._engage = engage
        self._clock = clock
        self._emit = emit
        self._places = asyncio.Semaphore(_APPS)
        self._working: dict[str, _Work] = {}
        self._read: Counter[str] = Counter()

    @property
    def read(self) -> Mapping[str, int]:
        """How many entries of each app backfills have journaled since this process began."""
        read = self._read.copy()
        for work in tuple(self._working.values()):
            read.update(work.read)
        return read

    @property
    def left(self) -> Mapping[str, float]:
        """The seconds of each app's time that the active backfills have still to read."""
        left: Counter[str] = Counter()
        for work in tuple(self._working.values()):
            left.update(work.left)
        return {name: ticks / SECOND for name, ticks in left.items()}

    @property
    def obstacles(self) -> list[str]:
        """What holds them up, app by app."""
        notes = (work.notes.items() for work in tuple(self._working.values()))
        return [f"{name}: {note}" for some in notes for name, note in some if note]

    async def run(self) -> None:
        """Work on whatever the journal asks for, for ever."""
        self._working.clear()  # a defect may have ended this before
        async with asyncio.TaskGroup() as group:
            while True:
                for job in await self._active():
                    if job.name not in self._working:
                        # Known at once: the next look must not begin it again.
                        self._working[job.name] = _Work(job)
                        group.create_task(self._work(self._working[job.name]))
                await self._clock.sleep(EVERY)

    async def finish(self, name: str) -> None:
        """Work on one job until it is done, or stopped."""
        while job := next((one for one in await self._active() if one.name == name), None):
            work = self._working[name] = _Work(job)
            await self._work(work)

    async def _active(self) -> Sequence[Backfill]:
        while True:
            try:
                return await self._journal.backfills()
            except JournalError:  # told by those whose work it stops
                await self._clock.sleep(EVERY)

    async def _work(self, work: _Work) -> None:
        """Read a job's apps for as long as it is active."""
        job = work.job
        self._emit(BackfillBegun(job.name, tuple(app.name for app in job.apps), job.share))
        try:
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(self._app(work, app)) for app in job.apps]
                watching = group.create_task(self._watch(work, reading))
                await asyncio.wait(reading)
                watching.cancel()
        finally:
            self._working.pop(job.name, None)
            self._read.update(work.read)
        self._emit(BackfillEnded(job.name, sum(work.read.values())))

    async def _app(self, work: _Work, app: BackfillApp) -> None:
        engaged = self._engage(work.job, app, self._room)
        if isinstance(engaged, str):
            work.unread[app.name] = engaged
            await asyncio.Event().wait()  # another configuration is another bridge
        else:
            async with self._places:
                work.readers[app.name] = engaged
                try:
                    await engaged.run()
                except BackfillStopped:
                    return

    async def _watch(self, work: _Work, reading: Sequence[asyncio.Task[None]]) -> None:
        """Say in the journal what holds the job up, until it is not active any more."""
        told: dict[str, str] = {}
        while True:
            await self._clock.sleep(EVERY)
            if work.job.name not in {job.name for job in await self._active()}:
                for task in reading:
                    task.cancel()
                return
            for name, note in work.notes.items():
                if note != told.get(name, ""):
                    try:
                        await self._journal.note_backfill(work.job.name, name, note)
                    except JournalError:
                        continue  # said the next time
                    told[name] = note


class _Work:
    """What is done on one job at the moment."""

    def __init__(self, job: Backfill) -> None:
        self.job = job
        self.readers: dict[str, Backfiller] = {}
        self.unread: dict[str, str] = {}

    @property
    def read(self) -> dict[str, int]:
        return {name: reader.read for name, reader in tuple(self.readers.items())}

    @property
    def left(self) -> dict[str, int]:
        return dict(self._left())

    @property
    def notes(self) -> dict[str, str]:
        return self.unread | {name: reader.trouble for name, reader in tuple(self.readers.items())}

    def _left(self) -> Iterator[tuple[str, int]]:
        for app in self.job.apps:
            reader = self.readers.get(app.name)
            yield app.name, self.job.ceiling - (reader.position if reader else app.position)
