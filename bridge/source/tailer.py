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
from bridge.errors import ApiError, BridgeError, ConfigError, JournalError, JournalFull
from bridge.journal import Journal
from bridge.model import (
    SECOND,
    Anchor,
    Append,
    AppRecord,
    Encoded,
    Filter,
    Gap,
    GapKind,
    Identified,
    Query,
    Read,
    ReadKind,
    Tick,
)
from bridge.source.account import Account
from bridge.source.backlog import Backlog, Piece
from bridge.source.late import LateTally
from bridge.source.reader import Reader
from bridge.source.schedule import Looks, Pace, Slice, Slicer
from bridge.source.sweeps import Sweeps
from bridge.source.trouble import Patience, Trouble
from bridge.source.walk import Walk
from bridge.telemetry import Emit
from bridge.telemetry.meter import NO_METER, Meter
from bridge.telemetry.reading import (
    AppResumed,
    AppStarted,
    BacklogFound,
    BacklogRead,
    FiltersChanged,
    GapClosed,
    GapFound,
    NothingShown,
    ReadingPaused,
    ReadingResumed,
)

OVERLAP: Final[Tick] = SECOND // 2
"""How far below the last completed walk the next one starts: what was visible only just late."""

AHEAD: Final[Tick] = 5 * SECOND
"""Entries stamped further ahead of the server's time than this are read apart from the others."""

_LIVE_PAGES: Final = 8
_SWEEP_PAGES: Final = 16
_PAGES_PER_SWEEP: Final = 3
_SHARE_OF_A_PAGE: Final = 0.75
_LIVE_PATIENCE: Final = 60.0
_PRUNE_EVERY: Final = 60 * SECOND
_PRUNE_MARGIN: Final = 600 * SECOND
_RETRY_GAPS_EVERY: Final = 3600.0
_LONG_AWAY: Final[Tick] = 3600 * SECOND
_FAR_BACK: Final[Tick] = 30 * 24 * 3600 * SECOND
_END_OF_TIME: Final[Tick] = 2**62


