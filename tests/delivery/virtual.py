"""The virtual loop, and one that cancels a task at any of its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from support.virtual import VirtualClock, VirtualLoop, run_virtually

from bridge.model import SECOND, Tick

T = TypeVar("T")

NOON: Tick = 1_758_283_200 * SECOND  # 2025-09-19T12:00:00Z


class CancellingLoop(VirtualLoop):
    """Cancels a task where it stands, so that its clean-up runs; a crash leaves that out."""

    _cancel: Callable[[], object] | None = None
    _cancel_at = 0

    def cancel_after(self, steps: int, task: asyncio.Task[Any]) -> None:
        """Cancel a task that many steps from now."""
        self._cancel_at, self._cancel = self.steps + steps, task.cancel

    def _run_once(self) -> None:
        if self._cancel is not None and self.steps == self._cancel_at:
            self.call_soon(self._cancel)
            self._cancel = None
        super()._run_once()


def clock() -> VirtualClock:
    """A clock that shows noon when the loop starts."""
    return VirtualClock(NOON)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    return run_virtually(main, loop=CancellingLoop())


def loop() -> CancellingLoop:
    """The running loop."""
    running = asyncio.get_running_loop()
    assert isinstance(running, CancellingLoop)
    return running
