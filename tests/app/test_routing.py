"""What a destination's settings come to when the bridge is built."""

from __future__ import annotations

import pytest

from bridge.app.parts import mapper_of, selection_of
from bridge.delivery.split import Piece
from bridge.model import SECOND, Batch, Entry, Identified
from bridge.payload import Request, located
from bridge.settings import App, Console

AT = 1_758_283_200 * SECOND
HOUR = 3_600 * SECOND


def _batch(app: str) -> Batch:
    """One entry of each level, at `AT`."""
    entries = [
        Identified(Entry({"level": level, "timestamp": "2025-09-19T12:00:00"}, AT), AT, bytes(16))
        for level in ("DEBUG", "INFO", "WARNING", "ERROR")
    ]
    [made] = mapper_of(App(app_id=app)).encode(entries, AT)
    return Batch(1, app, made.records, made.size, made.gzip, AT)


@pytest.mark.parametrize(
    ("level", "taken"), [(None, 4), ("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)]
)
def test_a_level_is_a_severity(level: str | None, taken: int) -> None:
    """Of four levels, those from the configured one on."""
    one = Console.model_validate({"name": "n", "type": "console", "min_level": level})
    [part] = selection_of(one).take([_batch("a")]).parts
    assert part.records == taken


def test_a_destination_as_configured() -> None:
    """Its apps, its attributes, and its age in the unit that records have."""
    one = Console(
        name="n",
        type="console",
        apps=("v*",),
        resource={"team": "x"},
        max_age=3600.0,
        too_old="restamp",
    )
    selection = selection_of(one)
    taken = selection.take([_batch("a"), _batch("vision")])
    assert (len(taken.parts), taken.skipped) == (1, 4)
    group, _, _ = located(taken.parts[0])[0]
    assert "team" in {attribute.key for attribute in group.resource.attributes}
    request = Request(taken.parts)
    assert not selection.expired(request, AT + HOUR)
    assert selection.expired(request, AT + HOUR + 1)
    fresh = selection.fresh(Piece(request, 1), AT + HOUR + 1, destination="n")
    assert (fresh.restamped, fresh.dead) == (4, ())
