"""Reloads in virtual time: what goes on, what begins, what is refused, and that nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
from support.service import Simulated
from support.virtual import VirtualLoop, run_virtually

from bridge import settings
from bridge.app.bridge import GRACE, Bridge
from bridge.app.parts import World, build, rehearse
from bridge.app.reloading import Succession
from bridge.errors import ConfigError, JournalUnusable
from bridge.telemetry.reading import AppResumed, AppStarted, FiltersChanged
from bridge.telemetry.service import (
    ConfigChanged,
    ConfigUnchanged,
    HungUp,
    InternalError,
    ReloadFailed,
    Reloading,
    ReloadRefused,
)

SENT = 80
"""Entries that each app writes, one a second."""


class Stage(Simulated):
    """A service whose config file is ``config``; ``began`` is when each bridge did.

    Loading the config fails with ``broken`` while that is set.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.broken: Exception | None = None
        self.began: list[float] = []
        self.ended = 0.0
        for n in range(SENT):
            for app in self.apps:
                self.write(app, n, f"{app} {n}", "ERROR" if n % 2 else "INFO")

    def play(
        self,
        *steps: tuple[float, Callable[[Stage], object]],
        seconds: float = SENT + 30.0,
    ) -> None:
        """Run the service for so long; each step happens at its second, and SIGHUP follows it."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            stop = asyncio.Event()
            world = self.world()
            bridges = Succession(
                load=self._load,
                rehearse=partial(rehearse, world=world),
                begin=partial(self._begin, world),
                emit=self.events.append,
                stop=stop,
            )

            def do(step: Callable[[Stage], object]) -> None:
                step(self)
                bridges.hang_up()

            for at, step in steps:
                loop.call_later(at, do, step)
            loop.call_later(seconds, stop.set)
            await bridges.run(self._load())
            self.ended = loop.time()

        run_virtually(main(), loop=VirtualLoop())

    @property
    def bridges(self) -> int:
        """How many there were."""
        return len(self.began)

    def bodies(self, backend: str) -> Counter[str]:
        """How often each message arrived at a backend."""
        return Counter(received.body for received in self.backends[backend].records)

    def _load(self) -> settings.Settings:
        if self.broken:
            raise self.broken
        return settings.Settings.model_validate(deepcopy(self.config))

    async def _begin(
        self, world: World, config: settings.Settings, _: asyncio.Event, stack: AsyncExitStack
    ) -> Bridge:
        bridge = await build(config, world, stack)
        self.began.append(self.clock.monotonic())
        return bridge


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage."""
    return Stage(tmp_path)


def once(*apps: str, numbers: range = range(SENT)) -> Counter[str]:
    """Each of these apps' messages once."""
    return Counter(f"{app} {n}" for app in apps for n in numbers)


def nothing(_: Stage) -> None:
    """Change nothing."""


def polls(size: int) -> Callable[[Stage], None]:
    """Change what changes nothing that arrives."""

    def change(stage: Stage) -> None:
        stage.config["poll"] = {"page_size": size}

    return change


def test_an_unchanged_configuration_is_said_and_nothing_drains(stage: Stage) -> None:
    """As after a rotation: files are opened anew, and that is all."""
    stage.play((10, nothing), (20, nothing))
    assert stage.bridges == 1
    assert stage.told(HungUp, ConfigUnchanged) == 2 * [HungUp(()), ConfigUnchanged()]


def test_five_reloads_lose_and_repeat_nothing(stage: Stage) -> None:
    """Amid entries and sweeps; positions and cursors go on."""
    stage.play(*((10.0 + 12 * n, polls(100 + n)) for n in range(5)))
    assert stage.bridges == 6
    assert stage.told(Reloading) == 5 * [Reloading(1)]
    assert stage.told(ConfigChanged) == 5 * [ConfigChanged("poll: page_size changed")]
    assert len(stage.told(AppStarted)) == 2
    assert len(stage.told(AppResumed)) == 10
    for side in Stage.sides:
        assert stage.bodies(side) == once(*Stage.apps)


