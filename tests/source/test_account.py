"""What the apps of one account share: here the server's time, which one asks for and all know."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pytest
from support.virtual import VirtualClock, run_virtually

from bridge.errors import ApiError, ApiUnavailable
from bridge.model import SECOND, Filter, Page, Query, Tick
from bridge.source.account import Account
from bridge.source.limiter import Limiter

APPS = [f"app-{number}" for number in range(100)]


@dataclass
class Server:
    """An API that takes a second for each answer, and tells its time or does not."""

    clock: VirtualClock
    served_at: Tick | None = 5 * SECOND
    failures: int = 0
    asked: list[str | None] = field(default_factory=list)

    async def page(self, query: Query) -> Page:
        """See `LogsApi.page`."""
        self.asked.append(query.filter.app_id)
        await self.clock.sleep(1)
        if len(self.asked) <= self.failures:
            raise ApiUnavailable("no answer", where="here")
        return Page((), self.served_at)


def begun(server: Server) -> tuple[list[object], float]:
    """What learning the time came to for each app, all at once, and how long all of it took."""

    async def main() -> tuple[list[object], float]:
        limiter = Limiter(server.clock, requests_per_second=1_000, concurrency=100)
        account = Account(server, limiter, server.clock)

        async def learn(app: str) -> None:
            query = Query(Filter(app_id=app), 0, None, 1)
            await account.learn_time(partial(account.page, app, query, troubled=False))

        outcomes = await asyncio.gather(*map(learn, APPS), return_exceptions=True)
        assert account.time.known == (server.served_at is not None)
        return list(outcomes), server.clock.monotonic()

    return run_virtually(main())


def test_one_asks_for_the_time_and_all_know_it() -> None:
    """A hundred apps that start together cost one request of the budget, not a hundred."""
    server = Server(VirtualClock(0))
    outcomes, took = begun(server)
    assert server.asked == [APPS[0]]
    assert outcomes == [None] * len(APPS)
    assert took == pytest.approx(1)


def test_each_asks_by_itself_where_the_first_one_fails() -> None:
    """Its failure may be its own: no app depends on another's, nor do they wait in a row."""
    server = Server(VirtualClock(0), failures=1)
    outcomes, took = begun(server)
    assert server.asked == APPS
    assert isinstance(outcomes[0], ApiError)
    assert outcomes[1:] == [None] * (len(APPS) - 1)
    assert took < 3


def test_nobody_waits_for_one_that_goes_on_failing() -> None:
    """It tries again for as long as it takes, or is cancelled: the others ask by themselves."""

    async def main() -> float:
        server = Server(VirtualClock(0), failures=1)
        limiter = Limiter(server.clock, requests_per_second=1_000, concurrency=100)
        account = Account(server, limiter, server.clock)
        query = Query(Filter(), 0, None, 1)

        async def persist() -> None:
            with suppress(ApiError):
                await account.page("first", query, troubled=False)
            await server.clock.sleep(3600)

        async def learn() -> None:
            await account.learn_time(partial(account.page, "other", query, troubled=False))

        first = asyncio.create_task(account.learn_time(persist))
        await server.clock.sleep(0.5)
        await learn()
        took = server.clock.monotonic()
        first.cancel()
        return took

    assert run_virtually(main()) == pytest.approx(2)


def test_nobody_waits_for_one_that_was_cancelled() -> None:
    """An app may be taken away before its question was asked."""

    async def main() -> None:
        server = Server(VirtualClock(0))
        account = Account(
            server, Limiter(server.clock, requests_per_second=1, concurrency=1), server.clock
        )
        first = asyncio.create_task(account.learn_time(partial(server.clock.sleep, 3600)))
        await server.clock.sleep(0.5)
        first.cancel()
        query = Query(Filter(), 0, None, 1)
        await account.learn_time(partial(account.page, "other", query, troubled=False))
        assert account.time.known

    run_virtually(main())


def test_a_server_that_tells_no_time_is_asked_by_each_app_once() -> None:
    """They do not wait for each other in a row."""
    server = Server(VirtualClock(0), served_at=None)
    outcomes, took = begun(server)
    assert server.asked == APPS
    assert outcomes == [None] * len(APPS)
    assert took < 3
