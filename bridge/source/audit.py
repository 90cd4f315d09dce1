"""Reading a closed window again and comparing it with the ledger.

An audit shares with the reader what says who an entry is, and nothing that decided how it was
read: slices of its own from the top of the window down, another page limit, no anchors. Slices
end on whole milliseconds, so every tick is read whole and its entries get the ordinals that the
reader gave them; then a set of fingerprints is the multiset of entries.

Memory holds one slice, however long the window: a slice that takes too many pages is cut smaller,
and the ledger is asked minute by minute.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Final, TypeAlias

from msgspec import Struct, field

from bridge.errors import ApiUnavailable, JournalError
from bridge.journal import DROPPED
from bridge.journal.ledger import Ledger, State
from bridge.model import MILLISECOND, SECOND, Gap, GapKey, Identified, Read, ReadKind, Tick
from bridge.source.account import Account
from bridge.source.reader import Reader
from bridge.source.walk import Walk
from bridge.timestamps import format_tick

PATIENCE: Final = 60.0
"""Seconds for which one request may keep failing before a command gives up."""

LISTED: Final = 20
"""How many missing entries, and how many gaps, a report names."""

_FIRST_WIDTH: Final[Tick] = 47 * SECOND
_WIDEST: Final[Tick] = 6 * 3600 * SECOND
_SLICE_PAGES: Final = 16
_PAGES_PER_SLICE: Final = 4
_TRIES: Final = 3
_CHUNK: Final[Tick] = 60 * SECOND
_NEAR: Final[Tick] = 10 * SECOND


def other_limit(page_size: int) -> int:
    """A page limit that is not the reader's."""
    return page_size * 7 // 10 or 2


