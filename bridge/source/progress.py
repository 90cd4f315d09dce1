"""How far one app is read: turns proved walks into appends, and moves only with what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from msgspec import Struct

from bridge.clock import Clock
from bridge.errors import JournalError, JournalFull
from bridge.journal import Journal
from bridge.model import (
    SECOND,
    Append,
    Appended,
    Encoded,
    Gap,
    Identified,
    Read,
    ReadKind,
    Tick,
)
from bridge.source.gap_tally import GapTally
from bridge.source.known_gaps import KnownGaps
from bridge.source.retention import Retention
from bridge.source.schedule import Slice
from bridge.source.server_clock import ServerClock
from bridge.source.shaped import ShapedTally
from bridge.source.sweeps import Sweeps
from bridge.source.trouble import Patience, Trouble
from bridge.source.walk import Walk
from bridge.telemetry import Emit
from bridge.telemetry.meter import Meter
from bridge.telemetry.reading import ReadingPaused, ReadingResumed

_WORTH_STORING: Final[Tick] = 60 * SECOND


class Stored(Struct, frozen=True):
    """What storing a walk came to: how many entries it saw, and those of them that were new."""

    seen: int
    added: Sequence[Identified]


class Progress:
    """The position, sweep cursors and gaps of one app, in step with the journal.

    ``barren`` says that nothing of the app was ever journaled, so that each live look begins at
    its start. ``moved`` is the monotonic moment of the journal's last word, by kind of read;
    ``paused`` says that it waits for room there.
    """

    def __init__(
        self,
        app: str,
        *,
        journal: Journal,
        encode: Callable[[Sequence[Identified], Tick, Sequence[Gap]], Sequence[Encoded]],
        shaped: ShapedTally,
        retention: Retention,
        meter: Meter,
        time: ServerClock,
        clock: Clock,
        random: Random,
        emit: Emit,
    ) -> None:
        self.position: Tick | None = None
        self.sweeps = Sweeps({})
        self.gaps = KnownGaps()
        self._gap_tally = GapTally(app, self.gaps, meter=meter, emit=emit)
        self.read = 0
        self.barren = False
        self.density = 0.0
        self.moved = dict.fromkeys(ReadKind, clock.monotonic())
        self.paused = False
        self._storing = asyncio.Lock()
        self._app = app
        self._journal = journal
        self._encode = encode
        self._shaped = shaped
        self._retention = retention
        self._time = time
        self._clock = clock
        self._random = random
        self._emit = emit
        self._trouble = Trouble(app, clock=clock, emit=emit)
        self._stored: Tick = 0
        self._swept = Sweeps({})

    @property
    def trouble(self) -> str:
        """Why nothing can be stored at the moment; empty while it can."""
        return self._trouble.reason

    def stand(self, position: Tick, sweeps: Sweeps) -> None:
        """Begin where the journal says."""
        self.position, self.sweeps = position, sweeps
        self._stored, self._swept = position, sweeps

    def due(self, now: Tick, *, at_once: bool = False) -> tuple[Tick, Tick] | None:
        """The oldest window to sweep; see `Sweeps.due`."""
        return self.sweeps.due(now, self.position, at_once=at_once)

    def failed(self, error: JournalError) -> None:
        """The journal failed in another call."""
        self._trouble.note(error)

    def works(self) -> None:
        """The journal has served a whole look."""
        self._trouble.over()

    async def store(
        self,
        walk: Walk | None,
        window: Slice,
        kind: ReadKind,
        *,
        gaps: Sequence[Gap],
        began: float,
    ) -> Stored:
        """Journal a proved walk, waiting for room and for the disk.

        ``began`` is the monotonic moment of its first request; without a walk the whole window is
        a gap.
        """
        at = self._time.at(began)
        found = [] if walk is None else walk.found()
        if walk is not None and kind is not ReadKind.SWEEP:
            lost = await self._retention.gap(walk, found, min(window.ceiling, at), kind)
            gaps = [*gaps, *lost]
        if found:
            self._retention.shown(at - found[0].tick)
        async with self._storing:  # what follows starts from what the one before it stored
            return await self._store(walk, found, window, kind, gaps=gaps, at=at)

    async def turn_sweeps(self, change: Callable[[Sweeps], Sweeps]) -> None:
        """Change the sweep cursors otherwise than by what is stored."""
        async with self._storing:
            self.sweeps = change(self.sweeps)

    async def _store(
        self,
        walk: Walk | None,
        found: Sequence[Identified],
        window: Slice,
        kind: ReadKind,
        *,
        gaps: Sequence[Gap],
        at: Tick,
    ) -> Stored:
        closed = [] if walk is None else self.gaps.closed_by(found, window, gaps)
        # The position never claims a time that the server had not reached.
        position = max(min(window.ceiling, at), self.position or 0)
        # An empty live edge is one answer, and proves nothing for the sweeps.
        proved = bool(found) or window.ceiling < at
        sweeps = self.sweeps.covered(window.floor, window.ceiling, at) if proved else self.sweeps
        added: Sequence[Identified] = ()
        told = bool(found or gaps or closed)
        if told or self._worth_storing(sweeps):
            observed = self._clock.now()

            def encode(missing: Sequence[Identified], new: Sequence[Gap]) -> Sequence[Encoded]:
                nonlocal added
                added = missing
                return self._encode(missing, observed, new)

            read = Read(kind, window.floor, window.ceiling, at, walk.pages if walk else 0)
            appended = await self._append(
                Append(
                    self._app,
                    found,
                    # While an app shows nothing, a restart begins where the start was.
                    position if told else self._stored,
                    encode,
                    read,
                    sweeps.cursors,
                    tuple(gaps),
                    tuple(closed),
                )
            )
            self.read += appended.added
            self._gap_tally.stored(gaps, closed)
            self._stored = position if told else self._stored
            self._swept = sweeps
        self.position, self.sweeps = position, sweeps
        self.density = len(found) / max(1, window.ceiling - window.floor)
        return Stored(len(found), added)

    def _worth_storing(self, sweeps: Sweeps) -> bool:
        """Whether sweeps of an app that shows nothing have come far enough since it was stored."""
        before = self._swept.cursors
        return any(
            cursor - before.get(age, 0) >= _WORTH_STORING for age, cursor in sweeps.cursors.items()
        )

    async def _append(self, append: Append) -> Appended:
        patience = Patience(self._random)
        while True:
            try:
                appended = await self._journal.append(append)
            except JournalFull as error:
                self._emit(ReadingPaused(self._app, error.held_by))
                await self._room()
                self.moved[append.read.kind] = self._clock.monotonic()
                self._emit(ReadingResumed(self._app))
            except JournalError as error:
                self.moved[append.read.kind] = self._clock.monotonic()
                self._trouble.note(error)
                await self._clock.sleep(patience.after(error))
            else:
                self.moved[append.read.kind] = self._clock.monotonic()
                self._trouble.over()
                self._shaped.stored()
                return appended

    async def _room(self) -> None:
        self.paused = True
        try:
            await self._journal.wait_for_room()
        finally:
            self.paused = False
