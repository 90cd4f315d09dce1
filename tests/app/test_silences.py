"""Apps that fall silent, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.scraped import scrape
from support.service import NOON, Simulated
from support.virtual import VirtualLoop, run_virtually

from bridge import settings
from bridge.app.oversight import Oversight
from bridge.app.parts import build
from bridge.model import SECOND
from bridge.simulator.otlp_backend import BackendConfig
from bridge.telemetry.reading import AppHeard, AppSilent, AppTroubled, ReadingPaused
from bridge.telemetry.registry import Registry


class Stage(Simulated):
    """A bridge that expects something of its first app every minute."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config["apps"][0]["expect_every"] = "1m"
        self.shown: dict[int, dict[tuple[str, ...], float]] = {}

    def play(self, seconds: float, *looks: int) -> None:
        """Run it for so long; ``shown`` is the metric at these seconds."""

        async def main() -> None:
            loaded = settings.Settings.model_validate(self.config)
            registry = Registry(apps=self.apps, destinations=self.sides)
            async with AsyncExitStack() as stack:
                stack.callback(registry.close)
                bridge = await build(loaded, replace(self.world(), meter=registry), stack)
                stop, loop = asyncio.Event(), asyncio.get_running_loop()
                Oversight(loaded, self.clock, registry, stop).take(bridge)

                def look(at: int) -> None:
                    self.shown[at] = scrape(registry)["fal_log_bridge_silent"]

                for at in looks:
                    loop.call_later(at, look, at)
                loop.call_later(seconds, stop.set)
                await bridge.run(stop)

        run_virtually(main(), loop=VirtualLoop())

    def at(self, event: AppSilent | AppHeard) -> float:
        """When the silence began, in seconds after noon."""
        assert isinstance(event, AppSilent)
        return (event.since - NOON) / SECOND


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage."""
    return Stage(tmp_path)


def silences(stage: Stage) -> list[AppSilent | AppHeard]:
    """What was told of them."""
    return [event for event in stage.events if isinstance(event, AppSilent | AppHeard)]


def test_an_app_falls_silent_and_is_heard_again(stage: Stage) -> None:
    """Told once each; the other app, of which nothing is expected, never."""
    for second in (5, 50, 100, 300, 350):
        stage.write("one", second, f"at {second}")
    stage.play(400, 150, 250, 330)
    silent, heard = silences(stage)
    assert isinstance(silent, AppSilent)
    assert (silent.app, heard.app) == ("one", "one")
    assert 100 <= stage.at(silent) <= 116  # as late as an idle app is looked at
    assert 60 <= silent.seconds <= 62
    assert isinstance(heard, AppHeard)
    assert 185 <= heard.seconds <= 216
    assert stage.shown == {150: {("one",): 0}, 250: {("one",): 1}, 330: {("one",): 0}}
    assert "see whether the app runs" in silent.text
    assert "entries come again, after 2" in heard.text


def test_one_that_never_writes(stage: Stage) -> None:
    """Counted from the start."""
    stage.play(200)
    (silent,) = silences(stage)
    assert stage.at(silent) <= 1


def test_old_entries_that_come_now_count(stage: Stage) -> None:
    """It is about when they come, not about the time they carry."""
    stage.config["apps"][0]["start"] = "1h"
    stage.write("one", -3_000, "old")
    stage.play(55)
    assert not silences(stage)


def test_an_api_that_is_down_is_not_the_app_s_silence(stage: Stage) -> None:
    """That is told as what it is; the count goes on when the app can be read again."""
    stage.down = (20, 600)
    stage.play(700, 590, 690)
    assert stage.told(AppTroubled)
    (silent,) = silences(stage)
    assert isinstance(silent, AppSilent)
    assert silent.seconds > 600
    assert stage.shown == {590: {("one",): 0}, 690: {("one",): 1}}


def test_a_full_journal_is_not_the_app_s_silence(stage: Stage) -> None:
    """Nothing is journaled, since nothing has room."""
    stage.config["journal"]["max_bytes"] = 1
    stage.backends["second"].config = BackendConfig(status=503)
    for second in range(0, 400, 10):
        stage.write("one", second, f"at {second}")
    stage.play(400)
    assert stage.told(ReadingPaused)
    assert not silences(stage)


def test_what_shape_drops_is_heard(stage: Stage) -> None:
    """The app runs, though nothing of it is wanted."""
    stage.config["apps"][0]["shape"] = {"drop": [{"message": "at"}]}
    for second in range(0, 200, 20):
        stage.write("one", second, f"at {second}")
    stage.play(200)
    assert not silences(stage)


def test_nothing_is_expected_unasked(stage: Stage) -> None:
    """No metric, no warning."""
    del stage.config["apps"][0]["expect_every"]
    stage.config["apps"][1]["expect_every"] = "1h"
    stage.play(300, 250)
    assert not silences(stage)
    assert stage.shown == {250: {("two",): 0}}
