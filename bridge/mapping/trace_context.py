"""Trace ids, from labels or from a JSON message (W3C Trace Context, "traceparent Header")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from bridge.model import Json

_KEYS: Final = frozenset({"traceparent", "trace_id"})
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-f]+", re.IGNORECASE)
_TRACEPARENT: Final = re.compile(
    r"""
    (?!ff)(?P<version>[0-9a-f]{2})
    -(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})
    (?P<later>-.*)?
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


class TraceContext(Struct, frozen=True):
    """Where an entry belongs in a trace. ``span_id`` is empty when only the trace is known.

    ``keys`` are the keys of the mapping it was read from that it says completely.
    """

    trace_id: bytes
    span_id: bytes
    flags: int
    keys: frozenset[str]


def trace_context(source: Mapping[str, Json]) -> TraceContext | None:
    """Read ``trace_id`` and ``span_id``, completed by or else taken from ``traceparent``.

    None without a valid trace id: hexadecimal (or a dashed UUID) of 16 bytes, not all zero. A
    span id alone identifies nothing and is left where it was found.
    """
    if _KEYS.isdisjoint(source):
        return None
    parent = _traceparent(source.get("traceparent"))
    trace_id = _identifier(source.get("trace_id"), _TRACE_BYTES)
    if trace_id is None:
        return parent
    if parent is not None and parent.trace_id != trace_id:
        parent = None
    span_id = _identifier(source.get("span_id"), _SPAN_BYTES)
    keys = {"trace_id"} | ({"span_id"} if span_id else set())
    if parent is None:
        return TraceContext(trace_id, span_id or b"", 0, frozenset(keys))
    if span_id in {None, parent.span_id}:
        keys |= parent.keys
    return TraceContext(trace_id, span_id or parent.span_id, parent.flags, frozenset(keys))


def _traceparent(value: Json) -> TraceContext | None:
    found = _TRACEPARENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found["version"] == "00" and found["later"]):
        return None
    trace_id = _identifier(found["trace"], _TRACE_BYTES)
    span_id = _identifier(found["span"], _SPAN_BYTES)
    if trace_id is None or span_id is None:
        return None
    keys = frozenset() if found["later"] else frozenset({"traceparent"})
    return TraceContext(trace_id, span_id, int(found["flags"], 16), keys)


def _identifier(value: Json, length: int) -> bytes | None:
    if not isinstance(value, str):
        return None
    digits = value.replace("-", "") if _UUID.fullmatch(value) else value
    if len(digits) != 2 * length or not _HEX.fullmatch(digits):
        return None
    identifier = bytes.fromhex(digits)
    return identifier if any(identifier) else None
