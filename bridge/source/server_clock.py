"""The server's time, from the ``Date`` of its answers. Pure but for the numbers it is given.

A ``Date`` is cut to whole seconds, so at the moment an answer arrives the server's time is at
least its ``Date``. The best of these lower bounds, carried on by the monotonic clock, comes
within the round trip of the truth and is never later than it: a position taken from it never
claims a moment that the server had not reached.

That holds only while the ``Date`` is right. A time too early costs nothing but delay; one too late
would call stretches of time closed that entries are still to come to, and durable cursors never
move back. So a leap forward counts only once answers have agreed on it for a minute (a machine
that was suspended makes the server leap too), while one back is followed at once.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bridge.clock import Clock
from bridge.model import SECOND, Tick

_DRIFT: Final[Tick] = 2 * SECOND
"""Clocks run apart by less than this from one answer to the next, while none leaps."""
_AGREED_FOR: Final = 60.0
_AGREED_BY: Final = 3


class _Leap(Struct):
    """A leap forward that answers speak of: the new offset, since when and by how many."""

    offset: Tick
    since: float
    answers: int = 0


class _Offset:
    """What to add to the monotonic clock: the best lower bound, and the upper one beside it."""

    def __init__(self) -> None:
        self.value: Tick | None = None
        self._upper: Tick = 0
        self._leap: _Leap | None = None

    def learn(self, lower: Tick, upper: Tick, moment: float) -> Tick:
        """Take bounds that were found at a monotonic moment; the offset that is believed then."""
        if self.value is None or upper < self.value or self._leaps(lower, moment):
            self.value, self._upper, self._leap = lower, upper, None
        elif lower <= self._upper + _DRIFT:
            self._upper = min(self._upper, upper) if lower <= self._upper else upper
            self.value, self._leap = max(self.value, lower), None
        return self.value

    def _leaps(self, lower: Tick, moment: float) -> bool:
        """Whether answers have agreed for long enough on a time that contradicts the believed."""
        if lower <= self._upper + _DRIFT:
            return False
        if self._leap is None or abs(lower - self._leap.offset) > _DRIFT:
            self._leap = _Leap(lower, moment)
        self._leap.answers += 1
        return moment - self._leap.since >= _AGREED_FOR and self._leap.answers >= _AGREED_BY


class ServerClock:
    """Interpolates the server's time; without any ``Date``, the local wall clock stands in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dated = _Offset()
        self._local = _Offset()

    @property
    def known(self) -> bool:
        """Whether any answer has told the server's time."""
        return self._dated.value is not None

    def now(self) -> Tick:
        """The latest tick that the server has surely reached."""
        return self.at(self._clock.monotonic())

    def at(self, moment: float) -> Tick:
        """The latest tick that the server had surely reached at a monotonic moment."""
        offset = self._dated.value
        if offset is None:
            here = self._clock.monotonic()
            local = self._clock.now() - int(here * SECOND)
            offset = self._local.learn(local, local, here)
        return offset + int(moment * SECOND)

    def observe(self, served_at: Tick | None, sent: float) -> None:
        """Learn from an answer just received; ``sent`` is the monotonic time of its request."""
        if served_at is None:
            return
        here = self._clock.monotonic()
        lower = served_at - int(here * SECOND)
        self._dated.learn(lower, served_at + SECOND - int(sent * SECOND), here)
