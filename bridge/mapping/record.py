"""One entry as one OpenTelemetry ``LogRecord``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from bridge.mapping.attributes import field_attributes, label_attributes
from bridge.mapping.extra import JSON_MARK, NOTHING, RESERVED, Extra
from bridge.mapping.json_text import json_text
from bridge.mapping.reading import Reading, envelope
from bridge.mapping.severity import iostream, severity_number, severity_text
from bridge.mapping.trace_context import TraceContext, trace_context
from bridge.mapping.tracebacks import Traceback, find_traceback
from bridge.mapping.values import printable, put_attributes, put_text
from bridge.model import Identified, Json, Tick
from bridge.timestamps import parse_tick

_NANOSECONDS: Final = 1_000
_LAST_TICK: Final[Tick] = ((1 << 64) - 1) // _NANOSECONDS
"""OTLP counts nanoseconds from 1970 in 64 bits, and 0 means unknown."""


def log_record(
    found: Identified, reading: Reading, observed: Tick, stderr: int, extra: Extra = NOTHING
) -> LogRecord:
    """Map one entry.

    Args:
        found: the entry with its identity.
        reading: the same entry, read.
        observed: when it was fetched.
        stderr: the severity number of ``STDERR``.
        extra: what the app's shaping adds.
    """
    level = reading.fields.get("level")
    time = _time(reading)
    inner = extra.fields or envelope(reading.message)
    trace = trace_context(reading.labels)
    traceback = find_traceback(reading.labels, reading.message, inner)
    record = LogRecord()
    record.time_unix_nano = (time or 0) * _NANOSECONDS
    record.observed_time_unix_nano = observed * _NANOSECONDS
    record.severity_text = printable(severity_text(level))
    record.severity_number = cast("SeverityNumber.ValueType", severity_number(level, stderr=stderr))
    put_text(record.body, body_of(reading.message))
    _put_trace(record, trace or trace_context(inner))
    told = _told(trace, traceback)
    put_attributes(record.attributes, _own_attributes(found, level))
    put_attributes(record.attributes, label_attributes(reading, told))
    put_attributes(record.attributes, field_attributes(reading))
    if traceback is not None:
        put_attributes(record.attributes, traceback.attributes())
    put_attributes(record.attributes, _marks(found, reading, time, extra.original))
    if extra is not NOTHING:
        _put_extra(record, extra, trace, traceback)
    return record


def _time(reading: Reading) -> Tick | None:
    """``labels.logged_at``, else ``timestamp``; None where OTLP can hold neither."""
    for tick in (parse_tick(reading.labels.get("logged_at")), reading.tick):
        if tick is not None and 0 < tick <= _LAST_TICK:
            return tick
    return None


def body_of(message: Json) -> str:
    """The message; compact JSON where it is not a string.

    Without a message the body is empty rather than absent: some backends drop a record that has
    no body, and its labels are worth as much as any other's.
    """
    if message is None:
        return ""
    return message if isinstance(message, str) else json_text(message)


def _put_trace(record: LogRecord, trace: TraceContext | None) -> None:
    if trace is not None:
        record.trace_id = trace.trace_id
        record.span_id = trace.span_id
        record.flags = trace.flags


def _told(trace: TraceContext | None, traceback: Traceback | None) -> frozenset[str]:
    """The labels that the record says completely by its trace ids and its exception."""
    keys = trace.keys if trace else frozenset[str]()
    return keys | {traceback.label} if traceback and traceback.label else keys


def _own_attributes(found: Identified, level: Json) -> Iterator[tuple[str, Json]]:
    yield "log.record.uid", found.uid.hex()
    stream = iostream(level)
    if stream is not None:
        yield "log.iostream", stream


def _marks(
    found: Identified, reading: Reading, time: Tick | None, original: str | None
) -> Iterator[tuple[str, Json]]:
    """What the record could not say otherwise: another ``timestamp``, and a broken contract."""
    timestamp = reading.fields.get("timestamp")
    if time != reading.tick and timestamp is not None:
        yield "fal.timestamp", timestamp
    if reading.faults:
        yield "fal.malformed", "; ".join(reading.faults)
        yield "log.record.original", json_text(found.entry.raw) if original is None else original


def _put_extra(
    record: LogRecord, extra: Extra, trace: TraceContext | None, traceback: Traceback | None
) -> None:
    """Add what shaping adds. Keys stay unique: a JSON field whose name is taken says whose it is.

    Left out is what the record says completely by its trace ids and its exception.
    """
    put_attributes(record.attributes, extra.attributes.items())
    if not extra.fields:
        return
    told = set(extra.said)
    inner = None if trace else trace_context(extra.fields)
    if inner is not None:
        told |= inner.keys
    if traceback is not None and traceback.stacktrace == extra.fields.get("traceback"):
        told.add("traceback")
    taken = {pair.key for pair in record.attributes}
    for key, value in extra.fields.items():
        if key in told:
            continue
        name = f"{extra.prefix}{key}"
        while name in taken or name in RESERVED:
            name = f"{JSON_MARK}{name}"
        taken.add(name)
        put_attributes(record.attributes, ((name, value),))
