"""Traps that no other test shows: the whole bridge in virtual time, on one app and one backend.

docs/guarantees.md lists all thirty, with the test for each.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from support.virtual import VirtualClock, VirtualLoop, run_virtually

from bridge import settings
from bridge.app.bridge import Bridge
from bridge.app.parts import World, build
from bridge.journal.ledger import Ledger
from bridge.journal.sqlite import SqliteJournal
from bridge.model import SECOND, Filter, GapKind, Page, Query
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.transport import CoreTransport
from bridge.source.rest import RestApi
from bridge.telemetry import Event
from bridge.telemetry.reading import GapFound
from bridge.telemetry.service import InternalError, Progress
from bridge.timestamps import format_tick, parse_tick

NOON = 1_758_283_200 * SECOND
KEY = "id:secret"
MINUTE = 60 * SECOND


class Stage:
    """One app, one backend and a journal on disk; each `play` is one life of the bridge."""

    def __init__(self, folder: Path, config: LogsApiConfig) -> None:
        self.now = 0.0
        self.clock = VirtualClock(NOON)
        self.logs = LogsApiFake(self.clock, config)
        self.backend = OtlpBackend(BackendConfig())
        self.events: list[Event] = []
        self.journal = folder / "journal.sqlite"

    def write(self, message: str, tick: int) -> None:
        """The app writes an entry."""
        raw = {"timestamp": format_tick(tick), "message": message, "app": "one"}
        self.logs.write(raw, tick, visible_at=tick)

    def play(self, body: Callable[[Bridge], Coroutine[Any, Any, Any]]) -> Any:
        """Build the bridge and let something happen with it."""
        config = settings.Settings.model_validate(
            {
                "fal": {"base_url": "http://api.test", "key": KEY},
                "apps": [{"app_id": "one", "start": "30m"}],
                "poll": {"late_sweeps": []},  # they would mend what a first read loses
                "journal": {"path": str(self.journal)},
                "destinations": [{"name": "out", "type": "otlp", "endpoint": "http://out.test"}],
            }
        )

        async def main() -> Any:
            async with AsyncExitStack() as stack:
                return await body(await build(config, self._world(), stack))

        loop = VirtualLoop(start=self.now)
        try:
            return run_virtually(main(), loop=loop)
        finally:
            self.now = loop.time()

    def once(self) -> None:
        """One life that catches up."""
        assert self.play(lambda bridge: bridge.run_once(300)) == []

    def arrived(self) -> list[str]:
        """What the backend has, in the order of its arrival."""
        return [received.body for received in self.backend.records]

    def _world(self) -> World:
        return World(
            clock=self.clock,
            random=Random(1),
            emit=self.events.append,
            out=io.BytesIO(),
            open_journal=lambda place, clock: SqliteJournal.open(
                place.path, max_bytes=place.max_bytes, clock=clock, inline=True
            ),
            api_transport=CoreTransport(self.logs, self.clock),
            otlp_transport=lambda _: CoreTransport(self.backend, self.clock),
        )


def test_no_number_of_pages_is_too_many(tmp_path: Path) -> None:
    """A backlog of 200 pages arrives whole (trap 14)."""
    stage = Stage(tmp_path, LogsApiConfig(key=KEY, cap=20))
    wanted = [f"{n}" for n in range(4_000)]
    for n, message in enumerate(wanted):
        stage.write(message, NOON - 20 * MINUTE + n * SECOND // 4)
    stage.once()
    assert stage.logs.statuses[200] >= 200
    assert sorted(stage.arrived()) == sorted(wanted)


def test_a_reader_that_cannot_work_is_told_and_its_lag_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect at every poll for ten minutes: never quiet, never given up (trap 15)."""
    stage = Stage(tmp_path, LogsApiConfig(key=KEY))
    stage.write("before", NOON - MINUTE)
    stage.once()
    stage.write("after", NOON + MINUTE)

    async def defect(_: RestApi, query: Query) -> Page:
        raise ZeroDivisionError(query)

    async def ten_minutes(bridge: Bridge) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(600, stop.set)
        await bridge.run(stop)

    with monkeypatch.context() as patch:
        patch.setattr(RestApi, "page", defect)
        stage.play(ten_minutes)
    assert sum(isinstance(event, InternalError) for event in stage.events) >= 20
    lags = [event.app_lag for event in stage.events if isinstance(event, Progress)]
    assert lags == sorted(lags)
    assert lags[-1] > 500
    stage.once()
    assert stage.arrived() == ["before", "after"]


def test_what_left_the_api_during_a_long_absence_is_a_gap(tmp_path: Path) -> None:
    """Three hours away, one hour kept: what is there arrives, what may be gone is named.

    In the log, in the journal, and by a record downstream (trap 16).
    """
    stage = Stage(tmp_path, LogsApiConfig(key=KEY, retention=60 * MINUTE))
    stage.write("known", NOON - MINUTE)
    stage.once()
    for n in range(1, 180):
        stage.write(f"{n}", NOON + n * MINUTE)
    stage.now = 180 * 60.0
    stage.once()
    (told,) = [event for event in stage.events if isinstance(event, GapFound)]
    assert told.kind is GapKind.RETENTION
    assert told.floor <= NOON + MINUTE
    assert told.ceiling == NOON + 120 * MINUTE
    with Ledger.open(stage.journal) as ledger:
        assert [one.gap.kind for one in ledger.gaps("one")] == [GapKind.RETENTION]
    kept = [f"{n}" for n in range(120, 180)]
    (record,) = set(stage.arrived()) - {"known", *kept}
    assert "may have left the API" in record
    assert len(stage.arrived()) == 1 + len(kept) + 1


def test_a_time_means_the_same_in_every_form_and_survives_the_query() -> None:
    """Naive or with a zone, of zero microseconds, and with a plus sign in the query (trap 19)."""
    tick = NOON + 10 * SECOND
    forms = ["T12:00:10", "T12:00:10Z", "T12:00:10.000000", "T12:00:10+00:00", "T14:00:10+02:00"]
    assert {parse_tick(f"2025-09-19{form}") for form in forms} == {tick}
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            api = RestApi(client, base_url="http://api.test", key=lambda: KEY)
            await api.page(Query(Filter(search="1+1"), tick, None, 10))

    asyncio.run(main())
    (request,) = seen
    assert request.url.params["since"] == "2025-09-19T12:00:10.000Z"
    assert b"search=1%2B1" in request.url.query
