"""The open gaps of one app: which stretches they close to reading, and when they are none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.model import Gap, GapKind, Identified, Tick
from bridge.source.schedule import Slice


class KnownGaps:
    """What could not be proved so far and was recorded as such."""

    def __init__(self) -> None:
        self._gaps: set[Gap] = set()

    def __len__(self) -> int:
        return len(self._gaps)

    def resume(self, gaps: Iterable[Gap]) -> None:
        """Begin with what the journal holds."""
        self._gaps = set(gaps)

    @property
    def unreadable(self) -> list[Gap]:
        """What the API fails for, oldest first."""
        found = [gap for gap in self._gaps if gap.kind is GapKind.UNREADABLE]
        return sorted(found, key=lambda gap: gap.floor)

    def above(self, floor: Tick, position: Tick) -> Tick:
        """A floor, raised over what the API fails for: that is asked for apart, now and then."""
        return max([floor, *(gap.ceiling for gap in self.unreadable if gap.ceiling <= position)])

    def readable(self, window: Slice) -> tuple[Slice | None, Gap | None]:
        """The part of a window before the first gap that the API fails for.

        If it begins in one, that gap.
        """
        for gap in self.unreadable:
            if gap.floor <= window.floor < gap.ceiling:
                return None, gap
            if window.floor < gap.floor < window.ceiling:
                return Slice(window.floor, gap.floor), None
        return window, None

    def closed_by(
        self, found: Sequence[Identified], window: Slice, gaps: Sequence[Gap]
    ) -> list[Gap]:
        """The known gaps that a walk over a window, with gaps of its own, has read completely.

        A crowd at its floor does not count: there an anchor ends a walk before the whole tick.
        Nor does a walk that shows less than was known: what it shows may have left the API.
        """
        open_still = {gap.key for gap in gaps}
        return [
            gap
            for gap in self._gaps
            if gap.key not in open_still
            and gap.ceiling <= window.ceiling
            and (
                (gap.kind is GapKind.UNREADABLE and gap.floor >= window.floor)
                or (gap.kind is GapKind.CROWDED and gap.floor > window.floor)
            )
            and sum(gap.floor <= i.tick < gap.ceiling for i in found) >= gap.at_least
        ]

    def journaled(self, gaps: Iterable[Gap], closed: Iterable[Gap]) -> list[Gap]:
        """Take what an append stored; those that were not known before."""
        known = {gap.key for gap in self._gaps}
        new = list({gap.key: gap for gap in gaps if gap.key not in known}.values())
        self._gaps = (self._gaps | {*new}) - {*closed}
        return new
