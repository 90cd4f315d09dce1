"""Alive or not, ready or not: a bridge in virtual time with something wrong."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.scraped import Scraped, scrape
from support.virtual import VirtualClock, VirtualLoop, run_virtually

from bridge import settings
from bridge.admin import Health
from bridge.app.oversight import Oversight
from bridge.app.parts import World, build
from bridge.clock import Clock, SystemClock
from bridge.delivery.forwarder import Forwarder
from bridge.destinations.otlp_http import OtlpHttp
from bridge.journal.orders import Orders
from bridge.journal.sqlite import SqliteJournal
from bridge.model import SECOND, Filter, Outcome, Page, Query
from bridge.payload import Request as Sent
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.transport import CoreTransport
from bridge.source.rest import RestApi
from bridge.source.sweeper import Sweeper
from bridge.telemetry import Event
from bridge.telemetry.delivering import CursorNotStored, JournalRecovered
from bridge.telemetry.registry import Registry
from bridge.timestamps import format_tick

NOON = 1_758_283_200 * SECOND
HOUR = 3600.0
KEY = "id:secret"
NAMES = ("first", "second")

Look = tuple[float, Health, Health]


@dataclass
class Stage:
    """Two apps that write on, two backends; ``looks`` are time, liveness and readiness.

    ``seen`` are the metrics as they were last while it ran.
    """

    folder: Path
    answer: Callable[[LogsApiFake, Request], Answer] = LogsApiFake.answer
    max_bytes: int = 10**8
    looks: list[Look] = field(default_factory=list)
    seen: Scraped = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock: Clock = VirtualClock(NOON)
        self.logs = LogsApiFake(self.clock, LogsApiConfig(key=KEY))
        self.backends = {name: OtlpBackend(BackendConfig(keep_records=False)) for name in NAMES}
        self.registry = Registry(apps=("one", "two"), destinations=NAMES)
        self.stop = asyncio.Event()
        self.config = settings.Settings.model_validate(
            {
                "fal": {"base_url": "http://api.test", "key": KEY},
                "apps": [{"app_id": "one"}, {"app_id": "two"}],
                "journal": {
                    "path": str(self.folder / "journal.sqlite"),
                    "max_bytes": self.max_bytes,
                },
                "destinations": [
                    {"name": name, "type": "otlp", "endpoint": f"http://{name}.test"}
                    for name in NAMES
                ],
            }
        )
        for n in range(100):
            for app in ("one", "two"):
                tick = NOON + 20 * n * SECOND
                raw = {"timestamp": format_tick(tick), "message": f"{app} {n}", "app": app}
                self.logs.write(raw, tick, visible_at=tick)

    def play(
        self, seconds: float, *, noted: Callable[[Oversight], None] = lambda _: None
    ) -> list[Look]:
        """Run the bridge for so long and look at it every five seconds."""

        async def main() -> None:
            async with AsyncExitStack() as stack:
                oversight = Oversight(self.config, self.clock, self.registry, self.stop)
                self.look(oversight)
                events: list[Event] = []

                def emit(event: Event) -> None:
                    events.append(event)
                    oversight.note(event)

                bridge = await build(self.config, self._world(emit), stack)
                oversight.take(bridge)
                noted(oversight)
                loops = [
                    asyncio.create_task(oversight.run()),
                    asyncio.create_task(self._look_on(oversight)),
                ]
                asyncio.get_running_loop().call_later(seconds, self.stop.set)
                await bridge.run(self.stop)
                self.look(oversight)
                for loop in loops:
                    loop.cancel()

        run_virtually(main(), loop=VirtualLoop())
        return self.looks

    def look(self, oversight: Oversight) -> None:
        """Note how it stands."""
        self.looks.append((self.clock.monotonic(), oversight.live(), oversight.ready()))

    async def _look_on(self, oversight: Oversight) -> None:
        while not self.stop.is_set():
            self.look(oversight)
            self.seen = scrape(self.registry)
            await asyncio.sleep(5)

    def answered(self, request: Request) -> Answer:
        """The API."""
        return self.answer(self.logs, request)

    def _world(self, emit: Callable[[Event], None]) -> World:
        return World(
            clock=self.clock,
            random=Random(1),
            emit=emit,
            out=io.BytesIO(),
            open_journal=lambda place, clock: SqliteJournal.open(
                place.path, max_bytes=place.max_bytes, clock=clock, inline=True
            ),
            api_transport=CoreTransport(_Api(self), self.clock),
            otlp_transport=lambda name: CoreTransport(self.backends[name], self.clock),
            meter=self.registry,
        )


@dataclass(frozen=True)
class _Api:
    stage: Stage

    def answer(self, request: Request) -> Answer:
        return self.stage.answered(request)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage."""
    stage = Stage(tmp_path)
    yield stage
    stage.registry.close()


