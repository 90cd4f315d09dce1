"""An event loop whose time jumps to the next timer, and which can be killed between two steps."""

from __future__ import annotations

import asyncio
import ctypes
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from bridge.model import Tick

T = TypeVar("T")


class Crash(BaseException):
    """The process is killed here: nothing after it runs, no clean-up either."""


class Stalled(AssertionError):
    """Nothing is ready and no timer is set: the code under test waits for ever."""


class _Jumper(selectors.SelectSelector):
    """Instead of waiting, moves the loop's time on."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stalled("nothing is ready and no timer is set")
        self.loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Virtual time from ``start`` seconds on.

    `Crash` comes before the ``crash_at``-th step, or before the next one once it is ``doomed``.
    """

    def __init__(self, *, start: float = 0.0, crash_at: int | None = None) -> None:
        self._now = start
        self.steps = 0
        self.crash_at = crash_at
        self.doomed: Callable[[], bool] = lambda: False
        jumper = _Jumper()
        jumper.loop = self
        super().__init__(jumper)

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Move the time on."""
        self._now += seconds

    def _run_once(self) -> None:
        self.steps += 1
        if self.doomed() or (self.crash_at is not None and self.steps >= self.crash_at):
            raise Crash
        super()._run_once()  # type: ignore[misc]  # private, but the one place between two steps


class VirtualClock:
    """The bridge's clock on the running loop's time, ``epoch`` ticks away from it.

    ``skew`` is what the bridge's own wall clock is wrong by, in ticks; ``steps`` are the times, in
    order, from which on it is wrong by something else.
    """

    def __init__(
        self, epoch: Tick, *, skew: Tick = 0, steps: Sequence[tuple[float, Tick]] = ()
    ) -> None:
        self.epoch = epoch
        self.skew = skew
        self.steps = steps

    def now(self) -> Tick:
        """The wall clock."""
        elapsed = self.monotonic()
        skew = next((skew for at, skew in reversed(self.steps) if at <= elapsed), self.skew)
        return self.epoch + skew + int(elapsed * 1_000_000)

    def monotonic(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time, to the last digit: the loop wakes up to a nanosecond early."""
        loop = asyncio.get_running_loop()
        until = loop.time() + max(0.0, seconds)
        await asyncio.sleep(max(0.0, seconds))
        if isinstance(loop, VirtualLoop):
            loop.jump(max(0.0, until - loop.time()))


def run_virtually(
    main: Coroutine[Any, Any, T],
    *,
    loop: VirtualLoop | None = None,
    killed: Callable[[], None] = lambda: None,
) -> T:
    """Run a coroutine on virtual time; a `Crash` leaves everything as it stands.

    ``killed`` is told of it before the loop closes, to let go of what the system would release.

    The tasks of a killed loop are leaked on purpose: were they collected, at the interpreter's
    end at the latest, their clean-up would run.
    """
    loop = loop or VirtualLoop()
    asyncio.set_event_loop(None)
    try:
        return loop.run_until_complete(main)
    except Crash:
        for task in asyncio.all_tasks(loop):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
        killed()
        raise
    finally:
        loop.close()
