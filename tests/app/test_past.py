"""The last problem of each app and destination."""

from __future__ import annotations

from bridge.app.past import Problems
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.telemetry.delivering import DestinationBlocked, DestinationRecovered
from bridge.telemetry.reading import AppTroubled, BehaviourChanged
from bridge.timestamps import format_tick


def test_the_last_problem_stays() -> None:
    """By name, with its time; words of recovery do not take its place."""
    problems = Problems(ManualClock())
    problems.note(DestinationBlocked("siem", "401"))
    problems.note(DestinationBlocked("siem", "403"))
    problems.note(DestinationRecovered("siem", 3.0))
    problems.note(AppTroubled("one", "no answer"))
    problems.note(BehaviourChanged("cap", "shows 10", "showed 20", "slower"))
    assert problems.as_json("destination") == {
        "siem": {
            "time": format_tick(NOON),
            "text": "held, nothing is lost and nothing arrives: 403",
        }
    }
    assert list(problems.as_json("app")) == ["one"]


def test_it_is_bounded_and_can_be_sent() -> None:
    """Whatever a server said; and names that are gone are forgotten."""
    problems = Problems(ManualClock())
    problems.note(DestinationBlocked("siem", "x" * 10_000))
    problems.note(DestinationBlocked("gone", "\ud800\x1b[31m"))
    problems.note(AppTroubled("siem", "an app of that name"))
    told = problems.as_json("destination")
    assert len(told["siem"]["text"]) == 1_000
    assert told["gone"]["text"].endswith("\\ud800\\x1b[31m")
    problems.keep("destination", {"siem"})
    assert list(problems.as_json("destination")) == ["siem"]
    assert list(problems.as_json("app")) == ["siem"]
