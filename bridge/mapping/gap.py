"""A gap as one OpenTelemetry ``LogRecord``, in-band, so that whoever reads the logs is told."""

from __future__ import annotations

from typing import Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from bridge.gaps import gap_uid, sentence
from bridge.mapping.values import put_attributes, put_text
from bridge.model import Gap, Tick
from bridge.timestamps import format_tick

EVENT_NAME: Final = "fal_log_bridge.gap"
_NANOSECONDS: Final = 1_000


def gap_record(app: str, gap: Gap, observed: Tick) -> LogRecord:
    """Map a gap of an app, found at ``observed``. Equal calls give equal records."""
    record = LogRecord(
        time_unix_nano=max(0, gap.floor) * _NANOSECONDS,
        observed_time_unix_nano=observed * _NANOSECONDS,
        severity_text="WARNING",
        severity_number=SeverityNumber.SEVERITY_NUMBER_WARN,
        event_name=EVENT_NAME,
    )
    put_text(record.body, f"fal log bridge: a gap cannot be ruled out: {sentence(gap)}")
    put_attributes(
        record.attributes,
        (
            ("log.record.uid", gap_uid(app, gap).hex()),
            ("fal.gap", gap.kind.value),
            ("fal.gap.from", format_tick(gap.floor)),
            ("fal.gap.until", format_tick(gap.ceiling)),
            ("fal.gap.at_least", gap.at_least),
        ),
    )
    return record
