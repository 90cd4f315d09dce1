"""When to read next and how much at once. Pure decisions; the tailer keeps the time."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from msgspec import Struct

from bridge.model import MILLISECOND, SECOND, Tick
from bridge.source.walk import lower_limit
from bridge.timestamps import ceil_to

_PARTS: Final = 4
_SHARE_OF_A_PAGE: Final = 0.85
_ALERT: Final = 10
_SELDOM: Final = 15.0
_MOST_OFTEN: Final = 20
_STEP: Final = 4
_MOST_PATIENT: Final = 64


class Pace:
    """Seconds between polls: quick while entries flow, slower when idle, stretched to a bound.

    It stays quick for ten intervals after the last entry: who logs every few seconds is not idle.
    """

    def __init__(self, *, interval: float, max_interval: float) -> None:
        self._interval = interval
        self._longest = max(interval, max_interval)
        self._next = interval
        self._idle = 0.0

    def after(self, took: float, *, flowed: bool) -> float:
        """The pause after a poll of so many seconds that found new entries, or none.

        Polls begin that far apart, but the server has at least half of the time to itself.
        """
        self._idle = 0.0 if flowed else self._idle + took
        alert = self._idle < _ALERT * self._interval
        self._next = self._interval if alert else min(self._longest, self._next * 1.5)
        pause = max(self._next / 2, self._next - took)
        self._idle += pause
        return pause

    @property
    def slow(self) -> bool:
        """Whether polls are further apart than while entries flow."""
        return self._next > self._interval

    def hasten(self) -> None:
        """Something is there to be read: begin again with the shortest pause."""
        self._next, self._idle = self._interval, 0.0


class Looks:
    """When to read everything that is stamped ahead of time once more: seldom if that is dear."""

    def __init__(self) -> None:
        self._next = -_SELDOM

    def due(self, now: float) -> bool:
        """Whether it is time again."""
        return now >= self._next

    def looked(self, began: float, ended: float) -> None:
        """A look took from one monotonic moment to another."""
        self._next = ended + max(_SELDOM, _MOST_OFTEN * (ended - began))


class PageLimit:
    """The ``limit`` to ask for: as configured, less what the server refused or could not carry."""

    def __init__(self, page_size: int) -> None:
        self._most = page_size
        self.value = page_size
        self._completed = 0
        self._wanted = 1

    def refused(self, limit: int) -> None:
        """The server does not accept this limit: never ask for as much again."""
        self._most = self.value = min(self._most, lower_limit(limit))

    def too_large(self, limit: int) -> None:
        """The answer passed the size cap: ask for less for now, and for longer each time."""
        self.value = min(self.value, lower_limit(limit))
        self._completed, self._wanted = 0, min(_MOST_PATIENT, self._wanted * _STEP)

    def completed(self) -> None:
        """A walk ended well: win the page size back, little by little."""
        self._completed += 1
        if self.value < self._most and self._completed >= self._wanted:
            self.value, self._completed = min(self._most, self.value * 2), 0


def slice_target(page: int) -> int:
    """How many entries a slice should hold: so many that one page of that size shows them all."""
    return max(1, int(_SHARE_OF_A_PAGE * page))


class Slice(Struct, frozen=True):
    """One piece of a backlog, ``[floor, ceiling)``."""

    floor: Tick
    ceiling: Tick

    def narrowest(self, grain: Tick) -> bool:
        """Whether it cannot be cut further, of a server that cuts bounds by up to ``grain``."""
        return self.ceiling - self.floor <= grain

    def parts(self, grain: Tick) -> list[Slice]:
        """The same in up to four parts, oldest first; itself if it cannot be cut."""
        width = (self.ceiling - self.floor) // _PARTS
        step = max(grain, _step(width))
        ends = {ceil_to(self.floor + n * width, step) for n in range(1, _PARTS)}
        cuts = [self.floor, *sorted(e for e in ends if self.floor < e < self.ceiling), self.ceiling]
        return [Slice(floor, ceiling) for floor, ceiling in pairwise(cuts)]


class Slicer:
    """Cuts a backlog into slices, oldest first; the width follows the density both ways.

    ``density`` is the first guess, in entries per tick; ``target`` the entries wanted a slice.
    Slices are handed out ahead of what is known of the ones before them.
    """

    def __init__(self, window: Slice, *, density: float, target: int) -> None:
        self.density = density
        self._floor = window.floor
        self._ceiling = window.ceiling
        self._target = max(1, target)
        self._whole = max(1, self._ceiling - self._floor)
        self._width = min(self._whole, self._target / density) if density > 0 else self._whole

    def next(self, grain: Tick = MILLISECOND) -> Slice | None:
        """The next slice, of at least the server's ``grain``; None when all are handed out."""
        if self._floor >= self._ceiling:
            return None
        width = max(grain, int(self._width))
        # Slices end on whole seconds, or milliseconds: a server that cuts bounds cuts nothing off.
        end = ceil_to(self._floor + width, max(grain, _step(width)))
        piece = Slice(self._floor, min(self._ceiling, end))
        self._floor = piece.ceiling
        return piece

    def completed(self, piece: Slice, entries: int) -> None:
        """A slice was read: the next ones are wider or narrower by what it held."""
        width = piece.ceiling - piece.floor
        self.density = entries / width
        fit = width * self._target / max(entries, 1)
        self._width = max(width / _STEP, min(fit, max(width, self._width) * _STEP, self._whole))

    def too_dense(self, piece: Slice) -> None:
        """A slice took too many pages and was given up: the next ones are smaller."""
        self._width = (piece.ceiling - piece.floor) / _PARTS


def _step(width: Tick) -> Tick:
    return SECOND if width >= SECOND else MILLISECOND
