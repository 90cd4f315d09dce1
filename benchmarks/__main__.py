"""``python -m benchmarks``: measure the whole, its stages, catching up and live accounts.

``curve`` and ``flat`` take long, and are measured only by name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from benchmarks import catch_up, curve, flat, live, whole
from benchmarks.processes import BenchmarkFailed

_ENTRIES: Final = 100_000


def main() -> None:
    """Measure, print the tables, perhaps write the JSON; exit 1 if a measurement is worthless."""
    given = _arguments()
    count = given.entries or (flat.MANY if given.part == "flat" else _ENTRIES)
    try:
        measured = (
            whole.measure(count, given.with_otelcol) if given.part in (None, "whole") else None
        )
        caught_up = catch_up.measure(count) if given.part in (None, "catch-up") else None
        seen = live.measure() if given.part in (None, "live") else None
        points = curve.measure() if given.part == "curve" else None
        if given.part == "flat":
            points = [flat.measure(count)]
        # Only now: what this process holds counts into the memory of those it starts.
        from benchmarks import stages  # noqa: PLC0415
        from benchmarks.report import Report  # noqa: PLC0415

        costs = stages.measure(count) if given.part in (None, "stages") else None
    except BenchmarkFailed as error:
        sys.exit(f"benchmark failed: {error}")
    report = Report(measured, costs, caught_up, seen, points)
    report.show()
    if given.json is not None:
        report.write(given.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "part",
        nargs="?",
        choices=("stages", "whole", "catch-up", "live", "curve", "flat"),
        help="only this part",
    )
    parser.add_argument(
        "--entries", type=int, metavar="N", help=f"{_ENTRIES:,}; for flat {flat.MANY:,}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument(
        "--with-otelcol",
        metavar="BINARY",
        help="also measure this OpenTelemetry Collector (contrib), reading from a file",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
