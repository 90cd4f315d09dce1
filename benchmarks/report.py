"""The figures as tables and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.catch_up import DELAY, CaughtUp
from benchmarks.curve import Point
from benchmarks.live import Seen
from benchmarks.stages import Cost
from benchmarks.whole import Measured, Result


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured; None for what was not asked for."""

    whole: Measured | None
    stages: Mapping[str, Cost] | None
    catch_up: Sequence[CaughtUp] | None
    live: Sequence[Seen] | None
    curve: Sequence[Point] | None

    def show(self) -> None:
        """Print the tables."""
        console = Console()
        if self.whole is not None:
            console.print(_whole_table(self.whole))
        if self.stages is not None:
            console.print(_stages_table(self.stages))
        if self.catch_up is not None:
            console.print(_catch_up_table(self.catch_up))
        if self.live is not None:
            console.print(_live_table(self.live))
        if self.curve is not None:
            console.print(_curve_table(self.curve))

    def write(self, file: Path) -> None:
        """Write everything as JSON, each peer with the bridge's share of its CPU."""
        found = asdict(self)
        if self.whole is not None:
            for result, written in zip(self.whole.results, found["whole"]["results"], strict=True):
                written["bridge_cpu_ratio"] = _ratio(self.whole, result)
        machine = {
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        file.write_text(json.dumps({"machine": machine, **found}, indent=2) + "\n")


def _ratio(measured: Measured, result: Result) -> float:
    """The bridge's CPU per entry as a share of this contestant's."""
    return measured.results[0].cpu_us / result.cpu_us


def _whole_table(measured: Measured) -> Table:
    table = Table(
        title=f"{measured.entries:,} entries of {measured.bytes_each:.0f} bytes",
        caption=(
            "CPU: µs an entry, start-up included. ÷: the bridge's CPU over this one's.\n"
            "MiB: peak resident size. again: arrived twice. fakes: CPU of both ends."
        ),
        box=SIMPLE,
    )
    for name in ("", "CPU", "÷", "entries/s", "s", "MiB", "lost", "again", "fakes"):
        table.add_column(name, justify="right" if name else "left")
    for one in measured.results:
        table.add_row(
            one.name,
            f"{one.cpu_us:.1f}",
            f"{_ratio(measured, one):.2f}",
            f"{one.per_second:,.0f}",
            f"{one.seconds:.1f}",
            f"{one.peak_mib:.0f}",
            f"{one.lost:,}",
            f"{one.repeated:,}",
            f"{one.fakes_us:.1f}",
        )
    return table


def _stages_table(stages: Mapping[str, Cost]) -> Table:
    table = Table(title="The bridge's stages, each by itself", box=SIMPLE, show_footer=True)
    table.add_column("", "sum")
    cpu = sum(cost.cpu_us for cost in stages.values())
    table.add_column("CPU µs/entry", f"{cpu:.1f}", justify="right")
    table.add_column("time µs/entry", justify="right")
    for name, cost in stages.items():
        table.add_row(name, f"{cost.cpu_us:.1f}", f"{cost.wall_us:.1f}")
    return table


def _catch_up_table(runs: Sequence[CaughtUp]) -> Table:
    table = Table(
        title=f"Catching up, {DELAY * 1000:.0f} ms an answer",
        caption="times: as fast as one request at a time.",
        box=SIMPLE,
    )
    for name in ("requests at a time", "s", "times", "requests", "served per entry"):
        table.add_column(name, justify="right")
    for one in runs:
        speed = runs[0].seconds / one.seconds
        row = (f"{one.seconds:.1f}", f"{speed:.1f}", f"{one.requests:,}", f"{one.served:.2f}")
        table.add_row(str(one.concurrency), *row)
    return table


def _live_table(scenes: Sequence[Seen]) -> Table:
    table = Table(
        title="Live accounts: seconds from an entry's time to its arrival",
        caption="core: share of one. requests: a second, to the API. From exec to exit.",
        box=SIMPLE,
    )
    for name in ("", "entries", "p50", "p99", "slowest", "core", "requests", "MiB", "lost"):
        table.add_column(name, justify="right" if name else "left")
    for one in scenes:
        latencies = (f"{seconds:.2f}" for seconds in (one.p50, one.p99, one.slowest))
        costs = (f"{one.core:.1%}", f"{one.asked:.1f}", f"{one.peak_mib:.0f}", f"{one.lost:,}")
        table.add_row(one.title, f"{one.entries:,}", *latencies, *costs)
    return table


def _curve_table(points: Sequence[Point]) -> Table:
    table = Table(title="The bridge by backlog and by apps", box=SIMPLE)
    for name in ("apps", "entries", "CPU µs/entry", "MiB"):
        table.add_column(name, justify="right")
    for one in points:
        costs = (f"{one.cpu_us:.1f}", f"{one.peak_mib:.0f}")
        table.add_row(f"{one.apps:,}", f"{one.entries:,}", *costs)
    return table
