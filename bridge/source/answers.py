"""What fal's answers say besides their entries: the complaint, the date, how long to wait. Pure.

Errors come in two forms: the Logs REST API has ``{"detail": ...}`` ("Error Responses"), the
Platform API ``{"error": {"type": ..., "message": ...}}``. A gateway before either may answer in
the form of the other, or in none, so both are read everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from bridge.model import SECOND, Json, Tick

_EPOCH_LIKE: Final = 1_000_000_000
_WORDS: Final = 65_536
_FINDINGS: Final = 100


def complaint(body: bytes) -> str:
    """What the server said, on one printable line; empty when it said nothing.

    More than anybody is shown, so that a key in it is still whole, but not all of a large answer.
    """
    answer = _json(body)
    said = _told(answer) if isinstance(answer, dict) else answer
    if isinstance(said, list):
        said = "; ".join(_finding(item) for item in said[:_FINDINGS])
    text = said if isinstance(said, str) else body.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_WORDS]).split())


def points_at(body: bytes, place: str) -> bool:
    """Whether a 422's ``detail`` locates the problem in the body or in a parameter."""
    answer = _json(body)
    items = answer.get("detail") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        return False
    return any(
        isinstance(item, dict) and isinstance(item.get("loc"), list) and place in item["loc"]
        for item in items
    )


def date(headers: Mapping[str, str]) -> Tick | None:
    """The answer's ``Date``; None where there is none that can be read."""
    try:
        return int(parsedate_to_datetime(headers.get("date", "")).timestamp()) * SECOND
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``Retry-After`` (RFC 9110, 10.2.3) or fal's ``x-ratelimit-reset``."""
    asked = headers.get("retry-after", headers.get("x-ratelimit-reset", "")).strip()
    served_at = date(headers)
    try:
        seconds = float(asked)
    except ValueError:
        until = date({"date": asked})
        return None if until is None or served_at is None else max(0, until - served_at) / SECOND
    if seconds >= _EPOCH_LIKE:  # a moment, not a wait
        return None if served_at is None else max(0.0, seconds - served_at / SECOND)
    return seconds if seconds >= 0 else None


def _told(answer: dict[str, Json]) -> Json:
    if "detail" in answer:
        return answer["detail"]
    error = answer.get("error")
    if not isinstance(error, dict) or "message" not in error:
        return answer
    return ": ".join(str(error[key]) for key in ("type", "message") if key in error)


def _finding(item: Json) -> str:
    if not isinstance(item, dict):
        return str(item)
    loc = item.get("loc")
    place = ".".join(str(part) for part in loc) if isinstance(loc, list) else ""
    return f"{place}: {item.get('msg', item)}" if place else str(item.get("msg", item))


def _json(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
