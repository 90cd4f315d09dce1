"""Reading one window page by page down to its floor. Pure: asks, is given pages, says when done.

The rules it keeps (design, "Reading"):

- Bounds go out exclusive and rounded outward, since a server may cut them: to whole milliseconds,
  and to whole seconds wherever the server turns out to cut that much, and at the top of a window
  of at least a second or of a server of which it is not known yet. What lies outside the window
  is dropped in `Walk.found`.
- Every following request re-includes the oldest tick so far (the bottom) and must show it again.
  What two pages both show is counted once, by content *and number*, never by content alone.
- One empty answer for a closed window is not believed: it is asked for again, and once more where
  an anchor should have been shown. (At the live edge an empty answer claims nothing.)
- The size of a page proves nothing. The floor is proved by an entry below it, by an anchor on it
  (its tick was read whole before), or by one more request that shows nothing new below the
  overlap; and where that page is no smaller than the largest before it, by an empty answer for
  what lies strictly below.
- Where one millisecond holds more than a page, exact bounds are sent. A server that then does not
  show the overlap cuts bounds: the millisecond is crowded, like a tick with more entries than a
  page. The limit is raised; if pages do not grow and no other page of the stream is larger, what
  was shown is taken, the walk goes on below, and the crowd is one of `Walk.crowds`, for others to
  read by other means (see `bridge.source.crowds`).

An entry without a readable time is taken wherever it is shown, with a neighbour's tick for order,
and is never a bound. Two of them that are alike in every other respect, shown by different walks,
cannot be told from one seen twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bridge.errors import ApiContractBroken, ApiUnavailable
from bridge.model import MILLISECOND, SECOND, Anchor, Entry, Identified, Page, Tick
from bridge.source.fingerprint import content_hash, identify, uid
from bridge.timestamps import ceil_to, floor_to, format_tick

DOCUMENTED_PAGE: Final = 100
"""The API's documented default limit: it shows at least this many entries a page."""

FAR_BACK: Final[Tick] = 30 * 24 * 3600 * SECOND
"""What is asked for in place of all time, where anything that is shown will do."""

LARGEST_LIMIT: Final = 16_384
_LATE_AT_MOST: Final = 3
_LEADING_DIGITS_OF_CAPS: Final = ("1", "15", "2", "25", "5")


class Bounds(Struct, frozen=True):
    """What the next request asks: exclusive ticks and a limit."""

    since: Tick
    until: Tick | None
    limit: int


class Crowd(Struct, frozen=True):
    """A stretch ``[floor, ceiling)`` that holds more entries than any page shows.

    One tick; or, of a server that cuts its bounds, from the cut up to a tick.
    """

    floor: Tick
    ceiling: Tick


class _Ask(Enum):
    """Where the next request's upper bound lies, seen from the bottom."""

    ROUNDED = "the bottom again, up to its whole millisecond or second"
    EXACT = "the bottom again, to the tick"
    BELOW = "strictly below the bottom"
    ELSEWHERE = "far back and up to now, to see how much a page can hold"


