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
from bridge.source.schedule import Pace, PageLimit, Slicer
from bridge.source.trouble import Trouble
from bridge.source.walk import Walk
from bridge.telemetry import Emit
from bridge.telemetry.reading import (
    AppResumed,
    AppStarted,
    BacklogFound,
    BacklogRead,
    FiltersChanged,
    ReadingPaused,
    ReadingResumed,
)

OVERLAP: Final[Tick] = SECOND
"""How far below the last completed walk the next one starts: what was visible only just late."""

_LIVE_PAGES: Final = 8
_SLICE_PAGES: Final = 16
_PAGES_PER_SLICE: Final = 3
_PRUNE_EVERY: Final = 60 * SECOND
_PRUNE_MARGIN: Final = 600 * SECOND
_END_OF_TIME: Final[Tick] = 2**62


@dataclass(frozen=True, slots=True)
class AppSpec:
    """What one app's tailer is told.

    ``stream`` and ``filters`` are canonical texts of what the position belongs to (see
    `AppRecord`); ``named`` says that the name was given, not derived; ``start`` resolves the
    first start from the server's time; intervals are in seconds.
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
        self._emit(AppResumed(self.name, record.position))

    async def run(self) -> None:
        """Read for ever."""
        while True:
            await self.poll()
            await self._clock.sleep(self._pace.after(flowed=self._flowed))

    async def run_once(self) -> None:
        """Read until a walk that began after this call has reached the live edge."""
        while not await self.poll():
            pass

    async def poll(self) -> bool:
        """One look at the live edge, and the way there if it is far; whether it was reached."""
        before = self.read
        try:
            if self._position is None:
                await self._begin()
            reached = await self._read_live_edge()
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
        self._emit(AppStarted(self.name, start))

    def _record(self, position: Tick) -> AppRecord:
        return AppRecord(self.name, self._spec.stream, self._spec.filters, position)

    async def _read_live_edge(self) -> bool:
        began = self._clock.monotonic()
        floor, anchor = await self._floor()
        walk = Walk(floor=floor, ceiling=None, anchor=anchor, limit=self._limit.value)
        if await self._drive(walk, _LIVE_PAGES):
            await self._store(walk, self._account.time.at(began))
            await self._prune(floor)
            return True
        ceiling = self._account.time.at(began)
        target = walk.largest * _PAGES_PER_SLICE
        await self._catch_up(Slicer(floor, ceiling, density=walk.density, target=target))
        return False

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

    async def _catch_up(self, slicer: Slicer) -> None:
        """Read and journal a backlog slice by slice, oldest first."""
        before = self.read
        whole = slicer.next()
        if whole is None:
            return
        self._emit(BacklogFound(self.name, whole.floor, slicer.ceiling))
        while piece := slicer.next():
            anchor = await self._journal.anchor(self.name, piece.floor - 1)
            walk = Walk(
                floor=piece.floor if anchor is None else anchor.tick,
                ceiling=piece.ceiling,
                anchor=anchor,
                limit=self._limit.value,
            )
            if await self._drive(walk, None if piece.narrowest else _SLICE_PAGES):
                slicer.completed(piece, await self._store(walk, piece.ceiling))
            else:
                slicer.too_dense(piece)
        self._emit(BacklogRead(self.name, self.read - before))

    async def _drive(self, walk: Walk, most_pages: int | None) -> bool:
        """Read a walk to its end; False when that takes more pages than allowed."""
        while not walk.done:
            if most_pages is not None and walk.pages >= most_pages:
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
                page = await self._account.page(self.name, query)
            except (ApiLimitRefused, ApiAnswerTooLarge):
                raise
            except ApiError as error:
                await self._clock.sleep(self._asking.pause_after(error))
            else:
                self._asking.over()
                return page

    async def _store(self, walk: Walk, position: Tick) -> int:
        """Journal a proved walk, waiting for room and for the disk; how many entries it saw."""
        found = walk.found()
        if found:
            observed = self._clock.now()
            append = Append(
                self.name, found, position, lambda missing: self._encode(missing, observed)
            )
            self.read += await self._append(append)
        self._position = position if self._position is None else max(self._position, position)
        return len(found)

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
        """Now and then, forget fingerprints that no walk can show again."""
        if floor - self._pruned > _PRUNE_EVERY:
            await self._journal.prune(self.name, floor - _PRUNE_MARGIN)
            self._pruned = floor
