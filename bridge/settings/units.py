"""Durations, sizes and starting points, as people write them. Pure.

A duration is ``250ms``, ``1.5s``, ``10m``, ``2h30m`` or ``7d``, a bare number counts seconds; a
size is ``512MB`` (powers of 1000), ``1GiB`` (powers of 1024) or a bare number of bytes. What the
parsers read, the formatters write back, exactly.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any, Final, TypeAlias

from msgspec import Struct
from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

from bridge.model import SECOND, Tick
from bridge.timestamps import format_tick, parse_tick

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_SECONDS: Final[dict[str, Decimal]] = {
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_BYTES: Final = {
    "": 1,
    "b": 1,
    **{f"{p}{b}": 1000**n for n, p in enumerate("kmgt", 1) for b in ("", "b")},
    **{f"{p}i{b}": 1024**n for n, p in enumerate("kmgt", 1) for b in ("", "b")},
}
_SIZE_NAMES: Final = [
    (step**n, f"{prefix}{tail}")
    for n, prefix in reversed(list(enumerate("KMGT", 1)))
    for step, tail in ((1024, "iB"), (1000, "B"))
] + [(1, "B")]
_MINUTE: Final = 60

DURATION_PATTERN: Final = (
    rf"^(?=[0-9])(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?$"
)
SIZE_PATTERN: Final = rf"^{_NUMBER} ?(?:[KkMmGgTt][Ii]?)?[Bb]?$"

_DURATION: Final = re.compile(DURATION_PATTERN)
_DURATION_PART: Final = re.compile(rf"({_NUMBER})(ms|[dhms])")
_SIZE: Final = re.compile(SIZE_PATTERN)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_BARE: Final = re.compile(rf"{_NUMBER}\Z")


def parse_duration(value: object) -> float:
    """Seconds of a duration.

    Raises:
        ValueError: it is not one; the text says how to write it.
    """
    text = _text(value)
    if _BARE.match(text):
        return _finite(Decimal(text), "a duration")
    if not _DURATION.match(text):
        raise ValueError("must be a duration such as 250ms, 1.5s, 10m or 2h30m")
    parts = _DURATION_PART.findall(text)
    total = sum((Decimal(number) * _SECONDS[unit] for number, unit in parts), Decimal(0))
    return _finite(total, "a duration")


def format_duration(seconds: float) -> str:
    """The shortest way to write a duration."""
    exact = Decimal(repr(seconds))
    if 0 < exact < 1 and exact * 1000 == int(exact * 1000):
        return f"{int(exact * 1000)}ms"
    if exact != int(exact) or exact < _MINUTE:
        return f"{_plain(exact)}s"
    left, written = int(exact), ""
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_SECONDS[unit]))
        written += f"{count}{unit}" if count else ""
    return written


def parse_size(value: object) -> int:
    """Bytes of a size.

    Raises:
        ValueError: it is not one; the text says how to write it.
    """
    text = _text(value)
    if not _SIZE.match(text):
        raise ValueError("must be a size such as 1GiB, 512MB or a number of bytes")
    number = text.rstrip("KkMmGgTtIiBb ")
    exact = Decimal(number) * _BYTES[text[len(number) :].strip().lower()]
    _finite(exact, "a size")
    return int(exact)


def format_size(count: int) -> str:
    """The shortest exact way to write a size."""
    exact = [f"{count // unit}{name}" for unit, name in _SIZE_NAMES if count % unit == 0]
    return min(exact, key=len)


class StartBack(Struct, frozen=True):
    """A first start so many seconds before now; zero is now."""

    seconds: float

    def resolve(self, now: Tick) -> Tick:
        """The tick it means at that moment."""
        return now - round(self.seconds * SECOND)

    def __str__(self) -> str:
        return format_duration(self.seconds) if self.seconds else "now"


class StartAt(Struct, frozen=True):
    """A first start at a moment."""

    tick: Tick

    def resolve(self, now: Tick) -> Tick:  # noqa: ARG002 - one way to resolve either kind
        """The tick it means, whatever the moment."""
        return self.tick

    def __str__(self) -> str:
        return format_tick(self.tick)


Start: TypeAlias = StartBack | StartAt

_FARTHEST_BACK: Final = 36_525 * 86_400.0


def parse_start(value: object) -> Start:
    """A starting point: ``now``, a duration back, or an ISO 8601 date or time, naive meaning UTC.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, StartBack | StartAt):
        return value
    text = _text(value)
    if text == "now":
        return StartBack(0)
    try:
        back = parse_duration(text)
    except ValueError:
        pass
    else:
        if back > _FARTHEST_BACK:
            raise ValueError("goes back more than a hundred years: is the unit right?")
        return StartBack(back)
    tick = parse_tick(f"{text}T00:00:00" if _DATE.match(text) else text)
    if tick is None:
        raise ValueError(
            "must be 'now', a duration back such as 10m, or a time such as 2025-09-19T12:00:00Z"
        )
    return StartAt(tick)


def _text(value: object) -> str:
    """A value as it would be written; what cannot be a quantity becomes text that is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return _plain(Decimal(repr(value)))
    return str(value).strip()


def _plain(number: Decimal) -> str:
    """Digits without an exponent, and without a fraction that says nothing."""
    return f"{number:f}".removesuffix(".0")


def _finite(number: Decimal, what: str) -> float:
    """A number that a machine can count with.

    Raises:
        ValueError: it is too large.
    """
    if number > 2**53:
        raise ValueError(f"is too large for {what}")
    return float(number)


def _schema(kind: str, text: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema for a quantity; ``x-type`` is what the documentation calls it."""
    number = {"type": "number", "minimum": 0}
    return {"x-type": kind, "anyOf": [{"type": "string", **text}, number]}


Seconds = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_schema("duration", {"pattern": DURATION_PATTERN})),
]
"""Seconds, written as a duration."""

Bytes = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema(_schema("size", {"pattern": SIZE_PATTERN})),
]
"""Bytes, written as a size."""

FirstStart = Annotated[
    Start,
    PlainValidator(parse_start),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(_schema("`now`, duration or time", {})),
]
"""Where a new app begins to read."""
