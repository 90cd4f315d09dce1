"""The composition: what starts, what stops, and what one failing part does to the others."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.virtual import VirtualClock, VirtualLoop, run_virtually

from bridge import settings
from bridge.app.bridge import GRACE, Bridge
from bridge.app.parts import World, build
from bridge.errors import ConfigError, JournalUnusable
from bridge.journal.sqlite import SqliteJournal
from bridge.model import SECOND, Filter, Page, Query
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.transport import CoreTransport
from bridge.source.rest import RestApi
from bridge.telemetry import Event
from bridge.telemetry.reading import AppTroubled, EntriesShaped
from bridge.telemetry.service import HungUp, InternalError, Progress
from bridge.timestamps import format_tick

NOON = 1_758_283_200 * SECOND
KEY = "id:secret"


class Stage:
    """A bridge of two apps and two backends in virtual time; the clock starts at noon."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.clock = VirtualClock(NOON)
        self.logs = LogsApiFake(self.clock, LogsApiConfig(key=KEY))
        self.backends = {name: OtlpBackend(BackendConfig()) for name in ("first", "second")}
        self.hanging: set[str] = set()
        self.events: list[Event] = []
        self.out = io.BytesIO()
        self.config: dict[str, Any] = {
            "fal": {"base_url": "http://api.test", "key": KEY},
            "apps": [{"app_id": "one"}, {"app_id": "two"}],
            "journal": {"path": str(folder / "journal.sqlite")},
            "destinations": [
                {"name": name, "type": "otlp", "endpoint": f"http://{name}.test"}
                for name in self.backends
            ],
        }
        for n, app in enumerate(["one", "two"] * 10):
            self.write(app, f"{app} {n}", NOON - n * SECOND)

    def write(self, app: str, message: str, tick: int) -> None:
        """An app writes an entry."""
        raw = {"timestamp": format_tick(tick), "message": message, "app": app}
        self.logs.write(raw, tick, visible_at=tick)

    def play(self, body: Callable[[Bridge], Coroutine[Any, Any, Any]]) -> Any:
        """Build the bridge and let something happen with it."""

        async def main() -> Any:
            async with AsyncExitStack() as stack:
                loaded = settings.Settings.model_validate(self.config)
                return await body(await build(loaded, self._world(), stack))

        loop = VirtualLoop(start=self.now)
        try:
            return run_virtually(main(), loop=loop)
        finally:
            self.now = loop.time()

    def arrived(self, backend: str) -> list[str]:
        """The messages that one backend has."""
        return sorted({received.body for received in self.backends[backend].records})

    def told(self, kind: type[Event]) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def _world(self) -> World:
        return World(
            clock=self.clock,
            random=Random(1),
            emit=self.events.append,
            out=self.out,
            open_journal=lambda place, clock: SqliteJournal.open(
                place.path, max_bytes=place.max_bytes, clock=clock, inline=True
            ),
            api_transport=CoreTransport(self.logs, self.clock),
            otlp_transport=lambda name: CoreTransport(_Sleepy(self, name), self.clock),
        )


class _Sleepy:
    """A backend that may hang: it accepts, and answers after an hour."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self._name = name

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        if self._name in self._stage.hanging:
            return Answer(200, delay=3_600.0)
        return self._stage.backends[self._name].answer(request)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage."""
    return Stage(tmp_path)


