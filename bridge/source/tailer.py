"""The loop that reads one app: poll the live edge, catch up when it is far, journal what is proved.

What decides is elsewhere and pure (`walk`, `schedule`, `sweeps`), and so is what stores
(`progress`) and reads again (`sweeper`); this loop asks and waits. It may be cancelled at any
await: what is not journaled is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Final

from msgspec import Struct

from bridge.clock import Clock
from bridge.errors import ApiError, BridgeError, ConfigError, JournalError
from bridge.journal import Journal
from bridge.model import (
    SECOND,
    Anchor,
    AppRecord,
    Encoded,
    Filter,
    Gap,
    Identified,
    Query,
    ReadKind,
    Tick,
)
from bridge.pulse import Pulse
from bridge.source.account import Account
from bridge.source.backlog import Backlog, Piece
from bridge.source.progress import Progress
from bridge.source.reader import Reader
from bridge.source.retention import LONG_AWAY, Retention
from bridge.source.schedule import Looks, Pace, Slice, slice_target
from bridge.source.shaped import ShapedTally
from bridge.source.sweeper import Sweeper
from bridge.source.sweeps import Sweeps
from bridge.source.trouble import Patience
from bridge.source.walk import Walk
from bridge.tasks import cancelled
from bridge.telemetry import Emit
from bridge.telemetry.meter import NO_METER, Meter
from bridge.telemetry.reading import (
    AppResumed,
    AppStarted,
    BacklogFound,
    BacklogRead,
    FiltersChanged,
    NothingShown,
)
from bridge.telemetry.spans import NO_TRACER, POLL, Tracer
from bridge.timestamps import LATEST

OVERLAP: Final[Tick] = SECOND // 2
"""How far below the last completed walk the next one starts: what was visible only just late."""

_SELDOM: Final = 2
"""Intervals without a request of an app after which it is looked at seldom."""

AHEAD: Final[Tick] = 5 * SECOND
"""Entries stamped further ahead of the server's time than this are read apart from the others."""

_LIVE_PAGES: Final = 8
_LIVE_PATIENCE: Final = 60.0
_PRUNE_EVERY: Final = 60 * SECOND
_PRUNE_MARGIN: Final = 600 * SECOND
_SHORTEST_AWAY: Final[Tick] = 60 * SECOND
_LOOKS_AWAY: Final = 4
_MORE_OPINIONS: Final = 2


