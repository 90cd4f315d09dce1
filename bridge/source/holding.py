"""How much of what was read is not stored yet, of all apps together: memory is bounded by it."""

from __future__ import annotations

from collections import Counter
from typing import Final
from weakref import finalize

MOST_HELD: Final = 4 * 1024 * 1024
"""Bytes of answers; decoded they take three to four times as much."""


class Holding:
    """Counts the answers that walks hold, for as long as the walks live.

    What one app holds is bounded by the slices that it reads at a time, and its next slice may be
    the one that has to be stored first. So only an app that holds nothing is to wait for others.
    """

    def __init__(self, most: int = MOST_HELD) -> None:
        self.bytes = 0
        self._most = most
        self._of: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether no other app should begin to hold anything."""
        return self.bytes >= self._most

    def holds(self, app: str) -> bool:
        """Whether an app holds anything."""
        return app in self._of

    def add(self, app: str, walk: object, size: int) -> None:
        """An app's walk took an answer of so many bytes. However it ends, they go with it."""
        self.bytes += size
        self._of[app] += size
        finalize(walk, self._let_go, app, size).atexit = False

    def _let_go(self, app: str, size: int) -> None:
        self.bytes -= size
        self._of[app] -= size
        if self._of[app] <= 0:
            del self._of[app]
