"""What an app's rules did is told once a minute at most, and nothing of it is lost."""

from __future__ import annotations

from bridge.model import SECOND
from bridge.simulator.manual_clock import ManualClock
from bridge.source.shaped import ShapedTally
from bridge.telemetry import Event
from bridge.telemetry.reading import EntriesShaped


def test_one_line_a_minute() -> None:
    """The first at once, the others gathered."""
    clock = ManualClock()
    events: list[Event] = []
    counts: list[dict[str, int]] = [
        {"drop[0]": 2},
        {"drop[0]": 1, "mask[0]": 1},
        {},
        {"mask[0]": 3},
    ]
    tally = ShapedTally("app", lambda: counts.pop(0), clock=clock, emit=events.append)
    tally.stored()
    tally.stored()
    assert events == [EntriesShaped("app", (("drop[0]", 2),))]
    clock.tick += 60 * SECOND
    tally.stored()
    tally.stored()
    assert events[1:] == [EntriesShaped("app", (("drop[0]", 1), ("mask[0]", 1)))]
    assert events[1].text == "app: entries shaped by rule: drop[0] 1, mask[0] 1"


def test_nothing_to_tell() -> None:
    """An app without rules says nothing."""
    events: list[Event] = []
    tally = ShapedTally("app", dict, clock=ManualClock(), emit=events.append)
    tally.stored()
    assert events == []
