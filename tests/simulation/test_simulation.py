"""The whole bridge under seeded traffic, faults and crashes: complete, once each, nothing invented.

A failing seed replays exactly: ``pytest tests/simulation --seeds 123:124``.
"""

from __future__ import annotations

from pathlib import Path

from support.simulated import Universe, plan


def test_everything_arrives_whatever_happens(seed: int, folder: Path) -> None:
    """Every entry reaches every backend, with a uid of its own, through all of a seed's trouble."""
    universe = Universe(plan(seed), folder)
    universe.run()
    universe.verify()
