"""JSON values set in the generated OTLP classes: what `bridge.mapping.wire` is compared with.

What an ``AnyValue`` cannot hold becomes text: integers beyond 64 bits in decimal, NaN and the
infinities by their JSON names (several backends refuse a number that is none), containers below
`MAX_DEPTH` as JSON (protobuf parsers stop at 100 nested messages, and a level takes three).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final, Protocol

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from bridge.mapping.json_text import integer_text, json_text
from bridge.model import Json

MAX_DEPTH: Final = 16
_INT64: Final = 1 << 63
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Attributes(Protocol):
    """A repeated ``KeyValue`` field of a generated message."""

    def add(self) -> KeyValue:
        """Append an empty attribute and return it."""
        ...


def put_attributes(target: Attributes, pairs: Iterable[tuple[str, Json]]) -> None:
    """Append attributes; a null becomes an attribute with an empty value."""
    for key, value in pairs:
        _put_pair(target.add(), key, value, MAX_DEPTH)


def put_text(target: AnyValue, value: str) -> None:
    """Set a string, with U+FFFD for each lone surrogate, which UTF-8 cannot hold."""
    try:
        target.string_value = value
    except UnicodeEncodeError:
        target.string_value = printable(value)


def printable(value: str) -> str:
    """Replace each lone surrogate by U+FFFD; everything else, NUL included, stays."""
    return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)


def _put(target: AnyValue, value: Json, depth: int) -> None:
    if isinstance(value, str):
        put_text(target, value)
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        _put_integer(target, value)
    elif isinstance(value, float):
        _put_float(target, value)
    elif value is None:
        target.SetInParent()
    else:
        _put_container(target, value, depth)


def _put_integer(target: AnyValue, value: int) -> None:
    if -_INT64 <= value < _INT64:
        target.int_value = value
    else:
        target.string_value = integer_text(value)


def _put_float(target: AnyValue, value: float) -> None:
    if math.isfinite(value):
        target.double_value = value
    else:
        target.string_value = json_text(value)


def _put_container(target: AnyValue, value: dict[str, Json] | list[Json], depth: int) -> None:
    if depth == 0:
        put_text(target, json_text(value))
    elif isinstance(value, dict):
        target.kvlist_value.SetInParent()
        for key, member in value.items():
            _put_pair(target.kvlist_value.values.add(), key, member, depth - 1)
    else:
        target.array_value.SetInParent()
        for member in value:
            _put(target.array_value.values.add(), member, depth - 1)


def _put_pair(pair: KeyValue, key: str, value: Json, depth: int) -> None:
    try:
        pair.key = key
    except UnicodeEncodeError:  # escaped rather than replaced: keys must stay distinct
        pair.key = key.encode("utf-8", "backslashreplace").decode()
    _put(pair.value, value, depth)
