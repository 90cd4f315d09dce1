"""The shape of an app's entries: what is dropped, hidden and added before they are stored. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from bridge.patterns import Pattern
from bridge.settings.section import NUMBER, Level, Section


def _pattern(text: str) -> str:
    """Refuse what is no pattern, with the engine's reason (`PatternError` is a `ValueError`)."""
    Pattern(text)
    return text


def _prefix(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError("must be printable, without spaces")
    return text


Regex = Annotated[
    str,
    StringConstraints(min_length=1),
    AfterValidator(_pattern),
    WithJsonSchema({"x-type": "pattern", "type": "string", "minLength": 1}),
]
Named = Annotated[str, StringConstraints(min_length=1)]
PresetName: TypeAlias = Literal[
    "bearer", "api_key", "password", "jwt", "private_key", "email", "signed_url", "fal_key"
]
Preset = Annotated[
    PresetName, WithJsonSchema({"x-type": "preset", "enum": list(get_args(PresetName))})
]


class Drop(Section):
    """Entries to drop: those that meet all of the given conditions."""

    message: Regex | None = None
    """Found in the message."""
    attributes: Mapping[Named, Regex] = {}
    """Each found in the label, field or parsed JSON field of that name."""
    below: Level | None = None
    """Less severe than this level; an entry without a known level is not."""

    @model_validator(mode="after")
    def _not_everything(self) -> Drop:
        if self.message is None and not self.attributes and self.below is None:
            raise ValueError("needs message, attributes or below, or it would drop every entry")
        return self


class Sample(Section):
    """A share of the entries to keep, always the same ones."""

    rate: Annotated[float, NUMBER, Field(ge=0, le=1)]
    """The share to keep, from 0 to 1."""
    below: Level | None = None
    """Only of entries less severe than this level; omitted, of all."""


class Mask(Section):
    """Text to hide."""

    pattern: Regex
    """What to hide, wherever an entry has text."""
    replacement: str = "***"
    r"""What to put in its place; `\1` and `\g<name>` are groups of the pattern."""

    @field_validator("replacement")
    @classmethod
    def _fits(cls, text: str, info: ValidationInfo) -> str:
        if "pattern" in info.data:
            Pattern(info.data["pattern"]).replacement(text)
        return text


class Shape(Section):
    """What is done to an app's entries before they are stored, in this order."""

    strip_ansi: bool = False
    """Take terminal escapes, such as colours, out of messages."""
    join_tracebacks: bool = False
    """Join the lines of a Python traceback that were printed one by one into one record."""
    parse_json: bool = False
    """Make attributes of the fields of a message that is a JSON object."""
    json_prefix: Annotated[str, AfterValidator(_prefix)] = "json."
    """Stands before the names of such attributes; may be empty."""
    infer_level: bool = False
    """Take the level of a STDOUT or STDERR line from its text, where it names one."""
    drop: tuple[Drop, ...] = ()
    """Entries to drop: those that any of these describes."""
    sample: tuple[Sample, ...] = ()
    """Entries to keep a share of; the first that fits an entry counts."""
    drop_attributes: tuple[Named, ...] = ()
    """Labels, fields and attributes to leave out, by name; `*` and `?` stand for anything."""
    mask: tuple[Mask, ...] = ()
    """Text to hide."""
    mask_presets: tuple[Preset, ...] = ()
    """Ready-made masks: `bearer`, `api_key`, `password`, `jwt`, `private_key`, `email`,
    `signed_url`, `fal_key`."""
