"""From an answer's body to its entries. Pure.

Strict first and fast; what strict decoding refuses but a person could still read (a lone
surrogate, an integer of thousands of digits, a stray byte) is decoded leniently, since bad data
is forwarded as far as it can be. What is not a whole answer of the dialect's form, an array or an
object with ``items``, is never an empty page.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from bridge.mapping.provenance import provenance_of_plain
from bridge.model import Entry, Json
from bridge.source.stencil import Stencils
from bridge.timestamps import parse_tick

_INT_DIGITS: Final = 4_000  # Python itself refuses to convert much longer ones


def decode_entries(body: bytes) -> tuple[Entry, ...]:
    """The entries of a 200 answer of the Logs REST API, in its order.

    Raises:
        ValueError: the body is not a whole JSON array; the message says how.
    """
    entries = _stencils.entries(body)
    if entries is not None:
        return entries
    values = _decode(body)
    if not isinstance(values, list):
        raise ValueError(  # noqa: TRY004 - bad data, not a bad call
            f"the answer is a JSON {type(values).__name__}, not an array"
        )
    return _entries(values)


def decode_items(body: bytes) -> tuple[Entry, ...]:
    """The entries of a 200 answer of the Platform API, in its order.

    Raises:
        ValueError: the body is not a whole JSON object with a list of ``items``, or shows none
            while it says that there are more.
    """
    answer = _decode(body)
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise ValueError(  # noqa: TRY004 - bad data, not a bad call
            "the answer is not a JSON object with a list of items"
        )
    if not items and answer.get("has_more") is True:
        raise ValueError("the answer shows no items and says that there are more")
    return _entries(items)


_stencils: Final = Stencils(lambda text: entry_of(msgspec.json.decode(text)))


def _entries(values: list[Json]) -> tuple[Entry, ...]:
    return tuple([entry_of(raw) for raw in values])


def entry_of(raw: Json) -> Entry:
    """One entry, with its time and, if it is plain, where it comes from."""
    tick = parse_tick(raw.get("timestamp")) if isinstance(raw, dict) else None
    return Entry(raw, tick, None if tick is None else provenance_of_plain(raw, tick))


def _decode(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> Json:
    try:
        return json.loads(body.decode("utf-8", errors="replace"), parse_int=_parse_int)
    except RecursionError as error:
        raise ValueError("the answer is nested too deeply to be log entries") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"the answer is not whole JSON: {error}") from error


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) < _INT_DIGITS else digits
