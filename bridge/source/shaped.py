"""What an app's rules did to its entries, told now and then rather than at every append."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from bridge.clock import Clock
from bridge.telemetry import Emit
from bridge.telemetry.reading import EntriesShaped

_TELL_EVERY: Final = 60.0


class ShapedTally:
    """Gathers the counts of one app's appends; one line a minute at most."""

    def __init__(
        self, app: str, settle: Callable[[], Mapping[str, int]], *, clock: Clock, emit: Emit
    ) -> None:
        self._app = app
        self._settle = settle
        self._clock = clock
        self._emit = emit
        self._untold: Counter[str] = Counter()
        self._told_at: float | None = None

    def stored(self) -> None:
        """An append is journaled."""
        self._untold.update(self._settle())
        now = self._clock.monotonic()
        if self._untold and (self._told_at is None or now - self._told_at >= _TELL_EVERY):
            self._emit(EntriesShaped(self._app, tuple(sorted(self._untold.items()))))
            self._untold, self._told_at = Counter(), now
