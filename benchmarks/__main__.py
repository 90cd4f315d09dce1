"""``python -m benchmarks``: measure the whole, its stages, catching up and live accounts.

``curve`` takes long, and is measured only by name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import catch_up, curve, live, whole
from benchmarks.processes import BenchmarkFailed


def main() -> None:
    """Measure, print the tables, perhaps write the JSON; exit 1 if a measurement is worthless."""
    given = _arguments()
    try:
        measured = (
            whole.measure(given.entries, given.with_otelcol)
            if given.part in (None, "whole")
            else None
        )
        caught_up = catch_up.measure(given.entries) if given.part in (None, "catch-up") else None
        seen = live.measure() if given.part in (None, "live") else None
        points = curve.measure() if given.part == "curve" else None
        # Only now: what this process holds counts into the memory of those it starts.
        from benchmarks import stages  # noqa: PLC0415
        from benchmarks.report import Report  # noqa: PLC0415

        costs = stages.measure(given.entries) if given.part in (None, "stages") else None
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
        choices=("stages", "whole", "catch-up", "live", "curve"),
        help="only this part",
    )
    parser.add_argument("--entries", type=int, default=100_000, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument(
        "--with-otelcol",
        metavar="BINARY",
        help="also measure this OpenTelemetry Collector (contrib), reading from a file",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
