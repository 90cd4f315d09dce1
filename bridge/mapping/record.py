"""One entry as one OpenTelemetry ``LogRecord``, encoded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from bridge import proto
from bridge.mapping.attributes import field_attributes, label_attributes
from bridge.mapping.conventions import DOCUMENTED_FIELDS
from bridge.mapping.extra import JSON_MARK, NOTHING, RESERVED, Extra
from bridge.mapping.json_text import json_text
from bridge.mapping.reading import Reading, envelope
from bridge.mapping.severity import iostream, severity_number, severity_text
from bridge.mapping.trace_context import TraceContext, trace_context
from bridge.mapping.tracebacks import Traceback, find_traceback
from bridge.mapping.wire import (
    attribute,
    attributes,
    before_text,
    fixed32,
    fixed64,
    framed,
    tag,
    utf8,
    varint,
)
from bridge.model import Identified, Json, Tick

_NANOSECONDS: Final = 1_000
LAST_TICK: Final[Tick] = ((1 << 64) - 1) // _NANOSECONDS
"""OTLP counts nanoseconds from 1970 in 64 bits, and 0 means unknown."""

_TIME: Final = tag(1, 1)
_SEVERITY_NUMBER: Final = tag(2, 0)
_SEVERITY_TEXT: Final = tag(3)
_BODY: Final = tag(5)
_FLAGS: Final = tag(8, 5)
_TRACE_ID: Final = tag(9)
_SPAN_ID: Final = tag(10)
_OBSERVED: Final = tag(11, 1)
_EVENT_NAME: Final = tag(12)
_NONE: Final = frozenset[str]()
_APPENDS: Final = 16
_LEVELS: Final = 256
_LONGEST_LEVEL: Final = 32


BEFORE_UID: Final = attribute("log.record.uid", "0" * 32)[:-32]
"""The attribute with the identity of an entry, which is always as long, before the identity."""


def log_record(
    found: Identified, reading: Reading, observed: Tick, stderr: int, extra: Extra = NOTHING
) -> bytes:
    """Map one entry.

    Args:
        found: the entry with its identity.
        reading: the same entry, read.
        observed: when it was fetched.
        stderr: the severity number of ``STDERR``.
        extra: what the app's shaping adds.
    """
    fields = reading.fields
    level = fields.get("level")
    time = _time(reading)
    worker = reading.provenance.attributes
    inner = extra.fields or envelope(reading.message)
    trace = trace_context(reading.labels)
    traceback = find_traceback(reading, inner)
    severity, stream = severities(level, stderr)
    parts = [
        BEFORE_UID,
        found.uid.hex().encode(),
        stream,
        worker or b"",
        label_attributes(reading.labels, _told(trace, traceback)),
    ]
    if worker is None or not DOCUMENTED_FIELDS.issuperset(fields):
        parts.append(attributes(field_attributes(fields)))
    if traceback is not None:
        parts.append(attributes(traceback.attributes()))
    if reading.faults or time != reading.tick:
        parts.append(attributes(_marks(found, reading, time, extra.original)))
    if extra is not NOTHING:
        parts.append(_extra_attributes(b"".join(parts), extra, trace, traceback))
    return record_bytes(
        time=time or 0,
        observed=observed,
        severity=severity,
        body=utf8(body_of(reading.message)),
        attributes=b"".join(parts),
        trace=trace or (trace_context(inner) if inner else None),
    )


def record_bytes(
    *,
    time: Tick,
    observed: Tick,
    severity: bytes,
    body: bytes,
    attributes: bytes,
    trace: TraceContext | None = None,
    event_name: str = "",
) -> bytes:
    """An encoded ``LogRecord``, its fields in the order of their numbers.

    ``severity`` is what `severity_bytes` gives, ``attributes`` what `wire.attributes` gives.
    """
    return b"".join(
        (
            fixed64(_TIME, time * _NANOSECONDS),
            severity,
            before_text(_BODY, len(body)),
            body,
            attributes,
            b"" if trace is None else _trace_bytes(trace),
            observed_bytes(observed),
            framed(_EVENT_NAME, utf8(event_name)) if event_name else b"",
        )
    )


@lru_cache(_APPENDS)
def observed_bytes(tick: Tick) -> bytes:
    """When it was fetched, which is the same for all of an append."""
    return fixed64(_OBSERVED, tick * _NANOSECONDS)


def severity_bytes(number: int, text: str) -> bytes:
    """The two severity fields."""
    return (_SEVERITY_NUMBER + varint(number) if number else b"") + (
        framed(_SEVERITY_TEXT, utf8(text)) if text else b""
    )


def _severity(level: Json, stderr: int) -> tuple[bytes, bytes]:
    stream = iostream(level)
    severity = severity_bytes(severity_number(level, stderr=stderr), severity_text(level))
    return severity, b"" if stream is None else attribute("log.iostream", stream)


_severity_of_known = lru_cache(_LEVELS)(_severity)


def severities(level: Json, stderr: int) -> tuple[bytes, bytes]:
    """The severity fields that a level makes, and the attribute that names its stream, if any."""
    known = type(level) is str and len(level) <= _LONGEST_LEVEL
    return (_severity_of_known if known else _severity)(level, stderr)


def _time(reading: Reading) -> Tick | None:
    """``labels.logged_at``, else ``timestamp``; None where OTLP can hold neither."""
    for tick in (reading.logged_at, reading.tick):
        if tick is not None and 0 < tick <= LAST_TICK:
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


def _trace_bytes(trace: TraceContext) -> bytes:
    return b"".join(
        (
            fixed32(_FLAGS, trace.flags),
            framed(_TRACE_ID, trace.trace_id),
            framed(_SPAN_ID, trace.span_id) if trace.span_id else b"",
        )
    )


def _told(trace: TraceContext | None, traceback: Traceback | None) -> frozenset[str]:
    """The labels that the record says completely by its trace ids and its exception."""
    keys = trace.keys if trace else _NONE
    return keys | {traceback.label} if traceback and traceback.label else keys


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


def _extra_attributes(
    others: bytes, extra: Extra, trace: TraceContext | None, traceback: Traceback | None
) -> bytes:
    """What shaping adds. Keys stay unique: a JSON field whose name is taken says whose it is.

    Left out is what the record says completely by its trace ids and its exception.
    """
    added = attributes(extra.attributes.items())
    if not extra.fields:
        return added
    told = set(extra.said)
    inner = None if trace else trace_context(extra.fields)
    if inner is not None:
        told |= inner.keys
    if traceback is not None and traceback.stacktrace == extra.fields.get("traceback"):
        told.add("traceback")
    taken = {pair.key for pair in proto.LogRecord.FromString(others + added).attributes}
    for key, value in extra.fields.items():
        if key in told:
            continue
        name = f"{extra.prefix}{key}"
        while name in taken or name in RESERVED:
            name = f"{JSON_MARK}{name}"
        taken.add(name)
        added += attribute(name, value)
    return added
