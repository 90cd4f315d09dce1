"""Timestamps as the Logs API writes and reads them, to ticks and back. Pure.

The API answers with naive times that mean UTC, drops a zero fraction (Python's ``isoformat``) and
carries an offset in ``labels.logged_at``; its bounds are documented as ``2024-01-15T10:30:00Z``
and ``2024-01-15T10:30:00.123Z`` (Logs REST API, "Response Format" and "Time-based Filtering").
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from bridge.model import MILLISECOND, SECOND, Tick

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive means UTC in the API's answers
_DAY: Final[Tick] = 86_400 * SECOND
_WHOLE: Final = len("YYYY-MM-DDTHH:MM:SS.")
_PLAIN: Final = len("YYYY-MM-DDTHH:MM:SS.ffffff")
_UTC: Final = "+00:00"
_SECONDS: Final = 64

EARLIEST: Final[Tick] = -62_135_596_800 * SECOND
"""Year 1, the first tick that can be written."""
LATEST: Final[Tick] = 253_402_300_800 * SECOND - 1
"""The last tick of year 9999."""

_FORM: Final = re.compile(
    r"""
    (?P<date>\d{4}-\d\d-\d\d) [Tt\ ]
    (?P<time>\d\d:\d\d:\d\d) (?:\.(?P<fraction>\d+))?
    (?P<zone>[Zz] | [+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?
    """,
    re.ASCII | re.VERBOSE,
)


def floor_to(tick: Tick, step: Tick) -> Tick:
    """The last whole ``step`` at or before a tick."""
    return tick - tick % step


def ceil_to(tick: Tick, step: Tick) -> Tick:
    """The first whole ``step`` at or after a tick."""
    return floor_to(tick + step - 1, step)


def parse_tick(value: object) -> Tick | None:
    """Read a timestamp; a naive one is UTC, digits below the microsecond are cut off.

    Anything that is not a string of RFC 3339's form (its zone may be missing or shortened, its
    separator a space) within the years 1 to 9999 gives None; nothing raises.
    """
    if not isinstance(value, str):
        return None
    fraction = value[_WHOLE:_PLAIN]
    try:
        if (
            (len(value) == _PLAIN or value[_PLAIN:] == _UTC)
            and fraction.isdecimal()
            and fraction.isascii()
            and (second := _second(value[:_WHOLE])) is not None
        ):
            return second + int(fraction)
        moment = datetime.fromisoformat(_plain(value))
    except ValueError:
        return None
    tick = _ticks(moment)
    return tick if EARLIEST <= tick <= LATEST else None


@lru_cache(_SECONDS)
def _second(text: str) -> Tick | None:
    """A time up to its point, as the API writes it; that of the entries before is often the same.

    `datetime` itself accepts much more (week dates, any separator), so every place that would let
    another form through is checked, and None says that it is another.

    Raises:
        ValueError: there is no such time.
    """
    if text[7::3] != "-T::." or not text.isascii():
        return None
    return _ticks(datetime.fromisoformat(text[:-1]))


def _ticks(moment: datetime) -> Tick:
    since = moment - (_NAIVE_EPOCH if moment.tzinfo is None else _EPOCH)
    return since.days * _DAY + since.seconds * SECOND + since.microseconds


def parse_again(value: object, text: object, tick: Tick | None) -> Tick | None:
    """Read a timestamp that most often says the same as another one, already read.

    That is so of the label ``logged_at``: an entry's ``timestamp`` with an offset of zero.
    """
    if tick is not None and isinstance(value, str) and value == f"{text}{_UTC}":
        return tick
    return parse_tick(value)


def format_tick(tick: Tick) -> str:
    """Write a tick in UTC, as ``….fffZ`` when it is a whole millisecond, else ``….ffffffZ``.

    A tick outside the years 1 to 9999 is written as the nearest inside: as a bound it selects
    the same entries.
    """
    moment = _EPOCH + timedelta(microseconds=min(max(tick, EARLIEST), LATEST))
    precision = "microseconds" if moment.microsecond % MILLISECOND else "milliseconds"
    return f"{moment.replace(tzinfo=None).isoformat(timespec=precision)}Z"


def _plain(value: str) -> str:
    """Bring an accepted form to the one that every supported `datetime` reads.

    Raises:
        ValueError: it is none of the accepted forms.
    """
    found = _FORM.fullmatch(value)
    if found is None:
        raise ValueError(value)
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    zone = (found["zone"] or "").upper()
    return f"{found['date']}T{found['time']}.{fraction}{zone}"
