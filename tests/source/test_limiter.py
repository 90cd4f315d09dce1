"""The account's request budget: spaced, bounded, fair, and quiet when the server asks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

from support.virtual import VirtualClock, run_virtually

from bridge.source.limiter import Kind, Limiter

Starts = list[tuple[float, str]]


def watch(body: Callable[[Limiter, Starts], Coroutine[Any, Any, None]], **options: Any) -> Starts:
    """Run with a limiter on virtual time; when each request started, and whose it was."""

    async def main() -> Starts:
        starts: Starts = []
        options.setdefault("requests_per_second", 5)
        options.setdefault("concurrency", 4)
        await body(Limiter(VirtualClock(0), **options), starts)
        return starts

    return run_virtually(main())


async def ask(limiter: Limiter, starts: Starts, app: str, seconds: float = 0.0) -> None:
    """One request that takes some time."""
    async with limiter.slot(app):
        starts.append((asyncio.get_running_loop().time(), app))
        await asyncio.sleep(seconds)


def test_starts_are_spaced_to_the_budget() -> None:
    """After a second's worth at once, one start every fifth of a second."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        await asyncio.gather(*(ask(limiter, starts, "a") for _ in range(25)))

    times = [at for at, _ in watch(body)]
    for second in range(4):
        inside = sum(second <= at < second + 1 for at in times)
        assert inside <= (11 if second == 0 else 6)
    assert times[-1] < 5


def test_no_more_than_the_concurrency_run_at_once() -> None:
    """A slow server is not asked by more requests than allowed."""
    most = 0
    running = 0

    async def body(limiter: Limiter, _: Starts) -> None:
        async def slow() -> None:
            nonlocal most, running
            async with limiter.slot("a"):
                running += 1
                most = max(most, running)
                await asyncio.sleep(3)
                running -= 1

        await asyncio.gather(*(slow() for _ in range(12)))

    watch(body, requests_per_second=100)
    assert most == 4


def test_an_app_with_a_backlog_does_not_starve_another() -> None:
    """The app served longest ago goes first."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        busy = [asyncio.ensure_future(ask(limiter, starts, "busy")) for _ in range(40)]
        await asyncio.sleep(2.05)
        await ask(limiter, starts, "quiet")
        await asyncio.gather(*busy)

    starts = watch(body)
    (quiet_at,) = [at for at, app in starts if app == "quiet"]
    assert quiet_at < 2.5


def test_a_throttling_server_is_left_alone_for_as_long_as_it_asks() -> None:
    """Retry-After holds every app's starts, then one request probes."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        await ask(limiter, starts, "a")
        limiter.throttled(10)
        await asyncio.gather(*(ask(limiter, starts, app, 1) for app in "abc"))

    times = [at for at, _ in watch(body)]
    assert times[1] == 10
    assert times[2] >= 11
    assert times[3] >= 12


def test_throttling_lowers_the_budget_for_a_while() -> None:
    """Half the rate after a 429, the whole of it after many pages."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        limiter.throttled(0)
        limiter.succeeded()
        await asyncio.gather(*(ask(limiter, starts, "a") for _ in range(20)))

    lowered = [at for at, _ in watch(body)]
    assert lowered[-1] > 5.5


def test_a_refused_key_is_tried_by_one_request_at_a_time_and_ever_more_seldom() -> None:
    """Many apps with a wrong key make a handful of requests, not a handful each."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async def app(name: str) -> None:
            while asyncio.get_running_loop().time() < 60:
                async with limiter.slot(name):
                    starts.append((asyncio.get_running_loop().time(), name))
                    await asyncio.sleep(0.05)
                    limiter.unauthorized()

        await asyncio.gather(*(app(str(n)) for n in range(50)))

    times = [at for at, _ in watch(body)]
    assert sum(at < 8 for at in times) <= 10


def test_apps_whose_requests_hang_leave_places_for_the_others() -> None:
    """Eight apps in trouble, each request of theirs hanging for half a minute."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async def hanging(app: str) -> None:
            async with limiter.slot(app, troubled=True):
                await asyncio.sleep(30)

        stuck = [asyncio.ensure_future(hanging(f"stuck {n}")) for n in range(8)]
        await asyncio.sleep(1)
        for _ in range(20):
            await ask(limiter, starts, "healthy", 0.1)
        await asyncio.gather(*stuck)

    assert watch(body)[-1][0] < 6


def test_a_turn_that_comes_with_its_cancellation_harms_nobody() -> None:
    """The place that becomes free goes to the next one who still waits."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        first = asyncio.ensure_future(ask(limiter, starts, "a", 1))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(ask(limiter, starts, "b"))
        third = asyncio.ensure_future(ask(limiter, starts, "c"))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)

    assert [app for _, app in watch(body, concurrency=1)] == ["a", "c"]


def test_a_cancelled_wait_gives_its_turn_back() -> None:
    """Shutting one app down leaves the others their places."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        waiting = [asyncio.ensure_future(ask(limiter, starts, "a", 1)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in waiting[1:]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.gather(*(ask(limiter, starts, "b", 1) for _ in range(4)))

    starts = watch(body)
    assert [app for _, app in starts].count("b") == 4
    assert starts[-1][0] < 4


async def ask_for(
    limiter: Limiter, starts: Starts, app: str, *, past: bool, seconds: float = 0.1
) -> None:
    """One request for what is new, or for the past."""
    async with limiter.slot(app, kind=Kind.PAST if past else Kind.PRESENT):
        starts.append((asyncio.get_running_loop().time(), app))
        await asyncio.sleep(seconds)


def test_looks_at_the_present_go_before_reads_of_the_past() -> None:
    """Except one in four, so that the past is not starved where the budget is short."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        past = [ask_for(limiter, starts, f"past {n}", past=True) for n in range(20)]
        present = [ask_for(limiter, starts, f"now {n}", past=False) for n in range(20)]
        await asyncio.gather(*past, *present)

    order = [app.split()[0] for _, app in watch(body, concurrency=1)]
    assert 4 <= order[:20].count("past") <= 6


