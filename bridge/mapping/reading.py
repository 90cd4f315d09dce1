"""An entry taken at its word where it keeps the API's contract, and marked where it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

from bridge.mapping.json_text import json_text
from bridge.mapping.provenance import NOWHERE, Layout, layout_of, provenance_of
from bridge.model import Entry, Json, Provenance, Tick
from bridge.timestamps import parse_again


class Reading(Struct, frozen=True, gc=False):
    """An entry's parts: objects where the API promises them, with what was wrong in ``faults``.

    ``labels`` are those that say something of this entry alone: neither where it comes from, which
    is its ``provenance``, nor what its fields say already. ``tick`` is the entry's own
    ``timestamp``, never one it borrowed; ``logged_at`` is the label.
    """

    fields: dict[str, Json] = {}
    labels: dict[str, Json] = {}
    message: Json = None
    tick: Tick | None = None
    logged_at: Tick | None = None
    provenance: Provenance = NOWHERE
    faults: tuple[str, ...] = ()


def read(entry: Entry) -> Reading:
    """Read an entry; one that is not an object is all message."""
    raw, tick = entry.raw, entry.tick
    if not isinstance(raw, dict):
        return Reading(message=raw, faults=("entry is not an object",))
    given = raw.get("labels")
    labels = given if isinstance(given, dict) else {}
    layout = layout_of(tuple(labels))
    provenance = entry.provenance or provenance_of(layout, raw, labels)
    logged_at = (
        parse_again(labels["logged_at"], raw.get("timestamp"), tick)
        if layout.has_logged_at
        else None
    )
    own = _own(layout, labels, raw)
    if layout.has_logged_at and (tick is None or logged_at != tick):
        own["logged_at"] = labels["logged_at"]
    if provenance.attributes is None:
        theirs = own.keys() | layout.worker
        own = {key: value for key, value in labels.items() if key in theirs}
    faults = () if given is labels and tick is not None else _faults(tick, given)
    return Reading(raw, own, raw.get("message"), tick, logged_at, provenance, faults)


def _own(layout: Layout, labels: dict[str, Json], fields: dict[str, Json]) -> dict[str, Json]:
    """The labels that are neither the worker's nor what the fields say already."""
    own = {}
    for key in layout.own:
        own[key] = labels[key]
    for key in layout.repeating:
        value, said = labels[key], fields.get(key)
        if not (type(value) is str and value == said) and not _equal(value, said):
            own[key] = value
    return own


def _equal(one: Json, other: Json) -> bool:
    """Equality as JSON has it (``1`` is not ``true``), for values of any depth."""
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return json_text(one) == json_text(other)


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
    faults = [] if tick is not None else ["timestamp is not a time"]
    if labels is not None and not isinstance(labels, dict):
        faults.append("labels are not an object")
    return tuple(faults)
