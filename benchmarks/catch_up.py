"""How much sooner a backlog is read when its requests overlap, with answers that take their time.

The API answers after 200 ms; the real bridge reads the same entries with one request at a time,
then with eight. What it takes to start is in both.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.corpus import LONGEST_STEP
from benchmarks.processes import BenchmarkFailed, fake
from benchmarks.whole import BRIDGE, Job
from bridge.model import SECOND

DELAY: Final = 0.2
"""Seconds that the API takes for an answer."""
WIDTHS: Final = (1, 8)


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Reading and delivering all entries with so many requests at a time, in seconds.

    ``requests`` were asked, and ``served`` entries shown for each one there is.
    """

    concurrency: int
    seconds: float
    requests: int
    served: float


def measure(count: int) -> list[CaughtUp]:
    """Catch up with so many entries at each width.

    Raises:
        BenchmarkFailed: the bridge failed, or lost an entry.
    """
    begin = int(time.time()) * SECOND - count * LONGEST_STEP - 60 * SECOND
    return [_measured(count, begin, width) for width in WIDTHS]


def _measured(count: int, begin: int, width: int) -> CaughtUp:
    print(f"bridge catches up, {width} requests at a time", file=sys.stderr)
    arguments = ("--entries", str(count), "--begin", str(begin), "--delay", str(DELAY))
    with (
        fake("api", *arguments) as api,
        fake("sink") as sink,
        TemporaryDirectory(prefix="fal-log-bridge-bench-") as folder,
    ):
        job = Job(count, begin, api, sink, Path(folder))
        template = BRIDGE.replace("poll: {{", f"poll: {{{{concurrency: {width}, ")
        started = time.time()
        config = job.write("config.yaml", template)
        job.run(sys.executable, "-m", "bridge", "run", "--once", "--config", config)
        seconds = sink.last() - started
        asked, arrived = api.tally(), sink.tally()
    if arrived["bodies"] != count:
        raise BenchmarkFailed(f"{count - arrived['bodies']} entries lost")
    return CaughtUp(width, seconds, asked["requests"], asked["served"] / count)
