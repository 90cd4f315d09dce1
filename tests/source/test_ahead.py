"""Memory is bounded over all apps: together they read only so far ahead of what they store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

import pytest
from support.reading import T0, Server, make_entry
from support.virtual import VirtualClock, run_virtually

from bridge.model import SECOND, Filter, Page, Query
from bridge.source.account import Account
from bridge.source.ahead import Ahead
from bridge.source.backlog import Backlog, Piece
from bridge.source.limiter import Limiter
from bridge.source.reader import Reader
from bridge.source.schedule import Slice
from bridge.source.walk import Bounds

APPS, CONCURRENCY = 10, 4
ENTRIES = [make_entry(T0 + n * SECOND // 100, f"{n}") for n in range(12_000)]


@dataclass
class Reading:
    """Apps that all have a backlog, and a journal that is slower than the API.

    ``held`` are the pages that were read and are not stored, ``most`` the most of them at once. A
    slice takes one or two.
    """

    clock: VirtualClock
    stuck: str = ""
    held: int = 0
    most: int = 0
    stored: dict[str, int] = field(default_factory=dict)

    async def page(self, query: Query) -> Page:
        """The API; of an app that is stuck it never answers for the beginning."""
        if query.filter.app_id == self.stuck and query.until == T0 + 8 * SECOND:
            await self.clock.sleep(100_000)
        await self.clock.sleep(0.01)
        self.held += 1
        self.most = max(self.most, self.held)
        return Server(ENTRIES).page(Bounds(query.since, query.until, query.limit))

    async def catch_up(self, app: str, account: Account) -> None:
        """One app's backlog."""
        reader = Reader(
            app,
            Filter(app_id=app),
            page_size=1_000,
            account=account,
            clock=self.clock,
            random=Random(1),
            emit=lambda _: None,
        )

        async def store(piece: Piece) -> int:
            await self.clock.sleep(0.1)
            assert piece.walk is not None
            self.held -= piece.walk.pages
            found = len(piece.walk.found())
            self.stored[app] = self.stored.get(app, 0) + found
            return found

        backlog = Backlog(reader, width=CONCURRENCY, clock=self.clock, random=Random(1))
        window = Slice(T0, T0 + 120 * SECOND)
        await backlog.read(window, density=1e-4, target=750, anchor=None, store=store)

    def play(self, seconds: float) -> Account:
        """Let all of them read for so long."""

        async def main() -> Account:
            limiter = Limiter(self.clock, requests_per_second=1_000, concurrency=CONCURRENCY)
            account = Account(self, limiter, self.clock)
            apps = [asyncio.create_task(self.catch_up(f"app-{n}", account)) for n in range(APPS)]
            _, late = await asyncio.wait(apps, timeout=seconds)
            for one in late:
                one.cancel()
            await asyncio.gather(*apps, return_exceptions=True)
            return account

        return run_virtually(main())


def free(ahead: Ahead) -> int:
    """How many more may be taken."""
    count = 0
    while ahead.take():
        count += 1
    return count


def test_many_apps_share_what_is_read_ahead() -> None:
    """One slice for each app, and half as many more than are asked for at a time, for all."""
    reading = Reading(VirtualClock(T0))
    account = reading.play(1_000)
    assert reading.stored == {f"app-{n}": len(ENTRIES) for n in range(APPS)}
    assert APPS < reading.most <= 2 * (APPS + 6)
    assert free(account.ahead) == 6


def test_no_app_waits_for_another() -> None:
    """One whose oldest slice never comes keeps what it took; the others read to their ends."""
    reading = Reading(VirtualClock(T0), stuck="app-0")
    account = reading.play(1_000)
    assert reading.stored == {f"app-{n}": len(ENTRIES) for n in range(1, APPS)}
    assert free(account.ahead) == 6


@pytest.mark.parametrize("most", [0, 1, 6])
def test_so_many_and_no_more(most: int) -> None:
    """What is given back may be taken again."""
    ahead = Ahead(most)
    assert free(ahead) == most
    ahead.give_back()
    assert free(ahead) == 1
