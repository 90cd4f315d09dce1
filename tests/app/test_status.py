"""What `status` tells, from the journal alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.audited import FLOOR, NOON, Scene
from support.commands import config_of

from bridge.app.status import Status, as_json, status
from bridge.errors import JournalUnusable
from bridge.model import SECOND, DeadLetter, Gap, GapKind
from bridge.timestamps import format_tick


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A simulated API and a journal."""
    return Scene(tmp_path)


def shown(scene: Scene) -> Status:
    """The status a minute after noon."""

    async def main() -> Status:
        return status(config_of(scene), scene.clock)

    scene.now = 60.0
    return scene.play(main)


def test_apps_and_destinations(scene: Scene) -> None:
    """Position, lag, sweeps, gaps; cursor, what waits, dead letters."""
    for n in range(20):
        scene.write(f"{n}", FLOOR + n * SECOND)
    gap = Gap(GapKind.CROWDED, FLOOR, FLOOR + 1, 7)
    scene.fill(swept={15 * SECOND: NOON - 15 * SECOND}, gaps=[gap])
    scene.acknowledge(0, [DeadLetter("out", "00" * 16, 1, "no", b"", NOON)])
    document = json.loads(json.dumps(as_json(shown(scene))))
    (app,), (destination,) = document.pop("apps"), document.pop("destinations")
    size = document["journal"].pop("bytes")
    assert size == destination["waiting_bytes"] > 0
    assert document == {
        "time": format_tick(NOON + 60 * SECOND),
        "journal": {
            "path": str(scene.path),
            "held": False,
            "max_bytes": 1 << 30,
            "dead_letter_bytes": 2,
            "dead_letters_max_bytes": 1 << 28,
        },
        "backfills": [],
    }
    assert app == {
        "app": "one",
        "position": format_tick(NOON),
        "lag_seconds": 60.0,
        "sweeps": [{"age_seconds": 15.0, "swept_to": format_tick(NOON - 15 * SECOND)}],
        "ledger_from": format_tick(FLOOR),
        "fingerprints": 20,
        "late": None,
        "gaps": [
            {
                "kind": "crowded",
                "since": format_tick(FLOOR),
                "until": format_tick(FLOOR + 1),
                "at_least": 7,
                "found_at": format_tick(NOON),
            }
        ],
    }
    assert destination == {
        "destination": "out",
        "configured": True,
        "in_use": True,
        "paused": False,
        "cursor": 0,
        "waiting_records": 21,
        "waiting_bytes": size,
        "oldest_seconds": 60.0,
        "dead_letters": 1,
        "dead_letter_bytes": 2,
    }


def test_nothing_waits(scene: Scene) -> None:
    """Then nothing is oldest."""
    scene.write("x", FLOOR)
    scene.fill()
    scene.acknowledge(1)
    (destination,) = as_json(shown(scene))["destinations"]
    assert (destination["waiting_records"], destination["oldest_seconds"]) == (0, None)


def test_a_running_bridge_is_noticed(scene: Scene) -> None:
    """And not disturbed."""
    scene.fill()
    journal = scene.open()
    assert shown(scene).held
    journal.abandon()
    assert not shown(scene).held


def test_a_position_ahead_of_the_clock_has_no_lag(scene: Scene) -> None:
    """Ages are never negative."""
    scene.fill(ceiling=NOON + 600 * SECOND)
    (app,) = as_json(shown(scene))["apps"]
    assert app["lag_seconds"] == 0


def test_no_journal(scene: Scene) -> None:
    """Said so; none is made."""
    with pytest.raises(JournalUnusable, match="no journal"):
        shown(scene)
    assert not scene.path.exists()
