"""The server's time, from the ``Date`` of its answers. Pure but for the numbers it is given.

A ``Date`` is cut to whole seconds, so at the moment an answer arrives the server's time is at
least its ``Date``. The best of these lower bounds, carried on by the monotonic clock, comes
within the round trip of the truth and is never later than it: a position taken from it never
claims a moment that the server had not reached.
"""

from __future__ import annotations

from bridge.clock import Clock
from bridge.model import SECOND, Tick


class ServerClock:
    """Interpolates the server's time; without any ``Date``, the local wall clock stands in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: Tick | None = None

    @property
    def known(self) -> bool:
        """Whether any answer has told the server's time."""
        return self._offset is not None

    def now(self) -> Tick:
        """The latest tick that the server has surely reached."""
        return self.at(self._clock.monotonic())

    def at(self, moment: float) -> Tick:
        """The latest tick that the server had surely reached at a monotonic moment."""
        if self._offset is None:
            return self._clock.now() - int((self._clock.monotonic() - moment) * SECOND)
        return self._offset + int(moment * SECOND)

    def observe(self, served_at: Tick | None, sent: float) -> None:
        """Learn from an answer just received; ``sent`` is the monotonic time of its request.

        A later lower bound replaces an earlier one; one that the server's clock contradicts
        (it was set back) is dropped.
        """
        if served_at is None:
            return
        lower = served_at - int(self._clock.monotonic() * SECOND)
        upper = served_at + SECOND - int(sent * SECOND)
        if self._offset is None or lower > self._offset or upper < self._offset:
            self._offset = lower
