"""Rewinding an app: what is told before, and what the bridge reads and sends again after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from support.audited import FLOOR, NOON, Scene
from support.commands import config_of, world_of

from bridge.app.parts import build
from bridge.app.positions import as_json, listed, planned, rewind
from bridge.errors import JournalError, JournalUnusable
from bridge.journal.ledger import Ledger
from bridge.model import SECOND, Gap, Tick
from bridge.simulator.manual_clock import ManualClock
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.timestamps import format_tick


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """An hour of an app; it is noon."""
    scene = Scene(tmp_path)
    for n in range(60):
        scene.write(f"{n}", FLOOR + n * 60 * SECOND)
    return scene


def run_once(scene: Scene, backend: OtlpBackend, **app: Any) -> None:
    """One complete pass of the bridge, with the app's logs of the last two hours."""
    config = config_of(scene, {"app_id": "one", "start": "2h", **app})

    async def main() -> None:
        async with AsyncExitStack() as stack:
            bridge = await build(config, world_of(scene, backend), stack)
            assert await bridge.run_once(patience=60) == []

    scene.play(main)


def arrivals(backend: OtlpBackend) -> Counter[str]:
    """How often each message arrived."""
    return Counter(one.body for one in backend.records)


def prune(scene: Scene, below: Tick) -> None:
    """Let the ledger forget."""

    async def main() -> None:
        journal = scene.open()
        await journal.prune("one", needed=below, kept=below)
        await journal.aclose()

    scene.play(main)


def gaps(scene: Scene) -> list[Gap]:
    """The app's open gaps."""
    with Ledger.open(scene.path) as ledger:
        return [one.gap for one in ledger.gaps("one")]


def test_what_is_known_is_not_sent_again(scene: Scene) -> None:
    """The next run reads on from there, journals what came too late for every sweep, and no more.

    It ends where it stood, as if nothing had been.
    """
    backend = OtlpBackend(BackendConfig())
    run_once(scene, backend)
    before = arrivals(backend)
    assert set(before) == {f"{n}" for n in range(60)}
    tick = NOON - 1_000 * SECOND
    raw = {"timestamp": format_tick(tick), "level": "INFO", "message": "late", "app": "one"}
    scene.logs.write(raw, tick, visible_at=0)
    run_once(scene, backend)
    assert "late" not in arrivals(backend)
    stood = listed(config_of(scene), ManualClock(0)).apps[0].record.position
    rewind(config_of(scene), "one", NOON - 1_800 * SECOND)
    run_once(scene, backend)
    assert arrivals(backend) == before + Counter({"late": 1})
    assert listed(config_of(scene), ManualClock(0)).apps[0].record.position >= stood
    assert not gaps(scene)


def test_what_is_not_known_any_more_is_sent_again_under_the_same_uids(scene: Scene) -> None:
    """Below where the ledger begins nothing can be recognised, as was said before."""
    backend = OtlpBackend(BackendConfig())
    run_once(scene, backend)
    prune(scene, NOON - 1_800 * SECOND)
    plan = planned(config_of(scene), "one", FLOOR)
    assert plan.unknown_below is not None
    assert NOON - 1_900 * SECOND < plan.unknown_below <= NOON - 1_800 * SECOND
    rewind(config_of(scene), "one", FLOOR)
    run_once(scene, backend)
    twice = {body for body, times in arrivals(backend).items() if times == 2}
    assert twice == {f"{n}" for n in range(60) if FLOOR + n * 60 * SECOND < plan.unknown_below}
    uids = {(one.body, one.uid) for one in backend.records}
    assert len(uids) == 60


def test_an_app_that_showed_nothing_is_read_from_there(scene: Scene) -> None:
    """Also where it never journaled an entry, its next run begins at the earlier time."""
    backend = OtlpBackend(BackendConfig())
    run_once(scene, backend, start="10s")
    assert not backend.records
    rewind(config_of(scene), "one", NOON - 600 * SECOND)
    run_once(scene, backend, start="10s")
    assert set(arrivals(backend)) == {f"{n}" for n in range(50, 60)}


def test_a_plan(scene: Scene) -> None:
    """From when to when, how many of it are known, and nothing is changed."""
    scene.fill()
    config = config_of(scene)
    plan = planned(config, "one", NOON - 600 * SECOND)
    assert (plan.floor, plan.ceiling, plan.known) == (NOON - 600 * SECOND, NOON, 10)
    assert plan.unknown_below is None
    assert (plan.held, plan.configured) == (False, True)
    assert planned(config, "one", FLOOR - 1).unknown_below == FLOOR
    assert not planned(config_of(scene, {"app_id": "two"}), "one", FLOOR).configured
    assert listed(config, ManualClock(0)).apps[0].record.position == NOON
    journal = scene.running()
    assert planned(config, "one", FLOOR).held
    with pytest.raises(JournalError, match="stop the bridge, rewind, and start it again"):
        rewind(config, "one", FLOOR)
    journal.abandon()
    rewind(config, "one", FLOOR)


@pytest.mark.parametrize("act", [planned, rewind])
def test_refusals(scene: Scene, act: Callable[..., object]) -> None:
    """No journal, no such app, no way back."""
    config = config_of(scene)
    with pytest.raises(JournalUnusable, match="there is no journal"):
        act(config, "one", FLOOR)
    assert not scene.path.exists()
    scene.fill()
    with pytest.raises(JournalError, match=r"app two: .* no such app \(there are: one\)"):
        act(config, "two", FLOOR)
    with pytest.raises(JournalError, match="a rewind only leads back"):
        act(config, "one", NOON)


def test_the_document(scene: Scene) -> None:
    """Every app that the journal knows."""
    scene.fill(swept={15 * SECOND: NOON - 15 * SECOND})
    assert as_json(listed(config_of(scene), ManualClock(NOON + SECOND))) == {
        "time": format_tick(NOON + SECOND),
        "held": False,
        "positions": [
            {
                "app": "one",
                "configured": True,
                "position": format_tick(NOON),
                "lag_seconds": 1.0,
                "swept": [{"age_seconds": 15.0, "swept_to": format_tick(NOON - 15 * SECOND)}],
                "ledger_from": format_tick(FLOOR),
                "fingerprints": 60,
            }
        ],
    }
