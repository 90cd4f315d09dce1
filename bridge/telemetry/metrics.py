"""The metric contract: every metric by its Prometheus name, with its labels and its meaning. Pure.

``python -m bridge.telemetry.metrics > docs/metrics.md`` writes the reference.

Label values are names from the configuration, HTTP statuses, outcomes and the version, never
anything out of an entry: the number of series is bounded by the configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from bridge.telemetry.spans import SPANS

PREFIX: Final = "fal_log_bridge"
_UNITS: Final = {"_seconds": "s", "_bytes": "By"}


class Kind(StrEnum):
    """How a metric behaves (Prometheus, "Metric types")."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(Struct, frozen=True):
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
BACKFILL_ENTRIES: Final = Metric(
    "backfill_entries_total",
    Kind.COUNTER,
    ("app",),
    "Entries journaled by backfills, which entries_read_total does not count.",
)
BACKFILL_LEFT: Final = Metric(
    "backfill_left_seconds",
    Kind.GAUGE,
    ("app",),
    "How much time of the app active backfills have still to read; 0 without any.",
)
API_REQUESTS: Final = Metric(
    "api_requests_total",
    Kind.COUNTER,
    ("app", "status"),
    "Requests to fal's API by HTTP status, none where no whole answer came; those of the scout are "
    "under the app (scout).",
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
DEAD_LETTER_BYTES: Final = Metric(
    "dead_letter_bytes",
    Kind.GAUGE,
    ("destination",),
    "Bytes of the destination's dead letters.",
)
DEAD_LETTERS_MAX: Final = Metric(
    "dead_letters_max_bytes",
    Kind.GAUGE,
    (),
    "journal.dead_letters_max_bytes: where another one does not fit, its destination is held.",
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
READING_PAUSED: Final = Metric(
    "reading_paused",
    Kind.GAUGE,
    ("app",),
    "1 while entries of the app wait for room in the journal, which is full; else 0.",
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
    "1 while the destination accepts, 0 while it is retried, blocked or paused.",
)
DESTINATION_BLOCKED: Final = Metric(
    "destination_blocked",
    Kind.GAUGE,
    ("destination",),
    "1 while the destination refuses what it is sent and somebody has to mend it; else 0.",
)
DESTINATION_PAUSED: Final = Metric(
    "destination_paused",
    Kind.GAUGE,
    ("destination",),
    "1 while nothing is sent to the destination because somebody asked for that; else 0.",
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
LIVE: Final = Metric(
    "live", Kind.GAUGE, (), "1 while everything moves, 0 while a loop stands still: as /livez says."
)
UPTIME: Final = Metric("uptime_seconds", Kind.GAUGE, (), "Time since this process began.")
BUILD_INFO: Final = Metric("build_info", Kind.GAUGE, ("version",), "Always 1; says the version.")

METRICS: Final = (
    ENTRIES_READ,
    ENTRIES_LATE,
    ENTRY_LATENESS,
    POSITION_AGE,
    BACKFILL_ENTRIES,
    BACKFILL_LEFT,
    API_REQUESTS,
    GAPS,
    OPEN_GAPS,
    APP_UP,
    READING_PAUSED,
    SILENT,
    SENDS,
    RECORDS_DELIVERED,
    BACKLOG_RECORDS,
    BACKLOG_AGE,
    DELIVERY_LATENCY,
    DEAD_LETTERS,
    DEAD_LETTER_BYTES,
    DEAD_LETTERS_MAX,
    DESTINATION_UP,
    DESTINATION_BLOCKED,
    DESTINATION_PAUSED,
    DESTINATION_ACKNOWLEDGED,
    JOURNAL_BYTES,
    JOURNAL_MAX,
    REQUESTS_WAITING,
    LIVE,
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

_SPANS_HEAD: Final = f"""
# Spans

Sent over OTLP alone, where `telemetry.endpoint` is set, for the share of polls and sends that
`telemetry.sampling_ratio` says. Attributes are written with the prefix `{PREFIX}.`, and are as
bounded as the labels above: no URL, no text of an entry or of an answer. A poll or a request that
failed has the status error and `error.type`, the kind of failure; the bridge's log has the
sentence. Spans are sent every 5 seconds, and are not sent again if that fails.

| span | attributes | meaning |
| --- | --- | --- |
"""


def reference() -> Iterator[str]:
    """The lines of docs/metrics.md."""
    yield _HEAD
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"
    yield _SPANS_HEAD
    for span in SPANS:
        attributes = ", ".join(f"`{name}`" for name in span.attributes)
        yield f"| `{span.name}` | {attributes} | {span.help} |\n"


if __name__ == "__main__":
    sys.stdout.writelines(reference())
