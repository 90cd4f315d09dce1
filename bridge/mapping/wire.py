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
_CACHED: Final = 4_096
_TABLED: Final = 2_048
SHORT: Final = 1_000
"""Characters of a text up to which what stands before it is kept for the next of its length."""
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


def opening(before: bytes, size: int) -> bytes:
    """What stands before a value of so many bytes: the field's tag and the length."""
    return before + (_VARINTS[size] if size < _TABLED else varint(size))


def framed(before: bytes, body: bytes) -> bytes:
    """A field of variable length: its tag, its length, itself."""
    size = len(body)
    return before + (_VARINTS[size] if size < _TABLED else varint(size)) + body


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


@lru_cache(_CACHED)
def before_text(before: bytes, size: int) -> bytes:
    """A field that is an ``AnyValue`` of a text of so many bytes, up to that text."""
    value = opening(_STRING, size)
    return opening(before, len(value) + size) + value


def attribute(key: str, value: Json) -> bytes:
    """One of a log record's attributes; a null becomes an attribute with an empty value."""
    if type(value) is str and len(value) <= SHORT:
        text = utf8(value)
        return before_attribute(key, len(text)) + text
    return framed(_ATTRIBUTE, key_value(key, value))


def attributes(pairs: Iterable[tuple[str, Json]]) -> bytes:
    """A log record's attributes, in order."""
    return b"".join([attribute(key, value) for key, value in pairs])


def key_value(key: str, value: Json, depth: int = MAX_DEPTH) -> bytes:
    """A ``KeyValue``."""
    return encoded_key(key) + framed(_VALUE, _any_value(value, depth))


@lru_cache(_CACHED)
def before_attribute(key: str, size: int) -> bytes:
    """An attribute that is a text of so many bytes, up to that text."""
    name, value = encoded_key(key), before_text(_VALUE, size)
    return opening(_ATTRIBUTE, len(name) + len(value) + size) + name + value


@lru_cache(_CACHED)
def encoded_key(key: str) -> bytes:
    """The key of a ``KeyValue``; nothing for an empty one, which is the default."""
    try:
        name = key.encode()
    except UnicodeEncodeError:  # escaped rather than replaced: keys must stay distinct
        name = key.encode("utf-8", "backslashreplace")
    return framed(_KEY, name) if name else b""


def _text_value(value: str) -> bytes:
    return framed(_STRING, utf8(value))


def _any_value(value: Json, depth: int) -> bytes:
    if isinstance(value, str):
        return _text_value(value)
    if isinstance(value, bool):
        return _BOOL + (b"\x01" if value else b"\x00")
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _DOUBLE + _double(value) if math.isfinite(value) else _text_value(json_text(value))
    if value is None:
        return b""
    return _container(value, depth)


def _integer(value: int) -> bytes:
    if -_INT64 <= value < _INT64:
        return _INT + varint(value)
    return _text_value(integer_text(value))


def _container(value: dict[str, Json] | list[Json], depth: int) -> bytes:
    if depth == 0:
        return _text_value(json_text(value))
    if isinstance(value, dict):
        pairs = [framed(_MEMBER, key_value(k, member, depth - 1)) for k, member in value.items()]
        return framed(_KEY_VALUES, b"".join(pairs))
    members = [framed(_MEMBER, _any_value(member, depth - 1)) for member in value]
    return framed(_ARRAY, b"".join(members))