def test_what_has_begun_ends_before_others_begin() -> None:
    """Or a thousand looks would all be half done; reads of the past keep their share."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async def look(app: str) -> None:
            for kind in (Kind.PRESENT, Kind.BEGUN, Kind.BEGUN):
                async with limiter.slot(app, kind=kind):
                    starts.append((asyncio.get_running_loop().time(), app))
                    await asyncio.sleep(0.1)

        past = [ask_for(limiter, starts, f"past {n}", past=True) for n in range(40)]
        await asyncio.gather(*(look(f"now {n}") for n in range(40)), *past)

    order = [app for _, app in watch(body, concurrency=1)]
    looks = [app for app in order if app.startswith("now")]
    begun = [len({app for app in looks[:at] if looks[:at].count(app) < 3}) for at in range(120)]
    assert max(begun) <= 3
    assert 36 <= sum(app.startswith("past") for app in order[:160]) <= 40


def test_the_preferred_go_first_and_once() -> None:
    """Also those that wait already; half of the turns are left to the others."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        waiting = [
            asyncio.ensure_future(ask_for(limiter, starts, f"{n}", past=n % 2 == 0))
            for n in range(40)
        ]
        await asyncio.sleep(0.01)
        for app in ("29", "31", "later"):
            limiter.prefer(app)
        await ask_for(limiter, starts, "later", past=False)
        await ask_for(limiter, starts, "later", past=False)
        await asyncio.gather(*waiting)

    order = [app for _, app in watch(body, concurrency=1)]
    assert max(order.index(app) for app in ("29", "31", "later")) <= 8
    assert len(order) == 42
    assert order.index("later", order.index("later") + 1) > 25


def test_preferred_apps_do_not_starve_the_others() -> None:
    """However many are, and however often."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async def favoured(app: str) -> None:
            while asyncio.get_running_loop().time() < 20:
                limiter.prefer(app)
                await ask_for(limiter, starts, app, past=False)

        sleepers = [ask_for(limiter, starts, f"asleep {n}", past=n % 2 == 0) for n in range(20)]
        await asyncio.gather(*(favoured(f"awake {n}") for n in range(9)), *sleepers)

    starts = watch(body)
    assert [at for at, app in starts if app.startswith("asleep")][-1] < 12


def test_one_that_gives_up_waiting_takes_no_place() -> None:
    """Neither in line nor with its turn just come."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async with limiter.slot("held"):
            waiting = [asyncio.ensure_future(ask(limiter, starts, f"{n}")) for n in range(4)]
            await asyncio.sleep(1)
            assert limiter.waiting == 4
            waiting[0].cancel()
            await asyncio.sleep(0)
            assert limiter.waiting == 3
        waiting[1].cancel()  # it has its turn, and has not heard of it yet
        await asyncio.gather(*waiting, return_exceptions=True)
        assert limiter.waiting == 0

    starts = watch(body, concurrency=1)
    assert [app for _, app in starts] == ["2", "3"]


async def wait_patiently(
    limiter: Limiter, starts: Starts, app: str = "slow", seconds: float = 0.0
) -> None:
    """One request of work that has time."""
    async with limiter.slot(app, kind=Kind.PATIENT):
        starts.append((asyncio.get_running_loop().time(), app))
        await asyncio.sleep(seconds)


def test_who_has_time_leaves_the_burst_to_others() -> None:
    """It is spaced from the first request on, and others go at once meanwhile."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(wait_patiently(limiter, starts))
            await asyncio.sleep(2.1)
            for _ in range(4):
                group.create_task(ask(limiter, starts, "quick"))

    starts = watch(body)
    slow = [at for at, app in starts if app == "slow"]
    gaps = [round(after - before, 3) for before, after in itertools.pairwise(slow)]
    assert gaps[:9] == [0.2] * 9
    assert [round(at, 3) for at, app in starts if app == "quick"] == [2.1] * 4


def test_who_has_time_has_half_of_the_places() -> None:
    """However slowly the server answers it."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(wait_patiently(limiter, starts, seconds=60))
            await asyncio.sleep(5)
            group.create_task(ask(limiter, starts, "quick"))

    starts = watch(body)
    assert len([at for at, app in starts if app == "slow" and at < 60]) == 2
    assert [at for at, app in starts if app == "quick"] == [5]


def test_who_has_time_gets_one_in_eleven_where_nothing_is_left_over() -> None:
    """Others that always wait do not keep it from ever ending."""

    async def body(limiter: Limiter, starts: Starts) -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(110):
                group.create_task(ask(limiter, starts, f"app {n % 5}"))
            for _ in range(20):
                group.create_task(wait_patiently(limiter, starts))

    starts = [app for _, app in watch(body)]
    places = [n for n, app in enumerate(starts[:110]) if app == "slow"]
    assert len(places) >= 9
    assert {after - before for before, after in itertools.pairwise(places)} == {11}