def test_what_cannot_be_loaded_is_refused(stage: Stage) -> None:
    """With what the start would say; the bridge that runs is not touched."""
    error = ConfigError("2 problems\n  apps: wrong\n  poll: wrong", where="config.yaml")

    def broken(stage: Stage) -> None:
        stage.broken = error

    stage.play((10, broken))
    assert stage.bridges == 1
    (refused,) = stage.told(ReloadRefused)
    assert refused == ReloadRefused(str(error))
    assert refused.text == (
        "SIGHUP: not reloaded, the old configuration goes on: "
        "config.yaml: 2 problems: apps: wrong; poll: wrong"
    )
    assert stage.bodies("first") == once(*Stage.apps)


@pytest.mark.parametrize("said", ["too deep", ""])
def test_a_defect_in_loading_is_no_end(stage: Stage, said: str) -> None:
    """It is told as one, and the old configuration goes on."""

    def broken(stage: Stage) -> None:
        stage.broken = RecursionError(said)

    stage.play((10, broken))
    assert stage.bridges == 1
    assert stage.told(InternalError)
    assert stage.told(ReloadRefused) == [ReloadRefused(said or "RecursionError")]
    assert stage.told(ReloadRefused)[0].text


def test_what_cannot_be_built_is_refused_before_anything_drains(
    stage: Stage, tmp_path: Path
) -> None:
    """A certificate that is not there."""

    def missing(stage: Stage) -> None:
        stage.config["destinations"][0]["tls"] = {"ca_file": str(tmp_path / "ca.pem")}

    stage.play((10, missing))
    assert stage.bridges == 1
    (refused,) = stage.told(ReloadRefused)
    assert "ca.pem" in refused.text
    assert not stage.told(ConfigChanged)


def test_changed_filters_apply_from_the_position_on(stage: Stage) -> None:
    """What they mean is said; what is below the position is not read again."""

    def errors_only(stage: Stage) -> None:
        stage.config["apps"][0]["level"] = "ERROR"

    stage.play((50, errors_only))
    (changed,) = stage.told(FiltersChanged)
    assert isinstance(changed, FiltersChanged)
    assert changed.app == "one"
    (told,) = stage.told(ConfigChanged)
    assert told.text == (
        "configuration: app one: level changed; the new filters apply from its position on, and "
        "what they would have selected before is not read again"
    )
    mine = Counter({body: n for body, n in stage.bodies("first").items() if "one" in body})
    early, late = once("one", numbers=range(45)), once("one", numbers=range(55, SENT))
    assert early <= mine
    assert {body for body in mine if body in late} == {f"one {n}" for n in range(55, SENT, 2)}
    assert set(mine.values()) == {1}


def test_apps_come_and_go(stage: Stage) -> None:
    """Put back, an app goes on from the position that was kept for it."""
    two = {"app_id": "two", "start": "now"}

    def without(stage: Stage) -> None:
        stage.config["apps"] = stage.config["apps"][:1]

    def put_back(stage: Stage) -> None:
        stage.config["apps"].append(two)

    stage.play((20, without), (60, put_back))
    assert stage.bridges == 3
    assert [event.text.partition(":")[0] for event in stage.told(AppStarted)] == ["one", "two"]
    assert stage.bodies("first") == once(*Stage.apps)


def test_a_destination_keeps_its_place(stage: Stage) -> None:
    """Taken out and put back, it gets everything that came meanwhile, once."""
    both = stage.config["destinations"]

    def without(stage: Stage) -> None:
        stage.config["destinations"] = both[:1]

    def put_back(stage: Stage) -> None:
        assert not once("one", numbers=range(25, 55)) & stage.bodies("second")
        stage.config["destinations"] = both

    stage.play((20, without), (60, put_back))
    assert stage.bridges == 3
    for side in Stage.sides:
        assert stage.bodies(side) == once(*Stage.apps)


def test_a_new_destination_gets_what_comes(stage: Stage) -> None:
    """And the one that is there goes on."""
    both = stage.config["destinations"]
    stage.config["destinations"] = both[:1]

    def added(stage: Stage) -> None:
        stage.config["destinations"] = [both[0], both[1] | {"start": "now"}]

    stage.play((50, added))
    assert stage.bodies("first") == once(*Stage.apps)
    assert once(*Stage.apps, numbers=range(52, SENT)) <= stage.bodies("second")
    assert not once(*Stage.apps, numbers=range(45)) & stage.bodies("second")


