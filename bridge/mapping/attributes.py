"""Where each label and each further field of an entry goes among the record's attributes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from bridge.mapping.json_text import json_text
from bridge.mapping.reading import Reading, is_plain
from bridge.mapping.resource import RESOURCE_FIELDS, RESOURCE_LABELS
from bridge.mapping.wire import attribute
from bridge.model import Json

_RECORD_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "fal_request_id": ("faas.invocation_id", "fal.request.id"),
    "fal_endpoint": ("fal.endpoint",),
    "isolate_source": ("fal.isolate.source",),
    "source": ("fal.source",),
    "fal_worker_id": ("fal.worker.id",),
    "fal_multiplexing_app": ("fal.multiplexing_app",),
    "fal_public_logs": ("fal.public_logs",),
    "app_id": ("fal.app_id",),
}
_PERHAPS_REPEATING: Final = ("app", "level", "message", "logged_at")
_CACHED: Final = 4_096
_LONGEST_CACHED: Final = 2_048
"""Of all labels of an entry together."""
_MAPPED_FIELDS: Final = frozenset({"timestamp", "level", "message", "labels"})
_NAMED_FIELDS: Final = _MAPPED_FIELDS.union(RESOURCE_FIELDS)


def label_attributes(reading: Reading, told: Collection[str]) -> bytes:
    """Every label under its convention's name, or else ``fal.label.<key>``.

    Left out are labels ``told`` elsewhere on the record, those the resource says, and those that
    repeat the entry's own fields.
    """
    labels = reading.labels.copy()
    for key in _PERHAPS_REPEATING:
        if key in labels and _repeats(key, labels[key], reading):
            del labels[key]
    for key in told:
        if key not in _RECORD_LABELS:
            labels.pop(key, None)
    # Most labels are short texts that come again and again.
    short = reading.words is not None and len(reading.words) <= _LONGEST_CACHED
    return b"".join(map(_known_label if short else _label, labels.keys(), labels.values()))


def _label(key: str, value: Json) -> bytes:
    """The attributes that one label makes; none for what the resource says."""
    names = _RECORD_LABELS.get(key)
    if names is not None:
        return b"".join([attribute(name, value) for name in names])
    return b"" if _in_resource(key, value) else attribute(f"fal.label.{key}", value)


_known_label = lru_cache(_CACHED)(_label)


def field_attributes(reading: Reading) -> Iterator[tuple[str, Json]]:
    """Every field that the API's document does not name, or that its mapping cannot take."""
    fields = reading.fields
    if _NAMED_FIELDS.issuperset(fields) and _are_texts(map(fields.get, RESOURCE_FIELDS)):
        return
    for key, value in fields.items():
        if key in _MAPPED_FIELDS:
            continue
        if key not in RESOURCE_FIELDS or not (is_plain(value) or value in (None, "")):
            yield f"fal.entry.{key}", value


def _are_texts(values: Iterable[Json]) -> bool:
    return {*map(type, values)} == {str}


def _in_resource(key: str, value: Json) -> bool:
    return key in RESOURCE_LABELS and is_plain(value)


def _repeats(key: str, value: Json, reading: Reading) -> bool:
    if key == "logged_at":
        return reading.tick is not None and reading.logged_at == reading.tick
    return _equal(value, reading.fields.get(key))


def _equal(one: Json, other: Json) -> bool:
    """Equality as JSON has it (``1`` is not ``true``), for values of any depth."""
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return json_text(one) == json_text(other)
