"""A message that is a JSON object, taken apart without losing anything of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct

from bridge.model import Json

MAX_LENGTH: Final = 1 << 18
MAX_FIELDS: Final = 128
MAX_DEPTH: Final = 16
_TEXT_KEYS: Final = ("message", "msg", "event")
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that may be half of a surrogate pair."""


class _NotWhole(ValueError):
    """Decoding it would lose something."""


class JsonMessage(Struct, frozen=True):
    """The fields of a message.

    ``text_key`` is the one that says it in words, if one does and attributes can say all the rest.
    """

    fields: Mapping[str, Json]
    text_key: str | None

    @property
    def text(self) -> str | None:
        """The message in words."""
        return self.fields[self.text_key] if self.text_key else None


def json_message(message: str) -> JsonMessage | None:
    """Read a message as one JSON object.

    None where it is none, and where it is too large (`MAX_LENGTH` characters, `MAX_FIELDS` fields,
    `MAX_DEPTH` levels) or has a key twice: then the message stays as it is.
    """
    if len(message) > MAX_LENGTH or message.lstrip()[:1] != "{" or message.rstrip()[-1:] != "}":
        return None
    numbers = _Numbers()
    try:
        fields = json.loads(
            message,
            object_pairs_hook=_object,
            parse_float=numbers.real,
            parse_int=numbers.whole,
        )
    except (ValueError, RecursionError):
        return None
    if not fields or len(fields) > MAX_FIELDS or not _shallow(fields, MAX_DEPTH):
        return None
    if numbers.rounded or (_HALF.search(message) and not _is_unicode(fields)):
        return JsonMessage(fields, None)
    text_key = next((k for k in _TEXT_KEYS if fields.get(k) and isinstance(fields[k], str)), None)
    return JsonMessage(fields, text_key)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _NotWhole
    return made


class _Numbers:
    """Reads numbers, and remembers whether one was not what its digits say."""

    __slots__ = ("rounded",)

    def __init__(self) -> None:
        self.rounded = False

    def real(self, text: str) -> float | str:
        """A number with a fraction or an exponent; as text where 64 bits cannot hold its size."""
        number = float(text)
        if not math.isfinite(number):
            return text
        if repr(number) != text and not _says(number, text):
            self.rounded = True
        return number

    def whole(self, text: str) -> int:
        """A number without; zero has no sign then."""
        self.rounded = self.rounded or text == "-0"
        return int(text)


def _says(number: float, text: str) -> bool:
    """Whether a number, as it is written at its shortest, is exactly what a text says."""
    try:
        return Decimal(repr(number)) == Decimal(text)
    except ArithmeticError:  # an exponent of twenty digits
        return False


def _is_unicode(fields: Mapping[str, Json]) -> bool:
    """Whether there is no half of a surrogate pair, which no attribute can hold."""
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _shallow(value: Json, depth: int) -> bool:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_shallow(member, depth - 1) for member in inner)
    return True
