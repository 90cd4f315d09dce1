"""The console: readable and coloured for people, one JSON object a line for programs."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import Iterable
from typing import IO, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, SeverityNumber

from bridge.model import Json, Outcome, Verdict
from bridge.payload import Request, records_of, uid_of
from bridge.timestamps import format_tick

_CHUNK: Final = 65_536
"""Bytes written before others get their turn."""
_NANOSECONDS: Final = 1_000
_UID: Final = "log.record.uid"
_SERVICE: Final = "service.name"

_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_COLOURS: Final = (
    (SeverityNumber.SEVERITY_NUMBER_FATAL, "\x1b[1;31m"),
    (SeverityNumber.SEVERITY_NUMBER_ERROR, "\x1b[31m"),
    (SeverityNumber.SEVERITY_NUMBER_WARN, "\x1b[33m"),
    (SeverityNumber.SEVERITY_NUMBER_INFO, "\x1b[32m"),
    (SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED, _DIM),
)


class Console:
    """Writes every record to a stream; delivered means written and flushed.

    On a terminal nothing from a record is sent to it that could steer it: control, format and
    other unprintable characters are shown escaped, and continuation lines are set in.
    """

    def __init__(self, name: str, out: IO[bytes], *, terminal: bool | None = None) -> None:
        """Write to ``out``, as to a terminal if it is one or ``terminal`` says so."""
        self._name = name
        self._out = out
        self._line = _readable if (out.isatty() if terminal is None else terminal) else _json_line

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._name

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        try:
            written = 0
            for resource_logs, _, record in records_of(request.raw):
                written += self._out.write(self._line(resource_logs, record).encode())
                if written >= _CHUNK:
                    written = 0
                    await asyncio.sleep(0)
            self._out.flush()
        except BrokenPipeError:
            return Outcome(Verdict.BLOCKED, "who read the output has gone")
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            return Outcome(Verdict.RETRY, f"cannot write the output: {error}")
        return Outcome(Verdict.DELIVERED)

    async def aclose(self) -> None:
        """See `Destination.aclose`; the stream belongs to who gave it."""


def _json_line(resource_logs: ResourceLogs, record: LogRecord) -> str:
    """One record as one line of JSON."""
    resource = _mapping(resource_logs.resource.attributes)
    attributes = _mapping(record.attributes)
    attributes.pop(_UID, None)
    line = {
        "time": _time(record),
        "severity": _severity(record),
        "service": resource.get(_SERVICE),
        "body": _plain(record.body),
        "attributes": attributes,
        "resource": resource,
        "uid": uid_of(record),
    }
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def _readable(resource_logs: ResourceLogs, record: LogRecord) -> str:
    """One record for a person: time, severity, service, message; further lines set in."""
    service = _mapping(resource_logs.resource.attributes).get(_SERVICE, "-")
    body = _plain(record.body)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    message = "\n    ".join(_safe(line) for line in text.expandtabs(4).split("\n"))
    colour = next(code for floor, code in _COLOURS if record.severity_number >= floor)
    return (
        f"{_DIM}{_time(record)}{_RESET} {colour}{_safe(_severity(record)):8}{_RESET} "
        f"{_DIM}{_safe(str(service))}{_RESET} {message}\n"
    )


def _safe(text: str) -> str:
    """Text that a terminal only shows: what is not printable is escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _time(record: LogRecord) -> str:
    return format_tick((record.time_unix_nano or record.observed_time_unix_nano) // _NANOSECONDS)


def _severity(record: LogRecord) -> str:
    """The severity as given, else by its number's name."""
    if record.severity_text:
        return record.severity_text
    try:
        return SeverityNumber.Name(record.severity_number).removeprefix("SEVERITY_NUMBER_")
    except ValueError:
        return str(record.severity_number)


def _mapping(pairs: Iterable[KeyValue]) -> dict[str, Json]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: AnyValue) -> Json:
    """An attribute's value as JSON has it: bytes in base64, numbers JSON cannot say as text."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _mapping(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode("ascii")
    if kind == "double_value" and not math.isfinite(value.double_value):
        return str(value.double_value)
    return getattr(value, kind)