class Backwards:
    """Cuts ``[floor, ceiling)`` into slices of about ``target`` entries, newest first. Pure."""

    def __init__(self, floor: Tick, ceiling: Tick, *, target: int) -> None:
        self._floor = floor
        self._ceiling = ceiling
        self._target = target
        self._width = _FIRST_WIDTH

    @property
    def narrowest(self) -> bool:
        """Whether slices cannot be cut any smaller."""
        return self._width <= MILLISECOND

    def next(self) -> tuple[Tick, Tick] | None:
        """The newest slice not yet completed, as (floor, ceiling); None at the end."""
        if self._ceiling <= self._floor:
            return None
        # On a whole millisecond, so that a server that cuts bounds cuts nothing off.
        start = (self._ceiling - self._width) // MILLISECOND * MILLISECOND
        return max(self._floor, start), self._ceiling

    def completed(self, floor: Tick, entries: int) -> None:
        """The slice down to ``floor`` held so many entries: go on below, wider or narrower."""
        self._ceiling = floor
        if entries * 4 < self._target:
            self._width = min(_WIDEST, self._width * 3)
        elif entries > self._target:
            self._width = max(MILLISECOND, self._width // 2)

    def too_dense(self, density: float) -> None:
        """The slice takes too many pages; ``density`` is what it showed, in entries per tick."""
        quarter = self._width // 4
        fitting = int(self._target / density) if density else quarter
        self._width = max(MILLISECOND, min(quarter, fitting))


class Piece(Struct, frozen=True):
    """What the API shows of one slice; ``gaps`` are the crowds no page or partition shows whole."""

    read: Read
    found: Sequence[Identified]
    gaps: Sequence[Gap]


async def newest_first(
    reader: Reader, account: Account, floor: Tick, ceiling: Tick
) -> AsyncGenerator[Piece, None]:
    """Read a window slice by slice, from its top down.

    Raises:
        ApiError: the API broke its contract, or failed for longer than `PATIENCE`.
    """
    slicer = Backwards(floor, ceiling, target=reader.limit.value * _PAGES_PER_SLICE)
    while piece := slicer.next():
        at = account.time.now()
        walk, gaps = await read_again(
            reader, *piece, most_pages=None if slicer.narrowest else _SLICE_PAGES
        )
        if gaps is None:
            slicer.too_dense(walk.density)
            continue
        found = walk.found()
        yield Piece(Read(ReadKind.REPAIR, *piece, at, walk.pages), found, gaps)
        slicer.completed(piece[0], len(found))


async def read_again(
    reader: Reader, floor: Tick, ceiling: Tick, *, most_pages: int | None = None
) -> tuple[Walk, list[Gap] | None]:
    """One walk without an anchor, with its gaps; None for these where it takes too many pages.

    A walk whose pages changed below it (what is too old leaves the API) is begun anew.

    Raises:
        ApiError: see `newest_first`.
    """
    tries = 0
    while True:
        tries += 1
        walk = reader.walk(floor, ceiling)
        try:
            return walk, await reader.read(walk, most_pages=most_pages, patience=PATIENCE)
        except ApiUnavailable:
            if reader.trouble or tries >= _TRIES:
                raise


class Share(Struct):
    """What became of the journaled entries at one destination.

    ``lost`` left the journal unacknowledged; ``unknown`` were journaled before the destination was
    there, or before the journal kept count.
    """

    destination: str
    delivered: int = 0
    waiting: int = 0
    dead_lettered: int = 0
    lost: int = 0
    unknown: int = 0

    def add(self, state: State, entries: int) -> None:
        """Count so many entries that came to this."""
        match state:
            case State.ACKNOWLEDGED:
                self.delivered += entries
            case State.WAITING:
                self.waiting += entries
            case State.DEAD_LETTER:
                self.dead_lettered += entries
            case State.LOST:
                self.lost += entries
            case State.UNKNOWN:
                self.unknown += entries


class Result(Struct):
    """What the audit of one app came to.

    ``dropped_by_rule`` are known and were left out on purpose, in no batch; they are not among the
    ``journaled``. ``surplus`` is known but not shown; ``missing`` is shown but is not known, of
    which ``repaired`` are by now. The first of the missing are in ``first_missing``, oldest first;
    of ``unproved`` stretches, where neither number says anything, the oldest are in ``gaps``.

    ``error`` says what ended the audit before its floor: what was read is ``[reached, ceiling)``.
    """

    app: str
    floor: Tick
    ceiling: Tick
    in_api: int = 0
    journaled: int = 0
    dropped_by_rule: int = 0
    missing: int = 0
    repaired: int = 0
    surplus: int = 0
    unproved: int = 0
    shares: list[Share] = field(default_factory=list)
    first_missing: list[Identified] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    error: str = ""
    reached: Tick = 0

    def __post_init__(self) -> None:
        self.reached = self.ceiling

    @property
    def lost(self) -> int:
        """How many deliveries, one for each entry and destination, were lost after journaling."""
        return sum(share.lost for share in self.shares)

    @property
    def complete(self) -> bool:
        """Whether every entry of the window is proved to be journaled by now, and none was lost."""
        return (
            not self.error and self.missing == self.repaired and not self.unproved and not self.lost
        )


class Comparison:
    """Compares the pieces of one window, newest first, with the ledger."""

    def __init__(self, app: str, floor: Tick, ceiling: Tick, ledger: Ledger) -> None:
        # A running bridge delivers on meanwhile: what counts is where it stood at the start.
        self._standings = ledger.destinations()
        shares = [Share(one.name) for one in self._standings]
        self.result = Result(app, floor, ceiling, shares=shares)
        self._ledger = ledger
        self._any_dead = any(one.dead_letters for one in self._standings)
        self._undated: dict[bytes, Tick] = {}
        self._elsewhere: set[bytes] = set()
        self._surplus = 0
        self._absent: set[bytes] = set()
        self._gaps: dict[GapKey, Gap] = {}
        for known in ledger.gaps(app):
            self._note(known.gap)

    def take(self, piece: Piece) -> list[Identified]:
        """Compare one piece and count; what is missing, oldest first.

        Raises:
            JournalError: the bridge forgot fingerprints of the piece in the meantime.
        """
        dated = [item for item in piece.found if item.entry.tick is not None]
        undated = self._new_undated(piece)
        missing = self._compare(piece, dated, undated)
        missing.sort(key=lambda item: item.tick)
        if missing:
            self._check_whole(piece.read.floor)
        result = self.result
        result.in_api += len(dated) + len(undated)
        result.missing += len(missing)
        result.first_missing = (missing + result.first_missing)[:LISTED]
        for gap in piece.gaps:
            self._note(gap)
        result.surplus = self._surplus + len(self._absent)
        result.reached = piece.read.floor
        return missing

    def _compare(
        self, piece: Piece, dated: Sequence[Identified], undated: dict[bytes, Identified]
    ) -> list[Identified]:
        missing: list[Identified] = []
        matched: set[bytes] = set()
        for floor, ceiling, shown_whole in _stretches(piece):
            known = self._ledger.fingerprints(self.result.app, floor, ceiling)
            shown = _between(dated, floor, ceiling)
            missing += [item for item in shown if item.uid not in known]
            matched |= known.keys() & undated.keys()
            if shown_whole:
                self._count_surplus(floor, ceiling, known.keys() - {item.uid for item in shown})
            self._count(known)
        lent_another = (item for uid, item in undated.items() if uid not in matched)
        return missing + [item for item in lent_another if not self._is_elsewhere(item, piece.read)]

    def _count_surplus(self, floor: Tick, ceiling: Tick, unshown: set[bytes]) -> None:
        """What is journaled and not shown; an entry without a time may yet show further down."""
        unshown -= self._undated.keys() | self._elsewhere
        if unshown:
            absent = unshown & self._ledger.undated(self.result.app, floor, ceiling)
            self._absent |= absent
            self._surplus += len(unshown) - len(absent)

    def _new_undated(self, piece: Piece) -> dict[bytes, Identified]:
        """Entries without a readable time that no piece before showed.

        Bounds are rounded outward, and such entries are dropped by none: neighbouring pieces may
        both show one.
        """
        near, result = piece.read.ceiling + _NEAR, self.result
        self._undated = {uid: tick for uid, tick in self._undated.items() if tick < near}
        new = {
            item.uid: item
            for item in piece.found
            if item.entry.tick is None
            and item.uid not in self._undated
            and result.floor <= item.tick < result.ceiling
        }
        self._undated |= dict.fromkeys(new, piece.read.floor)
        return new

    def _is_elsewhere(self, item: Identified, read: Read) -> bool:
        """Whether an entry without a time is journaled by another tick than it was lent here."""
        result = self.result
        places = [p for p in self._ledger.find(item.uid) if p.app == result.app]
        for place in places:
            if not result.floor <= place.tick < result.ceiling:
                self._count({item.uid: place.seq})
            elif place.tick < read.ceiling:
                self._elsewhere.add(item.uid)
        self._absent.discard(item.uid)
        return bool(places)

    def _count(self, known: Mapping[bytes, int]) -> None:
        """What became of these journaled entries, uid to batch, at each destination."""
        dropped = sum(seq == DROPPED for seq in known.values())
        self.result.dropped_by_rule += dropped
        self.result.journaled += len(known) - dropped
        if not known:
            return
        dead = self._dead_letters(known)
        for share, standing in zip(self.result.shares, self._standings, strict=True):
            refused = dead.get(share.destination, set())
            share.add(State.DEAD_LETTER, len(refused))
            by_batch = Counter(seq for uid, seq in known.items() if uid not in refused)
            del by_batch[DROPPED]
            for seq, entries in by_batch.items():
                state, _ = self._ledger.state_of(standing, seq)
                share.add(state, entries)

    def _dead_letters(self, known: Mapping[bytes, int]) -> dict[str, set[bytes]]:
        dead: dict[str, set[bytes]] = {}
        if self._any_dead:
            for one in self._ledger.dead_letters_of([uid.hex() for uid in known]):
                dead.setdefault(one.destination, set()).add(bytes.fromhex(one.uid))
        return dead

    def _check_whole(self, floor: Tick) -> None:
        whole_from = next(
            (
                standing.record.whole_from
                for standing in self._ledger.apps()
                if standing.record.name == self.result.app
            ),
            0,
        )
        if floor < whole_from:
            raise JournalError(
                f"the ledger was pruned while the audit ran: it is whole from "
                f"{format_tick(whole_from)} on",
                where=f"audit of {self.result.app}",
                hint="audit a later window",
            )

    def _note(self, gap: Gap) -> None:
        """Take a stretch that cannot be proved into the result."""
        result = self.result
        if gap.ceiling <= result.floor or gap.floor >= result.ceiling:
            return
        self._gaps.setdefault(gap.key, gap)
        result.unproved = len(self._gaps)
        result.gaps = sorted(self._gaps.values(), key=lambda one: one.floor)[:LISTED]


Repair: TypeAlias = Callable[[Read, Sequence[Identified]], Awaitable[int]]
"""Journals what a read found missing; how many entries that were."""


async def audit(
    comparison: Comparison,
    *,
    reader: Reader,
    account: Account,
    repair: Repair | None,
    progress: Callable[[float], None],
) -> Result:
    """Audit one window, and journal what is missing if there is a way to; tells the share done.

    Raises:
        ApiError: the API broke its contract, or failed for longer than `PATIENCE`.
        JournalError: the ledger moved, or the repair failed.
    """
    result = comparison.result
    whole = max(1, result.ceiling - result.floor)
    pieces = newest_first(reader, account, result.floor, result.ceiling)
    async with aclosing(pieces):
        async for piece in pieces:
            missing = comparison.take(piece)
            if missing and repair is not None:
                result.repaired += await repair(piece.read, missing)
            progress((result.ceiling - piece.read.floor) / whole)
    return result


def _stretches(piece: Piece) -> Iterator[tuple[Tick, Tick, bool]]:
    """The piece in short stretches, and of each whether the API shows it whole: no crowd is it."""
    read = piece.read
    borders = {*range(read.floor, read.ceiling, _CHUNK), read.ceiling}
    borders |= {
        edge
        for gap in piece.gaps
        for edge in (gap.floor, gap.ceiling)
        if read.floor < edge < read.ceiling
    }
    for floor, ceiling in pairwise(sorted(borders)):
        crowded = any(gap.floor <= floor and ceiling <= gap.ceiling for gap in piece.gaps)
        yield floor, ceiling, not crowded


def _between(dated: Sequence[Identified], floor: Tick, ceiling: Tick) -> Sequence[Identified]:
    """Those of a window; they come oldest first."""
    first = bisect_left(dated, floor, key=lambda item: item.tick)
    return dated[first : bisect_left(dated, ceiling, lo=first, key=lambda item: item.tick)]
