"""Looks at the whole account for apps that woke, so that they need not wait for their turn.

While many apps sleep, one unfiltered request an interval shows which of them have new entries.
That is a hint and never proof: it only brings an app's own next look forward. One that is awake is
preferred too, since where the budget is short its look may wait behind those of many. What the
scout does not see, because the account is busy or the API refuses the question, is read when it is
due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final, Protocol

from bridge.clock import Clock
from bridge.errors import ApiError
from bridge.model import SECOND, Entry, Filter, Json, Query, Tick
from bridge.source.account import Account
from bridge.source.trouble import Patience, may_pass

SCOUT: Final = "(scout)"
"""The name under which its requests are counted."""

_SETTLING: Final[Tick] = 5 * SECOND
_REFUSED_FOR: Final = 3600.0
"""Seconds until it asks again where the account is not shown: a 401 holds up all requests."""


class Sleeper(Protocol):
    """An app that is looked at seldom while nothing comes."""

    @property
    def name(self) -> str:
        """Its configured name."""
        ...

    @property
    def asleep(self) -> bool:
        """Whether it is, at the moment."""
        ...

    def wake(self) -> None:
        """Look at once."""
        ...


class Tidings:
    """What was last seen of each app that is followed, by the API's name of it. Pure."""

    def __init__(self, app_ids: Iterable[str]) -> None:
        self._newest: dict[str, Tick] = dict.fromkeys(app_ids, 0)

    def take(self, entries: Iterable[Entry]) -> set[str]:
        """The apps of which a page shows something newer than any page before."""
        told: set[str] = set()
        for entry in entries:
            app = _app(entry)
            if not isinstance(app, str) or entry.tick is None:
                continue
            if entry.tick > self._newest.get(app, entry.tick):
                self._newest[app] = entry.tick
                told.add(app)
        return told


class Scout:
    """Wakes sleepers when the account shows something of theirs.

    It works only while that is cheap: while its requests are no more than those of the sleepers
    themselves, and seldom while the account shows more at once than a page holds.
    """

    def __init__(
        self,
        sleepers: Sequence[tuple[str, Sleeper]],
        *,
        account: Account,
        interval: float,
        max_interval: float,
        page_size: int,
        clock: Clock,
        random: Random,
    ) -> None:
        """``sleepers`` stand with their app ids; intervals are in seconds."""
        self._sleepers = sleepers
        self._account = account
        self._interval = interval
        self._max_interval = max_interval
        self._page_size = page_size
        self._clock = clock
        self._patience = Patience(random)
        self._tidings = Tidings(app_id for app_id, _ in sleepers)
        self._seen: Tick | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._clock.sleep(await self._look())

    async def _look(self) -> float:
        """One look, if it is worth it; the seconds until the next."""
        asleep = sum(sleeper.asleep for _, sleeper in self._sleepers)
        if asleep * self._interval < self._max_interval or not self._account.time.known:
            self._seen = None
            return self._interval
        now = self._account.time.now()
        since = (now if self._seen is None else self._seen) - _SETTLING
        self._account.prefer(SCOUT)
        try:
            query = Query(Filter(), since, None, self._page_size)
            page = await self._account.page(SCOUT, query, troubled=bool(self._patience.tries))
        except ApiError as error:
            self._seen = None
            pause = self._patience.after(error) if may_pass(error) else _REFUSED_FOR
            return max(self._max_interval, pause)
        self._patience.over()
        told = self._tidings.take(page.entries)
        if self._seen is not None:
            self._wake(told)
        self._seen = now
        busy = len(page.entries) >= self._page_size
        return self._max_interval if busy else self._interval

    def _wake(self, app_ids: set[str]) -> None:
        for app_id, sleeper in self._sleepers:
            if app_id in app_ids:
                self._account.prefer(sleeper.name)
                if sleeper.asleep:
                    sleeper.wake()


def _app(entry: Entry) -> Json:
    """The app that it names, without decoding an entry of which that is known."""
    if entry.provenance is not None:
        return entry.provenance.app
    return entry.raw.get("app") if isinstance(entry.raw, dict) else None
