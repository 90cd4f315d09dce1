"""A clock in one's hand, for whoever tries a part without waiting."""

from __future__ import annotations

import asyncio
from typing import Final

from bridge.model import SECOND, Tick

NOON: Final[Tick] = 1_758_283_200 * SECOND
"""2025-09-19T12:00:00Z, minutes before the document's example entries."""


class ManualClock:
    """A `bridge.clock.Clock` that stands still until told; ``sleep`` moves it at once.

    It suits one sleeper at a time: ``slept`` lists the waits that were asked for.
    """

    def __init__(self, now: Tick = NOON) -> None:
        self.tick = now
        self.slept: list[float] = []

    def now(self) -> Tick:
        """See `Clock.now`."""
        return self.tick

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.tick / SECOND

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self.slept.append(seconds)
        self.tick += int(max(0.0, seconds) * SECOND)
        await asyncio.sleep(0)
