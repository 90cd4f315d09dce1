"""What may have left the API while nobody read: found out after a time away, and told as a gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bridge.model import SECOND, Gap, GapKind, Identified, ReadKind, Tick
from bridge.source.reader import Reader
from bridge.source.walk import Walk

LONG_AWAY: Final[Tick] = 3600 * SECOND
"""After so long without a look retention is doubted even where nothing is known to be missing."""

_PATIENCE: Final = 60.0


class Retention:
    """Doubts what lies above a position that reading comes back to, until something proves it.

    The entries known from before should be shown at the floor. If they are not, and nothing else
    in the account is as old, retention has passed the position.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._doubted: Tick | None = None
        self._reason = False
        self._kept: Tick = 0

    def shown(self, age: Tick) -> None:
        """An entry of this age was shown: so long at least the API keeps them."""
        self._kept = max(self._kept, age)

    def doubt(self, position: Tick, now: Tick) -> None:
        """Nobody has read above a position for a while."""
        away = now - position
        if away < self._kept:
            return
        self._doubted = position if self._doubted is None else min(position, self._doubted)
        self._reason = self._reason or away > LONG_AWAY

    def suspect(self, walk: Walk) -> None:
        """After a short while only what is known and not shown any more is a reason to ask."""
        self._reason = self._reason or (walk.anchored and not walk.grounded)

    async def gap(
        self, walk: Walk, found: Sequence[Identified], ceiling: Tick, kind: ReadKind
    ) -> list[Gap]:
        """What a walk up to a ceiling shows to be perhaps gone: one gap or none."""
        self.suspect(walk)
        if self._doubted is None or walk.grounded or not self._reason:
            self._believe()
            return []
        first = next((item.tick for item in found if item.entry.tick is not None), None)
        if first is None and kind is ReadKind.BACKLOG:
            return []  # the next slice, or the live edge, may show some
        floor, end = self._doubted, ceiling if first is None else first
        gone = floor < end and not await self._reader.shows_older(floor, patience=_PATIENCE)
        self._believe()
        return [Gap(GapKind.RETENTION, floor, end, 0)] if gone else []

    def _believe(self) -> None:
        self._doubted, self._reason = None, False