@dataclass(frozen=True, slots=True)
class AppSpec:
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
        meter: Meter = NO_METER,
    ) -> None:
        self.name = spec.name
        self.read = 0
        self._meter = meter
        self._spec = spec
        self._account = account
        self._journal = journal
        self._encode = encode
        self._clock = clock
        self._emit = emit
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
        self._backlog = Backlog(self._reader, width=spec.backlog_width, clock=clock, random=random)
        self._random = random
        self._patience = Patience(random)
        self._storing = Trouble(spec.name, clock=clock, emit=emit)
        self._position: Tick | None = None
        self._start: Tick = 0
        self._sweeps = Sweeps({})
        self._late = LateTally(spec.name, clock=clock, emit=emit)
        self._looks = Looks()
        self._first = False
        self._gaps: set[Gap] = set()
        self._gaps_tried = -_RETRY_GAPS_EVERY
        self._unsure: Tick | None = None
        self._density = 0.0
        self._pruned: Tick = 0
        self._flowed = False
        self._moved = clock.monotonic()
        self._paused = False

    @property
    def progressed(self) -> float | None:
        """The monotonic moment of the last step: a request, its answer or failure, a commit.

        None while it rightly waits, for room in the journal or for its turn to ask: that may take
        as long as it takes. Every other wait ends within a minute or the longest interval.
        """
        if self._paused or self._account.waits(self.name):
            return None
        return max(self._moved, self._reader.heard, self._account.sent(self.name))

    @property
    def open_gaps(self) -> int:
        """How many stretches of it cannot be proved complete."""
        return len(self._gaps)

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
        return self._reader.trouble or self._storing.reason

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
        self._gaps = set(await self._journal.gaps(self.name))
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
            await self._retry_gaps(at_once=sweep_all)
        except BridgeError as error:
            if isinstance(error, ApiError):
                self._reader.failed(error)
            else:
                self._storing.note(error)
            await self._clock.sleep(self._patience.after(error))
            return False
        finally:
            self._flowed = self.read > before
            self._moved = self._clock.monotonic()
        self._storing.over()
        self._patience = Patience(self._random)
        return reached

    async def _begin(self) -> None:
        """Commit the resolved start before the first read (a crash must not resolve it anew)."""
        if not self._account.time.known:
            await self._reader.page(Query(self._spec.filter, self._clock.now(), None, 1))
        start = self._spec.start(self._account.time.now())
        await self._journal.begin(self._record(start))
        self._position = self._start = start
        self._sweeps = Sweeps.resumed(self._spec.late_sweeps, start=start, cursors={})
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
        newest = await self._journal.anchor(self.name, _END_OF_TIME)
        # While nothing is journaled, only a start that would lie elsewhere now shows time away.
        since = self._position or now
        if now - since > _LONG_AWAY and (newest or self._spec.start(now) - since > _LONG_AWAY):
            self._unsure = self._position
        if newest is None or newest.tick <= now + AHEAD or self._looks.due(began):
            reached = await self._read_up_to(None, await self._floor(newest))
            self._looks.looked(began, self._clock.monotonic())
            return reached
        reached = await self._read_up_to(now + AHEAD, await self._floor(newest))
        return await self._read_ahead(now + AHEAD, newest) and reached

    async def _read_up_to(self, ceiling: Tick | None, start: tuple[Tick, Anchor | None]) -> bool:
        """Walk from the floor to the open end, or up to a ceiling; a backlog if that is far."""
        floor, anchor = start
        began = self._clock.monotonic()
        walk = self._reader.walk(floor, ceiling, anchor, claims=False)
        gaps = await self._look(walk)
        now = self._account.time.at(began)
        if gaps is not None:
            window = Slice(floor, now)
            seen, _ = await self._store(walk, window, ReadKind.LIVE, gaps=gaps, began=began)
            await self._prune(floor)
            if self._first and not seen:
                self._emit(NothingShown(self.name, self._start))
            self._first = False
            return True
        # Entries stamped ahead of time belong to the backlog too.
        ahead = Slice(now, now if walk.top is None else max(now, walk.top + 1))
        # Where less is still to be swept than to be read, the backlog begins there: then what
        # it covers is not read again for the sweeps.
        lowest = self._sweeps.lowest
        if lowest is not None and floor - (now - floor) <= lowest < floor:
            floor = lowest
        self._density, target = walk.density, self._target(walk.largest)
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
            await self._store(walk, Slice(floor, top), ReadKind.LIVE, gaps=gaps, began=began)
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
        if newest is None or self._position is None:
            return self._past_gaps(self._start), None
        target = min(newest.tick, self._position - OVERLAP)
        anchor = await self._journal.anchor(self.name, target)
        floor = target if anchor is None else anchor.tick
        above = self._past_gaps(floor)
        return (floor, anchor) if above == floor else (above, None)

    def _past_gaps(self, floor: Tick) -> Tick:
        """The floor, above what the API fails for: that is asked for apart, now and then."""
        passed = [gap.ceiling for gap in self._unreadable if gap.ceiling <= (self._position or 0)]
        return max([floor, *passed])

    @property
    def _unreadable(self) -> list[Gap]:
        gaps = (gap for gap in self._gaps if gap.kind is GapKind.UNREADABLE)
        return sorted(gaps, key=lambda gap: gap.floor)

    def _target(self, largest_page: int) -> int:
        """How many entries a slice should hold: so many that one request shows them all."""
        return max(1, int(_SHARE_OF_A_PAGE * (largest_page or self._reader.limit.value)))

    async def _catch_up(self, backlog: Slice, target: int, anchor: Anchor | None) -> None:
        """Read and journal a backlog slice by slice, oldest first."""
        if backlog.ceiling <= backlog.floor:
            return
        before = self.read
        self._emit(BacklogFound(self.name, backlog.floor, backlog.ceiling))
        await self._backlog.read(
            backlog,
            density=self._density,
            target=target,
            anchor=anchor,
            store=self._store_piece,
        )
        self._emit(BacklogRead(self.name, self.read - before))

    async def _store_piece(self, piece: Piece) -> int:
        entries, _ = await self._store(
            piece.walk, piece.window, ReadKind.BACKLOG, gaps=piece.gaps, began=piece.began
        )
        return entries

    async def _sweep(self, *, everything: bool) -> None:
        """Read closed windows again, at the ages they have reached, for what came late."""
        now = self._account.time.now()
        while window := self._sweeps.due(now, at_once=everything):
            await self._sweep_slice(Slice(*window))
            if not everything:
                return

    async def _sweep_slice(self, window: Slice) -> None:
        """Read the oldest slice of a window again and journal what is missing."""
        for gap in self._unreadable:
            if gap.floor <= window.floor < gap.ceiling:
                at = self._account.time.now()
                self._sweeps = self._sweeps.covered(window.floor, gap.ceiling, at)
                return
            if window.floor < gap.floor < window.ceiling:
                window = Slice(window.floor, gap.floor)
        target = self._reader.limit.value * _PAGES_PER_SWEEP
        piece = Slicer(window, density=self._density, target=target).next(self._reader.grain)
        while piece is not None:
            began = self._clock.monotonic()
            anchor = await self._journal.anchor(self.name, piece.floor - 1)
            if anchor is not None and self._past_gaps(anchor.tick) > anchor.tick:
                anchor = None  # the way down to it leads through what the API fails for
            floor = piece.floor if anchor is None else anchor.tick
            walk = self._reader.walk(floor, piece.ceiling, anchor)
            most = None if piece.narrowest(self._reader.grain) else _SWEEP_PAGES
            gaps = await self._reader.read(walk, most_pages=most, patience=_LIVE_PATIENCE)
            if gaps is not None:
                break
            piece = piece.parts(self._reader.grain)[0]
        else:
            return
        _, late = await self._store(walk, piece, ReadKind.SWEEP, gaps=gaps, began=began)
        if late:
            at = self._account.time.at(began)
            self._late.found(len(late), (at - piece.floor) / SECOND)
            self._meter.late(self.name, [max(0, at - one.tick) / SECOND for one in late])
            self._sweeps = self._sweeps.extended(piece.floor, at)

    async def _retry_gaps(self, *, at_once: bool) -> None:
        """Ask now and then for what the API failed for."""
        if not at_once and self._clock.monotonic() - self._gaps_tried < _RETRY_GAPS_EVERY:
            return
        self._gaps_tried = self._clock.monotonic()
        for gap in self._unreadable:
            window = Slice(gap.floor, gap.ceiling)
            began = self._clock.monotonic()
            walk = self._reader.walk(gap.floor, gap.ceiling)
            try:
                gaps = await self._reader.read(walk, patience=_LIVE_PATIENCE)
            except ApiError:
                continue  # it stays a gap
            await self._store(walk, window, ReadKind.SWEEP, gaps=gaps or [], began=began)

    async def _store(
        self,
        walk: Walk | None,
        window: Slice,
        kind: ReadKind,
        *,
        gaps: Sequence[Gap],
        began: float,
    ) -> tuple[int, Sequence[Identified]]:
        """Journal a proved walk, waiting for room and for the disk.

        Returns how many entries it saw, and the new ones among them. ``began`` is the monotonic
        moment of its first request; without a walk the whole window is a gap.
        """
        at = self._account.time.at(began)
        found = [] if walk is None else walk.found()
        if walk is not None:
            gaps = [*gaps, *await self._left_behind(walk, found, min(window.ceiling, at), kind)]
        closed = [] if walk is None else self._closed_by(found, window, gaps)
        # The position never claims a time that the server had not reached.
        position = max(min(window.ceiling, at), self._position or 0)
        # An empty live edge is one answer, and proves nothing for the sweeps.
        proved = bool(found) or window.ceiling < at
        swept = self._sweeps.covered(window.floor, window.ceiling, at) if proved else self._sweeps
        fresh: Sequence[Identified] = ()
        if found or gaps or closed:
            observed = self._clock.now()

            def encode(missing: Sequence[Identified], new: Sequence[Gap]) -> Sequence[Encoded]:
                nonlocal fresh
                fresh = missing
                return self._encode(missing, observed, new)

            read = Read(kind, window.floor, window.ceiling, at, walk.pages if walk else 0)
            added = await self._append(
                Append(
                    self.name,
                    found,
                    position,
                    encode,
                    read,
                    swept.cursors,
                    tuple(gaps),
                    tuple(closed),
                )
            )
            self._tell(gaps, closed)
            self.read += added
        self._position, self._sweeps = position, swept
        self._density = len(found) / max(1, window.ceiling - window.floor)
        return len(found), fresh

    async def _left_behind(
        self, walk: Walk, found: Sequence[Identified], ceiling: Tick, kind: ReadKind
    ) -> list[Gap]:
        """What may have left the API while nobody read, after a long time away.

        The entries known from before should be shown at the floor. If they are not, and nothing
        else in the account is as old, retention has passed the position.
        """
        if self._unsure is None or walk.grounded:
            self._unsure = None
            return []
        first = next((item.tick for item in found if item.entry.tick is not None), None)
        if first is None and kind is ReadKind.BACKLOG:
            return []  # the next slice, or the live edge, may show some
        floor, self._unsure = self._unsure, None
        end = ceiling if first is None else first
        if end <= floor or await self._reader.shows_older(floor, _FAR_BACK):
            return []
        return [Gap(GapKind.RETENTION, floor, end, 0)]

    def _closed_by(
        self, found: Sequence[Identified], window: Slice, gaps: Sequence[Gap]
    ) -> list[Gap]:
        """The known gaps that a walk has read completely.

        A crowd at its floor does not count: there an anchor ends a walk before the whole tick.
        Nor does a walk that shows less than was known: what it shows may have left the API.
        """
        open_still = {gap.key for gap in gaps}
        return [
            gap
            for gap in self._gaps
            if gap.key not in open_still
            and gap.ceiling <= window.ceiling
            and (
                (gap.kind is GapKind.UNREADABLE and gap.floor >= window.floor)
                or (gap.kind is GapKind.CROWDED and gap.floor > window.floor)
            )
            and sum(gap.floor <= i.tick < gap.ceiling for i in found) >= max(1, gap.at_least)
        ]

    def _tell(self, gaps: Sequence[Gap], closed: Sequence[Gap]) -> None:
        """Report a gap once, however often it is met."""
        known = {gap.key for gap in self._gaps}
        for gap in gaps:
            if gap.key not in known:
                self._gaps.add(gap)
                self._meter.gap(self.name)
                self._emit(GapFound.of(self.name, gap))
        for gap in closed:
            self._gaps.discard(gap)
            self._emit(GapClosed(self.name, gap.floor, gap.ceiling))

    async def _append(self, append: Append) -> int:
        while True:
            try:
                added = (await self._journal.append(append)).added
            except JournalFull as error:
                self._emit(ReadingPaused(self.name, error.held_by))
                await self._room()
                self._emit(ReadingResumed(self.name))
            except JournalError as error:
                self._moved = self._clock.monotonic()
                self._storing.note(error)
                await self._clock.sleep(self._patience.after(error))
            else:
                self._moved = self._clock.monotonic()
                self._storing.over()
                return added

    async def _room(self) -> None:
        self._paused = True
        try:
            await self._journal.wait_for_room()
        finally:
            self._paused = False
            self._moved = self._clock.monotonic()

    async def _prune(self, floor: Tick) -> None:
        """Now and then, forget fingerprints that neither a read nor the ledger needs."""
        if floor - self._pruned > _PRUNE_EVERY:
            lowest = self._sweeps.lowest
            needed = floor if lowest is None else min(floor, lowest)
            kept = self._account.time.now() - self._spec.ledger_for
            await self._journal.prune(self.name, needed=needed - _PRUNE_MARGIN, kept=kept)
            self._pruned = floor
