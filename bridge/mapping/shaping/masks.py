r"""Secrets replaced, wherever an entry has text.

A text is looked through as it is, and what stands between its quotes also as it reads without its
escapes: in ``{"url": "https:\/\/…?sig=\u0061…"}`` a pattern sees what a JSON reader would.
Numbers are looked through as they are written. A name and its value are also looked at together,
as ``{"name":"value"}``, so that a pattern for JSON text finds the same in a label or a parsed
field; a match that ends before the value does not count. A name counts for all that is below it,
in lists and objects, and the first text of two in a list counts as a name. A message that is no
text is looked through as the text that the body will be.

A text with terminal escapes is looked through with them and without; where only the latter shows
a match, the escapes go.

The keys of objects are not masked, nor what is certainly no secret: a time, a known level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from msgspec import Struct

from bridge.mapping.json_text import json_text
from bridge.mapping.severity import is_level
from bridge.mapping.shaping.ansi import strip_ansi
from bridge.mapping.shaping.presets import PRESETS
from bridge.mapping.shaping.rules import MASK, Mask
from bridge.model import Json, Tick
from bridge.patterns import AnyOf, Pattern, Replacement, encoded
from bridge.timestamps import parse_tick

_UNQUOTED: Final = re.compile(r'(?:[^"\\]+|\\[\s\S])+')
_ESCAPES: Final = re.compile(r'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))+')
_SHORT: Final = 256
_REMEMBERED: Final = 8192
_NESTED: Final = 4
"""How often text is escaped within escaped text."""
_DEPTH: Final = 32
_Names: TypeAlias = tuple[str, ...]
_NONE: Final[frozenset[str]] = frozenset()


class _Step(Struct, frozen=True):
    rule: str
    pattern: Pattern
    by: Replacement


def preset_masks(names: Sequence[str]) -> tuple[Mask, ...]:
    """The masks of some presets."""
    return tuple(
        Mask(f"mask_presets.{name}", pattern, replacement)
        for name in names
        for pattern, replacement in PRESETS[name]
    )


class Masks:
    """Some masks, applied one after another.

    Raises:
        PatternError: one cannot be used.
    """

    def __init__(self, masks: Sequence[Mask]) -> None:
        self._any = AnyOf([mask.pattern for mask in masks])
        self._steps = [_step(mask) for mask in masks]
        # Labels are the same again and again.
        self._short = lru_cache(_REMEMBERED)(self._masked)
        # A label repeats the message.
        self._long = lru_cache(2)(self._masked)
        self._short_pair = lru_cache(_REMEMBERED)(self._pair)

    def text(self, text: str) -> tuple[str, frozenset[str]]:
        """A text masked, and the rules that changed it."""
        return self._short(text) if len(text) <= _SHORT else self._long(text)

    def entry(self, raw: Json, tick: Tick | None, rules: set[str]) -> Json:
        """A whole entry masked; the same object where nothing was found."""
        if not isinstance(raw, dict):
            return self._body(raw, rules)
        return _changed(raw, {k: self._field(k, v, tick, rules) for k, v in raw.items()})

    def fields(self, fields: Mapping[str, Json], rules: set[str]) -> dict[str, Json]:
        """The fields of a JSON message masked."""
        return {key: self._member(key, value, rules) for key, value in fields.items()}

    def _field(self, key: str, value: Json, tick: Tick | None, rules: set[str]) -> Json:
        if key == "labels" and isinstance(value, dict):
            return _changed(value, {k: self._label(k, v, rules) for k, v in value.items()})
        if key == "timestamp" and tick is not None:
            return value
        return self._own(key, value, rules)

    def _label(self, key: str, value: Json, rules: set[str]) -> Json:
        if key == "logged_at" and parse_tick(value) is not None:
            return value
        return self._own(key, value, rules)

    def _own(self, key: str, value: Json, rules: set[str]) -> Json:
        """The message and the level end as texts, and what they are called tells nothing."""
        if key == "level" and is_level(value):
            return value
        if key in ("message", "level"):
            return self._body(value, rules)
        return self._member(key, value, rules)

    def _body(self, value: Json, rules: set[str]) -> Json:
        """A message; one that is no text becomes text where only that shows a match."""
        value = self._value(value, rules)
        return self._as_text(value, rules) if isinstance(value, dict | list) else value

    def _member(
        self, key: str, value: Json, rules: set[str], depth: int = 0, outer: _Names = ()
    ) -> Json:
        """A value below a name, which is also below the names further out."""
        return self._value(value, rules, depth, (key, *outer))

    def _value(self, value: Json, rules: set[str], depth: int = 0, names: _Names = ()) -> Json:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, dict) and depth < _DEPTH:
            members = {k: self._member(k, v, rules, depth + 1, names) for k, v in value.items()}
            return _changed(value, members)
        if isinstance(value, list) and depth < _DEPTH:
            items = [self._value(item, rules, depth + 1, names) for item in value]
            same = all(map(_same, items, value))
            return self._two(value if same else items, rules)
        value = self._text(value, rules) if isinstance(value, str) else self._as_text(value, rules)
        for name in names:
            value = self._named(name, value, rules)
        return value

    def _named(self, name: str, value: Json, rules: set[str]) -> Json:
        if isinstance(value, str) and len(value) <= _SHORT:
            value, found = self._short_pair(name, value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            value, found = self._pair(name, value)
        else:
            return value
        rules |= found
        return value

    def _two(self, items: list[Json], rules: set[str]) -> Json:
        """A list; one of two texts may be a name and its value, as headers are given."""
        match items:
            case [str(), str()]:
                masked = self._as_text(items, rules)
                return _list_in(masked) if isinstance(masked, str) else masked
            case _:
                return items

    def _text(self, text: str, rules: set[str]) -> str:
        masked, found = self.text(text)
        rules |= found
        return masked

    def _as_text(self, value: Json, rules: set[str]) -> Json:
        """A value as it is, or as its masked JSON text."""
        masked, found = self.text(json_text(value))
        rules |= found
        return masked if found else value

    def _pair(self, key: str, value: Json) -> tuple[Json, frozenset[str]]:
        """A value, masked as it reads behind its name."""
        text = json_text({key: value})
        if not self._any.matches(encoded(text)):
            return value, _NONE
        opening = 1 if isinstance(value, str) else 0
        before = len(encoded(json_text({key: 0}))) - len("0}") + opening
        rules = set()
        for step in self._steps:
            found = step.pattern.replace(text, step.by, beyond=before)
            if found is not None and found != text:
                text = found
                rules.add(step.rule)
        return (_value_in(text, key), frozenset(rules)) if rules else (value, _NONE)

    def _masked(self, text: str, nested: int = _NESTED) -> tuple[str, frozenset[str]]:
        rules: set[str] = set()
        text = self._uncoloured(self._stepped(text, rules), rules)
        if nested and "\\" in text and (nested < _NESTED or self._reads_as_secret(text)):
            text = self._as_read(text, rules, nested)
        return (text, frozenset(rules)) if rules else (text, _NONE)

    def _stepped(self, text: str, rules: set[str]) -> str:
        if self._any.matches(encoded(text)):
            for step in self._steps:
                found = step.pattern.replace(text, step.by)
                if found is not None and found != text:
                    text = found
                    rules.add(step.rule)
        return text

    def _uncoloured(self, text: str, rules: set[str]) -> str:
        """A text as it is, or masked without its terminal escapes where only that shows a match."""
        bare = strip_ansi(text)
        if bare == text:
            return text
        masked = self._stepped(bare, rules)
        return text if masked == bare else masked

    def _reads_as_secret(self, text: str) -> bool:
        """Whether a text without its escapes has a match, however often it was escaped."""
        for _ in range(_NESTED):
            read = _ESCAPES.sub(_unescaped, text)
            if read == text:
                return False
            bare = strip_ansi(read)
            if any(self._any.matches(encoded(seen)) for seen in {read, bare}):
                return True
            text = read
        return False

    def _as_read(self, text: str, rules: set[str], nested: int) -> str:
        """Look at each stretch between quotes without its escapes; masked, it is escaped again."""
        pieces: list[str] = []
        done = 0
        for stretch in _UNQUOTED.finditer(text):
            read = _ESCAPES.sub(_unescaped, stretch[0]) if "\\" in stretch[0] else ""
            if not read or read == stretch[0]:
                continue
            masked, found = self._masked(read, nested - 1)
            if found:
                rules |= found
                pieces += (text[done : stretch.start()], json_text(masked)[1:-1])
                done = stretch.end()
        return "".join([*pieces, text[done:]]) if pieces else text


def _step(mask: Mask) -> _Step:
    pattern = Pattern(mask.pattern)
    return _Step(mask.rule, pattern, pattern.replacement(mask.replacement))


def _unescaped(escapes: re.Match[str]) -> str:
    return str(json.loads(f'"{escapes[0]}"'))


def _value_in(text: str, key: str) -> Json:
    """The value in the JSON text of one pair; all of it hidden where a mask broke the text."""
    try:
        pair = json.loads(text)
    except ValueError:
        return MASK
    return pair.get(key, MASK) if isinstance(pair, dict) else MASK


def _list_in(text: str) -> Json:
    """The list in a masked JSON text; the text where a mask broke it."""
    try:
        items = json.loads(text)
    except ValueError:
        return text
    return items if isinstance(items, list) else text


def _same(one: Json, other: Json) -> bool:
    return one is other


def _changed(before: dict[str, Json], after: dict[str, Json]) -> dict[str, Json]:
    return before if all(map(_same, after.values(), before.values())) else after
