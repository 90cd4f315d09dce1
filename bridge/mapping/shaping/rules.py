"""What one app's shaping is told to do; frozen, and ready to be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from bridge.mapping.extra import JSON_MARK
from bridge.patterns import Pattern

MASK: Final = "***"


class Drop(Struct, frozen=True):
    """Entries to drop: those that meet every condition given.

    ``message`` is looked for in the message, each of ``attributes`` in the label, field or JSON
    field of that name; ``below`` is a severity number that the entry's known one is less than.
    """

    message: Pattern | None = None
    attributes: Mapping[str, Pattern] = field(default_factory=dict)
    below: int | None = None


class Sample(Struct, frozen=True):
    """Of the entries ``below`` a severity number, or of all, keep the share ``rate``, 0 to 1."""

    rate: float
    below: int | None = None


class Mask(Struct, frozen=True):
    """What to replace. ``rule`` names it in the counts."""

    rule: str
    pattern: str
    replacement: str = MASK


class Rules(Struct, frozen=True):
    """Everything that can be done to the entries of one app; by default nothing is."""

    strip_ansi: bool = False
    join_tracebacks: bool = False
    parse_json: bool = False
    json_prefix: str = JSON_MARK
    infer_level: bool = False
    drop: tuple[Drop, ...] = ()
    sample: tuple[Sample, ...] = ()
    drop_attributes: tuple[str, ...] = ()
    masks: tuple[Mask, ...] = ()

    @property
    def selective(self) -> bool:
        """Whether an entry may end in no record, or in another's."""
        return bool(self.drop or self.sample or self.join_tracebacks)
