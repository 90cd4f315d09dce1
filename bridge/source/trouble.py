"""How an app takes failures: pauses that grow, one line when its state changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from bridge.clock import Clock
from bridge.errors import ApiThrottled, ApiUnavailable, BridgeError
from bridge.telemetry import Emit
from bridge.telemetry.reading import AppRecovered, AppTroubled

_QUIET_TRIES: Final = 3
_PASSING_FIRST: Final = 0.25
_PASSING_LONGEST: Final = 30.0
_LASTING_FIRST: Final = 1.0
_LASTING_LONGEST: Final = 60.0


class Trouble:
    """The failures of one app since it last worked.

    What may pass by itself (no answer, a 5xx, a 429) is retried soon, with full jitter, and only
    told after a few tries; what needs a person is told at once and retried from 1 s doubling to
    60 s.
    """

    def __init__(self, app: str, *, clock: Clock, random: Random, emit: Emit) -> None:
        self.reason = ""
        self._app = app
        self._clock = clock
        self._emit = emit
        self._passing = _pauses(_PASSING_FIRST, _PASSING_LONGEST)
        self._lasting = _pauses(_LASTING_FIRST, _LASTING_LONGEST)
        self._random = random
        self._tries = 0
        self._since = 0.0
        self._told = ""

    def pause_after(self, error: BridgeError) -> float:
        """Take note of a failure; the seconds to wait before the next try."""
        if self._tries == 0:
            self._since = self._clock.monotonic()
        self._tries += 1
        self.reason = str(error)
        passing = isinstance(error, ApiUnavailable | ApiThrottled)
        kind = type(error).__name__
        if kind != self._told and (not passing or self._tries >= _QUIET_TRIES):
            self._told = kind
            self._emit(AppTroubled(self._app, self.reason))
        if passing:
            return self._random.uniform(0, next(self._passing))
        return next(self._lasting)

    def over(self) -> None:
        """It works again."""
        if self._told:
            self._emit(AppRecovered(self._app, self._clock.monotonic() - self._since))
        if self._tries:
            self._tries, self._told, self.reason = 0, "", ""
            self._passing = _pauses(_PASSING_FIRST, _PASSING_LONGEST)
            self._lasting = _pauses(_LASTING_FIRST, _LASTING_LONGEST)


def _pauses(first: float, longest: float) -> Iterator[float]:
    pause = first
    while True:
        yield pause
        pause = min(longest, pause * 2)