class AppSpec(Struct, frozen=True):
    """What one app's tailer is told.

    ``stream`` and ``filters`` are canonical texts of what the position belongs to (see
    `AppRecord`); ``named`` says that the name was given, not derived; ``start`` resolves the
    first start from the server's time; intervals are in seconds, ``late_sweeps`` and
    ``ledger_for``, how long fingerprints are kept, in ticks. ``backlog_width`` is how many slices
    of a backlog are read at a time.
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
    ledger_for: Tick = 24 * 3600 * SECOND
    backlog_width: int = 4


class Tailer:
    """Reads one app from its position on."""

    def __init__(
        self,
        spec: AppSpec,
        *,
        account: Account,
        journal: Journal,
        encode: Callable[[Sequence[Identified], Tick, Sequence[Gap]], Sequence[Encoded]],
        clock: Clock,
        random: Random,
        emit: Emit,
        settle: Callable[[], Mapping[str, int]] = dict,
        meter: Meter = NO_METER,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """``settle`` is called after each append and returns what its rules did to entries."""
        self.name = spec.name
        self._spec = spec
        self._account = account
        self._journal = journal
        self._clock = clock
        self._emit = emit
        self._tracer = tracer
        self._pace = Pace(interval=spec.interval, max_interval=spec.max_interval)
        self._reader = Reader(
            spec.name,
            spec.filter,
            page_size=spec.page_size,
            account=account,
            clock=clock,
            random=random,
            emit=emit,
        )
        self._aside = self._reader.aside()
        self._retention = Retention(self._reader)
        self._progress = Progress(
            spec.name,
            journal=journal,
            encode=encode,
            shaped=ShapedTally(spec.name, settle, clock=clock, emit=emit),
            retention=self._retention,
            meter=meter,
            time=account.time,
            clock=clock,
            random=random,
            emit=emit,
        )
        self._sweeper = Sweeper(
            spec.name,
            reader=self._aside,
            progress=self._progress,
            journal=journal,
            meter=meter,
            tracer=tracer,
            time=account.time,
            clock=clock,
            random=random,
            emit=emit,
        )
        self._backlog = Backlog(self._reader, width=spec.backlog_width, clock=clock, random=random)
        self._look_patience, self._sweep_patience = Patience(random), Patience(random)
        self._at_edge = False
        self._start: Tick = 0
        self._begun = float("inf")
        self._timed = False
        self._looks = Looks()
        self._first = False
        self._pruned: Tick = 0
        self._flowed = False
        self._woken = Pulse()
        self._looked = Pulse()
        self._sweeping: float | None = None
        self._moved = clock.monotonic()

    @property
    def asleep(self) -> bool:
        """Whether it looks seldom, since nothing came of late or the budget is short."""
        heard = self._clock.monotonic() - self._reader.heard
        return self._pace.slow or heard > _SELDOM * self._spec.interval

    def wake(self) -> None:
        """Look at once, and then often for a while: something is there to be read."""
        self._pace.hasten()
        self._woken.fire()

    @property
    def progressed(self) -> float | None:
        """The monotonic moment of the last step: a request, its answer or failure, a commit.

        None while it rightly waits, for room in the journal or for its turn to ask: that may take
        as long as it takes. Every other wait ends within a minute or the longest interval.
        """
        if self._progress.paused:
            return None
        stored = self._progress.moved
        look = max(self._moved, stored[ReadKind.LIVE], stored[ReadKind.BACKLOG])
        loops = [(self._reader, look)]
        if self._sweeping is not None:
            loops.append((self._aside, max(self._sweeping, stored[ReadKind.SWEEP])))
        if any(reader.waits for reader, _ in loops):
            return None
        return min(max(moved, reader.heard) for reader, moved in loops)

    @property
    def paused(self) -> bool:
        """Whether it waits for room in the journal."""
        return self._progress.paused

    @property
    def open_gaps(self) -> int:
        """How many stretches of it cannot be proved complete."""
        return len(self._progress.gaps)

    @property
    def read(self) -> int:
        """How many entries it has journaled since this process began."""
        return self._progress.read

    @property
    def position(self) -> Tick | None:
        """The tick below which everything the API showed is journaled; None before the start."""
        return self._progress.position

    @property
    def lag(self) -> float | None:
        """Seconds between the position and the server's time; None before the start."""
        if self.position is None:
            return None
        return max(0, self._account.time.now() - self.position) / SECOND

    @property
    def trouble(self) -> str:
        """Why reading is held at the moment; empty when it is not."""
        return self._reader.trouble or self._progress.trouble or self._sweeper.trouble

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
        sweeps = Sweeps.resumed(spec.late_sweeps, start=record.position, cursors=record.swept)
        self._progress.stand(record.position, sweeps)
        self._progress.gaps.resume(await self._journal.gaps(self.name))
        self._start = record.position
        # One that has never shown anything may still have a wrong id.
        self._first = await self._journal.anchor(self.name, LATEST) is None
        self._emit(AppResumed(self.name, record.position))

    async def run(self) -> None:
        """Read for ever: what is new, and beside it what is due to be read again."""
        loops = [
            asyncio.create_task(self._keep_looking()),
            asyncio.create_task(self._keep_sweeping()),
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for defect in done:
                defect.result()
        finally:
            await cancelled(loops)

    async def _keep_looking(self) -> None:
        while True:
            began = self._clock.monotonic()
            await self.look()
            took = self._clock.monotonic() - began
            await self._woken.within(self._clock, self._pace.after(took, flowed=self._flowed))

    async def _keep_sweeping(self) -> None:
        """A round after each look that went well, so never while the app is in trouble."""
        while True:
            self._sweeping = None
            await self._looked.wait()
            await self.sweep()

    async def run_once(self) -> None:
        """Read until everything that the server showed at this call is journaled.

        That is when the live edge is reached, or, where entries come faster than that, a backlog
        that ends after this call. Sweeps that are due by then are done too.
        """
        goal: Tick | None = None
        while not (await self.look() and await self.sweep(everything=True) and self._is_at(goal)):
            # The server's time is known to a second only, and only after a first answer.
            goal = goal or self._account.time.now() + SECOND

    def _is_at(self, goal: Tick | None) -> bool:
        return self._at_edge or (goal is not None and (self.position or 0) >= goal)

    async def look(self) -> bool:
        """One look at the live edge, or the way there if it is far; whether that went well."""
        before = self.read
        try:
            went_well = await self._tried(self._look_there, self._look_patience)
        finally:
            self._flowed = self.read > before
            self._moved = self._clock.monotonic()
        if went_well:
            self._looked.fire()
        return went_well

    async def sweep(self, *, everything: bool = False) -> bool:
        """Some slices of the sweeps that are due, or all of them; whether that went well."""
        self._sweeping = self._clock.monotonic()
        some = partial(self._sweeper.sweep, self._spec.interval)
        if not await self._tried(
            self._sweeper.sweep_all if everything else some, self._sweep_patience
        ):
            return False
        return await self._tried(
            partial(self._sweeper.retry_gaps, at_once=everything), self._sweep_patience
        )

    async def _tried(self, step: Callable[[], Awaitable[None]], patience: Patience) -> bool:
        """Take a step, or wait after its failure."""
        try:
            await step()
        except BridgeError as error:
            if isinstance(error, ApiError):
                self._reader.failed(error)
            elif isinstance(error, JournalError):
                self._progress.failed(error)
            await self._clock.sleep(patience.after(error))
            return False
        self._progress.works()
        patience.over()
        return True

    async def _look_there(self) -> None:
        before = self.read
        with self._tracer.span(POLL, app=self.name) as note:
            try:
                await self._learn_time()
                if self.position is None:
                    await self._begin()
                self._at_edge = await self._read_live_edge()
            finally:
                note("entries", self.read - before)

    async def _learn_time(self) -> None:
        """Ask once for the server's time: until it is known, ours decides what was long ago.

        A first answer far ahead of our own clock is not believed alone: a start taken from it, or
        a position, would be durable.
        """
        if self._timed:
            return
        time, ask = self._account.time, Query(self._spec.filter, self._clock.now(), None, 1)
        await self._account.learn_time(partial(self._reader.page, ask))
        for _ in range(_MORE_OPINIONS):
            if time.now() - self._clock.now() > AHEAD:
                await self._reader.page(ask)
        self._timed = True

    async def _begin(self) -> None:
        """Commit the resolved start before the first read (a crash must not resolve it anew)."""
        start = self._spec.start(self._account.time.now())
        await self._journal.begin(self._record(start))
        sweeps = Sweeps.resumed(self._spec.late_sweeps, start=start, cursors={})
        self._progress.stand(start, sweeps)
        self._start, self._begun = start, self._clock.monotonic()
        self._first = True
        self._emit(AppStarted(self.name, start))

    def _record(self, position: Tick) -> AppRecord:
        return AppRecord(self.name, self._spec.stream, self._spec.filters, position)

    async def _read_live_edge(self) -> bool:
        """Read what is new, entries stamped far ahead of time apart.

        With those, an open-ended walk would read everything up to them at each poll. So while
        there are any, two short walks look at the present and at the newest of them, and the
        walk over it all is done only as often as it is cheap.
        """
        began = self._clock.monotonic()
        now = self._account.time.at(began)
        newest = await self._journal.anchor(self.name, LATEST)
        self._progress.barren = newest is None
        if newest is not None:
            self._reader.knows(newest.tick)
        self._doubt(now, began, journaled=newest is not None)
        if newest is None or newest.tick <= now + AHEAD or self._looks.due(began):
            reached = await self._read_up_to(None, await self._floor(newest))
            self._looks.looked(began, self._clock.monotonic())
            return reached
        reached = await self._read_up_to(now + AHEAD, await self._floor(newest))
        return await self._read_ahead(now + AHEAD, newest) and reached

    def _doubt(self, now: Tick, began: float, *, journaled: bool) -> None:
        """Doubt what lies above the position, if nobody has read there for some time.

        While nothing is journaled, a position far back may be the configured start, just begun.
        Then it shows time away only if the start would lie elsewhere now, or if this process
        began there and only failed since.
        """
        position = now if self.position is None else self.position
        if journaled:
            shortest = max(_SHORTEST_AWAY, round(_LOOKS_AWAY * self._spec.max_interval * SECOND))
            away = now - position > shortest
        else:
            moved = self._spec.start(now) - position > LONG_AWAY
            failed = (began - self._begun) * SECOND > LONG_AWAY
            away = now - position > LONG_AWAY and (moved or failed)
        if away:
            self._retention.doubt(position, now)

    async def _read_up_to(self, ceiling: Tick | None, start: tuple[Tick, Anchor | None]) -> bool:
        """Walk from the floor to the open end, or up to a ceiling; a backlog if that is far."""
        floor, anchor = start
        began = self._clock.monotonic()
        walk = self._reader.walk(floor, ceiling, anchor, claims=False)
        gaps = await self._look(walk)
        now = self._account.time.at(began)
        if gaps is not None:
            window = Slice(floor, now)
            kind = ReadKind.LIVE
            stored = await self._progress.store(walk, window, kind, gaps=gaps, began=began)
            await self._prune(floor)
            if self._first and not stored.seen:
                self._emit(NothingShown(self.name, self._start))
            self._first = False
            return True
        self._retention.suspect(walk)  # its slices may begin further down
        # Entries stamped ahead of time belong to the backlog too.
        ahead = Slice(now, now if walk.top is None else max(now, walk.top + 1))
        # Where less is still to be swept than to be read, the backlog begins there: then what
        # it covers is not read again for the sweeps.
        lowest = self._progress.sweeps.lowest
        if lowest is not None and floor - (now - floor) <= lowest < floor:
            floor = lowest
        self._progress.density, target = walk.density, self._target(walk.largest)
        del walk  # its pages are not needed while the backlog is read
        await self._catch_up(Slice(floor, now), target, anchor)
        await self._catch_up(ahead, target, None)
        return False

    async def _read_ahead(self, present: Tick, newest: Anchor) -> bool:
        """Walk from just below the newest entry that is stamped ahead of time."""
        anchor = await self._journal.anchor(self.name, newest.tick - OVERLAP)
        if anchor is None or anchor.tick < present:
            anchor = None
        floor = present if anchor is None else anchor.tick
        began = self._clock.monotonic()
        walk = self._reader.walk(floor, None, anchor, claims=False)
        gaps = await self._look(walk)
        if gaps is not None:
            top = floor if walk.top is None else walk.top + 1
            window = Slice(floor, top)
            await self._progress.store(walk, window, ReadKind.LIVE, gaps=gaps, began=began)
            return True
        target = self._target(walk.largest)
        await self._catch_up(Slice(floor, max(floor, (walk.top or 0) + 1)), target, anchor)
        return False

    async def _look(self, walk: Walk) -> list[Gap] | None:
        """Read a live walk; None if it is too long, or fails where others do not."""
        try:
            return await self._reader.read(walk, most_pages=_LIVE_PAGES, patience=_LIVE_PATIENCE)
        except ApiError:
            if await self._reader.answers():
                return None
            raise

    async def _floor(self, newest: Anchor | None) -> tuple[Tick, Anchor | None]:
        """Where the live walk ends: on journaled entries, or at the start while there are none.

        Never above the newest journaled entry, so that an empty page moves nothing; never above
        the last completed walk less the overlap, so that an entry stamped ahead hides nothing.
        """
        position = self.position
        if newest is None or position is None:
            return self._progress.gaps.above(self._start, position or 0), None
        target = min(newest.tick, position - OVERLAP)
        anchor = await self._journal.anchor(self.name, target)
        floor = target if anchor is None else anchor.tick
        above = self._progress.gaps.above(floor, position)
        return (floor, anchor) if above == floor else (above, None)

    def _target(self, largest_page: int) -> int:
        return slice_target(largest_page or self._reader.limit.value)

    async def _catch_up(self, backlog: Slice, target: int, anchor: Anchor | None) -> None:
        """Read and journal a backlog slice by slice, oldest first."""
        if backlog.ceiling <= backlog.floor:
            return
        before = self.read
        self._emit(BacklogFound(self.name, backlog.floor, backlog.ceiling))
        await self._backlog.read(
            backlog,
            density=self._progress.density,
            target=target,
            anchor=anchor,
            store=self._store_piece,
        )
        self._emit(BacklogRead(self.name, self.read - before))

    async def _store_piece(self, piece: Piece) -> int:
        stored = await self._progress.store(
            piece.walk, piece.window, ReadKind.BACKLOG, gaps=piece.gaps, began=piece.began
        )
        return stored.seen

    async def _prune(self, floor: Tick) -> None:
        """Now and then, forget fingerprints that neither a read nor the ledger needs."""
        if floor - self._pruned > _PRUNE_EVERY:
            lowest = self._progress.sweeps.lowest
            needed = floor if lowest is None else min(floor, lowest)
            kept = self._account.time.now() - self._spec.ledger_for
            await self._journal.prune(self.name, needed=needed - _PRUNE_MARGIN, kept=kept)
            self._pruned = floor
