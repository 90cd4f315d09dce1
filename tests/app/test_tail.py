"""Following apps: what is shown, once each, and that nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.audited import NOON, Scene
from support.commands import config_of, world_of

from bridge import settings
from bridge.app.tail import Asked, Line, Unproved, as_json, tail
from bridge.errors import ApiUnauthorized, ConfigError
from bridge.model import MILLISECOND, SECOND, Tick
from bridge.patterns import Pattern
from bridge.settings import StartBack
from bridge.simulator.exchange import Request
from bridge.simulator.faults import Fault, Faults, Reply
from bridge.timestamps import format_tick

MINUTE = StartBack(60)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A simulated API; it is noon."""
    return Scene(tmp_path)


def shown(
    scene: Scene,
    asked: Asked,
    *apps: dict[str, Any],
    seconds: float = 60,
    config: settings.Settings | None = None,
) -> list[Line | Unproved]:
    """Follow for so long, or up to now; everything that was shown, in order."""
    lines: list[Line | Unproved] = []

    async def main() -> None:
        following = tail(config or config_of(scene, *apps), world_of(scene), asked, lines.extend)
        if asked.follow:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(following, seconds)
        else:
            await following

    scene.play(main)
    assert not scene.path.exists()
    return lines


def messages(lines: Sequence[Line | Unproved]) -> list[str]:
    """The messages of what was shown."""
    assert not any(isinstance(line, Unproved) for line in lines)
    return [line.message for line in lines if isinstance(line, Line)]


def late(scene: Scene, message: str, tick: Tick, by: Tick) -> None:
    """An entry that the API shows later than its time."""
    raw = {"timestamp": format_tick(tick), "level": "INFO", "message": message, "app": "one"}
    scene.logs.write(raw, tick, visible_at=tick + by)


def test_from_then_on_and_for_ever(scene: Scene) -> None:
    """What is there comes oldest first, what comes later follows; each once, nothing older."""
    for n in range(-90, 50):
        scene.write(f"{n}", NOON + n * SECOND)
    assert messages(shown(scene, Asked(MINUTE))) == [f"{n}" for n in range(-60, 50)]


def test_up_to_now(scene: Scene) -> None:
    """Without following it ends by itself, with what there is."""
    for n in range(-90, 50):
        scene.write(f"{n}", NOON + n * SECOND)
    lines = shown(scene, Asked(MINUTE, follow=False))
    assert messages(lines) == [f"{n}" for n in range(-60, 1)]


def test_equals_are_shown_each(scene: Scene) -> None:
    """Entries that are alike in everything are so many; their uids tell them apart."""
    for _ in range(3):
        scene.write("again", NOON + SECOND)
    lines = [line for line in shown(scene, Asked(MINUTE)) if isinstance(line, Line)]
    assert [line.message for line in lines] == ["again"] * 3
    assert len({line.uid for line in lines}) == 3


@pytest.mark.parametrize("by", [1, 15])
def test_late_entries_are_shown_once(scene: Scene, by: int) -> None:
    """Also when newer ones were shown before."""
    for n in range(40):
        scene.write(f"{n}", NOON + n * SECOND)
    late(scene, "late", NOON + 5 * SECOND, by * SECOND)
    found = messages(shown(scene, Asked(MINUTE)))
    assert sorted(found) == sorted([*(f"{n}" for n in range(40)), "late"])
    assert found.index("late") >= found.index(f"{4 + by}")


def test_many_pages(scene: Scene) -> None:
    """More than is read at once comes slice by slice, oldest first, whole."""
    scene.logs.config = replace(scene.logs.config, cap=10)
    for n in range(1_000):
        scene.write(f"{n}", NOON - 50 * SECOND + n * 50 * MILLISECOND)
    assert messages(shown(scene, Asked(MINUTE))) == [f"{n}" for n in range(1_000)]


