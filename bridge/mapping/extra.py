"""What an app's shaping adds to a record beyond the entry itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from bridge.model import Json

JSON_MARK: Final = "json."
"""Stands before a JSON field's name where another attribute has it, or must not be given it."""
RESERVED: Final = frozenset(
    ("message", "level", "status", "ddtags", "ddsource", "service", "host", "source", "")
)
"""Names that Datadog takes for its own (docs/mapping.md), and no name at all."""


class Extra(Struct, frozen=True):
    """Additions to one record.

    ``attributes`` are added under their own names; ``fields`` are those of a message that was
    JSON, added under ``prefix``, less those ``said`` by the record already. ``original`` stands in
    for the JSON text of a malformed entry.
    """

    attributes: Mapping[str, Json] = field(default_factory=dict)
    fields: Mapping[str, Json] = field(default_factory=dict)
    prefix: str = ""
    said: frozenset[str] = frozenset()
    original: str | None = None


NOTHING: Final = Extra()
