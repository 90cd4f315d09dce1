"""Where the journal's calls that may wait are run: on one thread of their own, or right here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Worker(Protocol):
    """Runs calls one at a time, in the order they were handed over."""

    async def run(self, call: Callable[[], T]) -> T:
        """Run the call and return what it returns or raise what it raises."""
        ...

    def stop(self) -> None:
        """Return once the running call has ended; those not started are dropped."""
        ...


class ThreadWorker:
    """One thread, so that an fsync holds up nothing else of the bridge."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    async def run(self, call: Callable[[], T]) -> T:
        """See `Worker.run`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def stop(self) -> None:
        """See `Worker.stop`."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class InlineWorker:
    """No thread: every call runs to its end on the event loop, so that a seed replays exactly."""

    async def run(self, call: Callable[[], T]) -> T:
        """See `Worker.run`."""
        return call()

    def stop(self) -> None:
        """See `Worker.stop`."""
