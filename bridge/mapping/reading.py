"""An entry taken at its word where it keeps the API's contract, and marked where it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

from bridge.model import Entry, Json, Tick
from bridge.timestamps import parse_again


class Reading(Struct, frozen=True, gc=False):
    """An entry's parts: objects where the API promises them, with what was wrong in ``faults``.

    ``tick`` is the entry's own ``timestamp``, never one it borrowed; ``logged_at`` is the label.
    ``words`` are the values of all labels, a line break between each two, to search in or to
    measure at once; None where one is no text.
    """

    fields: dict[str, Json]
    labels: dict[str, Json]
    message: Json
    tick: Tick | None
    logged_at: Tick | None
    words: str | None
    faults: tuple[str, ...]


def read(entry: Entry) -> Reading:
    """Read an entry; one that is not an object is all message."""
    raw = entry.raw
    if not isinstance(raw, dict):
        return Reading({}, {}, raw, None, None, "", ("entry is not an object",))
    labels = raw.get("labels")
    faults = _faults(entry.tick, labels)
    if not isinstance(labels, dict):
        return Reading(raw, {}, raw.get("message"), entry.tick, None, "", faults)
    logged_at = parse_again(labels.get("logged_at"), raw.get("timestamp"), entry.tick)
    words = _words(labels)
    return Reading(raw, labels, raw.get("message"), entry.tick, logged_at, words, faults)


def _words(labels: Mapping[str, Json]) -> str | None:
    try:
        return "\n".join(labels.values())
    except TypeError:
        return None


def envelope(message: Json) -> Mapping[str, Json]:
    """The object that a message is, or is the JSON text of, if it speaks of traces; else empty.

    fal prints unhandled errors as ``{"traceback": "…"}``, structured loggers put trace ids there.
    """
    if isinstance(message, dict):
        return message
    if not isinstance(message, str) or "trace" not in message or not _opens_object(message):
        return {}
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def is_plain(value: Json) -> bool:
    """Whether a value can stand as one short text: a non-empty string, a number or a boolean."""
    return isinstance(value, str | int | float) and value != ""


def _opens_object(message: str) -> bool:
    return message[:1] == "{" or message[:80].lstrip()[:1] == "{"


def _faults(tick: Tick | None, labels: Json) -> tuple[str, ...]:
    if tick is not None and (labels is None or isinstance(labels, dict)):
        return ()
    faults = [] if tick is not None else ["timestamp is not a time"]
    if labels is not None and not isinstance(labels, dict):
        faults.append("labels are not an object")
    return tuple(faults)
