"""Which closed windows are to be read again for late entries, and when. Pure.

Every stretch of time is read again once it has reached each of the configured ages; one cursor
for each age says up to where that is done. Whatever read covers a stretch counts for every age it
has reached by then: the live walk of an idle app goes back to its last entry and so does the work
of all sweeps, a backlog is old enough already, and overdue ages are served by one read.

When the last age still finds something, entries come later than expected: the app gets one more
age, four times as long, up to a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from bridge.model import SECOND, Tick

LONGEST_AGE: Final[Tick] = 24 * 3600 * SECOND
_EXTENSION: Final = 4
_SHORTEST_WAIT: Final[Tick] = SECOND
_LONGEST_WAIT: Final[Tick] = 60 * SECOND


class Sweeps(Struct, frozen=True):
    """The sweep cursors of one app: age in ticks to the tick below which it is served."""

    cursors: Mapping[Tick, Tick]

    @classmethod
    def resumed(cls, ages: Iterable[Tick], *, start: Tick, cursors: Mapping[Tick, Tick]) -> Sweeps:
        """From the configured ages and the journaled cursors; the first ones begin at ``start``.

        An age that is new begins where the old ones leave off: at what was read again when it
        was older than that, or else when it was as old as they ask for.
        """
        configured = set(ages)
        extensions = cursors.keys() & set(_extensions(max(configured, default=LONGEST_AGE)))
        return cls(
            {
                age: cursors[age] if age in cursors else min(start, _left_off(age, cursors, start))
                for age in sorted(configured | extensions)
            }
        )

    @property
    def lowest(self) -> Tick | None:
        """Everything below is done with for every age; None without ages."""
        return min(self.cursors.values(), default=None)

    def covered(self, floor: Tick, ceiling: Tick, at: Tick) -> Sweeps:
        """After all of ``[floor, ceiling)`` was read completely at server time ``at``."""
        return Sweeps(
            {
                age: max(cursor, min(ceiling, at - age)) if floor <= cursor else cursor
                for age, cursor in self.cursors.items()
            }
        )

    def due(
        self, now: Tick, position: Tick | None = None, *, at_once: bool = False
    ) -> tuple[Tick, Tick] | None:
        """The oldest window to read again at server time ``now``, as (floor, ceiling).

        Never beyond the ``position``: what was not read yet cannot be read again. Waits until a
        window is worth its requests, unless ``at_once``; windows of several ages that touch are
        one.
        """
        window: tuple[Tick, Tick] | None = None
        for age in sorted(self.cursors, reverse=True):
            cursor = self.cursors[age]
            target = now - age if position is None else min(now - age, position)
            if target <= cursor or (target - cursor < _wait(age) and not at_once):
                continue
            if window is None:
                window = cursor, target
            elif cursor <= window[1]:
                window = min(window[0], cursor), max(window[1], target)
        return window

    def extended(self, floor: Tick, at: Tick) -> Sweeps:
        """After a read from ``floor`` at ``at`` found late entries that the last age should have.

        The same if a younger age was to find them, or the ages reach a day already.
        """
        longest = max(self.cursors, default=LONGEST_AGE)
        if longest >= LONGEST_AGE or at - floor < longest:
            return self
        return Sweeps({**self.cursors, next(_extensions(longest)): floor})


def _left_off(age: Tick, cursors: Mapping[Tick, Tick], start: Tick) -> Tick:
    """Up to where everything was read again at this age or later, or at the longest there was."""
    if not cursors:
        return start
    older = [cursor for other, cursor in cursors.items() if other >= age]
    return max(older) if older else cursors[max(cursors)]


def _extensions(longest: Tick) -> Iterator[Tick]:
    """The ages that may follow the longest configured one."""
    while longest < LONGEST_AGE:
        longest = min(longest * _EXTENSION, LONGEST_AGE)
        yield longest


def _wait(age: Tick) -> Tick:
    """How much of a window gathers before it is read again."""
    return max(_SHORTEST_WAIT, min(_LONGEST_WAIT, age // 4))
