"""Whether memory stays flat: ten million entries, rendered and counted as they pass."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.curve import Point
from benchmarks.endless import STEP
from benchmarks.processes import BenchmarkFailed, fake
from benchmarks.whole import BRIDGE, Job
from bridge.model import SECOND

MANY: Final = 10_000_000


def measure(count: int) -> Point:
    """Carry so many entries of one app.

    Raises:
        BenchmarkFailed: the bridge failed, lost an entry or repeated one.
    """
    print(f"bridge carries {count:,} entries", file=sys.stderr)
    begin = int(time.time()) * SECOND - count * STEP - 60 * SECOND
    with (
        fake("endless", "--entries", str(count), "--begin", str(begin)) as api,
        fake("counter") as sink,
        TemporaryDirectory(prefix="fal-log-bridge-bench-") as folder,
    ):
        job = Job(count, begin, api, sink, Path(folder))
        config = job.write("config.yaml", BRIDGE)
        used = job.run(sys.executable, "-m", "bridge", "run", "--once", "--config", config)
        arrived = sink.tally()
    if arrived != {"records": count, "numbers": count * (count - 1) // 2}:
        raise BenchmarkFailed(f"{arrived['records']} of {count} arrived, or others twice")
    return Point(1, count, used.cpu / count * 1e6, used.peak_mib)