def dead(looks: list[Look]) -> dict[str, float]:
    """What was found stuck, and when first."""
    found: dict[str, float] = {}
    for at, live, _ in looks:
        for reason in live.reasons:
            found.setdefault(reason.partition(":")[0], at)
    return found


async def for_ever(*_: object) -> Any:
    """Wait for what never comes."""
    await asyncio.Event().wait()


def test_all_is_well(stage: Stage) -> None:
    """A while in which entries come: alive from the start, ready as soon as it reads."""
    looks = stage.play(900)
    assert dead(looks) == {}
    assert looks[0][2] == Health(ok=False, reasons=("starting: the positions are not loaded yet",))
    assert {ready for at, _, ready in looks[1:-1] if at > 1} == {Health(ok=True)}
    assert looks[-1][2] == Health(ok=False, reasons=("stopping",))
    assert looks[-1][1].ok


def test_a_request_that_never_ends_is_a_standstill(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app's poll loop hangs; it is named within minutes, and the other is not."""
    real = RestApi.page

    async def page(self: RestApi, query: Query) -> Page:
        if stage.clock.monotonic() > 100 and query.filter == Filter(app_id="one"):
            await for_ever()
        return await real(self, query)

    monkeypatch.setattr(RestApi, "page", page)
    looks = stage.play(600)
    found = dead(looks)
    assert set(found) == {"app one"}
    assert 200 < found["app one"] < 260
    assert all(live.ok for at, live, _ in looks if at < 200)
    assert not any(live.ok for at, live, _ in looks[:-1] if at > 260)
    assert looks[-1][1].ok  # stopping: there is nothing to start anew
    assert stage.seen["fal_log_bridge_live"] == {(): 0}


def test_a_sweep_that_never_ends_is_a_standstill(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The looks at what is new go on beside it, and do not hide that late entries would be lost."""
    real = Sweeper.sweep
    hanging: list[Sweeper] = []

    async def sweep(self: Sweeper, seconds: float) -> None:
        if stage.clock.monotonic() > 100 and not hanging:
            hanging.append(self)
            await for_ever()
        await real(self, seconds)

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    found = dead(stage.play(600))
    assert set(found) <= {"app one", "app two"}
    assert [200 < at < 260 for at in found.values()] == [True]


def test_a_commit_that_never_ends_is_a_standstill(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both readers wait for the journal, which does not answer the oversight either."""
    monkeypatch.setattr(SqliteJournal, "append", for_ever)
    monkeypatch.setattr(SqliteJournal, "stats", for_ever)
    assert set(dead(stage.play(600))) == {"app one", "app two", "journal"}


def test_a_send_that_never_ends_is_a_standstill(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has outlived its own timeout by far."""
    real = OtlpHttp.send

    async def send(self: OtlpHttp, request: Sent) -> Outcome:
        if self.name == "second":
            await for_ever()
        return await real(self, request)

    monkeypatch.setattr(OtlpHttp, "send", send)
    found = dead(stage.play(600))
    assert set(found) == {"destination second"}
    assert 60 < found["destination second"] < 90


async def _idle(_: Forwarder, stop: asyncio.Event) -> None:
    await stop.wait()


def test_records_that_nobody_takes_are_a_standstill(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something waits, there is no trouble, and nothing is sent."""
    monkeypatch.setattr(Forwarder, "run", _idle)
    found = dead(stage.play(600))
    assert set(found) == {"destination first", "destination second"}
    assert all(115 < at < 140 for at in found.values())


def test_a_full_disk_is_no_standstill(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot store its cursor has said so; once it can, it must move again."""
    monkeypatch.setattr(Forwarder, "run", _idle)

    def noted(oversight: Oversight) -> None:
        for name in NAMES:
            oversight.note(CursorNotStored(name, "disk full"))
        recovered = JournalRecovered("first")
        asyncio.get_running_loop().call_later(300, oversight.note, recovered)

    found = dead(stage.play(600, noted=noted))
    assert set(found) == {"destination first"}
    assert found["destination first"] > 400


Down = Callable[[LogsApiFake, Request], Answer]


@pytest.mark.parametrize(
    "answer",
    [
        lambda _, __: Answer(503),
        lambda _, __: Answer(401),
        lambda _, __: Answer(403),
        lambda _, __: Answer(429, (("retry-after", "600"),)),
        lambda _, __: Answer(200, delay=1e9),
        lambda _, __: Answer(200, body=b"<html>"),
    ],
    ids=["503", "401", "403", "throttled", "hangs", "html"],
)
def test_an_api_that_is_down_is_no_standstill(stage: Stage, answer: Down) -> None:
    """For three hours: never dead; not ready, since no app can be read."""
    stage.answer = answer
    looks = stage.play(HOUR)
    assert dead(looks) == {}
    late = {ready for at, _, ready in looks if HOUR / 2 < at < HOUR}
    assert not any(ready.ok for ready in late)
    assert all(len(ready.reasons) == 2 for ready in late)


def test_one_app_that_may_not_be_read(stage: Stage) -> None:
    """Ready, with a reason; what the server said of it is for the log."""

    def answer(logs: LogsApiFake, request: Request) -> Answer:
        if request.parameter("app_id") == "one":
            return Answer(403, body=b'{"detail": "a line of a log"}')
        return logs.answer(request)

    stage.answer = answer
    looks = stage.play(300)
    assert looks[-2][2] == Health(ok=True, reasons=("app one: cannot be read; the log says why",))


@pytest.mark.parametrize(("status", "said"), [(503, "retrying"), (401, "blocked")])
def test_a_backend_that_is_down_is_no_standstill(stage: Stage, status: int, said: str) -> None:
    """For far longer than any wait: alive; ready while the other takes what comes."""
    stage.backends["second"].config = BackendConfig(status=status)
    looks = stage.play(600)
    assert dead(looks) == {}
    assert looks[-2][2] == Health(
        ok=True, reasons=(f"destination second: {said}; the log says why",)
    )
    assert stage.seen["fal_log_bridge_live"] == {(): 1}
    assert stage.seen["fal_log_bridge_destination_up"] == {("first",): 1, ("second",): 0}
    blocked = stage.seen["fal_log_bridge_destination_blocked"]
    assert blocked == {("first",): 0, ("second",): said == "blocked"}


def test_a_pause_is_no_standstill(stage: Stage) -> None:
    """As a person asked, however long it lasts: nothing that anyone has to mend."""

    def noted(_: Oversight) -> None:
        with Orders.open(stage.config.journal.path) as orders:
            orders.pause("second", paused=True)

    looks = stage.play(600, noted=noted)
    assert dead(looks) == {}
    assert looks[-2][2] == Health(ok=True, reasons=("destination second: paused as asked",))
    assert stage.seen["fal_log_bridge_destination_paused"] == {("first",): 0, ("second",): 1}
    assert stage.seen["fal_log_bridge_destination_blocked"] == {("first",): 0, ("second",): 0}
    assert stage.seen["fal_log_bridge_destination_up"] == {("first",): 1, ("second",): 0}
    assert stage.seen["fal_log_bridge_backlog_records"][("second",)] > 0


def test_no_backend_takes_anything(stage: Stage) -> None:
    """All are blocked: not ready, and alive."""
    for backend in stage.backends.values():
        backend.config = BackendConfig(status=401)
    looks = stage.play(600)
    assert dead(looks) == {}
    assert not looks[-2][2].ok
    assert len(looks[-2][2].reasons) == 2


def test_a_full_journal_is_no_standstill(tmp_path: Path) -> None:
    """Reading waits for room, for as long as it takes."""
    stage = Stage(tmp_path, max_bytes=3_000)
    stage.backends["second"].config = BackendConfig(status=503)
    looks = stage.play(HOUR / 2)
    stage.registry.close()
    assert dead(looks) == {}
    assert stage.seen["fal_log_bridge_reading_paused"] == {("one",): 1, ("two",): 1}
    taken = stage.seen["fal_log_bridge_journal_bytes"][()]
    assert taken > 0.8 * stage.seen["fal_log_bridge_journal_max_bytes"][()]


def test_the_status_is_the_command_s(stage: Stage) -> None:
    """The same document, read beside the loop."""
    documents: list[Any] = []

    async def main() -> None:
        stage.clock = SystemClock()
        async with AsyncExitStack() as stack:
            oversight = Oversight(stage.config, stage.clock, stage.registry, stage.stop)
            await build(stage.config, stage._world(lambda _: None), stack)
            documents.append(await oversight.status())

    asyncio.run(main())
    (document,) = documents
    assert [one["destination"] for one in document["destinations"]] == list(NAMES)
    assert document["journal"]["held"]
