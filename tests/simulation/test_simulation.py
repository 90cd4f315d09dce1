"""The whole bridge under seeded traffic, faults and crashes: complete, once each, nothing invented.

A failing seed replays exactly: ``pytest tests/simulation --seeds 123:124``.
"""

from __future__ import annotations

from support.simulated import Universe, journal_folder, plan


def test_everything_arrives_whatever_happens(seed: int) -> None:
    """Every entry reaches every backend, with a uid of its own, through all of a seed's trouble."""
    with journal_folder() as folder:
        universe = Universe(plan(seed), folder)
        universe.run()
        universe.verify()
