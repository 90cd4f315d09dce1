"""One budget of requests for the whole account, shared fairly between its apps.

A request waits for its turn: at most ``concurrency`` are under way, starts are spaced to
``requests_per_second`` (with up to a second's worth at once after a pause). A look at the present
that has begun ends first: it has a few requests at most. Then comes what is known to wait at the
API, then other looks at the present, then reads of the past; each of them has turns in which it
goes before all others, so that nothing is starved where the budget is short. Of the apps that wait
alike, the one served longest ago goes first. Apps in trouble share half of the places, so that
requests that hang do not take them all.
Work that has time takes what is left over: it goes when nobody else waits, has half of the places
at most, and leaves the second's worth after a pause to the others. Where nothing is left over it
gets every eleventh request all the same, or it would never end.
When the server throttles, all starts are held back and the budget is lowered for a while; when
the key is refused, one request at a time finds out whether it is good again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bridge.clock import Clock

_FIRST_HOLD: Final = 1.0
_LONGEST_HOLD: Final = 60.0
_LONGEST_ASKED: Final = 600.0
_LOWEST_SHARE: Final = 0.1
_RECOVERY: Final = 1.02
_SOON: Final = 1e-6  # less than a timer can tell


class Kind(Enum):
    """What a request is for.

    A request for what is new is PREFERRED once its app is, and BEGUN if it goes on with a look that
    has shown something; what was shown before is PAST; PATIENT is what nobody waits for.
    """

    BEGUN = auto()
    PREFERRED = auto()
    PRESENT = auto()
    PAST = auto()
    PATIENT = auto()


_TURNS: Final = (
    (Kind.BEGUN, Kind.PREFERRED, Kind.PRESENT, Kind.PAST),
    (Kind.PREFERRED, Kind.BEGUN, Kind.PRESENT, Kind.PAST),
    (Kind.BEGUN, Kind.PRESENT, Kind.PREFERRED, Kind.PAST),
    (Kind.PAST, Kind.BEGUN, Kind.PREFERRED, Kind.PRESENT),
    (Kind.BEGUN, Kind.PREFERRED, Kind.PRESENT, Kind.PAST),
    (Kind.PRESENT, Kind.BEGUN, Kind.PREFERRED, Kind.PAST),
    (Kind.BEGUN, Kind.PREFERRED, Kind.PRESENT, Kind.PAST),
    (Kind.PAST, Kind.BEGUN, Kind.PREFERRED, Kind.PRESENT),
)
"""Which kind goes first, turn by turn; the patient go last."""

_PASSED_OVER: Final = 10
"""So many turns of others while it waits, and the patient have one."""


class _Waiter(Struct, frozen=True, order=True):
    """A request in line; those served longest ago come first, then those that came first.

    A ``number`` is given once, so that no more is compared.
    """

    served: int
    number: int
    app: str
    kind: Kind
    troubled: bool
    granted: asyncio.Future[None]


class _Lines:
    """Who waits, in a line for each kind, those in trouble apart."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Kind, bool], list[_Waiter]] = {}

    def __len__(self) -> int:
        return sum(not one.granted.done() for line in self._lines.values() for one in line)

    def add(self, waiter: _Waiter) -> None:
        heappush(self._lines.setdefault((waiter.kind, waiter.troubled), []), waiter)

    def prefer(self, app: str) -> None:
        """Move the app's requests for what is new to the preferred ones."""
        for way in (False, True):
            line = self._lines.get((Kind.PRESENT, way), [])
            found = [one for one in line if one.app == app]
            if found:
                line[:] = [one for one in line if one.app != app]
                heapify(line)
                for one in found:
                    self.add(replace(one, kind=Kind.PREFERRED))

    def has(self, kind: Kind) -> bool:
        """Whether any of a kind waits."""
        return any(self._head((kind, way)) for way in (False, True))

    def first(self, kinds: Sequence[Kind], *, troubled: bool) -> _Waiter | None:
        """Who goes next, of the first kind of which anyone waits; with ``troubled``, all may."""
        for kind in kinds:
            ways = (False, True) if troubled else (False,)
            heads = [head for way in ways if (head := self._head((kind, way)))]
            if heads:
                return min(heads)
        return None

    def remove_first(self, waiter: _Waiter) -> None:
        """Take off who goes next."""
        heappop(self._lines[waiter.kind, waiter.troubled])

    def _head(self, key: tuple[Kind, bool]) -> _Waiter | None:
        line = self._lines.get(key, [])
        while line and line[0].granted.done():  # its wait was cancelled
            heappop(line)
        return line[0] if line else None


