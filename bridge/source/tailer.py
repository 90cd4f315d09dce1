"""The loop that reads one app: poll the live edge, catch up when it is far, journal what is proved.

Everything that decides is elsewhere and pure (`walk`, `schedule`, `trouble`); this loop asks,
waits and stores. It may be cancelled at any await: what is not journaled is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from bridge.clock import Clock
from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    BridgeError,
    ConfigError,
    JournalError,
    JournalFull,
)
from bridge.journal import Journal
from bridge.model import (
    SECOND,
    Anchor,
    Append,
    AppRecord,
    Encoded,
    Filter,
    Identified,
    Page,
    Query,
    Tick,
)
from bridge.source.account import Account
from bridge.source.late import LateTally
from bridge.source.schedule import Pace, PageLimit, Slice, Slicer
from bridge.source.sweeps import Sweeps
from bridge.source.trouble import Trouble
from bridge.source.walk import Gap, Walk
from bridge.telemetry import Emit
from bridge.telemetry.reading import (
    AppResumed,
    AppStarted,
    BacklogFound,
    BacklogRead,
    FiltersChanged,
    GapFound,
    NothingShown,
    ReadingPaused,
    ReadingResumed,
)

OVERLAP: Final[Tick] = SECOND // 2
"""How far below the last completed walk the next one starts: what was visible only just late."""

_LIVE_PAGES: Final = 8
_SLICE_PAGES: Final = 16
_WALK_BYTES: Final = 8 * 1024 * 1024
_PAGES_PER_SLICE: Final = 3
_PRUNE_EVERY: Final = 60 * SECOND
_PRUNE_MARGIN: Final = 600 * SECOND
_END_OF_TIME: Final[Tick] = 2**62


@dataclass(frozen=True, slots=True)
class AppSpec:
    """What one app's tailer is told.

    ``stream`` and ``filters`` are canonical texts of what the position belongs to (see
    `AppRecord`); ``named`` says that the name was given, not derived; ``start`` resolves the
    first start from the server's time; intervals are in seconds, ``late_sweeps`` in ticks.
    """

    name: str
    named: bool
    stream: str
    filters: str
    filter: Filter
    start: Callable[[Tick], Tick]
    interval: float
    max_interval: float
    page_size: int
    late_sweeps: tuple[Tick, ...]


class Tailer:
    """Reads one app from its position on."""

    def __init__(
        self,
        spec: AppSpec,
        *,
        account: Account,
        journal: Journal,
        encode: Callable[[Sequence[Identified], Tick], Sequence[Encoded]],
        clock: Clock,
        random: Random,
        emit: Emit,
    ) -> None:
        self.name = spec.name
        self.read = 0
        self._spec = spec
        self._account = account
        self._journal = journal
        self._encode = encode
        self._clock = clock
        self._emit = emit
        self._pace = Pace(interval=spec.interval, max_interval=spec.max_interval)
        self._limit = PageLimit(spec.page_size)
        # Answers and what is read from them fail apart: a page that comes ends only the first.
        self._asking = Trouble(spec.name, clock=clock, random=random, emit=emit)
        self._reading = Trouble(spec.name, clock=clock, random=random, emit=emit)
        self._position: Tick | None = None
        self._start: Tick = 0
        self._sweeps = Sweeps({})
        self._late = LateTally(spec.name, clock=clock, emit=emit)
        self._first = False
        self._gaps: set[Gap] = set()
        self._density = 0.0
        self._pruned: Tick = 0
        self._flowed = False

    @property
    def position(self) -> Tick | None:
        """The tick below which everything the API showed is journaled; None before the start."""
        return self._position

    @property
    def lag(self) -> float | None:
        """Seconds between the position and the server's time; None before the start."""
        if self._position is None:
            return None
        return max(0, self._account.time.now() - self._position) / SECOND

    @property
    def trouble(self) -> str:
        """Why reading is held at the moment; empty when it is not."""
        return self._asking.reason or self._reading.reason

    async def resume(self) -> None:
        """Take up the journaled position, if there is one. Asks the journal only.

        Raises:
            ConfigError: the name's position belongs to another stream.
        """
        record = await self._journal.app(self.name)
        if record is None:
            return
        spec = self._spec
        if record.stream != spec.stream and not spec.named:
            raise ConfigError(
                f"the position of {self.name!r} was reached on another stream ({record.stream})",
                where=f"apps: {self.name}",
                hint="give this app a `name` of its own, so that both positions are kept",
            )
        if (record.stream, record.filters) != (spec.stream, spec.filters):
            self._emit(FiltersChanged(self.name, record.position))
            await self._journal.begin(self._record(record.position))
        self._position = self._start = record.position
        self._sweeps = Sweeps.resumed(spec.late_sweeps, start=record.position, cursors=record.swept)
        self._emit(AppResumed(self.name, record.position))

    async def run(self) -> None:
        """Read for ever."""
        while True:
            await self.poll()
            await self._clock.sleep(self._pace.after(flowed=self._flowed))

    async def run_once(self) -> None:
        """Read until everything that the server showed at this call is journaled.

        That is when the live edge is reached, or, where entries come faster than that, a backlog
        that ends after this call. Sweeps that are due by then are done too.
        """
        goal: Tick | None = None
        while not await self.poll(sweep_all=True):
            # The server's time is known to a second only, and only after a first answer.
            goal = goal or self._account.time.now() + SECOND
            if self._position is not None and self._position >= goal:
                return

    async def poll(self, *, sweep_all: bool = False) -> bool:
        """One look at the live edge, or the way there if it is far; whether it was reached.

        Then one slice of the sweeps that are due, or all of them.
        """
        before = self.read
        try:
            if self._position is None:
                await self._begin()
            reached = await self._read_live_edge()
            await self._sweep(everything=sweep_all)
        except BridgeError as error:
            await self._clock.sleep(self._reading.pause_after(error))
            return False
        finally:
            self._flowed = self.read > before
        self._reading.over()
        return reached

    async def _begin(self) -> None:
        """Commit the resolved start before the first read (a crash must not resolve it anew)."""
        if not self._account.time.known:
            await self._page(Query(self._spec.filter, self._clock.now(), None, 1))
        start = self._spec.start(self._account.time.now())
        await self._journal.begin(self._record(start))
        self._position = self._start = start
        self._sweeps = Sweeps.resumed(self._spec.late_sweeps, start=start, cursors={})
        self._first = True
        self._emit(AppStarted(self.name, start))

    def _record(self, position: Tick) -> AppRecord:
        return AppRecord(self.name, self._spec.stream, self._spec.filters, position)

    async def _read_live_edge(self) -> bool:
        began = self._clock.monotonic()
        floor, anchor = await self._floor()
        walk = Walk(floor=floor, ceiling=None, anchor=anchor, limit=self._limit.value)
        reached = await self._drive(walk, _LIVE_PAGES)
        now = self._account.time.at(began)
        if reached:
            seen, _ = await self._store(walk, Slice(floor, now), at=now)
            await self._prune(floor)
            if self._first and not seen:
                self._emit(NothingShown(self.name, self._start))
            self._first = False
        else:
            # Entries stamped ahead of time belong to the backlog too.
            ahead = Slice(now, now if walk.top is None else max(now, walk.top + 1))
            # Where less is still to be swept than to be read, the backlog begins there: then what
            # it covers is not read again for the sweeps.
            lowest = self._sweeps.lowest
            if lowest is not None and floor - (now - floor) <= lowest < floor:
                floor = lowest
            self._density, target = walk.density, walk.largest * _PAGES_PER_SLICE
            del walk  # its pages are not needed while the backlog is read
            await self._catch_up(Slice(floor, now), target)
            await self._catch_up(ahead, target)
        return reached

    async def _floor(self) -> tuple[Tick, Anchor | None]:
        """Where the live walk ends: on journaled entries, or at the start while there are none.

        Never above the newest journaled entry, so that an empty page moves nothing; never above
        the last completed walk less the overlap, so that an entry stamped ahead hides nothing.
        """
        newest = await self._journal.anchor(self.name, _END_OF_TIME)
        if newest is None or self._position is None:
            return self._start, None
        target = min(newest.tick, self._position - OVERLAP)
        anchor = await self._journal.anchor(self.name, target)
        return (target, None) if anchor is None else (anchor.tick, anchor)

    async def _catch_up(self, backlog: Slice, target: int) -> None:
        """Read and journal a backlog slice by slice, oldest first."""
        if backlog.ceiling <= backlog.floor:
            return
        before = self.read
        self._emit(BacklogFound(self.name, backlog.floor, backlog.ceiling))
        slicer = Slicer(backlog, density=self._density, target=target)
        while piece := slicer.next():
            began = self._clock.monotonic()
            walk = await self._read_slice(slicer, piece)
            if walk is not None:
                at = self._account.time.at(began)
                entries, _ = await self._store(walk, piece, at=at)
                slicer.completed(piece, entries)
        self._emit(BacklogRead(self.name, self.read - before))

    async def _sweep(self, *, everything: bool) -> None:
        """Read closed windows again, at the ages they have reached, for what came late."""
        now = self._account.time.now()
        while window := self._sweeps.due(now, at_once=everything):
            await self._sweep_slice(Slice(*window))
            if not everything:
                return

    async def _sweep_slice(self, window: Slice) -> None:
        """Read the oldest slice of a window again and journal what is missing."""
        target = self._limit.value * _PAGES_PER_SLICE
        slicer = Slicer(window, density=self._density, target=target)
        while piece := slicer.next():
            began = self._clock.monotonic()
            walk = await self._read_slice(slicer, piece)
            if walk is not None:
                at = self._account.time.at(began)
                _, late = await self._store(walk, piece, at=at)
                if late:
                    self._late.found(late, (at - piece.floor) / SECOND)
                    self._sweeps = self._sweeps.extended(piece.floor, at)
                return

    async def _read_slice(self, slicer: Slicer, piece: Slice) -> Walk | None:
        """Read one slice to its end; None if it was too dense, and the slicer was told so."""
        anchor = await self._journal.anchor(self.name, piece.floor - 1)
        walk = Walk(
            floor=piece.floor if anchor is None else anchor.tick,
            ceiling=piece.ceiling,
            anchor=anchor,
            limit=self._limit.value,
        )
        if await self._drive(walk, None if piece.narrowest else _SLICE_PAGES):
            return walk
        slicer.too_dense(piece)
        return None

    async def _drive(self, walk: Walk, most_pages: int | None) -> bool:
        """Read a walk to its end; False when that takes more pages, or memory, than allowed."""
        while not walk.done:
            large = most_pages is not None and walk.pages and walk.size >= _WALK_BYTES
            if large or (most_pages is not None and walk.pages >= most_pages):
                return False
            bounds = walk.bounds
            query = Query(self._spec.filter, bounds.since, bounds.until, bounds.limit)
            try:
                page = await self._page(query)
            except ApiLimitRefused as error:
                self._limit.refused(bounds.limit)
                self._shrink(walk, error)
            except ApiAnswerTooLarge as error:
                self._limit.too_large(bounds.limit)
                self._shrink(walk, error)
            else:
                walk.take(page)
        self._limit.completed()
        return True

    @staticmethod
    def _shrink(walk: Walk, error: ApiError) -> None:
        if not walk.shrink():
            raise error

    async def _page(self, query: Query) -> Page:
        """One page, however long it takes: a failed request does not spoil the walk it is for."""
        while True:
            try:
                page = await self._account.page(
                    self.name, query, troubled=bool(self._asking.reason)
                )
            except (ApiLimitRefused, ApiAnswerTooLarge):
                raise
            except ApiError as error:
                await self._clock.sleep(self._asking.pause_after(error))
            else:
                self._asking.over()
                return page

    async def _store(self, walk: Walk, window: Slice, *, at: Tick) -> tuple[int, int]:
        """Journal a proved walk, waiting for room and for the disk.

        Returns how many entries it saw and how many of them were new. ``at`` is the server's time
        when the walk began.
        """
        found = walk.found()
        for gap in walk.gaps:
            self._tell(gap)
        # The position never claims a time that the server had not reached.
        position = max(min(window.ceiling, at), self._position or 0)
        # An empty live edge is one answer, and proves nothing for the sweeps.
        proved = bool(found) or window.ceiling < at
        swept = self._sweeps.covered(window.floor, window.ceiling, at) if proved else self._sweeps
        added = 0
        if found:
            observed = self._clock.now()
            added = await self._append(
                Append(
                    self.name,
                    found,
                    position,
                    lambda missing: self._encode(missing, observed),
                    swept.cursors,
                )
            )
        self.read += added
        self._position, self._sweeps = position, swept
        self._density = len(found) / max(1, window.ceiling - window.floor)
        return len(found), added

    def _tell(self, gap: Gap) -> None:
        """Report a gap once, however often its tick is read."""
        if gap not in self._gaps:
            self._gaps.add(gap)
            self._emit(GapFound(self.name, gap.tick, gap.at_least))

    async def _append(self, append: Append) -> int:
        while True:
            try:
                return (await self._journal.append(append)).added
            except JournalFull as error:
                self._emit(ReadingPaused(self.name, error.held_by))
                await self._journal.wait_for_room()
                self._emit(ReadingResumed(self.name))
            except JournalError as error:
                await self._clock.sleep(self._reading.pause_after(error))

    async def _prune(self, floor: Tick) -> None:
        """Now and then, forget fingerprints that no read can show again."""
        if floor - self._pruned > _PRUNE_EVERY:
            lowest = self._sweeps.lowest
            keep = floor if lowest is None else min(floor, lowest)
            await self._journal.prune(self.name, keep - _PRUNE_MARGIN)
            self._pruned = floor
