"""How many requests are on their way to one destination."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.pulse import Pulse


class Slots:
    """Room for so many requests at a time; one that stands aside lends its slot to others."""

    def __init__(self, limit: int, changed: Pulse) -> None:
        self._limit = limit
        self._changed = changed
        self._busy = 0

    @property
    def free(self) -> bool:
        """Whether one more request may be on its way."""
        return self._busy < self._limit

    def take(self) -> None:
        """Occupy a slot that is free."""
        self._busy += 1

    def give(self) -> None:
        """Let go of it."""
        self._busy -= 1
        self._changed.fire()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Let others use one's slot meanwhile, and wait to have it back.

        Cancelled, one has it back at once, to be given away as ever.
        """
        self.give()
        try:
            yield
            while not self.free:
                await self._changed.wait()
        finally:
            self.take()
