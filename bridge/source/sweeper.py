"""Reads closed windows of one app again: for entries that came late, and for what failed before.

A window that the API fails for holds up nothing but itself: it is tried once now and then, in ever
smaller parts; what is left of it after an hour, while others succeed, is recorded as a gap.
"""

from __future__ import annotations

from random import Random
from typing import Final

from bridge.clock import Clock
from bridge.errors import ApiError
from bridge.journal import Journal
from bridge.model import SECOND, Anchor, Gap, GapKind, ReadKind, Tick
from bridge.source.backlog import LONGEST_FAILURE, NARROWEST_FAILURE
from bridge.source.late import LateTally
from bridge.source.progress import Progress
from bridge.source.reader import Reader, concerns_one_request
from bridge.source.schedule import Slice, Slicer
from bridge.source.server_clock import ServerClock
from bridge.source.trouble import Patience, Trouble
from bridge.source.walk import Walk
from bridge.telemetry import Emit
from bridge.telemetry.meter import Meter
from bridge.telemetry.spans import SWEEP, Tracer

_PAGES: Final = 16
_PAGES_WANTED: Final = 3
_PATIENCE: Final = 60.0
_BRIEFLY: Final = 2.0
_RETRY_GAPS_EVERY: Final = 3600.0
_SELDOM: Final = 60.0


