"""Memory is bounded over all apps: no walk begins while much that was read is not stored."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

from support.virtual import VirtualClock, run_virtually

from bridge.model import Filter, Page, Query
from bridge.source.account import Account
from bridge.source.holding import MOST_HELD, Holding
from bridge.source.limiter import Kind, Limiter

Starts = list[tuple[float, str]]


class Walk:
    """Something that holds answers."""


def watch(body: Callable[[Limiter, Starts], Coroutine[Any, Any, None]]) -> Starts:
    """Run with a limiter on virtual time; when each request started, and whose it was."""

    async def main() -> Starts:
        starts: Starts = []
        await body(Limiter(VirtualClock(0), requests_per_second=1_000, concurrency=4), starts)
        return starts

    return run_virtually(main())


async def ask(limiter: Limiter, starts: Starts, app: str, *, begins: bool) -> None:
    """One request."""
    async with limiter.slot(app, begins=begins):
        starts.append((round(asyncio.get_running_loop().time(), 1), app))


def test_what_a_walk_holds_is_let_go_with_it() -> None:
    """However it ends: nobody has to say so."""
    holding = Holding(most=100)
    walk, other = Walk(), Walk()
    holding.add("a", walk, 60)
    holding.add("a", walk, 40)
    holding.add("b", other, 5)
    before = holding.full
    del walk
    gc.collect()
    assert (before, holding.full, holding.bytes) == (True, False, 5)
    assert (holding.holds("a"), holding.holds("b")) == (False, True)


def test_no_walk_begins_while_much_is_held() -> None:
    """Those under way go on, or nothing could ever be stored."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        walk = Walk()
        limiter.holding.add("under way", walk, MOST_HELD)
        new = [asyncio.create_task(ask(limiter, starts, f"new {n}", begins=True)) for n in range(9)]
        await ask(limiter, starts, "under way", begins=False)
        await asyncio.sleep(2)
        del walk
        gc.collect()
        await asyncio.gather(*new)

    starts = watch(body)
    assert starts[0] == (0.0, "under way")
    assert [app for _, app in starts[1:]] == [f"new {n}" for n in range(9)]
    assert all(2 <= at <= 2.1 for at, _ in starts[1:])


def test_the_bound_slows_reading_down_and_never_stops_it() -> None:
    """One more begins every few seconds, even if nothing is ever let go."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        walk = Walk()
        limiter.holding.add("other", walk, 2 * MOST_HELD)
        await asyncio.gather(*(ask(limiter, starts, f"{n}", begins=True) for n in range(3)))
        assert limiter.holding.bytes == 2 * MOST_HELD
        del walk

    assert [at for at, _ in watch(body)] == [5.0, 10.1, 15.1]


def test_an_app_goes_on_with_what_it_holds() -> None:
    """Its next slice may be the one that has to be stored before those it holds."""

    async def main() -> float:
        clock = VirtualClock(0)
        limiter = Limiter(clock, requests_per_second=1_000, concurrency=4)
        account = Account(Empty(), limiter, clock)
        walk = Walk()
        account.holds("one", walk, MOST_HELD)
        query = Query(Filter(), 0, 1, 10)
        for kind in (None, Kind.PATIENT):
            await account.page("one", query, troubled=False, kind=kind, begins=True)
        began = clock.monotonic()
        await account.page("two", query, troubled=False, begins=True)
        del walk
        return clock.monotonic() - began

    assert 4 < run_virtually(main()) < 6


class Empty:
    """An API that shows nothing."""

    async def page(self, query: Query) -> Page:
        """See `LogsApi.page`."""
        del query
        return Page((), None)