async def until_noon_plus(bridge: Bridge, seconds: float) -> None:
    """Run the service for so long."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await bridge.run(stop)


def test_once_delivers_everything_everywhere_and_ends(stage: Stage) -> None:
    """Nothing stands in the way: no obstacle is named."""
    assert stage.play(lambda bridge: bridge.run_once(300)) == []
    assert len(stage.arrived("first")) == 20
    assert stage.arrived("first") == stage.arrived("second")


def test_an_app_s_shape_is_applied_and_told(stage: Stage) -> None:
    """What is stored and sent is masked, for the app that asks for it."""
    stage.config["apps"][0]["shape"] = {"mask": [{"pattern": "(one) [0-9]+", "replacement": "\\1"}]}
    assert stage.play(lambda bridge: bridge.run_once(300)) == []
    assert {m for m in stage.arrived("first") if m.startswith("one")} == {"one"}
    assert len({m for m in stage.arrived("first") if m.startswith("two")}) == 10
    assert stage.told(EntriesShaped) == [EntriesShaped("one", (("mask[0]", 10),))]


def test_what_a_shape_drops_is_known_and_never_sent(stage: Stage) -> None:
    """Read again, it is known; what is joined arrives as one record; nothing is repeated."""
    stage.config["apps"][0]["shape"] = {
        "drop": [{"message": "one [0-9]$"}],
        "join_tracebacks": True,
    }
    lines = ["Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "E: x"]
    for n, line in enumerate(lines):
        stage.write("one", line, NOON - 30 * SECOND + n)
    for _ in range(2):
        assert stage.play(lambda bridge: bridge.run_once(300)) == []
    mine = [m for m in stage.arrived("first") if not m.startswith("two")]
    assert mine == ["\n".join(lines), *(f"one {n}" for n in range(10, 20, 2))]
    assert len(stage.backends["first"].records) == len(mine) + 10


def test_an_app_of_which_all_is_dropped_moves_on(stage: Stage) -> None:
    """Nothing to send is no failure: the position moves, and a re-read drops nothing twice."""
    stage.config["apps"][0]["shape"] = {"drop": [{"message": "one"}]}
    for _ in range(2):
        assert stage.play(lambda bridge: bridge.run_once(300)) == []
    assert {m.split()[0] for m in stage.arrived("first")} == {"two"}
    assert stage.told(EntriesShaped) == [EntriesShaped("one", (("drop[0]", 10),))]


def test_once_names_what_stands_in_the_way(stage: Stage) -> None:
    """A backend that refuses, for longer than the timeout; the other has everything."""
    stage.backends["second"].config = BackendConfig(status=401)
    (obstacle,) = stage.play(lambda bridge: bridge.run_once(30))
    assert obstacle.startswith("second: ")
    assert "401" in obstacle
    assert len(stage.arrived("first")) == 20


def test_once_names_an_app_that_cannot_be_read(stage: Stage) -> None:
    """A refused key."""
    stage.config["fal"]["key"] = "wrong:key"
    obstacles = stage.play(lambda bridge: bridge.run_once(30))
    assert [o.partition(":")[0] for o in obstacles] == ["one", "two"]
    assert all("401" in o and "wrong" not in o for o in obstacles)


def test_a_stop_waits_for_a_hanging_backend_only_so_long(stage: Stage) -> None:
    """The grace period ends it; what was not acknowledged goes out in the next life."""
    stage.hanging.add("second")
    ended = stage.play(
        lambda bridge: _timed(until_noon_plus(bridge, 5)),
    )
    assert ended <= 5 + GRACE + 1
    stage.hanging.clear()
    assert stage.play(lambda bridge: bridge.run_once(300)) == []
    assert stage.arrived("first") == stage.arrived("second")


async def _timed(work: Coroutine[Any, Any, None]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work
    return loop.time() - began


def test_a_defect_in_one_app_s_reading_stops_neither_the_other_nor_the_bridge(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as an internal error, and the app is tried again."""
    real, broken = RestApi.page, True

    async def page(self: RestApi, query: Query) -> Page:
        if broken and query.filter == Filter(app_id="one"):
            raise ZeroDivisionError("a defect")
        return await real(self, query)

    monkeypatch.setattr(RestApi, "page", page)
    stage.play(lambda bridge: until_noon_plus(bridge, 60))
    assert {m.split()[0] for m in stage.arrived("first")} == {"two"}
    assert stage.told(InternalError)
    broken = False
    assert stage.play(lambda bridge: bridge.run_once(300)) == []
    assert len(stage.arrived("first")) == 20


