"""Where each label and each further field of an entry goes among the record's attributes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from bridge.mapping.json_text import json_text
from bridge.mapping.reading import Reading
from bridge.mapping.resource import RESOURCE_FIELDS, RESOURCE_LABELS
from bridge.mapping.values import is_plain
from bridge.model import Json
from bridge.timestamps import parse_tick

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
_REPEATING_LABELS: Final = frozenset({"app", "level", "message"})
_MAPPED_FIELDS: Final = frozenset({"timestamp", "level", "message", "labels"})


def label_attributes(reading: Reading, told: Collection[str]) -> Iterator[tuple[str, Json]]:
    """Every label under its convention's name, or else ``fal.label.<key>``.

    Left out are labels ``told`` elsewhere on the record, those the resource says, and those that
    repeat the entry's own fields.
    """
    for key, value in reading.labels.items():
        names = _RECORD_LABELS.get(key)
        if names is not None:
            for name in names:
                yield name, value
        elif not (key in told or _in_resource(key, value) or _repeats(key, value, reading)):
            yield f"fal.label.{key}", value


def field_attributes(reading: Reading) -> Iterator[tuple[str, Json]]:
    """Every field that the API's document does not name, or that its mapping cannot take."""
    for key, value in reading.fields.items():
        if key in _MAPPED_FIELDS:
            continue
        if key not in RESOURCE_FIELDS or not (is_plain(value) or value in (None, "")):
            yield f"fal.entry.{key}", value


def _in_resource(key: str, value: Json) -> bool:
    return key in RESOURCE_LABELS and is_plain(value)


def _repeats(key: str, value: Json, reading: Reading) -> bool:
    if key == "logged_at":
        return reading.tick is not None and parse_tick(value) == reading.tick
    return key in _REPEATING_LABELS and _equal(value, reading.fields.get(key))


def _equal(one: Json, other: Json) -> bool:
    """Equality as JSON has it (``1`` is not ``true``), for values of any depth."""
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return json_text(one) == json_text(other)
