"""A stretch of the past, read slice by slice: several at a time, handed over oldest first.

A slice that the API keeps failing for, while it answers other questions of the same app, is cut
down to what really fails; that is handed over as a gap, so that it holds up nothing for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from random import Random
from typing import Final, TypeAlias, cast

from msgspec import Struct

from bridge.clock import Clock
from bridge.errors import ApiError
from bridge.model import SECOND, Anchor, Gap, GapKind, Tick
from bridge.source.ahead import in_line
from bridge.source.reader import Reader, concerns_one_request
from bridge.source.schedule import Slice, Slicer
from bridge.source.trouble import Patience
from bridge.source.walk import Walk
from bridge.tasks import cancelled

LONGEST_FAILURE: Final = 3600.0
"""Seconds that a slice may fail, while others succeed, before it is given up for now."""

NARROWEST_FAILURE: Final[Tick] = SECOND
"""A slice that fails is not cut down further than to this."""

_SHORT_FAILURE: Final = 60.0
_SLICE_PAGES: Final = 6
_LIKELY_BELOW: Final = 8
_FARTHEST_BELOW: Final[Tick] = 60_000_000


class Piece(Struct, frozen=True):
    """A slice that was read: its walk, whose ``gaps`` are what it could not prove.

    ``walk`` is None where the API fails for the slice; it is all gap then. ``began`` is the
    monotonic moment of its first request.
    """

    window: Slice
    walk: Walk | None
    gaps: list[Gap]
    began: float


class _Cut(Struct, frozen=True):
    """A slice to be read in smaller parts, because it is too dense or because it fails."""

    fails: bool


class _Job(Struct):
    """A slice in line; ``suspect`` if it is part of one that failed for long.

    ``ahead`` if its reading began before all that come before it were stored.
    """

    window: Slice
    suspect: bool = False
    ahead: bool = False
    task: asyncio.Task[Piece | _Cut] | None = None


Store: TypeAlias = Callable[[Piece], Awaitable[int]]
"""Journals a piece; how many entries it held."""


class Backlog:
    """Reads stretches of one app's past."""

    def __init__(self, reader: Reader, *, width: int, clock: Clock, random: Random) -> None:
        """``width`` is how many slices are meant to be read at a time, as far as all may."""
        self._reader = reader
        self._line = in_line(width)
        self._clock = clock
        self._random = random

    async def read(
        self, window: Slice, *, density: float, target: int, anchor: Anchor | None, store: Store
    ) -> None:
        """Read all of a window; ``store`` is called for one slice after another, oldest first.

        ``density`` is the expected number of entries a tick, ``target`` that of a slice;
        ``anchor`` has the journaled entries on the window's floor.
        """
        slicer = Slicer(window, density=density, target=target)
        line: deque[_Job] = deque()
        try:
            while True:
                while len(line) < self._line and (piece := slicer.next(self._reader.learned.grain)):
                    line.append(_Job(piece))
                if not line:
                    return
                for job in islice(line, self._line):
                    if job.task is None and not self._may_start(job, line[0]):
                        break
                    job.task = job.task or self._start(job, slicer.density, anchor)
                job = line[0]
                outcome = await cast("asyncio.Task[Piece | _Cut]", job.task)
                self._left(line.popleft())
                if isinstance(outcome, Piece):
                    slicer.completed(job.window, await store(outcome))
                else:
                    slicer.too_dense(job.window)
                    parts = [
                        _Job(part, suspect=outcome.fails)
                        for part in job.window.parts(self._reader.learned.grain)
                    ]
                    line.extendleft(reversed(parts))
        finally:
            await cancelled([job.task for job in line if job.task is not None])
            for job in line:
                self._left(job)

    def _may_start(self, job: _Job, first: _Job) -> bool:
        job.ahead = job is not first and self._reader.ahead.take()
        return job is first or job.ahead

    def _left(self, job: _Job) -> None:
        if job.ahead:
            self._reader.ahead.give_back()

    def _start(
        self, job: _Job, density: float, anchor: Anchor | None
    ) -> asyncio.Task[Piece | _Cut]:
        if anchor is not None and anchor.tick != job.window.floor:
            anchor = None
        return asyncio.create_task(self._read(job.window, density, anchor, job.suspect))

    async def _read(
        self, window: Slice, density: float, anchor: Anchor | None, suspect: bool
    ) -> Piece | _Cut:
        """Read one slice, as often as it takes."""
        began, pauses = self._clock.monotonic(), Patience(self._random)
        patience = _SHORT_FAILURE if suspect else LONGEST_FAILURE
        below = (
            0
            if anchor or suspect or not density
            else min(int(_LIKELY_BELOW / density), _FARTHEST_BELOW)
        )
        while True:
            walk = self._reader.walk(window.floor, window.ceiling, anchor, below=below)
            most = None if window.narrowest(self._reader.learned.grain) else _SLICE_PAGES
            try:
                gaps = await self._reader.read(walk, most_pages=most, patience=patience)
            except ApiError as error:
                self._reader.failed(error)
                if self._clock.monotonic() - began < patience:
                    await self._clock.sleep(pauses.after(error))
                elif not concerns_one_request(error) or not await self._reader.answers():
                    began = self._clock.monotonic()  # not this slice's fault
                elif window.ceiling - window.floor > NARROWEST_FAILURE:
                    return _Cut(fails=True)
                else:
                    gap = Gap(GapKind.UNREADABLE, window.floor, window.ceiling, 0)
                    return Piece(window, None, [gap], began)
            else:
                return _Cut(fails=False) if gaps is None else Piece(window, walk, gaps, began)
