"""An entry on its way through the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from bridge.mapping.json_text import json_text
from bridge.mapping.severity import severity_number
from bridge.model import Entry, Identified, Json

_REPEATED: Final = ("message", "level")


class Draft(Struct, frozen=True):
    """One record to be: the entry it tells, the uids it speaks for, what was done to it.

    ``fields`` are those of its message, if that was JSON; ``said`` the ones that the entry says
    now. ``rules`` changed it.
    """

    found: Identified
    uids: tuple[bytes, ...]
    fields: Mapping[str, Json] = field(default_factory=dict)
    said: frozenset[str] = frozenset()
    attributes: Mapping[str, Json] = field(default_factory=dict)
    rules: frozenset[str] = frozenset()

    @property
    def raw(self) -> Json:
        """The entry's JSON value."""
        return self.found.entry.raw

    @property
    def message(self) -> Json:
        """The message; an entry that is no object is all message."""
        return self.raw.get("message") if isinstance(self.raw, dict) else self.raw

    @property
    def level(self) -> Json:
        """The level."""
        return self.raw.get("level") if isinstance(self.raw, dict) else None

    @property
    def labels(self) -> Mapping[str, Json]:
        """The labels, if they are what they should be."""
        labels = self.raw.get("labels") if isinstance(self.raw, dict) else None
        return labels if isinstance(labels, dict) else {}

    def severity(self, stderr: int) -> int:
        """The number of its level."""
        return severity_number(self.level, stderr=stderr)

    def attribute(self, name: str, prefix: str) -> str | None:
        """The text of a label, else of a field, else of a JSON field by its name with a prefix."""
        value = self.labels.get(name)
        if value is None and isinstance(self.raw, dict):
            value = self.raw.get(name)
        if value is None and name.startswith(prefix):
            value = self.fields.get(name.removeprefix(prefix))
        return value if value is None or isinstance(value, str) else json_text(value)

    def with_raw(self, raw: Json) -> Draft:
        """The same with another JSON value; its identity and its time stay."""
        entry = Entry(raw, self.found.entry.tick)
        return replace(self, found=Identified(entry, self.found.tick, self.found.uid))

    def saying(self, **fields: Json) -> Draft:
        """The same with another ``message`` or ``level``, and without a label that repeats it."""
        raw = self.raw
        if not isinstance(raw, dict):
            return self.with_raw(fields.get("message", raw))
        repeats = [k for k in _REPEATED if k in fields and k in self.labels and self._repeats(k)]
        changed = raw | fields
        if repeats:
            changed["labels"] = {k: v for k, v in self.labels.items() if k not in repeats}
        return self.with_raw(changed)

    def by(self, *rules: str) -> Draft:
        """The same, changed by some rules."""
        return replace(self, rules=self.rules.union(rules))

    def _repeats(self, key: str) -> bool:
        one, other = self.labels[key], self.raw.get(key)
        return isinstance(one, str) and one == other
