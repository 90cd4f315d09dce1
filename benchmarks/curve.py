"""How the cost of an entry and the memory grow: with the backlog, and with the number of apps."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.corpus import LONGEST_STEP, app_names
from benchmarks.fakes import KEY
from benchmarks.processes import BenchmarkFailed, fake, run
from bridge.model import SECOND
from bridge.timestamps import format_tick

BACKLOGS: Final = (10_000, 100_000, 1_000_000)
APPS: Final = (1, 10, 100, 1_000)
SHARED: Final = 100_000
"""Entries that the apps share evenly."""

_SLOWEST: Final = 1_000
_CONFIG: Final = """\
fal: {{base_url: "{api}", key: "{key}"}}
apps: [{apps}]
poll: {{requests_per_second: 1000}}
journal: {{path: "{folder}/journal.sqlite"}}
destinations: [{{name: sink, type: otlp, endpoint: "{otlp}"}}]
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One run: CPU in µs an entry, start-up included, and the largest resident size."""

    apps: int
    entries: int
    cpu_us: float
    peak_mib: float


def measure() -> list[Point]:
    """Every backlog with one app, then every number of apps.

    Raises:
        BenchmarkFailed: the bridge failed, lost an entry or repeated one.
    """
    sizes = [(1, backlog) for backlog in BACKLOGS] + [(apps, SHARED) for apps in APPS[1:]]
    return [_measured(apps, entries) for apps, entries in sizes]


def _measured(apps: int, entries: int) -> Point:
    print(f"bridge carries {entries:,} entries of {apps:,} apps", file=sys.stderr)
    begin = int(time.time()) * SECOND - entries // apps * LONGEST_STEP - 60 * SECOND
    with (
        fake(
            "api", *("--entries", str(entries), "--apps", str(apps), "--begin", str(begin))
        ) as api,
        fake("sink") as sink,
        TemporaryDirectory(prefix="fal-log-bridge-bench-") as folder,
    ):
        config = Path(folder) / "config.yaml"
        since = format_tick(begin)
        named = ", ".join(f'{{app_id: "{app}", start: "{since}"}}' for app in app_names(apps))
        config.write_text(
            _CONFIG.format(api=api.url, key=KEY, apps=named, folder=folder, otlp=sink.url)
        )
        used = run(
            [sys.executable, "-m", "bridge", "run", "--once", "--config", str(config)],
            log=Path(folder) / "output.log",
            timeout=120 + apps + entries / _SLOWEST,
        )
        arrived = sink.tally()
    if arrived["records"] != entries or arrived["uids"] != entries:
        raise BenchmarkFailed(f"{arrived['uids']} of {entries} arrived, in {arrived['records']}")
    return Point(apps, entries, used.cpu / entries * 1e6, used.peak_mib)
