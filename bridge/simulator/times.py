"""Ticks as fal prints them, and times as its query parameters accept them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

from bridge.model import SECOND, Tick

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - fal prints naive times, which are UTC
_TICK: Final = timedelta(microseconds=1)
_DATE_LENGTH: Final = len("2024-01-15")


def naive(tick: Tick) -> str:
    """A tick as fal's ``timestamp`` shows it: Python's isoformat, which drops a zero fraction."""
    return (_EPOCH + timedelta(microseconds=tick)).isoformat()


def http_date(tick: Tick) -> str:
    """A tick as a ``Date`` header: whole seconds, rounded down (RFC 9110, 5.6.7)."""
    whole = timedelta(seconds=tick // SECOND)
    return format_datetime((_EPOCH + whole).replace(tzinfo=UTC), usegmt=True)


def parsed(text: str) -> Tick:
    """An ISO 8601 time in ticks; without an offset it is UTC.

    Raises:
        ValueError: not a date with a time of day. A ``+`` that was not escaped in a query
            arrives as a space and ends here too.
    """
    if text[_DATE_LENGTH : _DATE_LENGTH + 1] != "T":
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    offset = moment.utcoffset() or timedelta(0)
    return (moment.replace(tzinfo=None) - _EPOCH - offset) // _TICK