def test_an_app_that_may_not_be_read_does_not_hold_up_the_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 403 concerns one app; it is told once."""
    real = LogsApiFake.answer

    def answer(self: LogsApiFake, request: Request) -> Answer:
        if request.parameter("app_id") == "one":
            return Answer(403, body=json.dumps({"detail": "not yours"}).encode())
        return real(self, request)

    monkeypatch.setattr(LogsApiFake, "answer", answer)
    stage.play(lambda bridge: until_noon_plus(bridge, 120))
    assert {m.split()[0] for m in stage.arrived("first")} == {"two"}
    (told,) = stage.told(AppTroubled)
    assert "one: cannot read: " in told.text
    assert "not yours" in told.text


def test_progress_is_told_now_and_then(stage: Stage) -> None:
    """Rate and lag, one line each half minute."""
    stage.play(lambda bridge: until_noon_plus(bridge, 100))
    assert len(stage.told(Progress)) == 3


def test_the_console_gets_json_lines_where_it_is_no_terminal(stage: Stage) -> None:
    """A destination like any other."""
    stage.config["destinations"] = [{"name": "console", "type": "console"}]
    assert stage.play(lambda bridge: bridge.run_once(300)) == []
    lines = [json.loads(line) for line in stage.out.getvalue().splitlines()]
    assert sorted(line["body"] for line in lines) == sorted(
        f"{app} {n}" for n, app in enumerate(["one", "two"] * 10)
    )


def test_stderr_gets_the_severity_that_its_app_is_given(stage: Stage) -> None:
    """INFO by default."""
    stage.config["apps"][0]["stderr_level"] = "warning"
    for app in ("one", "two"):
        tick = NOON - 90 * SECOND
        raw = {
            "timestamp": format_tick(tick),
            "level": "STDERR",
            "message": f"{app} err",
            "app": app,
        }
        stage.logs.write(raw, tick, visible_at=tick)
    assert stage.play(lambda bridge: bridge.run_once(300)) == []
    records = stage.backends["first"].records
    assert {r.body: r.record.severity_number for r in records if "err" in r.body} == {
        "one err": 13,
        "two err": 9,
    }


def test_a_journal_that_cannot_be_used_stops_the_start(stage: Stage, tmp_path: Path) -> None:
    """Said with its place, and the file stays as it is."""
    place = tmp_path / "notes.txt"
    place.write_text("not a journal")
    stage.config["journal"]["path"] = str(place)
    with pytest.raises(JournalUnusable, match=r"notes\.txt"):
        stage.play(lambda bridge: bridge.run_once(300))
    assert place.read_text() == "not a journal"


def test_a_certificate_that_is_missing_stops_the_start(stage: Stage, tmp_path: Path) -> None:
    """A user's mistake is named before anything is read."""
    missing = tmp_path / "ca.pem"
    stage.config["destinations"][0]["tls"] = {"ca_file": str(missing)}
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        stage.play(lambda bridge: bridge.run_once(300))
    assert not stage.logs.requests


def test_every_kind_of_destination_is_built(stage: Stage, tmp_path: Path) -> None:
    """From the settings, with a cursor each; SIGHUP has the files opened anew."""
    stage.config["destinations"] = [
        {"name": "grpc", "type": "otlp", "endpoint": "127.0.0.1:1", "protocol": "grpc"},
        {"name": "json", "type": "otlp", "endpoint": "http://first", "protocol": "http/json"},
        {"name": "zstd", "type": "otlp", "endpoint": "http://first", "compression": "zstd"},
        {"name": "siem", "type": "syslog", "endpoint": "relp://127.0.0.1:1", "app_name": "a,b"},
        {"name": "archive", "type": "file", "path": str(tmp_path / "archive")},
        {"name": "otlp archive", "type": "file", "path": "otlp", "format": "otlp_json"},
        {"name": "screen", "type": "console"},
    ]

    async def main() -> list[str]:
        async with AsyncExitStack() as stack:
            loaded = settings.Settings.model_validate(stage.config)
            bridge = await build(loaded, stage._world(), stack)
            bridge.hang_up()
            return [backlog.destination for backlog in (await bridge.journal.stats()).backlogs]

    names = [one["name"] for one in stage.config["destinations"]]
    assert sorted(asyncio.run(main())) == sorted(names)
    assert stage.told(HungUp) == [HungUp(("archive", "otlp archive"))]


def test_what_a_destination_cannot_be_stops_the_start(stage: Stage) -> None:
    """A header that gRPC does not carry is named before anything is read."""
    headers = {"x-key-bin": "hunter2-hunter2"}
    stage.config["destinations"] = [
        {"name": "d", "type": "otlp", "endpoint": "h", "protocol": "grpc", "headers": headers}
    ]
    with pytest.raises(ConfigError, match="destination d: header 'x-key-bin' cannot be sent"):
        stage.play(lambda bridge: bridge.run_once(300))
