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


class Patience:
    """The pauses between the tries of one thing.

    What may pass by itself (no answer, a 5xx, a 429) is retried soon, with full jitter; what
    needs a person from 1 s doubling to 60 s.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.over()

    def over(self) -> None:
        """It went well: begin anew."""
        self.tries = 0
        self._passing = _pauses(_PASSING_FIRST, _PASSING_LONGEST)
        self._lasting = _pauses(_LASTING_FIRST, _LASTING_LONGEST)

    def after(self, error: BridgeError) -> float:
        """The seconds to wait after one more failure."""
        self.tries += 1
        if may_pass(error):
            return self._random.uniform(0, next(self._passing))
        return next(self._lasting)


class Trouble:
    """The failures of one app since it last worked, told once for each kind.

    What needs a person is told at once, what may pass by itself only after a few tries.
    """

    def __init__(self, app: str, *, clock: Clock, emit: Emit) -> None:
        self.reason = ""
        self._app = app
        self._clock = clock
        self._emit = emit
        self._failures = 0
        self._since = 0.0
        self._told = ""

    def note(self, error: BridgeError) -> None:
        """Take note of a failure."""
        if not self._failures:
            self._since = self._clock.monotonic()
        self._failures += 1
        self.reason = str(error)
        kind = type(error).__name__
        if kind != self._told and (not may_pass(error) or self._failures >= _QUIET_TRIES):
            self._told = kind
            self._emit(AppTroubled(self._app, self.reason))

    def over(self) -> None:
        """It works again."""
        if self._told:
            self._emit(AppRecovered(self._app, self._clock.monotonic() - self._since))
        self._failures, self._told, self.reason = 0, "", ""


def may_pass(error: BridgeError) -> bool:
    """Whether a failure is likely to end without anyone's doing."""
    return isinstance(error, ApiUnavailable | ApiThrottled)


def _pauses(first: float, longest: float) -> Iterator[float]:
    pause = first
    while True:
        yield pause
        pause = min(longest, pause * 2)
