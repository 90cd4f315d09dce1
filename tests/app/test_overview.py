"""What the status page is told of a bridge in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.service import Simulated
from support.virtual import VirtualLoop, run_virtually

from bridge import settings
from bridge.admin import Wanted
from bridge.app.oversight import Oversight
from bridge.app.parts import build
from bridge.app.past import Past
from bridge.app.recent import Recent
from bridge.journal.orders import Orders
from bridge.simulator.otlp_backend import BackendConfig
from bridge.telemetry import Event
from bridge.telemetry.registry import Registry

SECRET = "quoted from a log"


def shown(
    world: Simulated,
    seconds: float,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    wanted: Wanted | None = None,
) -> dict[str, Any]:
    """All that the page asks for, so many seconds after noon; ``meanwhile`` is half-way there."""
    config = settings.Settings.model_validate(world.config)
    registry = Registry(apps=world.apps, destinations=world.sides)
    told: dict[str, Any] = {}

    async def main() -> None:
        stop = asyncio.Event()
        past = Past(world.clock)
        oversight = Oversight(config, world.clock, registry, stop, past=past)
        told["before"] = await oversight.overview()

        def emit(event: Event) -> None:
            world.events.append(event)
            oversight.note(event)

        async with AsyncExitStack() as stack:
            parts = replace(world.world(), emit=emit, recent=past.recent)
            bridge = await build(config, parts, stack)
            oversight.take(bridge)
            looking = asyncio.create_task(oversight.run())
            running = asyncio.create_task(bridge.run(stop))
            await asyncio.sleep(seconds / 2)
            meanwhile()
            await asyncio.sleep(seconds / 2)
            told["overview"] = await oversight.overview()
            told["history"] = oversight.history()
            told["entries"] = await oversight.entries(wanted or Wanted())
            told["problems"] = await oversight.problems()
            stop.set()
            told["after"] = await oversight.overview()
            looking.cancel()
            await running

    run_virtually(main(), loop=VirtualLoop())
    registry.close()
    return told


@pytest.fixture(autouse=True)
def _without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread's time is not virtual."""

    async def at_once(do: Callable[..., Any], *args: Any) -> Any:
        return do(*args)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


@pytest.fixture
def world(tmp_path: Path) -> Simulated:
    """Two apps and two backends; the first app writes one entry a second."""
    made = Simulated(tmp_path)
    for second in range(400):
        made.write("one", second + 0.5, f"{SECRET} {second}")
    return made


def by_name(found: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Apps or destinations by their names."""
    return {one[kind]: one for one in found}


def test_all_is_well(world: Simulated) -> None:
    """States, numbers, the last hour; and nothing of any entry."""
    told = shown(world, 300)
    overview = told["overview"]
    assert overview["verdict"]["sentence"] == (
        "All is well: 2 apps are read, 2 destinations take what comes."
    )
    apps = by_name(overview["apps"], "app")
    assert apps["one"]["state"] == apps["two"]["state"] == "reading"
    assert apps["one"]["rate"] == pytest.approx(1, abs=0.2)
    assert apps["two"]["rate"] == 0
    assert apps["one"]["lag_seconds"] < 16
    assert 290 < apps["one"]["read"] <= 300
    destinations = by_name(overview["destinations"], "destination")
    assert destinations["first"]["delivered"] == apps["one"]["read"]
    assert destinations["first"]["waiting_records"] == 0
    history = told["history"]
    samples = len(history["apps"]["one"]["rate"])
    assert samples == len(history["destinations"]["first"]["age"])
    assert samples in (30, 31)  # one in ten seconds, the end included or not
    assert sum(history["apps"]["one"]["rate"][1:]) * 10 == pytest.approx(290, abs=15)
    assert SECRET not in json.dumps([overview, history])


def test_before_and_after(world: Simulated) -> None:
    """A page that is open while the bridge starts or stops is told so."""
    told = shown(world, 10)
    assert "starting" in told["before"]["verdict"]["sentence"]
    assert "stopping" in told["after"]["verdict"]["sentence"]
    assert told["before"]["apps"] == told["after"]["apps"] == []


def test_a_backend_that_refuses(world: Simulated) -> None:
    """It leads, with how much waits and who holds the journal; its own words need the token."""
    world.backends["second"].config = BackendConfig(status=401)
    told = shown(world, 60)
    overview = told["overview"]
    assert overview["verdict"]["level"] == "failure"
    assert overview["verdict"]["sentence"].startswith("second refuses what it is sent.")
    second = by_name(overview["destinations"], "destination")["second"]
    assert (second["state"], second["rate"]) == ("held", 0)
    assert second["waiting_records"] > 40
    assert second["oldest_seconds"] > 40
    assert second["since"] is not None
    assert overview["journal"]["held_by"] == "second"
    assert told["history"]["destinations"]["second"]["age"][-1] > 30
    assert "401" not in json.dumps(overview)
    assert "401" in told["problems"]["destinations"]["second"]["text"]


def test_paused_by_hand(world: Simulated, tmp_path: Path) -> None:
    """Somebody chose that: no failure, and the command that undoes it."""

    def pause() -> None:
        with Orders.open(tmp_path / "journal.sqlite") as orders:
            orders.pause("second", paused=True)

    overview = shown(world, 60, meanwhile=pause)["overview"]
    assert by_name(overview["destinations"], "destination")["second"]["state"] == "paused"
    assert overview["verdict"]["level"] == "warning"
    assert "destinations resume second" in overview["verdict"]["mend"]


def test_an_api_that_is_down(world: Simulated) -> None:
    """Each app says so; what the server said needs the token."""
    world.down = (20.0, 1_000.0)
    told = shown(world, 120)
    overview = told["overview"]
    assert {app["state"] for app in overview["apps"]} == {"cannot be read"}
    assert by_name(overview["apps"], "app")["one"]["lag_seconds"] > 60
    assert set(told["problems"]["apps"]) == {"one", "two"}


def test_dead_letters_and_why(world: Simulated) -> None:
    """Counted for everybody; the reasons, which may quote a line, with the token."""
    world.backends["second"].config = BackendConfig(
        refuse=lambda record: SECRET if record.body.string_value.endswith("7") else None
    )
    told = shown(world, 120)
    second = by_name(told["overview"]["destinations"], "destination")["second"]
    assert second["dead_letters"] > 5
    [also] = told["overview"]["also"]
    assert "dead-letters list" in also["mend"]
    assert SECRET not in json.dumps(told["overview"])
    reasons = told["problems"]["dead_letters"]
    assert sum(one["letters"] for one in reasons) == second["dead_letters"]
    assert {one["destination"] for one in reasons} == {"second"}


def test_the_last_entries(world: Simulated) -> None:
    """As they are delivered, the newest first."""
    told = shown(world, 60, wanted=Wanted(text=f"{SECRET} 4"))
    found = told["entries"]["entries"]
    assert found[0]["message"] == f"{SECRET} 49"
    assert len(found) == 11
    assert {one["app"] for one in found} == {"one"}


def test_nothing_is_kept_unless_it_may_be_shown(world: Simulated) -> None:
    """Without a place to keep entries, the mapper is the bare one."""
    config = settings.Settings.model_validate(world.config)

    async def main() -> list[str]:
        encoders = []
        for recent in (None, Recent()):
            async with AsyncExitStack() as stack:
                parts = replace(world.world(), recent=recent)
                bridge = await build(config, parts, stack)
                encode: Any = bridge.tailers[0]._progress._encode
                encoders.append(type(encode.__self__).__name__)
        return encoders

    assert run_virtually(main(), loop=VirtualLoop()) == ["Mapper", "Watched"]
