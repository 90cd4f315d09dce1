"""Where each label and each further field of an entry goes among the record's attributes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Final

from bridge.mapping.conventions import (
    MAPPED_FIELDS,
    RECORD_LABELS,
    RESOURCE_FIELDS,
    RESOURCE_LABELS,
)
from bridge.mapping.json_text import is_plain
from bridge.mapping.wire import SHORT, attributes, before_attribute, encoded_key, utf8
from bridge.model import Json

_CACHED: Final = 4_096


def label_attributes(labels: Mapping[str, Json], told: Collection[str] = ()) -> bytes:
    """Every label under its convention's name, or else ``fal.label.<key>``.

    Left out are labels ``told`` elsewhere on the record, and those the resource says.
    """
    made = b""
    for key, value in labels.items():
        if key not in RECORD_LABELS and (key in told or _in_resource(key, value)):
            continue
        made += label_attribute(key, value)
    return made


def label_attribute(key: str, value: Json) -> bytes:
    """One label under all its names."""
    if type(value) is str and len(value) <= SHORT:
        text = utf8(value)
        return text.join(_around(key, len(text)))
    return attributes((name, value) for name in _names(key))


@lru_cache(_CACHED)
def _around(key: str, size: int) -> tuple[bytes, ...]:
    """A label's attributes without its text of so many bytes, cut where that stands."""
    return *(before_attribute(name, size) for name in _names(key)), b""


def label_keys(label: str) -> tuple[bytes, ...]:
    """The encoded keys of the attributes that a label becomes."""
    return tuple(encoded_key(name) for name in _names(label))


def _names(label: str) -> tuple[str, ...]:
    return RECORD_LABELS.get(label, (f"fal.label.{label}",))


def _in_resource(key: str, value: Json) -> bool:
    return key in RESOURCE_LABELS and is_plain(value)


def field_attributes(fields: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Every field that the API's document does not name, or that its mapping cannot take."""
    for key, value in fields.items():
        if key in MAPPED_FIELDS:
            continue
        if key not in RESOURCE_FIELDS or not (is_plain(value) or value in (None, "")):
            yield f"fal.entry.{key}", value
