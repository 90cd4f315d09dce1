"""The whole bridge under seeded traffic, faults and crashes: complete, once each, nothing invented.

A failing seed replays exactly: ``pytest tests/simulation --seeds 123:124``.
"""

from __future__ import annotations

from support.simulation.draw import plan
from support.simulation.universe import simulate


def test_everything_arrives_whatever_happens(seed: int) -> None:
    """Every entry reaches every backend or is accounted for, through all of a seed's trouble."""
    simulate(plan(seed))