def test_a_position_of_another_stream_sends_it_back(stage: Stage) -> None:
    """Only the journal knows: the old configuration goes on, and says so."""

    def platform(stage: Stage) -> None:
        stage.config["fal"]["api"] = "platform"
        new = {"name": "third", "type": "otlp", "endpoint": "http://third.test"}
        stage.config["destinations"].append(new)

    stage.play((50, platform))
    assert stage.bridges == 2
    (failed,) = stage.told(ReloadFailed)
    assert failed.text.startswith("the reload failed, back to the old configuration: apps: one: ")
    for side in Stage.sides:
        assert stage.bodies(side) == once(*Stage.apps)

    async def attached() -> list[str]:
        async with AsyncExitStack() as stack:
            stage.config["destinations"].pop()
            stage.config["fal"]["api"] = "rest"
            config = settings.Settings.model_validate(stage.config)
            bridge = await build(config, stage.world(), stack)
            stats = await bridge.journal.stats()
            return [one.destination for one in (*stats.backlogs, *stats.unused)]

    assert sorted(run_virtually(attached(), loop=VirtualLoop())) == sorted(Stage.sides)


def test_another_journal(stage: Stage, tmp_path: Path) -> None:
    """One that cannot be used is none; one that can begins there."""

    def unusable(stage: Stage) -> None:
        (tmp_path / "notes.txt").write_text("not a journal")
        stage.config["journal"]["path"] = str(tmp_path / "notes.txt")

    def another(stage: Stage) -> None:
        stage.config["journal"]["path"] = str(tmp_path / "other.sqlite")

    stage.play((30, unusable), (60, another))
    assert stage.bridges == 3
    assert len(stage.told(ReloadFailed)) == 1
    assert len(stage.told(AppStarted)) == 4
    assert set(stage.bodies("first")) >= set(once(*Stage.apps, numbers=range(55)))
    assert (tmp_path / "other.sqlite").exists()


def test_if_the_old_one_cannot_go_on_either_it_ends(stage: Stage, tmp_path: Path) -> None:
    """With the error that the start would have."""

    def spoilt(stage: Stage) -> None:
        (tmp_path / "notes.txt").write_text("not a journal")
        stage.config["journal"]["path"] = str(tmp_path / "notes.txt")
        old = tmp_path / "journal.sqlite"
        loop = asyncio.get_running_loop()
        loop.call_later(1, old.write_bytes, b"gone")

    stage.hangs = (25, 60)
    with pytest.raises(JournalUnusable, match=r"journal\.sqlite"):
        stage.play((30, spoilt))
    assert len(stage.told(ReloadFailed)) == 1


def test_the_first_start_has_nothing_to_go_back_to(stage: Stage, tmp_path: Path) -> None:
    """It fails as ever."""
    (tmp_path / "journal.sqlite").write_text("not a journal")
    with pytest.raises(JournalUnusable):
        stage.play()
    assert not stage.told(ReloadFailed)


def test_a_hanging_backend_delays_a_reload_only_so_long(stage: Stage) -> None:
    """The grace of a stop; what was not acknowledged is sent again by the next bridge."""
    stage.hangs = (19, 29)
    stage.play((20, polls(100)))
    assert stage.bridges == 2
    assert 22 < stage.began[1] <= 20 + GRACE + 1
    assert set(stage.bodies("second")) == set(once(*Stage.apps))
    assert stage.bodies("first") == once(*Stage.apps)


def test_a_second_request_during_a_reload_is_remembered(stage: Stage) -> None:
    """While the old bridge drains, the file changes once more: both changes are taken in turn."""
    stage.hangs = (19, 29)
    stage.play((20, polls(100)), (22, polls(200)), (23, polls(300)))
    assert stage.bridges == 3
    assert stage.told(Reloading) == 2 * [Reloading(1)]
    assert stage.bodies("first") == once(*Stage.apps)


def test_a_stop_during_a_reload_ends(stage: Stage) -> None:
    """Within the grace of the reload's own drain, and no other bridge begins."""
    stage.hangs = (19, 60)
    stage.play((20, polls(100)), seconds=22)
    assert stage.bridges == 1
    assert 22 < stage.ended <= 20 + GRACE + 1
    assert stage.told(Reloading)
