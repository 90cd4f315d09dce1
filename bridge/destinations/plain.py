"""Records in plain JSON values, for the destinations that people read. Pure."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Final

from bridge import proto
from bridge.model import Json
from bridge.payload import uid_of
from bridge.timestamps import format_tick

SERVICE: Final = "service.name"
UID: Final = "log.record.uid"
_NANOSECONDS: Final = 1_000


def json_line(resource_logs: proto.ResourceLogs, record: proto.LogRecord) -> str:
    """One record as one line of JSON."""
    resource = mapping(resource_logs.resource.attributes)
    attributes = mapping(record.attributes)
    attributes.pop(UID, None)
    line = {
        "time": time_of(record),
        "severity": severity_of(record),
        "service": resource.get(SERVICE),
        "body": plain(record.body),
        "attributes": attributes,
        "resource": resource,
        "uid": uid_of(record),
    }
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def time_of(record: proto.LogRecord) -> str:
    """The time of a record, else of its fetch, in RFC 3339."""
    return format_tick((record.time_unix_nano or record.observed_time_unix_nano) // _NANOSECONDS)


def severity_of(record: proto.LogRecord) -> str:
    """The severity as given, else by its number's name."""
    if record.severity_text:
        return record.severity_text
    try:
        return proto.SeverityNumber.Name(record.severity_number).removeprefix("SEVERITY_NUMBER_")
    except ValueError:
        return str(record.severity_number)


def mapping(pairs: Iterable[proto.KeyValue]) -> dict[str, Json]:
    """Attributes as one JSON object."""
    return {pair.key: plain(pair.value) for pair in pairs}


def plain(value: proto.AnyValue) -> Json:
    """An attribute's value as JSON has it: bytes in base64, numbers JSON cannot say as text."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return mapping(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode("ascii")
    if kind == "double_value" and not math.isfinite(value.double_value):
        return str(value.double_value)
    return getattr(value, kind)
