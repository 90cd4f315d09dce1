"""What is told of backfills: everything to who may see log text, names and numbers to anybody."""

from __future__ import annotations

from typing import Any

from bridge.app.jobs import job_json
from bridge.model import SECOND, Backfill, BackfillApp, BackfillState

NOON = 1_758_283_200 * SECOND
SAID = "answered 500: cannot render entry: password=HUNTER2"


def job() -> Backfill:
    """A job that fal's API holds up."""
    app: dict[str, Any] = dict.fromkeys(BackfillApp.__struct_fields__, 0)
    app |= {"name": "app", "position": NOON, "note": SAID}
    whole: dict[str, Any] = dict.fromkeys(Backfill.__struct_fields__, 0)
    whole |= {"name": "job", "state": BackfillState.ACTIVE, "floor": NOON, "ceiling": NOON + SECOND}
    whole |= {"audience": (), "own_stream": True, "created_at": NOON, "finished_at": None}
    return Backfill(**whole | {"apps": (BackfillApp(**app),)})


def test_what_fal_said_is_told_with_the_rest() -> None:
    """To a command beside the journal, and to whoever has the token."""
    assert job_json(job())["apps"][0]["note"] == SAID


def test_what_fal_said_is_not_told_to_anybody() -> None:
    """It may quote a line of a log; that something holds the job is seen by its position."""
    told = job_json(job(), words=False)
    assert told["apps"][0]["note"] is None
    assert "HUNTER2" not in repr(told)
    assert {**job_json(job()), "apps": []} == {**told, "apps": []}
