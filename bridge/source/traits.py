"""What the API shows of itself in the traffic there is anyway; a change is told once.

The document leaves much open (the largest page, how fine bounds are) and may not be kept for ever.
`Traits` looks at the first and the last entry of a page and at the page before it in the same
walk, never at every entry, and reports what differs from before. It decides nothing: reading takes
nothing for granted anyway (`walk`). Nothing waits and nothing is asked here; for that, `probes`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from msgspec import Struct

from bridge.clock import Clock
from bridge.model import MILLISECOND, SECOND, Filter, Page, Query, Tick
from bridge.source.walk import DOCUMENTED_PAGE
from bridge.telemetry import Emit
from bridge.telemetry.reading import BehaviourChanged

SKEW: Final[Tick] = 300 * SECOND
"""How far the server's ``Date`` and the machine's clock may differ before it is worth a word."""

STEPS: Final[dict[Tick, str]] = {1: "microsecond", MILLISECOND: "millisecond", SECOND: "second"}
"""The steps to which a server may cut bounds, finest first."""

_QUIET: Final = 3_600.0
"""Seconds in which the same is not told again, should servers of two kinds take turns."""
_UNDATED: Final = 3
_WALKS: Final = 64


@runtime_checkable
class LearnsForm(Protocol):
    """A logs API whose requests have more than one form, and which finds out the right one."""

    @property
    def form(self) -> str:
        """The form that its requests have now, in a few words."""
        ...


class Trait(StrEnum):
    """What an API may change about itself."""

    ORDER = "order"
    BOUNDS = "bounds"
    PRECISION = "precision"
    PAGE = "page"
    DATE = "date"
    CLOCK = "clock"
    BODY = "body"


_NEWEST_FIRST: Final = "shows the newest entry first"
_EXCLUSIVE: Final = "keeps its bounds exclusive"
_DATED: Final = "sends the Date"
_SAME_TIME: Final = "has the time of this machine"
_EXPECTED: Final = {
    Trait.ORDER: _NEWEST_FIRST,
    Trait.BOUNDS: _EXCLUSIVE,
    Trait.PRECISION: "keeps bounds to the microsecond",
    Trait.PAGE: "as many as asked for",
    Trait.DATE: _DATED,
    Trait.CLOCK: _SAME_TIME,
}
_MEANS: Final = {
    Trait.ORDER: "only pages that are newest first can be read on",
    Trait.BOUNDS: "what lies outside a window is left out",
    Trait.PRECISION: "crowded moments may take more requests",
    Trait.PAGE: "the number of requests changes with it",
    Trait.DATE: "without it this machine's clock stands in for the server's",
    Trait.CLOCK: "reading goes by the server's clock",
    Trait.BODY: "requests follow it",
}


class _Before(Struct, frozen=True):
    """The page before in the same walk: its size, the limit asked, its oldest tick."""

    size: int
    limit: int
    bottom: Tick


class Traits:
    """What is known of one API; give every page to `observe` and every refused limit to it too."""

    def __init__(self, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._known: dict[Trait, str] = {}
        self._told: dict[tuple[Trait, str], float] = {}
        self._walks: dict[tuple[Filter, Tick], _Before] = {}
        self._largest = 0
        self._cap: int | None = None
        self._suspected = 0
        self._refused: int | None = None
        self._undated = 0

    def observe(self, query: Query, page: Page, form: str = "") -> None:
        """Learn from one answer; ``form`` is the form of the request that got it, if it has any."""
        self._learn_time(page.served_at)
        if form:
            self._learn_form(form)
        self._learn_size(query.limit, len(page.entries))
        if not page.entries:
            return
        first, last = page.entries[0].tick, page.entries[-1].tick
        if first is None or last is None:
            return
        if first != last:
            self._note(Trait.ORDER, _NEWEST_FIRST if first > last else "shows the oldest first")
        oldest, newest = min(first, last), max(first, last)
        self._learn_bounds(query, oldest, newest)
        self._follow(query, _Before(len(page.entries), query.limit, oldest), newest)

    def refused(self, limit: int) -> None:
        """A limit was refused as too large; told once a smaller one is taken."""
        self._refused = limit if self._refused is None else min(self._refused, limit)

    def _learn_time(self, served_at: Tick | None) -> None:
        if served_at is None:
            self._undated += 1
            if self._undated >= _UNDATED:
                self._note(Trait.DATE, "sends no Date")
            return
        self._undated = 0
        self._note(Trait.DATE, _DATED)
        skew = served_at - self._clock.now()
        if abs(skew) <= SKEW:
            self._note(Trait.CLOCK, _SAME_TIME)
        else:
            side = "ahead of" if skew > 0 else "behind"
            minutes = SKEW // (60 * SECOND)
            self._note(Trait.CLOCK, f"is more than {minutes} minutes {side} this machine's clock")

    def _learn_form(self, form: str) -> None:
        self._known.setdefault(Trait.BODY, f"takes {form}")  # the first form is no change
        self._note(Trait.BODY, f"takes {form}")

    def _learn_size(self, limit: int, size: int) -> None:
        """A page over the cap proves that it is gone; a smaller limit taken ends a refusal."""
        if self._cap is not None and size > self._cap:
            self._cap = None
            self._note(Trait.PAGE, f"shows {size:,} entries a page")
        if self._refused is not None and limit < self._refused:
            self._note(Trait.PAGE, f"refuses to show {self._refused:,} entries a page")
            self._refused = None
        if size > self._suspected:
            self._suspected = 0
        self._largest = max(self._largest, size)

    def _learn_bounds(self, query: Query, oldest: Tick, newest: Tick) -> None:
        """Nothing on the bounds proves nothing, so what was seen there is not unlearned."""
        since, until = query.since, query.until
        if oldest == since or newest == until:
            self._note(Trait.BOUNDS, "shows entries on its bounds")
        if until is not None and newest > until:
            self._note(Trait.BOUNDS, "shows entries outside of its bounds")
        if oldest < since:
            cut = next((step for step in STEPS if since - since % step < oldest), None)
            if cut is None:
                self._note(Trait.BOUNDS, "shows entries outside of its bounds")
            else:
                self._learn_step(cut)

    def _follow(self, query: Query, page: _Before, newest: Tick) -> None:
        """Compare with the page before, if this one goes on where that one ended."""
        key, until = (query.filter, query.since), query.until
        before = self._walks.pop(key, None)
        if before is not None and until is not None:
            bottom = before.bottom
            if bottom <= until <= bottom + MILLISECOND - bottom % MILLISECOND:
                if page.bottom < bottom and before.size < before.limit:
                    self._suspect(before.size)
                if until > bottom:
                    self._learn_overlap(until, bottom, newest)
        self._walks[key] = page
        if len(self._walks) > _WALKS:
            del self._walks[next(iter(self._walks))]

    def _suspect(self, size: int) -> None:
        """A page ended early, though there was more: by a cap, or because an entry came late.

        The same size twice, and no larger page in between, is a cap.
        """
        if size < DOCUMENTED_PAGE:
            return
        if size == self._suspected:
            self._cap = size
            if size < self._largest:
                self._known.setdefault(Trait.PAGE, f"{self._largest:,}")
            self._note(Trait.PAGE, f"shows at most {size:,} entries a page")
        self._suspected = size

    def _learn_overlap(self, until: Tick, bottom: Tick, newest: Tick) -> None:
        """Whether the page shows the bottom again, which lies just inside its upper bound."""
        if newest >= bottom:
            if until % MILLISECOND:
                self._learn_step(1)
            elif until % SECOND and self._known.get(Trait.PRECISION) == _kept(SECOND):
                self._learn_step(MILLISECOND)
            return
        for step in STEPS:
            if newest <= until - until % step <= bottom:
                self._learn_step(step)
                return

    def _learn_step(self, step: Tick) -> None:
        self._note(Trait.PRECISION, _kept(step))

    def _note(self, trait: Trait, now: str) -> None:
        """Take note of what it does; report it if that is another thing than before."""
        known = self._known.get(trait)
        if now == known:
            return
        self._known[trait] = now
        if known is None and now == _EXPECTED.get(trait):
            return
        moment = self._clock.monotonic()
        self._told = {k: told for k, told in self._told.items() if moment - told < _QUIET}
        if (trait, now) in self._told:
            return
        self._told[trait, now] = moment
        before = f"expected: {_EXPECTED[trait]}" if known is None else f"before: {known}"
        self._emit(BehaviourChanged(trait, now, before, _MEANS[trait]))


def _kept(step: Tick) -> str:
    return f"keeps bounds to the {STEPS[step]}"
