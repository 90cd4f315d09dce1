"""Compact JSON text of any decoded JSON value, lossless and without a limit on nesting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from bridge.model import Json

_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Punctuation(str):
    """Text that stands between values and is written as it is."""

    __slots__ = ()


def json_text(value: Json) -> str:
    r"""Write a value as JSON on one line; a lone surrogate keeps its ``\ud800`` escape."""
    try:
        text = _dumps(value)
    except (RecursionError, ValueError):  # nested deeper, or an integer longer, than Python takes
        text = "".join(_pieces(value))
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def is_plain(value: Json) -> bool:
    """Whether a value can stand as one short text: a non-empty string, a number or a boolean."""
    return isinstance(value, str | int | float) and value != ""


def integer_text(value: int) -> str:
    """Write an integer in decimal; one too long for Python's conversion in hexadecimal."""
    try:
        return str(value)
    except ValueError:
        return hex(value)


def _pieces(value: Json) -> Iterator[str]:
    """The same text piece by piece, with a stack of its own instead of recursion."""
    pending: list[Json] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(_reversed_object(item))
        elif isinstance(item, list):
            pending.extend(_reversed_array(item))
        else:
            yield item if isinstance(item, _Punctuation) else _scalar(item)


def _reversed_object(value: dict[str, Json]) -> Iterator[Json]:
    yield _Punctuation("}")
    for index in range(len(items := list(value.items())) - 1, -1, -1):
        key, member = items[index]
        yield member
        yield _Punctuation(f"{',' if index else ''}{_dumps(key)}:")
    yield _Punctuation("{")


def _reversed_array(value: list[Json]) -> Iterator[Json]:
    yield _Punctuation("]")
    for index in range(len(value) - 1, -1, -1):
        yield value[index]
        if index:
            yield _Punctuation(",")
    yield _Punctuation("[")


def _scalar(value: Json) -> str:
    try:
        return _dumps(value)
    except ValueError:
        return _dumps(integer_text(value))