class Walk:
    """One walk over ``[floor, ceiling)``; ``ceiling`` None is the open top of the live edge.

    ``anchor`` holds the journaled entries on the floor's tick, if there are any; ``limit`` is the
    page size to ask for. ``below`` is how many ticks below the floor to ask from, where that is
    likely to show an entry, which proves the floor and saves a request. ``grain`` is the coarsest
    cut of bounds that the server is known for, and ``fine`` that it is known to cut them no further
    than to milliseconds. ``claims`` says whether an empty answer would be taken for an empty
    window, as it is not at the live edge; ``doubts`` is how many more times than usual it is asked
    for again then. ``documented_page`` is a page size below which no server cuts.

    ``false_empties`` is how many empty answers turned out to be none.
    """

    def __init__(
        self,
        *,
        floor: Tick,
        ceiling: Tick | None,
        anchor: Anchor | None,
        limit: int,
        below: Tick = 0,
        grain: Tick = MILLISECOND,
        fine: bool = False,
        claims: bool = True,
        doubts: int = 0,
        documented_page: int = DOCUMENTED_PAGE,
    ) -> None:
        self.done = False
        self.false_empties = 0
        self.grounded = False
        self.crowds: list[Crowd] = []
        self.pages = 0
        self.size = 0
        self.fine = fine
        self._floor = floor
        self._ceiling = ceiling
        self._anchor = anchor if anchor is not None and anchor.tick == floor else None
        self._grain = grain
        self._claims = claims and ceiling is not None
        self._doubts = doubts
        self._cuts = False
        self._documented_page = documented_page
        self._taken: list[Identified] = []  # each as the first of its equals, as they were shown
        self._times: dict[bytes, int] = {}  # how often each content was taken
        self._met = 0
        self._largest = 0
        self._stalled = 0
        self._top: Tick | None = None
        self._bottom: Tick | None = None
        self._overlap: Counter[bytes] = Counter()
        self._ask = _Ask.ROUNDED
        self._empties = 0
        self._empty_below: bool | None = None
        self._late = 0
        self._crowd: int | None = None
        self._compared = False
        self._may_raise = True
        until = None
        if ceiling is not None:
            until = ceil_to(ceiling, grain if fine and ceiling - floor < SECOND else SECOND)
        # A server may compare by the millisecond: then its own would hide what shares it.
        lowest = floor_to(floor - below, MILLISECOND) - MILLISECOND
        self._bounds = Bounds(min(lowest, floor_to(floor - below - 1, grain)), until, limit)

    @property
    def bounds(self) -> Bounds:
        """What to ask next; meaningless once `done`."""
        return self._bounds

    @property
    def anchored(self) -> bool:
        """Whether entries are known that should be shown at its floor."""
        return self._anchor is not None

    @property
    def live(self) -> bool:
        """Whether it looks for what is new, rather than through a stretch of the past."""
        return not self._claims

    @property
    def claims_nothing(self) -> bool:
        """Whether it is done and would have its window taken for empty."""
        return self.done and self._claims and not self._taken

    def ask_again(self) -> None:
        """Ask once more for a window that showed nothing: it would show something by now."""
        self._empties -= 1
        self.done = False

    @property
    def largest(self) -> int:
        """The size of the largest page so far."""
        return self._largest

    @property
    def grain(self) -> Tick:
        """The coarsest cut of bounds that this server is known for by now."""
        return self._grain

    @property
    def top(self) -> Tick | None:
        """The newest tick on the first page that showed any."""
        return self._top

    @property
    def density(self) -> float:
        """Entries per tick in what was read so far; 0 when nothing can be said."""
        if self._top is None or self._bottom is None or self._top == self._bottom:
            return 0.0
        return self._met / (self._top - self._bottom)

    def pages_ahead(self, density: float) -> float:
        """How many more pages it is to the floor, if that many entries a tick are on the way."""
        if self._bottom is None:
            return 0.0
        shows = max(1, self._largest, min(self._documented_page, self._bounds.limit))
        return max(0, self._bottom - self._floor) * density / shows

    @property
    def halfway(self) -> Bounds:
        """What to ask to see how dense it is half of the way down: a stretch of a page's width."""
        top, bottom = self._top or self._floor, self._bottom or self._floor
        middle = (self._floor + bottom) // 2
        return Bounds(middle - (top - bottom), middle, min(DOCUMENTED_PAGE, self._bounds.limit))

    def shrink(self) -> bool:
        """Lower the limit after a refused or oversized answer; False when it is already 1."""
        self._may_raise = False
        if self._bounds.limit == 1:
            return False
        self._bounds = replace(self._bounds, limit=lower_limit(self._bounds.limit))
        return True

    def found(self) -> list[Identified]:
        """Everything in the window, oldest first, with its identity; only once `done`."""
        kept = self._taken[::-1]
        if self._ceiling is not None:
            kept = [s for s in kept if s.tick < self._ceiling or s.entry.tick is None]
        kept = [s for s in kept if s.tick >= self._floor or s.entry.tick is None]
        kept.sort(key=attrgetter("tick"))
        return identify(kept)

    def shown(self, floor: Tick | None = None, ceiling: Tick | None = None) -> list[Entry]:
        """The entries taken so far; with bounds, those of ``[floor, ceiling)`` that have a time."""
        entries = [s.entry for s in self._taken]
        if floor is None or ceiling is None:
            return entries
        return [e for e in entries if e.tick is not None and floor <= e.tick < ceiling]

    def absorb(self, entries: Iterable[Entry]) -> None:
        """Add what another way of reading a crowd has shown, all that it showed at once."""
        self._merge(self._sight(tuple(entries)))

    def take(self, page: Page) -> None:
        """Take the answer to `bounds`, and decide what is proved or asked next.

        Raises:
            ApiContractBroken: the page is not newest first, reaches outside its bounds, or has
                nothing but entries without a readable time and may be cut.
            ApiUnavailable: the page does not show the overlap; the walk must start again.
        """
        self.pages += 1
        self.size += page.size
        ticks = [entry.tick for entry in page.entries if entry.tick is not None]
        self._check(ticks)
        if self._ask is _Ask.BELOW:
            self._take_confirmation(page)
            return
        if self._ask is _Ask.ELSEWHERE:
            self._take_comparison(len(page.entries))
            return
        shown = self._sight(page.entries)
        self._merge(shown)
        low = ticks[-1] if ticks else None
        if self._bottom is None:
            self._take_first(shown, low)
        else:
            self._take_next(shown, low, self._bottom)
        self._largest = max(self._largest, len(shown))

    def _take_first(self, shown: Sequence[Identified], low: Tick | None) -> None:
        if not shown:
            self._empties += 1
            self.done = self._empties >= self._empties_wanted
        elif low is None:
            self._raise_limit(len(shown), settled=True)
        else:
            self.false_empties = max(self.false_empties, self._empties)
            self._top = shown[0].tick if self._top is None else self._top
            self._narrow_crowd(shown[0].tick)
            self._descend(shown, low)

    def _narrow_crowd(self, top: Tick) -> None:
        """The page below a crowd reaches into its second: the cut was to milliseconds."""
        if self.crowds and self.crowds[-1].floor < top < self.crowds[-1].ceiling:
            crowd = self.crowds[-1]
            low = max(crowd.floor, floor_to(crowd.ceiling - 1, MILLISECOND))
            self.crowds[-1] = replace(crowd, floor=low)

    @property
    def _empties_wanted(self) -> int:
        if not self._claims and not self.crowds:  # the live edge, and nothing was left above it
            return 1
        return self._doubts + (2 if self._anchor is None else 3)

    def _take_next(self, shown: Sequence[Identified], low: Tick | None, bottom: Tick) -> None:
        there = _contents_at(bottom, shown)
        overlap_shown = self._overlap <= there
        self._overlap |= there
        # Cut to its second, this bound would have hidden the bottom.
        within = (self._bounds.until or 0) % SECOND != 0 and bottom % SECOND != 0
        self.fine = self.fine or (overlap_shown and within)
        if overlap_shown and low is not None and low < bottom:
            self._descend(shown, low)
        elif overlap_shown:
            self._take_nothing_below(len(shown), bottom)
        elif low is not None and low >= bottom:
            self._take_cut_above(len(shown), bottom)
        elif low is None and shown:
            # Nothing but entries without a time: they fill the page and hide the overlap.
            self._raise_limit(len(shown), settled=False)
        elif self._ask is _Ask.EXACT:
            # The bottom itself is gone from an exact answer: this server cuts its bounds.
            self._cuts = True
            self._raise_limit(self._largest, settled=False)
        elif self._grain < SECOND:
            self._grain = SECOND  # and this one cuts them further than to milliseconds
            self._next(_Ask.ROUNDED)
        else:
            raise ApiUnavailable("a page no longer shows entries that the page before it showed")

    def _descend(self, shown: Sequence[Identified], low: Tick) -> None:
        """The page reaches a new bottom, and with it perhaps the floor."""
        before = None if self._bottom is None else ceil_to(self._bottom + 1, self._grain)
        same_grain = ceil_to(low + 1, self._grain) == before
        self._stand_at(low, _contents_at(low, shown))
        if low < self._floor or self._shows_anchor(low):
            self.done = self.grounded = True
        else:
            dense = same_grain and self._ask is _Ask.EXACT
            self._next(_Ask.EXACT if dense else _Ask.ROUNDED)

    def _take_nothing_below(self, size: int, bottom: Tick) -> None:
        """The whole overlap and nothing below it: the floor, unless the page was cut just here."""
        whole = self._empty_below or (self._empty_below is None and size < self._largest)
        if whole and not self._may_be_cut(size):
            self.done = True
        elif self._empty_below is None:
            self._stalled = size
            self._next(_Ask.BELOW)
        elif self._ask is _Ask.ROUNDED and bottom + 1 != self._bounds.until:
            self._next(_Ask.EXACT)
        else:
            self._raise_limit(size, settled=self._empty_below)

    def _take_confirmation(self, page: Page) -> None:
        """Below the bottom: emptiness proves the floor, if no tie on the bottom can be hidden."""
        # A bound that is not exclusive after all shows the bottom once more: that is nothing below.
        below = [e for e in page.entries if e.tick is None or e.tick != self._bottom]
        if not below and not self._empties:
            self._empties = 1  # ask again
            return
        self._empties = 0
        self._empty_below = not below
        whole = not self._may_be_cut(self._stalled) and self._stalled < self._documented_page
        if self._empty_below and not self._may_be_cut(self._stalled):
            self.done = True
        elif whole and not self._empty_below and self._late < _LATE_AT_MOST:
            self._late += 1  # so small a page is not cut: what is below has just become visible
            self._empty_below = None
            self._next(_Ask.ROUNDED)
        else:
            self._next(_Ask.EXACT)

    def _take_cut_above(self, size: int, bottom: Tick) -> None:
        """The page ends before the whole overlap: more entries stand there than a page shows."""
        if self._ask is _Ask.ROUNDED and self._bounds.until != bottom + 1:
            self._next(_Ask.EXACT)
        else:
            self._raise_limit(size, settled=False)

    def _raise_limit(self, size: int, *, settled: bool) -> None:
        """Ask for more at once; when pages no longer grow, decide by what is left to hope for.

        ``settled`` says that the page showed all that is known and nothing below.
        """
        stable = self._crowd is not None and size <= self._crowd
        small = not self._may_be_cut(size) and (stable or size < self._documented_page)
        if settled and (small or (stable and self._compared)):
            self.done = True
        elif not stable and self._may_raise and self._bounds.limit < LARGEST_LIMIT:
            self._crowd = size
            self._bounds = replace(self._bounds, limit=self._bounds.limit * 2)
            self._next(_Ask.ROUNDED)
        elif settled and size < self._bounds.limit:
            self._crowd = size
            self._ask = _Ask.ELSEWHERE
            since = self._bounds.since - FAR_BACK
            self._bounds = replace(self._bounds, since=since, until=None)
        else:
            self._give_up(size, settled=settled)

    def _take_comparison(self, size: int) -> None:
        """A larger page than the crowd's, just now: so if that one comes again, it was not cut."""
        self._bounds = replace(self._bounds, since=self._bounds.since + FAR_BACK)
        if self._crowd is None or size <= self._crowd:
            self._give_up(size, settled=True)
        else:
            self._compared = True
            self._next(_Ask.ROUNDED)

    def _give_up(self, size: int, *, settled: bool) -> None:
        """Leave a crowd that no page shows whole, and go on below it as if anew."""
        if self._bottom is None:
            raise ApiContractBroken(f"{size} entries fill a page and none has a readable time")
        # Where a cut hides entries, it may be to seconds, until the next page shows otherwise.
        low = floor_to(self._bottom, SECOND) if self._cuts else self._bottom
        again = bool(self.crowds) and self.crowds[-1].ceiling == self._bottom + 1
        if not again:
            self.crowds.append(Crowd(max(low, min(self._floor, self._bottom)), self._bottom + 1))
        if settled:
            self.done = True
            return
        # Shown again below itself, of a server whose bounds are not exclusive: one tick further.
        self._bounds = replace(self._bounds, until=self._bottom - again)
        self._ask = _Ask.ROUNDED
        self._stand_at(None, Counter())

    def _stand_at(self, bottom: Tick | None, overlap: Counter[bytes]) -> None:
        """Go on from here; what was learned about the bottom before no longer holds."""
        self._bottom, self._overlap = bottom, overlap
        self._empties, self._empty_below = 0, None
        self._crowd, self._compared = None, False

    def _may_be_cut(self, size: int) -> bool:
        """Whether a page of this size may be cut by our limit or by a cap of the server's."""
        if size >= self._bounds.limit:
            return True
        digits = str(size).rstrip("0")
        return size >= self._documented_page and digits in _LEADING_DIGITS_OF_CAPS

    def _next(self, ask: _Ask) -> None:
        self._ask = ask
        if self._bottom is None:
            return
        exact = self._bottom if ask is _Ask.BELOW else self._bottom + 1
        until = ceil_to(exact, self._grain) if ask is _Ask.ROUNDED else exact
        self._bounds = replace(self._bounds, until=until)

    def _check(self, ticks: Sequence[Tick]) -> None:
        if ticks != sorted(ticks, reverse=True):
            raise ApiContractBroken("the page is not newest first")
        since, until = self._bounds.since, self._bounds.until
        # A server that cuts bounds to seconds may show up to a second more below, none above.
        if ticks and ticks[-1] <= since - SECOND:
            raise ApiContractBroken(
                f"the page shows {format_tick(ticks[-1])}, before since={format_tick(since)}"
            )
        if ticks and until is not None and ticks[0] >= until + MILLISECOND:
            raise ApiContractBroken(
                f"the page shows {format_tick(ticks[0])}, after until={format_tick(until)}"
            )

    def _sight(self, entries: Sequence[Entry]) -> list[Identified]:
        """Hash and place the entries; one without a time borrows a neighbour's tick."""
        timed = next((e.tick for e in entries if e.tick is not None), self._floor)
        shown = []
        for entry in entries:
            timed = timed if entry.tick is None else entry.tick
            shown.append(Identified(entry, timed, content_hash(entry)))
        self._met += len(shown)
        return shown

    def _merge(self, shown: Sequence[Identified]) -> None:
        """Add what exceeds the number of equals already taken: a multiset union."""
        counts: dict[bytes, int] = {}  # a Counter asks a method for every new key
        times, taken = self._times, self._taken
        for sighting in shown:
            content = sighting.uid
            count = counts[content] = counts.get(content, 0) + 1
            if count > times.get(content, 0):
                times[content] = count
                taken.append(sighting)

    def _shows_anchor(self, low: Tick) -> bool:
        if self._anchor is None or low != self._anchor.tick:
            return False
        shown = {uid(c, n) for c, count in self._overlap.items() for n in range(count)}
        return not self._anchor.uids.isdisjoint(shown)


def lower_limit(limit: int) -> int:
    """The next smaller limit to try: half as much, but not past the documented one."""
    half = max(1, limit // 2)
    return max(half, DOCUMENTED_PAGE) if limit > DOCUMENTED_PAGE else half


def density_of(page: Page, bounds: Bounds) -> float:
    """Entries per tick in what a page shows of its bounds, of which the upper one is given."""
    until, ticks = bounds.until or 0, [e.tick for e in page.entries if e.tick is not None]
    low = ticks[-1] if len(page.entries) >= bounds.limit and ticks else bounds.since
    return len(ticks) / max(1, until - low)


def _contents_at(tick: Tick, shown: Sequence[Identified]) -> Counter[bytes]:
    return Counter(s.uid for s in shown if s.tick == tick and s.entry.tick is not None)
