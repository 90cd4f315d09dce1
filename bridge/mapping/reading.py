"""An entry taken at its word where it keeps the API's contract, and marked where it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.model import Entry, Json, Tick


@dataclass(frozen=True, slots=True)
class Reading:
    """An entry's parts: objects where the API promises them, with what was wrong in ``faults``.

    ``tick`` is the entry's own ``timestamp``, never one it borrowed.
    """

    fields: Mapping[str, Json]
    labels: Mapping[str, Json]
    message: Json
    tick: Tick | None
    faults: tuple[str, ...]


def read(entry: Entry) -> Reading:
    """Read an entry; one that is not an object is all message."""
    raw = entry.raw
    if not isinstance(raw, dict):
        return Reading({}, {}, raw, None, ("entry is not an object",))
    labels = raw.get("labels")
    faults = _faults(entry.tick, labels)
    return Reading(
        raw, labels if isinstance(labels, dict) else {}, raw.get("message"), entry.tick, faults
    )


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


def _opens_object(message: str) -> bool:
    return message[:1] == "{" or message[:80].lstrip()[:1] == "{"


def _faults(tick: Tick | None, labels: Json) -> tuple[str, ...]:
    if tick is not None and (labels is None or isinstance(labels, dict)):
        return ()
    faults = [] if tick is not None else ["timestamp is not a time"]
    if labels is not None and not isinstance(labels, dict):
        faults.append("labels are not an object")
    return tuple(faults)
