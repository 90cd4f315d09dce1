"""Tells of gaps: once of each that is new, however often it is met, and of each that is closed."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.model import Gap
from bridge.source.known_gaps import KnownGaps
from bridge.telemetry import Emit
from bridge.telemetry.meter import Meter
from bridge.telemetry.reading import GapClosed, GapFound


class GapTally:
    """Reports the gaps of one app, as they are journaled."""

    def __init__(self, app: str, known: KnownGaps, *, meter: Meter, emit: Emit) -> None:
        self._app = app
        self._known = known
        self._meter = meter
        self._emit = emit

    def stored(self, gaps: Sequence[Gap], closed: Sequence[Gap]) -> None:
        """These were journaled, open and closed."""
        for gap in self._known.journaled(gaps, closed):
            self._meter.gap(self._app)
            self._emit(GapFound.of(self._app, gap))
        for gap in closed:
            self._emit(GapClosed(self._app, gap.floor, gap.ceiling))
