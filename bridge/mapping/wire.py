"""OTLP's protobuf messages as bytes, written straight from JSON values (``docs/performance.md``).

The generated classes copy everything they are given, which cost three quarters of what mapping
costs, and bytes can be kept where they come again and again, as those of most labels do. What is
written is byte for byte what they serialise deterministically, which the tests compare.

What an ``AnyValue`` cannot hold becomes text: integers beyond 64 bits in decimal, NaN and the
infinities by their JSON names (several backends refuse a number that is none), containers below
`MAX_DEPTH` as JSON (protobuf parsers stop at 100 nested messages, and a level takes three).

Sources: Protocol Buffers, "Encoding"; ``opentelemetry/proto/{common,logs,resource}/v1``.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from bridge.mapping.json_text import integer_text, json_text
from bridge.model import Json

MAX_DEPTH: Final = 16
_CACHED: Final = 1_024
_TABLED: Final = 2_048
_SHORT: Final = 1_000
_INT64: Final = 1 << 63
_UINT64: Final = (1 << 64) - 1
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LENGTH_DELIMITED: Final = 2
_fixed32: Final = struct.Struct("<I").pack
_fixed64: Final = struct.Struct("<Q").pack
_double: Final = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """A number of at most 64 bits, in groups of seven; a negative one in two's complement."""
    number &= _UINT64
    groups = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - what one group holds
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_VARINTS: Final = tuple(varint(number) for number in range(_TABLED))


def tag(field: int, kind: int = _LENGTH_DELIMITED) -> bytes:
    """What stands before a field's value: its number and its wire type."""
    return varint(field << 3 | kind)


def framed(before: bytes, body: bytes) -> bytes:
    """A field of variable length: its tag, its length, itself."""
    size = len(body)
    return before + (_VARINTS[size] if size < len(_VARINTS) else varint(size)) + body


def fixed64(before: bytes, number: int) -> bytes:
    """A ``fixed64`` field; nothing for zero, which is the default."""
    return before + _fixed64(number) if number else b""


def fixed32(before: bytes, number: int) -> bytes:
    """A ``fixed32`` field; nothing for zero, which is the default."""
    return before + _fixed32(number) if number else b""


def printable(value: str) -> str:
    """Replace each lone surrogate by U+FFFD; everything else, NUL included, stays."""
    return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)


def utf8(value: str) -> bytes:
    """Text as bytes, with U+FFFD for each lone surrogate, which UTF-8 cannot hold."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return printable(value).encode()


_STRING: Final = tag(1)
_BOOL: Final = tag(2, 0)
_INT: Final = tag(3, 0)
_DOUBLE: Final = tag(4, 1)
_ARRAY: Final = tag(5)
_KEY_VALUES: Final = tag(6)
_MEMBER: Final = tag(1)
_KEY: Final = tag(1)
_VALUE: Final = tag(2)
_ATTRIBUTE: Final = tag(6)
"""``LogRecord.attributes``."""


def text_value(value: str) -> bytes:
    """A string as ``AnyValue``."""
    return framed(_STRING, utf8(value))


def attribute(key: str, value: Json) -> bytes:
    """One of a log record's attributes; a null becomes an attribute with an empty value."""
    if type(value) is str and len(value) <= _SHORT:
        return _short_text(_key(key), utf8(value))
    return framed(_ATTRIBUTE, key_value(key, value))


def attributes(pairs: Iterable[tuple[str, Json]]) -> bytes:
    """A log record's attributes, in order."""
    return b"".join([attribute(key, value) for key, value in pairs])


def key_value(key: str, value: Json, depth: int = MAX_DEPTH) -> bytes:
    """A ``KeyValue``."""
    return _key(key) + framed(_VALUE, _any_value(value, depth))


def _short_text(key: bytes, text: bytes) -> bytes:
    """An attribute of a text at once: three messages, one in the other."""
    size = len(text)
    length, value_length = _VARINTS[size], _VARINTS[size + 1 + len(_VARINTS[size])]
    return framed(_ATTRIBUTE, key + _VALUE + value_length + _STRING + length + text)


@lru_cache(_CACHED)
def _key(key: str) -> bytes:
    try:
        name = key.encode()
    except UnicodeEncodeError:  # escaped rather than replaced: keys must stay distinct
        name = key.encode("utf-8", "backslashreplace")
    return framed(_KEY, name) if name else b""


def _any_value(value: Json, depth: int) -> bytes:
    if isinstance(value, str):
        return text_value(value)
    if isinstance(value, bool):
        return _BOOL + (b"\x01" if value else b"\x00")
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _DOUBLE + _double(value) if math.isfinite(value) else text_value(json_text(value))
    if value is None:
        return b""
    return _container(value, depth)


def _integer(value: int) -> bytes:
    if -_INT64 <= value < _INT64:
        return _INT + varint(value)
    return text_value(integer_text(value))


def _container(value: dict[str, Json] | list[Json], depth: int) -> bytes:
    if depth == 0:
        return text_value(json_text(value))
    if isinstance(value, dict):
        pairs = [framed(_MEMBER, key_value(k, member, depth - 1)) for k, member in value.items()]
        return framed(_KEY_VALUES, b"".join(pairs))
    members = [framed(_MEMBER, _any_value(member, depth - 1)) for member in value]
    return framed(_ARRAY, b"".join(members))
