"""A gap as one OpenTelemetry ``LogRecord``, in-band, so that whoever reads the logs is told."""

from __future__ import annotations

from typing import Final

from bridge.gaps import gap_uid, sentence
from bridge.mapping.record import record_bytes, severity_bytes
from bridge.mapping.severity import WARN
from bridge.mapping.wire import attributes, utf8
from bridge.model import Gap, Tick
from bridge.timestamps import format_tick

EVENT_NAME: Final = "fal_log_bridge.gap"


def gap_record(app: str, gap: Gap, observed: Tick) -> bytes:
    """Map a gap of an app, found at ``observed``. Equal calls give equal records."""
    told = (
        ("log.record.uid", gap_uid(app, gap).hex()),
        ("fal.gap", gap.kind.value),
        ("fal.gap.from", format_tick(gap.floor)),
        ("fal.gap.until", format_tick(gap.ceiling)),
        ("fal.gap.at_least", gap.at_least),
    )
    return record_bytes(
        time=max(0, gap.floor),
        observed=observed,
        severity=severity_bytes(WARN, "WARNING"),
        body=utf8(f"fal log bridge: a gap cannot be ruled out: {sentence(gap)}"),
        attributes=attributes(told),
        event_name=EVENT_NAME,
    )
