"""A way to say "look again" to everyone who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

from bridge.clock import Clock


class Pulse:
    """Wakes everyone who waits at the moment it fires, and nobody who comes later.

    Waiters look at the state themselves, before and after: ``while not ready: await wait()``.
    """

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def fire(self) -> None:
        """Wake those who wait."""
        self._next.set()
        self._next = asyncio.Event()

    def wait(self) -> Coroutine[Any, Any, Literal[True]]:
        """Wait for the next time it fires, counted from this call and not from the first await."""
        return self._next.wait()

    async def within(self, clock: Clock, seconds: float) -> None:
        """Wait that many seconds, or until it fires."""
        waits = (
            asyncio.ensure_future(clock.sleep(seconds)),
            asyncio.ensure_future(self.wait()),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
