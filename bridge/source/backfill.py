"""Reads one app's share of a backfill: a window of the past, beside whatever else reads the app.

The window is read as any backlog is, slice by slice and oldest first; what is proved goes into the
journal as the job's, with how far the job has come. No position moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol, TypeAlias

from bridge.clock import Clock
from bridge.errors import BackfillStopped, BridgeError, JournalError, JournalFull
from bridge.journal import Journal
from bridge.model import (
    Append,
    Appended,
    Backfill,
    BackfillApp,
    Encoded,
    Gap,
    Identified,
    Read,
    ReadKind,
    Tick,
)
from bridge.source.account import Account
from bridge.source.backlog import Backlog, Piece
from bridge.source.gap_tally import GapTally
from bridge.source.known_gaps import KnownGaps
from bridge.source.reader import Reader
from bridge.source.retention import Retention
from bridge.source.schedule import Slice, slice_target
from bridge.source.shaped import ShapedTally
from bridge.source.trouble import Patience
from bridge.telemetry import Emit
from bridge.telemetry.meter import Meter
from bridge.timestamps import LATEST

Encoder: TypeAlias = Callable[[Sequence[Identified], Tick, Sequence[Gap]], Sequence[Encoded]]

_WIDTH: Final = 2
"""Slices read at a time: one is read while the one before it is stored."""
_FULL_PAUSE: Final = 1.0


class Room(Protocol):
    """Keeps a backfill from storing more than those who deliver can take beside the live stream."""

    async def wait(self) -> None:
        """Return when there is room for more."""
        ...

    def stored(self, seq: int, entries: int) -> None:
        """So many entries went into the journal, up to this batch."""
        ...


class Backfiller:
    """Reads an app for one job; runs once."""

    def __init__(
        self,
        job: Backfill,
        app: BackfillApp,
        *,
        reader: Reader,
        account: Account,
        journal: Journal,
        encode: Encoder,
        shaped: ShapedTally,
        room: Room,
        meter: Meter,
        clock: Clock,
        random: Random,
        emit: Emit,
    ) -> None:
        self.name = app.name
        self.position = app.position
        self.read = 0
        self._job = job
        self._met = app.added + app.known
        self._reader = reader
        self._account = account
        self._journal = journal
        self._encode = encode
        self._shaped = shaped
        self._room = room
        self._clock = clock
        self._random = random
        self._emit = emit
        self._retention = Retention(reader)
        self._gaps = KnownGaps()
        self._gap_tally = GapTally(app.name, self._gaps, meter=meter, emit=emit)
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why it does not get on at the moment; empty while it does."""
        return self._trouble or self._reader.trouble

    async def run(self) -> None:
        """Read what is left of the window, however long it takes.

        Raises:
            BackfillStopped: the job is not to go on.
        """
        patience = Patience(self._random)
        while self.position < self._job.ceiling:
            try:
                await self._read_on()
            except BackfillStopped:
                raise
            except BridgeError as error:
                self._trouble = str(error)
                await self._clock.sleep(patience.after(error))
                self._trouble = ""

    async def _read_on(self) -> None:
        self._gaps.resume(await self._journal.gaps(self.name))
        newest = await self._journal.anchor(self.name, LATEST)
        if newest is not None:
            self._reader.knows(newest.tick)
        if not self._met:
            self._retention.doubt(self._job.floor, self._clock.now())
        target = slice_target(self._reader.limit.value)
        backlog = Backlog(self._reader, width=_WIDTH, clock=self._clock, random=self._random)
        await backlog.read(
            Slice(self.position, self._job.ceiling),
            density=0.0,
            target=target,
            anchor=None,
            store=self._store,
        )

    async def _store(self, piece: Piece) -> int:
        """Journal a slice; how many entries it held."""
        window, walk = piece.window, piece.walk
        at = self._account.time.at(piece.began)
        found = [] if walk is None else walk.found()
        gaps, closed = list(piece.gaps), list[Gap]()
        if walk is not None:
            # Only at the end it is known that nothing at all was shown.
            last = window.ceiling >= self._job.ceiling
            kind = ReadKind.BACKFILL if last else ReadKind.BACKLOG
            gaps += await self._retention.gap(walk, found, window.ceiling, kind)
            closed = self._gaps.closed_by(found, window, gaps)
        observed = self._clock.now()
        appended = await self._append(
            Append(
                self.name,
                found,
                window.ceiling,
                lambda missing, new: self._encode(missing, observed, new),
                Read(
                    ReadKind.BACKFILL, window.floor, window.ceiling, at, walk.pages if walk else 0
                ),
                gaps=tuple(gaps),
                closed=tuple(closed),
            )
        )
        self.position = window.ceiling
        self.read += appended.added
        self._met += len(found)
        self._gap_tally.stored(gaps, closed)
        if appended.last_seq is not None:
            self._room.stored(appended.last_seq, appended.added)
        return len(found)

    async def _append(self, append: Append) -> Appended:
        patience = Patience(self._random)
        while True:
            await self._room.wait()
            try:
                appended = await self._journal.backfill(append, self._job.name)
            except BackfillStopped:
                raise
            except JournalFull as error:
                self._trouble = f"the journal is half full; waits for {error.held_by or 'room'}"
                await self._clock.sleep(_FULL_PAUSE)
            except JournalError as error:
                self._trouble = str(error)
                await self._clock.sleep(patience.after(error))
            else:
                self._trouble = ""
                self._shaped.stored()
                return appended
