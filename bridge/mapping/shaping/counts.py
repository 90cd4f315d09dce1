"""What was dropped or changed, counted once however often an append was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType


class Counts:
    """Counts of entries by rule.

    What one encoding comes to is only proposed. The proposal takes the place of the one before,
    unless that was settled: an append that failed is encoded again. Encoding and settling come
    after one another, since an app has one writer.
    """

    def __init__(self) -> None:
        self._settled: Counter[str] = Counter()
        self._proposed: Counter[str] = Counter()

    def propose(self) -> Counter[str]:
        """Begin a new proposal, to be filled."""
        self._proposed = Counter()
        return self._proposed

    def settle(self) -> Mapping[str, int]:
        """Count what was proposed, since it is stored, and return it."""
        done, self._proposed = +self._proposed, Counter()
        self._settled += done
        return MappingProxyType(done)

    @property
    def snapshot(self) -> Mapping[str, int]:
        """Entries by rule so far."""
        return MappingProxyType(dict(self._settled))
