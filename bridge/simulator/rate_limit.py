"""A server's rate limit: so many requests in a window that opens with its first request."""

from __future__ import annotations

import math

from msgspec import Struct

from bridge.clock import Clock


class RateLimit(Struct, frozen=True):
    """``requests`` per ``seconds``, and which headers a refusal carries to say when it is over."""

    requests: int
    seconds: float = 1.0
    retry_after: bool = True
    reset: bool = False

    def headers(self, wait: float) -> tuple[tuple[str, str], ...]:
        """The headers of a 429, in whole seconds rounded up."""
        named = (("retry-after", self.retry_after), ("x-ratelimit-reset", self.reset))
        return tuple((name, str(math.ceil(wait))) for name, sent in named if sent)


class Gate:
    """Counts requests against a `RateLimit`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened = -math.inf
        self._passed = 0

    def wait(self, limit: RateLimit) -> float:
        """Zero when one more request may pass, else the seconds until the next window."""
        now = self._clock.monotonic()
        if now >= self._opened + limit.seconds:
            self._opened, self._passed = now, 0
        if self._passed >= limit.requests:
            return self._opened + limit.seconds - now
        self._passed += 1
        return 0.0
