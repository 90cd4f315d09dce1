"""When to read next and how much at once. Pure decisions; the tailer keeps the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bridge.model import MILLISECOND, Tick
from bridge.source.walk import lower_limit

_NARROWEST: Final = MILLISECOND


class Pace:
    """Seconds between polls: quick while entries flow, slower when idle, stretched to a bound."""

    def __init__(self, *, interval: float, max_interval: float) -> None:
        self._interval = interval
        self._longest = max(interval, max_interval)
        self._next = interval

    def after(self, *, flowed: bool) -> float:
        """The pause after a poll that found new entries, or none."""
        self._next = self._interval if flowed else min(self._longest, self._next * 1.5)
        return self._next


class PageLimit:
    """The ``limit`` to ask for: as configured, less what the server refused or could not carry."""

    def __init__(self, page_size: int) -> None:
        self._most = page_size
        self.value = page_size

    def refused(self, limit: int) -> None:
        """The server does not accept this limit: never ask for as much again."""
        self._most = self.value = lower_limit(limit)

    def too_large(self, limit: int) -> None:
        """The answer passed the size cap: ask for less for now."""
        self.value = lower_limit(limit)

    def completed(self) -> None:
        """A walk ended well: win the page size back."""
        self.value = min(self._most, self.value * 2)


@dataclass(frozen=True, slots=True)
class Slice:
    """One piece of a backlog, ``[floor, ceiling)``."""

    floor: Tick
    ceiling: Tick

    @property
    def narrowest(self) -> bool:
        """Whether it cannot be cut further."""
        return self.ceiling - self.floor <= _NARROWEST


class Slicer:
    """Cuts a backlog into slices of a few pages, oldest first; the width follows the density.

    ``density`` is the first guess, in entries per tick; ``target`` the entries wanted a slice.
    """

    def __init__(self, window: Slice, *, density: float, target: int) -> None:
        self._floor = window.floor
        self._ceiling = window.ceiling
        self._target = target
        whole = max(_NARROWEST, self._ceiling - self._floor)
        self._width = self._rounded(min(whole, target / density)) if density > 0 else whole

    def next(self) -> Slice | None:
        """The oldest slice not yet completed, None when the backlog is done."""
        if self._floor >= self._ceiling:
            return None
        # Slices end on whole milliseconds, so that a server that cuts bounds cuts nothing off.
        end = (self._floor + self._width) // _NARROWEST * _NARROWEST
        return Slice(self._floor, min(self._ceiling, max(end, self._floor + 1)))

    def completed(self, piece: Slice, entries: int) -> None:
        """The slice is journaled: go on above it, wider or narrower by what it held."""
        self._floor = piece.ceiling
        if entries * 2 < self._target:
            self._width *= 4 if entries * 8 < self._target else 2
        elif entries > self._target * 2:
            self._width = self._rounded(self._width / 2)

    def too_dense(self, piece: Slice) -> None:
        """The slice took too many pages and was given up: cut it smaller."""
        self._width = self._rounded((piece.ceiling - piece.floor) / 4)

    @staticmethod
    def _rounded(width: float) -> Tick:
        return max(_NARROWEST, int(width) // _NARROWEST * _NARROWEST)