def test_by_level_and_pattern(scene: Scene) -> None:
    """Less severe ones are left out; a level that says nothing passes; STDERR is as configured."""
    for level in ("DEBUG", "warning", "ERROR", "STDERR", "odd"):
        scene.write(f"{level} out of memory", NOON - SECOND, level=level)
        scene.write(f"{level} all is well", NOON, level=level)
    asked = Asked(MINUTE, min_severity=13, grep=Pattern("(?i)OUT of"), follow=False)
    found = messages(shown(scene, asked, {"app_id": "one", "stderr_level": "ERROR"}))
    assert set(found) == {f"{x} out of memory" for x in ("warning", "ERROR", "STDERR", "odd")}
    assert "STDERR out of memory" not in messages(shown(scene, asked))


def test_several_apps_and_the_whole_account(scene: Scene) -> None:
    """Each line names its app: as configured, or as the entry of a whole account says."""
    scene.write("a", NOON - 2 * SECOND, "one")
    scene.write("b", NOON - SECOND, "two")
    asked = Asked(MINUTE, follow=False)
    apps: tuple[dict[str, Any], ...] = ({"app_id": "one", "name": "first"}, {"app_id": "two"})
    lines = shown(scene, asked, *apps)
    assert {(x.app, x.message) for x in lines if isinstance(x, Line)} == {
        ("first", "a"),
        ("two", "b"),
    }
    lines = shown(scene, Asked(MINUTE, apps=("two",), follow=False), *apps)
    assert messages(lines) == ["b"]
    lines = shown(scene, asked, {"name": "all"})
    assert [x.app for x in lines if isinstance(x, Line)] == ["one", "two"]


def test_odd_entries(scene: Scene) -> None:
    """Without a time or a message, or no object at all: shown, with what there is."""
    scene.logs.write("not an object", NOON - 3 * SECOND, visible_at=0)
    odd = {"timestamp": "soon", "level": None, "message": {"a": [1]}, "app": "one"}
    scene.logs.write(odd, NOON - 2 * SECOND, visible_at=0)
    scene.write("last", NOON - SECOND)
    found = shown(scene, Asked(MINUTE, follow=False), {"name": "all"})
    lines = [line for line in found if isinstance(line, Line)]
    assert [(x.time, x.level, x.message) for x in lines] == [
        ("no time", "", "not an object"),
        ("no time", "", '{"a":[1]}'),
        (format_tick(NOON - SECOND), "INFO", "last"),
    ]
    document = as_json(lines[0])
    assert document == {"app": "all", "uid": lines[0].uid, "entry": "not an object"}


def test_what_is_not_proved_is_told_once(scene: Scene) -> None:
    """More entries on one tick than any page shows: those that are shown, and a word."""
    scene.logs.config = replace(scene.logs.config, cap=100)
    for n in range(250):
        scene.write(f"{n}", NOON - SECOND)
    lines = shown(scene, Asked(MINUTE))
    assert sum(isinstance(line, Unproved) for line in lines) == 1
    assert sum(isinstance(line, Line) for line in lines) >= 100


def test_it_waits_out_what_passes(scene: Scene) -> None:
    """A spell of 503 costs nothing but time."""
    for n in range(60):
        scene.write(f"{n}", NOON + n * SECOND)

    def strike(_: int, __: Request) -> Fault | None:
        at = scene.clock.now() - NOON
        return Reply(503) if 5 * SECOND < at < 20 * SECOND else None

    scene.front.faults = Faults(schedule=strike)
    assert messages(shown(scene, Asked(MINUTE), seconds=100)) == [f"{n}" for n in range(60)]
    assert scene.front.struck


def test_a_refusal_ends_it(scene: Scene) -> None:
    """A wrong key is told at once, whoever follows."""
    config = config_of(scene, {"app_id": "one"}, {"app_id": "two"})
    scene.logs.config = replace(scene.logs.config, key="another")

    async def main() -> None:
        await tail(config, world_of(scene), Asked(MINUTE), lambda _: None)

    with pytest.raises(ApiUnauthorized, match="401"):
        scene.play(main)
    assert not scene.events  # the error is the message


def test_an_unknown_app(scene: Scene) -> None:
    """Refused with those that there are."""

    async def main() -> None:
        await tail(config_of(scene), world_of(scene), Asked(MINUTE, ("two",)), lambda _: None)

    with pytest.raises(ConfigError, match="no app 'two'"):
        scene.play(main)
    assert not scene.logs.requests
