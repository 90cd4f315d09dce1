"""How late entries come, told now and then rather than at every sweep."""

from __future__ import annotations

from typing import Final

from bridge.clock import Clock
from bridge.telemetry import Emit
from bridge.telemetry.reading import LateEntriesFound

_TELL_EVERY: Final = 60.0


class LateTally:
    """Gathers what the sweeps of one app find; one line a minute at most."""

    def __init__(self, app: str, *, clock: Clock, emit: Emit) -> None:
        self.entries = 0
        self._app = app
        self._clock = clock
        self._emit = emit
        self._untold = 0
        self._latest = 0.0
        self._told_at: float | None = None

    def found(self, entries: int, age: float) -> None:
        """A sweep found so many entries, the oldest ``age`` seconds after its time."""
        self.entries += entries
        self._untold += entries
        self._latest = max(self._latest, age)
        now = self._clock.monotonic()
        if self._told_at is None or now - self._told_at >= _TELL_EVERY:
            self._emit(LateEntriesFound(self._app, self._untold, self._latest))
            self._untold, self._latest, self._told_at = 0, 0.0, now
