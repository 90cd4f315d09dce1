"""The metric contract: every metric by its Prometheus name, with its labels and its meaning. Pure.

``python -m bridge.telemetry.metrics > docs/metrics.md`` writes the reference.

Label values are names from the configuration, HTTP statuses, outcomes and the version, never
anything out of an entry: the number of series is bounded by the configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFIX: Final = "fal_log_bridge"
_UNITS: Final = {"_seconds": "s", "_bytes": "By"}


class Kind(StrEnum):
    """How a metric behaves (Prometheus, "Metric types")."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``short`` is its Prometheus name without the prefix."""

    short: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Its Prometheus name."""
        return f"{PREFIX}_{self.short}"

    @property
    def unit(self) -> str:
        """Its unit as UCUM has it; empty for a plain number."""
        return next((unit for end, unit in _UNITS.items() if self.short.endswith(end)), "")

    @property
    def instrument(self) -> str:
        """Its OpenTelemetry name: receivers append unit and ``_total`` themselves."""
        short = self.short.removesuffix("_total")
        for end in _UNITS:
            short = short.removesuffix(end)
        return f"{PREFIX}.{short}"


_LATENESS: Final = (1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0)
_LATENCY: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

ENTRIES_READ: Final = Metric(
    "entries_read_total", Kind.COUNTER, ("app",), "Entries journaled, each counted once."
)
ENTRIES_LATE: Final = Metric(
    "entries_late_total",
    Kind.COUNTER,
    ("app",),
    "Entries that became visible after their time had been read; the sweeps fetched them.",
)
ENTRY_LATENESS: Final = Metric(
    "entry_lateness_seconds",
    Kind.HISTOGRAM,
    ("app",),
    "Age of each late entry when a sweep found it: an upper bound of how late it came.",
    _LATENESS,
)
POSITION_AGE: Final = Metric(
    "position_age_seconds",
    Kind.GAUGE,
    ("app",),
    "Time since the position, below which everything the API showed is journaled; "
    "absent until the first start is known.",
)
API_REQUESTS: Final = Metric(
    "api_requests_total",
    Kind.COUNTER,
    ("app", "status"),
    "Requests to fal's API by HTTP status; none where no whole answer came.",
)
GAPS: Final = Metric(
    "gaps_total",
    Kind.COUNTER,
    ("app",),
    "Gaps recorded: stretches that cannot be proved complete.",
)
SENDS: Final = Metric(
    "sends_total",
    Kind.COUNTER,
    ("destination", "outcome"),
    "Requests sent, by outcome: delivered, retry, too_large, rejected, blocked.",
)
RECORDS_DELIVERED: Final = Metric(
    "records_delivered_total",
    Kind.COUNTER,
    ("destination",),
    "Log records that the destination has accepted, without the copies sent for comparison.",
)
BACKLOG_RECORDS: Final = Metric(
    "backlog_records",
    Kind.GAUGE,
    ("destination",),
    "Log records in the journal that the destination has still to take.",
)
BACKLOG_AGE: Final = Metric(
    "backlog_age_seconds",
    Kind.GAUGE,
    ("destination",),
    "Time since the oldest batch that the destination has still to take was journaled; 0 if none.",
)
DELIVERY_LATENCY: Final = Metric(
    "delivery_latency_seconds",
    Kind.HISTOGRAM,
    ("destination",),
    "Time from a batch's storing in the journal to its delivery; one observation for each batch, "
    "none for one that had to be taken apart.",
    _LATENCY,
)
DEAD_LETTERS: Final = Metric(
    "dead_letters",
    Kind.GAUGE,
    ("destination",),
    "Log records that the destination refused for good, kept in the journal.",
)
JOURNAL_BYTES: Final = Metric(
    "journal_bytes", Kind.GAUGE, (), "Bytes of the batches that wait in the journal."
)
JOURNAL_MAX: Final = Metric(
    "journal_max_bytes", Kind.GAUGE, (), "journal.max_bytes: reading pauses when they are reached."
)
OPEN_GAPS: Final = Metric(
    "open_gaps", Kind.GAUGE, ("app",), "Gaps that are open now, those of earlier runs included."
)
APP_UP: Final = Metric(
    "app_up", Kind.GAUGE, ("app",), "1 while the app can be read and stored, 0 while it cannot."
)
SILENT: Final = Metric(
    "silent",
    Kind.GAUGE,
    ("app",),
    "1 while no entry of the app has come for its expect_every, 0 while they come; absent without.",
)
DESTINATION_UP: Final = Metric(
    "destination_up",
    Kind.GAUGE,
    ("destination",),
    "1 while the destination accepts, 0 while it is retried or blocked.",
)
DESTINATION_ACKNOWLEDGED: Final = Metric(
    "destination_acknowledged",
    Kind.GAUGE,
    ("destination",),
    "1 where the destination confirms what it received, 0 where delivery is best effort.",
)
REQUESTS_WAITING: Final = Metric(
    "api_requests_waiting",
    Kind.GAUGE,
    (),
    "Requests to fal's API that wait for the account's budget.",
)
UPTIME: Final = Metric("uptime_seconds", Kind.GAUGE, (), "Time since this process began.")
BUILD_INFO: Final = Metric("build_info", Kind.GAUGE, ("version",), "Always 1; says the version.")

METRICS: Final = (
    ENTRIES_READ,
    ENTRIES_LATE,
    ENTRY_LATENESS,
    POSITION_AGE,
    API_REQUESTS,
    GAPS,
    OPEN_GAPS,
    APP_UP,
    SILENT,
    SENDS,
    RECORDS_DELIVERED,
    BACKLOG_RECORDS,
    BACKLOG_AGE,
    DELIVERY_LATENCY,
    DEAD_LETTERS,
    DESTINATION_UP,
    DESTINATION_ACKNOWLEDGED,
    JOURNAL_BYTES,
    JOURNAL_MAX,
    REQUESTS_WAITING,
    UPTIME,
    BUILD_INFO,
)

_HEAD: Final = """\
# Metrics

What the bridge tells of itself at `/metrics` of its admin server, in Prometheus' format, and over
OTLP where `telemetry.endpoint` is set. Over OTLP a name is written with a dot after the prefix and
without its unit and `_total`, as in `fal_log_bridge.entries_read`; what turns OTLP into Prometheus
metrics restores the names below.

Labels are names from the configuration, HTTP statuses and outcomes, never anything out of an
entry. The counters of all configured apps and destinations are there from the start, at 0, and
begin anew with the process and with each reload, as `rate()` and its like expect; series of what is
configured no more are gone then. A histogram appears with its first observation. What is read off
the journal (backlogs, dead letters, its size) is at most a few seconds old.

`target_info` and `process_*` are there as well, as is usual.

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
"""


def reference() -> Iterator[str]:
    """The lines of docs/metrics.md."""
    yield _HEAD
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"


if __name__ == "__main__":
    sys.stdout.writelines(reference())