class Limiter:
    """Grants slots for requests; all times in seconds of the injected monotonic clock."""

    def __init__(self, clock: Clock, *, requests_per_second: float, concurrency: int) -> None:
        self.concurrency = concurrency
        self._clock = clock
        self._rate = requests_per_second
        self._share = 1.0
        self._under_way = 0
        self._next_start = clock.monotonic()
        self._held_until = clock.monotonic()
        self._hold = 0.0
        self._served: dict[str, int] = {}
        self._turns = count()
        self._grants = 0
        self._patient = 0
        self._passed_over = 0
        self._preferred: set[str] = set()
        self._troubled = 0
        self._waiting = _Lines()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def slot(
        self, app: str, *, troubled: bool = False, kind: Kind = Kind.PRESENT
    ) -> AsyncIterator[None]:
        """Wait for this app's turn and hold a place while the request runs.

        ``troubled`` says that the app's last request failed.
        """
        if kind is Kind.PRESENT and app in self._preferred:
            kind = Kind.PREFERRED
        order = self._served.get(app, -1), next(self._turns)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(*order, app, kind, troubled, granted)
        await self._turn(waiter)
        try:
            yield
        finally:
            self._release(waiter)

    def prefer(self, app: str) -> None:
        """Let the app's next request go ahead of others."""
        self._preferred.add(app)
        self._waiting.prefer(app)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

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
        self._waiting.add(waiter)
        self._grant()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if not waiter.granted.cancelled():
                self._release(waiter)
            raise

    def _release(self, waiter: _Waiter) -> None:
        self._under_way -= 1
        self._troubled -= waiter.troubled
        self._patient -= waiter.kind is Kind.PATIENT
        self._grant()

    def _grant(self) -> None:
        """Grant every slot that is due; come back by timer for the next one."""
        while waiter := self._next():
            now = self._clock.monotonic()
            patient = waiter.kind is Kind.PATIENT
            saved = 0.0 if patient and not self._overdue else 1.0
            wait = max(self._next_start - saved, self._held_until) - now
            if wait > _SOON:
                self._wake_in(wait)
                return
            self._waiting.remove_first(waiter)
            self._served[waiter.app] = next(self._turns)
            self._grants += 1
            if waiter.kind is Kind.PREFERRED:
                self._preferred.discard(waiter.app)
            self._under_way += 1
            self._troubled += waiter.troubled
            self._patient += patient
            passed_over = not patient and self._waiting.has(Kind.PATIENT)
            self._passed_over = self._passed_over + 1 if passed_over else 0
            self._next_start = max(self._next_start, now) + 1 / (self._rate * self._share)
            waiter.granted.set_result(None)

    def _next(self) -> _Waiter | None:
        """Who goes next, if there is a place for anyone who waits."""
        if self._under_way >= self._places:
            return None
        half = max(1, self.concurrency // 2)
        kinds = [*_TURNS[self._grants % len(_TURNS)]]
        if self._patient < half:
            kinds.insert(0 if self._overdue else len(kinds), Kind.PATIENT)
        return self._waiting.first(kinds, troubled=self._troubled < half)

    @property
    def _overdue(self) -> bool:
        """Whether the patient have been passed over for long enough."""
        return self._passed_over >= _PASSED_OVER

    @property
    def _places(self) -> int:
        return 1 if self._hold else self.concurrency

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