class _Failing:
    """The slice that the API fails for at the moment: how wide to ask, since when, when again."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.over()

    def over(self) -> None:
        """It was read, or another one is in turn."""
        self.since: float | None = None
        self.width: Tick | None = None
        self.not_before = 0.0
        self._pauses = Patience(self._random)

    def failed(self, piece: Slice, error: ApiError, now: float) -> None:
        """Once more: ask for less, a little later."""
        self.since = now if self.since is None else self.since
        self.width = max(NARROWEST_FAILURE, (piece.ceiling - piece.floor) // 4)
        self.not_before = now + self._pauses.after(error)

    def for_long(self, piece: Slice, now: float) -> bool:
        """Whether the smallest part has failed for as long as is waited."""
        narrow = piece.ceiling - piece.floor <= NARROWEST_FAILURE
        return narrow and self.since is not None and now - self.since >= LONGEST_FAILURE


class Sweeper:
    """The sweeps of one app, beside its live edge."""

    def __init__(
        self,
        app: str,
        *,
        reader: Reader,
        progress: Progress,
        meter: Meter,
        tracer: Tracer,
        journal: Journal,
        time: ServerClock,
        clock: Clock,
        random: Random,
        emit: Emit,
    ) -> None:
        self._reader = reader
        self._progress = progress
        self._meter = meter
        self._tracer = tracer
        self._journal = journal
        self._app = app
        self._time = time
        self._clock = clock
        self._late = LateTally(app, clock=clock, emit=emit)
        self._trouble = Trouble(app, clock=clock, emit=emit)
        self._failing = _Failing(random)
        self._gaps_tried = -_RETRY_GAPS_EVERY
        self._swept_at = -_SELDOM

    @property
    def trouble(self) -> str:
        """Why sweeps are held at the moment; empty while they are not."""
        return self._trouble.reason

    async def sweep(self, seconds: float) -> None:
        """Read what is due, slice by slice for about so long, unless it failed just now.

        Seldom while nothing was ever shown: then each live look reads everything again anyway.
        """
        now = self._clock.monotonic()
        if self._progress.barren and now - self._swept_at < _SELDOM:
            return
        self._swept_at, end = now, now + seconds
        while window := self._progress.due(self._time.now()):
            if self._clock.monotonic() < self._failing.not_before:
                return
            await self._try(Slice(*window))
            if self._clock.monotonic() >= end:
                return

    async def _try(self, piece: Slice) -> None:
        """Read the oldest slice of a window, or take note that it fails; never for long."""
        if self._failing.width is not None:
            piece = Slice(piece.floor, min(piece.ceiling, piece.floor + self._failing.width))
        try:
            await self._read(piece, patience=_BRIEFLY)
        except ApiError as error:
            await self._note(piece, error)
        else:
            self._trouble.over()
            self._failing.over()

    async def sweep_all(self) -> None:
        """Read all that is due.

        Raises:
            ApiError: the API fails for a part of it.
        """
        now = self._time.now()
        while window := self._progress.due(now, at_once=True):
            await self._read(Slice(*window), patience=_PATIENCE)

    async def retry_gaps(self, *, at_once: bool) -> None:
        """Ask now and then for what the API failed for."""
        if not at_once and self._clock.monotonic() - self._gaps_tried < _RETRY_GAPS_EVERY:
            return
        self._gaps_tried = self._clock.monotonic()
        for gap in self._progress.gaps.unreadable:
            window = Slice(gap.floor, gap.ceiling)
            began = self._clock.monotonic()
            walk = self._reader.walk(gap.floor, gap.ceiling)
            try:
                gaps = await self._reader.read(walk, patience=_PATIENCE if at_once else _BRIEFLY)
            except ApiError:
                continue  # it stays a gap
            await self._progress.store(walk, window, ReadKind.SWEEP, gaps=gaps or [], began=began)

    async def _read(self, window: Slice, *, patience: float) -> None:
        """Read the oldest slice of a window again and journal what is missing."""
        readable, gap = self._progress.gaps.readable(window)
        if gap is not None:
            now = self._time.now()
            await self._progress.turn_sweeps(
                lambda sweeps: sweeps.covered(window.floor, gap.ceiling, now)
            )
        if readable is None:
            return
        with self._tracer.span(SWEEP, app=self._app) as note:
            note("entries", await self._read_again(readable, patience))

    async def _read_again(self, window: Slice, patience: float) -> int:
        began = self._clock.monotonic()
        piece, walk, gaps = await self._walked(window, patience)
        stored = await self._progress.store(walk, piece, ReadKind.SWEEP, gaps=gaps, began=began)
        if stored.added:
            at = self._time.at(began)
            late = [max(0, at - one.tick) / SECOND for one in stored.added]
            self._late.found(len(late), max(late))
            self._meter.late(self._app, late)
            await self._progress.turn_sweeps(lambda sweeps: sweeps.extended(piece.floor, at))
        return len(stored.added)

    async def _walked(self, window: Slice, patience: float) -> tuple[Slice, Walk, list[Gap]]:
        """The oldest slice of a window that a few pages show, read."""
        slicer = Slicer(window, density=self._progress.density, target=self._target)
        piece = slicer.next(self._reader.learned.grain) or window
        while True:
            anchor = await self._anchor(piece)
            floor = piece.floor if anchor is None else anchor.tick
            walk = self._reader.walk(floor, piece.ceiling, anchor)
            most = None if piece.narrowest(self._reader.learned.grain) else _PAGES
            gaps = await self._reader.read(walk, most_pages=most, patience=patience)
            if gaps is not None:
                return piece, walk, gaps
            piece = piece.parts(self._reader.learned.grain)[0]

    @property
    def _target(self) -> int:
        limit = self._reader.limit.value
        return _PAGES_WANTED * (min(limit, self._reader.learned.largest_page) or limit)

    async def _anchor(self, piece: Slice) -> Anchor | None:
        """Known entries below a slice, unless the way down leads through what the API fails for."""
        anchor = await self._journal.anchor(self._app, piece.floor - 1)
        if anchor is None:
            return None
        position = self._progress.position or 0
        return anchor if self._progress.gaps.above(anchor.tick, position) == anchor.tick else None

    async def _note(self, piece: Slice, error: ApiError) -> None:
        """Take note of a failure; after an hour of them, while others succeed, it is a gap."""
        self._trouble.note(error)
        now = self._clock.monotonic()
        if not self._failing.for_long(piece, now):
            self._failing.failed(piece, error, now)
        elif not concerns_one_request(error) or not await self._reader.answers():
            self._failing.over()  # not this slice's fault
        else:
            gap = Gap(GapKind.UNREADABLE, piece.floor, piece.ceiling, 0)
            await self._progress.store(None, piece, ReadKind.SWEEP, gaps=[gap], began=now)
            self._failing.over()
            self._trouble.over()
