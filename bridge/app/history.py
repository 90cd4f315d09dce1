"""What a process remembers of its numbers: the last hour, one sample every ten seconds. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from math import isnan, nan
from typing import Final, TypeAlias

from bridge.clock import Clock

EVERY: Final = 10.0
"""Seconds from one sample to the next."""
LENGTH: Final = 360
"""Samples that are kept: an hour of them."""

Series: TypeAlias = tuple[str, str]
"""What is measured, and of whom: ``("lag", "my-app")``."""


class History:
    """A ring of samples for every series; memory is eight bytes a sample and nothing else.

    Time is cut into slots by the monotonic clock. A slot in which nothing was noted (the machine
    slept, a bridge was being replaced) stays empty rather than being drawn as a number.
    """

    def __init__(self, clock: Clock, *, every: float = EVERY, length: int = LENGTH) -> None:
        """The first slot begins now."""
        self.every = every
        self._clock = clock
        self._length = length
        self._began = clock.monotonic()
        self._last = -1
        self._rings: dict[Series, array[float]] = {}

    @property
    def due(self) -> bool:
        """Whether the present slot is still empty."""
        return self._slot() > self._last

    def note(self, values: Mapping[Series, float | None]) -> None:
        """Fill the present slot; a series that is not named any more is forgotten.

        None is a number that is not known.
        """
        slot = self._slot()
        skipped = range(max(self._last + 1, slot - self._length + 1), slot)
        self._last = slot
        self._rings = {key: self._rings.get(key) or self._empty() for key in values}
        for key, ring in self._rings.items():
            for missed in skipped:
                ring[missed % self._length] = nan
            value = values[key]
            ring[slot % self._length] = nan if value is None else _short(value)

    def series(self, key: Series, newest: int | None = None) -> list[float | None]:
        """The samples of a series, oldest first, up to the last slot that was noted.

        All of the past that is kept, or its ``newest`` samples.
        """
        ring = self._rings.get(key)
        if ring is None:
            return []
        kept = self._length if newest is None else newest
        slots = range(max(0, self._last - kept + 1), self._last + 1)
        samples = (ring[slot % self._length] for slot in slots)
        return [None if isnan(sample) else sample for sample in samples]

    def mean(self, key: Series, samples: int) -> float | None:
        """The mean of the newest samples that are known; None where none is."""
        known = [value for value in self.series(key, samples) if value is not None]
        return sum(known) / len(known) if known else None

    def _slot(self) -> int:
        return int((self._clock.monotonic() - self._began) // self.every)

    def _empty(self) -> array[float]:
        return array("d", [nan]) * self._length


def _short(value: float) -> float:
    """Three digits: no chart shows more, and a long number is only long."""
    return float(f"{value:.3g}")
