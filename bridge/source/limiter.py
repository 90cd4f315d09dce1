"""One budget of requests for the whole account, shared fairly between its apps.

A request waits for its turn: at most ``concurrency`` are under way, starts are spaced to
``requests_per_second`` (with up to a second's worth at once after a pause), and of the apps that
wait the one served longest ago goes first, so that one app's backlog never starves another. Apps
in trouble share half of the places, so that requests that hang do not take them all.
Work that has time takes what is left over: it goes when nobody else waits, has half of the places
at most, and leaves the second's worth after a pause to the others. Where nothing is left over it
gets every eleventh request all the same, or it would never end.
When the server throttles, all starts are held back and the budget is lowered for a while; when
the key is refused, one request at a time finds out whether it is good again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from bridge.clock import Clock

_FIRST_HOLD: Final = 1.0
_LONGEST_HOLD: Final = 60.0
_LONGEST_ASKED: Final = 600.0
_LOWEST_SHARE: Final = 0.1
_RECOVERY: Final = 1.02
_PASSED_OVER: Final = 10
_SOON: Final = 1e-6  # less than a timer can tell


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    order: tuple[int, int]
    app: str
    troubled: bool
    patient: bool
    granted: asyncio.Future[None]


class Limiter:
    """Grants slots for requests; all times in seconds of the injected monotonic clock."""

    def __init__(self, clock: Clock, *, requests_per_second: float, concurrency: int) -> None:
        self._clock = clock
        self._rate = requests_per_second
        self._concurrency = concurrency
        self._share = 1.0
        self._under_way = 0
        self._next_start = clock.monotonic()
        self._held_until = clock.monotonic()
        self._hold = 0.0
        self._served: dict[str, int] = {}
        self._turns = count()
        self._troubled = 0
        self._patient = 0
        self._passed_over = 0
        self._waiting: list[_Waiter] = []
        self._granted: list[_Waiter] = []
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def slot(
        self, app: str, *, troubled: bool = False, patient: bool = False
    ) -> AsyncIterator[None]:
        """Wait for this app's turn and hold a place while the request runs.

        ``troubled`` says that the app's last request failed, ``patient`` that this one has time.
        """
        order = (self._served.get(app, -1), next(self._turns))
        waiter = _Waiter(order, app, troubled, patient, asyncio.get_running_loop().create_future())
        await self._turn(waiter)
        try:
            yield
        finally:
            self._release(waiter)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def waits(self, app: str) -> bool:
        """Whether the app waits for its turn, or has it and is yet to hear of that."""
        return any(waiter.app == app for waiter in (*self._waiting, *self._granted))

    def succeeded(self) -> None:
        """A page came: end any hold and win the budget back, little by little."""
        self._hold = 0.0
        self._share = min(1.0, self._share * _RECOVERY)

    def throttled(self, retry_after: float | None) -> float:
        """A 429: hold every start as long as asked, halve the budget; the hold in seconds."""
        self._share = max(_LOWEST_SHARE, self._share / 2)
        return self._hold_back(retry_after)

    def unauthorized(self) -> float:
        """The key was refused: hold every start, twice as long each time; the hold in seconds."""
        return self._hold_back(None)

    def _hold_back(self, asked: float | None) -> float:
        now = self._clock.monotonic()
        if now >= self._held_until:  # answers to requests sent before the hold do not lengthen it
            self._hold = min(_LONGEST_HOLD, max(_FIRST_HOLD, self._hold * 2))
        wait = self._hold if asked is None else min(asked, _LONGEST_ASKED)
        self._held_until = max(self._held_until, now + wait)
        return self._held_until - now

    async def _turn(self, waiter: _Waiter) -> None:
        self._waiting.append(waiter)
        self._grant()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self._granted.remove(waiter)
                self._release(waiter)
            raise
        self._granted.remove(waiter)

    def _release(self, waiter: _Waiter) -> None:
        self._under_way -= 1
        self._troubled -= waiter.troubled
        self._patient -= waiter.patient
        self._grant()

    def _grant(self) -> None:
        """Grant every slot that is due; come back by timer for the next one."""
        while waiter := self._next():
            now = self._clock.monotonic()
            saved = 0.0 if waiter.patient and not self._overdue else 1.0
            wait = max(self._next_start - saved, self._held_until) - now
            if wait > _SOON:
                self._wake_in(wait)
                return
            self._waiting.remove(waiter)
            self._granted.append(waiter)
            self._served[waiter.app] = next(self._turns)
            self._under_way += 1
            self._troubled += waiter.troubled
            self._patient += waiter.patient
            waits = not waiter.patient and any(w.patient for w in self._waiting)
            self._passed_over = self._passed_over + 1 if waits else 0
            self._next_start = max(self._next_start, now) + 1 / (self._rate * self._share)
            waiter.granted.set_result(None)

    def _next(self) -> _Waiter | None:
        """Who goes next, if there is a place for anyone who waits."""
        if self._under_way >= self._places:
            return None
        half = max(1, self._concurrency // 2)
        full, crowded = self._troubled >= half, self._patient >= half
        # One whose wait was cancelled takes itself off the list when it gets to run.
        waiting = (w for w in self._waiting if not w.granted.done())
        eligible = (w for w in waiting if not ((full and w.troubled) or (crowded and w.patient)))
        return min(eligible, key=self._order, default=None)

    def _order(self, waiter: _Waiter) -> tuple[bool, int, int]:
        return (waiter.patient != self._overdue, *waiter.order)

    @property
    def _overdue(self) -> bool:
        """Whether who has time has been passed over for long enough."""
        return self._passed_over >= _PASSED_OVER

    @property
    def _places(self) -> int:
        return 1 if self._hold else self._concurrency

    def _wake_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None and loop.time() + seconds < self._timer.when():
            self._timer.cancel()  # it was set for one who has time
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._grant()
