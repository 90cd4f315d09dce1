"""What every `LogsApi` does, and every `Clock`; the ones the tests use are held to it too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from support.reading import Server
from support.virtual import VirtualClock, run_virtually

from bridge.clock import Clock, SystemClock
from bridge.model import Entry, Filter, Page, Query, Tick
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.manual_clock import ManualClock
from bridge.simulator.platform_api import BothApis, PlatformApiFake, PlatformConfig
from bridge.simulator.server import serving
from bridge.simulator.transport import CoreTransport
from bridge.source.api import LogsApi
from bridge.source.platform import PlatformApi
from bridge.source.rest import RestApi
from bridge.source.walk import Bounds
from bridge.timestamps import format_tick

T0: Tick = 1_758_284_170_000_000
KEY = "id:secret"
Logs = list[Tick]
Opened = Callable[[Logs], AbstractAsyncContextManager[LogsApi]]


class Little:
    """The little server of the walk's tests, as a port."""

    def __init__(self, logs: Logs) -> None:
        self._server = Server([Entry({"timestamp": format_tick(t)}, t) for t in logs])

    async def page(self, query: Query) -> Page:
        """See `LogsApi.page`."""
        return self._server.page(Bounds(query.since, query.until, query.limit))


def fake(logs: Logs, *, start_inclusive: bool = True) -> BothApis:
    """The simulator with entries at these ticks, and with bounds as fine as they."""
    clock = ManualClock(T0 + 60_000_000)
    made = LogsApiFake(clock, LogsApiConfig(key=KEY))
    for tick in logs:
        made.write({"timestamp": format_tick(tick), "message": str(tick)}, tick, visible_at=tick)
    config = PlatformConfig(step=1, start_inclusive=start_inclusive)
    return BothApis(made, PlatformApiFake(made, clock, config))


@asynccontextmanager
async def little(logs: Logs) -> AsyncIterator[LogsApi]:
    """`Little`."""
    yield Little(logs)


@asynccontextmanager
async def in_process(logs: Logs) -> AsyncIterator[LogsApi]:
    """The REST client on the simulator, without a socket."""
    transport = CoreTransport(fake(logs), ManualClock())
    async with httpx.AsyncClient(transport=transport) as client:
        yield RestApi(client, base_url="http://api.test", key=lambda: KEY)


@asynccontextmanager
async def over_http(logs: Logs) -> AsyncIterator[LogsApi]:
    """The REST client on the simulator, over HTTP."""
    async with serving(fake(logs)) as url, httpx.AsyncClient() as client:
        yield RestApi(client, base_url=url, key=lambda: KEY)


@asynccontextmanager
async def platform_from_start(logs: Logs) -> AsyncIterator[LogsApi]:
    """The Platform API's client on a simulator that shows the entries on ``start``."""
    transport = CoreTransport(fake(logs), ManualClock())
    async with httpx.AsyncClient(transport=transport) as client:
        yield PlatformApi(client, base_url="http://api.test", key=lambda: KEY)


@asynccontextmanager
async def platform_after_start(logs: Logs) -> AsyncIterator[LogsApi]:
    """The same where ``start`` is exclusive."""
    transport = CoreTransport(fake(logs, start_inclusive=False), ManualClock())
    async with httpx.AsyncClient(transport=transport) as client:
        yield PlatformApi(client, base_url="http://api.test", key=lambda: KEY)


@asynccontextmanager
async def platform_over_http(logs: Logs) -> AsyncIterator[LogsApi]:
    """The Platform API's client on the simulator, over HTTP."""
    async with serving(fake(logs)) as url, httpx.AsyncClient() as client:
        yield PlatformApi(client, base_url=url, key=lambda: KEY)


def ticks(opened: Opened, logs: Logs, since: Tick, until: Tick | None, limit: int) -> Logs:
    """The ticks of one page."""

    async def main() -> Logs:
        async with opened(logs) as api:
            page = await api.page(Query(Filter(), since, until, limit))
            return [entry.tick for entry in page.entries if entry.tick is not None]

    return asyncio.run(main())


everyone = pytest.mark.parametrize(
    "opened",
    [
        little,
        in_process,
        over_http,
        platform_from_start,
        platform_after_start,
        platform_over_http,
    ],
)
LOGS = [T0, T0 + 1, T0 + 1, T0 + 2, T0 + 1_000, T0 + 1_000_000]


@everyone
def test_bounds_are_exclusive_to_the_tick(opened: Opened) -> None:
    """Neither bound is shown."""
    assert ticks(opened, LOGS, T0, T0 + 1_000, 100) == [T0 + 2, T0 + 1, T0 + 1]


@everyone
def test_an_open_top_shows_the_newest(opened: Opened) -> None:
    """Newest first."""
    assert ticks(opened, LOGS, T0 - 1, None, 2) == [T0 + 1_000_000, T0 + 1_000]


@everyone
def test_ties_stand_together(opened: Opened) -> None:
    """Every entry of a tick is shown."""
    assert ticks(opened, [T0] * 7, T0 - 1, T0 + 1, 100) == [T0] * 7


@everyone
def test_an_empty_window_is_an_empty_page(opened: Opened) -> None:
    """Nothing is there, and nothing is wrong."""
    assert ticks(opened, LOGS, T0 + 2, T0 + 900, 100) == []


Body = Callable[[Clock], Coroutine[Any, Any, None]]


def system(body: Body) -> None:
    """Try the machine's clock."""
    asyncio.run(body(SystemClock()))


def virtual(body: Body) -> None:
    """Try the simulation's clock."""
    run_virtually(body(VirtualClock(T0)))


@pytest.mark.parametrize("on", [system, virtual])
def test_a_clock_waits_and_never_runs_back(on: Callable[[Body], None]) -> None:
    """Both faces move on by what was waited; waiting for nothing only yields."""

    async def body(clock: Clock) -> None:
        wall, mono = clock.now(), clock.monotonic()
        await clock.sleep(0.01)
        assert clock.now() - wall >= 9_000
        assert clock.monotonic() - mono >= 0.009
        await clock.sleep(-5)
        assert clock.monotonic() >= mono

    on(body)
