"""How many batches go into one request."""

from __future__ import annotations

from typing import Final

from bridge.clock import Clock

AWHILE: Final = 600.0
"""Seconds for which a mishap is remembered; then larger requests are tried again."""


class Joining:
    """The bounds of one request: as configured, and for a while after a mishap less."""

    def __init__(self, clock: Clock, *, max_batches: int, max_size: int) -> None:
        self._clock = clock
        self._most_batches = max_batches
        self._most_size = max_size
        self._less_size = max_size
        self._size_until = 0.0
        self._apart_until = 0.0

    @property
    def max_batches(self) -> int:
        """Batches of one request."""
        return 1 if self._clock.monotonic() < self._apart_until else self._most_batches

    @property
    def max_size(self) -> int:
        """Bytes of one request before compression."""
        if self._clock.monotonic() < self._size_until:
            return self._less_size
        return self._most_size

    def too_large(self, size: int) -> None:
        """A request of several batches was too large: the next ones are joined to fit."""
        self._less_size = min(self.max_size, size // 2)
        self._size_until = self._clock.monotonic() + AWHILE

    def partly(self) -> None:
        """Some of a request was refused, nobody knows which: copy no more than a batch next."""
        self._apart_until = self._clock.monotonic() + AWHILE
