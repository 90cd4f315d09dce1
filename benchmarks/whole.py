"""The real bridge from end to end, and its peers, on the same entries in the same run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.corpus import APP, LONGEST_STEP, entries
from benchmarks.fakes import KEY
from benchmarks.processes import BenchmarkFailed, Remote, Usage, fake, run
from bridge.model import SECOND, Tick
from bridge.timestamps import format_tick

_QUIET: Final = 3.0
"""Seconds without a request after which a contestant that runs for ever is taken to be done."""
_SLOWEST: Final = 1_000
"""Entries a second below which a run is given up."""
_STARTING: Final = 60.0

BRIDGE: Final = """\
fal: {{base_url: "{api}", key: "{key}"}}
apps: [{{app_id: "{app}", start: "{since}"}}]
poll: {{requests_per_second: 1000}}
journal: {{path: "{folder}/journal.sqlite"}}
destinations: [{{name: sink, type: otlp, endpoint: "{otlp}"}}]
"""
_OTELCOL: Final = """\
receivers:
  filelog:
    include: ["{folder}/entries.jsonl"]
    start_at: beginning
    operators:
      - type: json_parser
        timestamp: {{parse_from: attributes.timestamp, layout_type: gotime,
                     layout: "2006-01-02T15:04:05.999999", location: UTC}}
        severity: {{parse_from: attributes.level, mapping: {{info: STDOUT}}}}
      - {{type: move, from: attributes.message, to: body}}
processors: {{batch: {{}}}}
exporters: {{otlphttp: {{endpoint: "{otlp}", compression: gzip}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{logs: {{receivers: [filelog], processors: [batch], exporters: [otlphttp]}}}}
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What a contestant is to carry, where from and where to; ``folder`` is its own."""

    entries: int
    begin: Tick
    api: Remote
    sink: Remote
    folder: Path

    @property
    def since(self) -> str:
        """The time to read from."""
        return format_tick(self.begin)

    def run(self, *argv: str, finished: Callable[[], bool] | None = None) -> Usage:
        """Run a contestant's process."""
        timeout = _STARTING + self.entries / _SLOWEST
        return run(argv, log=self.folder / "output.log", timeout=timeout, finished=finished)

    def write(self, name: str, template: str) -> str:
        """Write a config file from its template; its path."""
        file = self.folder / name
        file.write_text(
            template.format(
                api=self.api.url,
                key=KEY,
                app=APP,
                since=self.since,
                otlp=self.sink.url,
                folder=self.folder,
            )
        )
        return str(file)


@dataclass(frozen=True, slots=True)
class Result:
    """What carrying the entries cost one contestant.

    CPU is in microseconds an entry, start-up included; ``fakes_us`` is what both fakes used
    meanwhile. ``seconds`` run from its start to the last arrival. ``lost`` entries never arrived,
    ``repeated`` ones more than once.
    """

    name: str
    cpu_us: float
    fakes_us: float
    seconds: float
    per_second: float
    peak_mib: float
    lost: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A whole run: the results, the bridge's first."""

    entries: int
    bytes_each: float
    results: list[Result]


def measure(count: int, otelcol: str | None) -> Measured:
    """Let each contestant carry so many entries, one after another.

    Raises:
        BenchmarkFailed: a contestant failed, or the bridge did not deliver each entry once.
    """
    begin = int(time.time()) * SECOND - count * LONGEST_STEP - 60 * SECOND
    contestants: dict[str, Callable[[Job], Usage]] = {"bridge": _bridge, "script": _script}
    if otelcol is not None:
        contestants["otelcol"] = partial(_otelcol, otelcol)
    with fake("api", "--entries", str(count), "--begin", str(begin)) as api:
        results = []
        for name, contestant in contestants.items():
            print(f"{name} carries {count:,} entries", file=sys.stderr)
            with fake("sink") as sink, _folder() as folder:
                job = Job(count, begin, api, sink, Path(folder))
                results.append(_measured(name, contestant, job))
        _check(results[0])
        return Measured(count, api.tally()["bytes"] / count, results)


def _folder() -> AbstractContextManager[str]:
    return TemporaryDirectory(prefix="fal-log-bridge-bench-")


def _measured(name: str, contestant: Callable[[Job], Usage], job: Job) -> Result:
    fakes = (job.api, job.sink)
    before, started = sum(one.cpu() for one in fakes), time.time()
    used = contestant(job)
    seconds = job.sink.last() - started
    after = sum(one.cpu() for one in fakes)
    arrived = job.sink.tally()
    if name == "bridge" and arrived["uids"] != arrived["bodies"]:
        raise BenchmarkFailed(f"{arrived['bodies']} entries arrived under {arrived['uids']} uids")
    return Result(
        name=name,
        cpu_us=used.cpu / job.entries * 1e6,
        fakes_us=(after - before) / job.entries * 1e6,
        seconds=seconds,
        per_second=job.entries / seconds,
        peak_mib=used.peak_mib,
        lost=job.entries - arrived["bodies"],
        repeated=arrived["records"] - arrived["bodies"],
    )


def _check(bridge: Result) -> None:
    if bridge.lost or bridge.repeated:
        raise BenchmarkFailed(f"{bridge.lost} entries lost, {bridge.repeated} repeated")


def _bridge(job: Job) -> Usage:
    """Everything on: complete walks, the journal with its fsyncs, acknowledged delivery."""
    config = job.write("config.yaml", BRIDGE)
    return job.run(sys.executable, "-m", "bridge", "run", "--once", "--config", config)


def _script(job: Job) -> Usage:
    return job.run(
        *(sys.executable, "-m", "benchmarks.script"),
        *("--api", job.api.url, "--key", KEY, "--app", APP),
        *("--since", job.since, "--otlp", job.sink.url),
    )


def _otelcol(binary: str, job: Job) -> Usage:
    """From a file: it has no receiver for the API, so reading costs it less than the others."""
    with (job.folder / "entries.jsonl").open("wb") as file:
        file.writelines(line + b"\n" for _, line in entries(job.entries, job.begin))
    config = job.write("otelcol.yaml", _OTELCOL)
    return job.run(binary, "--config", config, finished=partial(_quiet, job.sink, time.time()))


def _quiet(sink: Remote, began: float) -> bool:
    """Whether the sink has been sent to since then, and is not any more."""
    last = sink.last()
    return last > began and time.time() - last > _QUIET
