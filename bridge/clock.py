"""Time as the bridge sees it, injected everywhere so that tests own it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from bridge.model import Tick


class Clock(Protocol):
    """A wall clock, a monotonic clock and a way to wait."""

    def now(self) -> Tick:
        """The wall clock, in ticks. May be skewed and may step."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds; zero or less only yields."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Tick:
        """See `Clock.now`."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(max(0.0, seconds))
