"""What is wrong with the settings, said to people: where, and in one sentence. Pure.

A value is shown only where it is short, plainly no secret, and stands in the file itself; what
came out of a placeholder, or stands where a secret does, never is.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from msgspec import Struct, field
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bridge.errors import ConfigError
from bridge.settings.document import Place, Problem
from bridge.settings.section import Section
from bridge.settings.sections import DESTINATION_TYPES, Settings

_SIMPLE_KEY: Final = re.compile(r"[\w-]+\Z")
_SHOWN: Final = 32
_SILENT: Final = frozenset(("missing", "extra_forbidden", "not_yet", "string_too_short"))
_SENTENCES: Final = {
    "missing": "is required",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "string_unicode": "must be UTF-8 text",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "path_type": "must be a path",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "invalid_key": "must be text",
}


class Origins(Struct):
    """Where the values came from: the file's lines, variables, filled-in placeholders."""

    file: str = ""
    lines: Mapping[Place, int] = field(default_factory=dict)
    variables: dict[Place, str] = field(default_factory=dict)
    filled: set[Place] = field(default_factory=set)

    def variable(self, path: Place) -> tuple[str, Place] | None:
        """The variable that a value came from, and how much of the way to it that covers."""
        for length in range(len(path), 0, -1):
            if name := self.variables.get(path[:length]):
                return name, path[:length]
        return None

    def line(self, path: Place) -> int | None:
        """The line of a value, or of the nearest mapping or list it would stand in."""
        if self.variable(path):
            return None
        lengths = range(len(path), 0, -1)
        return next((self.lines[path[:n]] for n in lengths if path[:n] in self.lines), None)

    def name(self, path: Place) -> str:
        """The way to a value as people write it, with the variable or line it came from."""
        if found := self.variable(path):
            variable, covered = found
            return variable if covered == path else f"{variable}: {dotted(path)}"
        line = self.line(path)
        return f"{dotted(path)} (line {line})" if line else dotted(path)


def dotted(path: Place) -> str:
    """``apps[0].labels.fal_env``; a key that is no plain word stands quoted in brackets."""
    written = ""
    for part in path:
        if isinstance(part, str) and _SIMPLE_KEY.match(part):
            written += f".{part}" if written else part
        else:
            written += f"[{json.dumps(part)}]"
    return written


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of some words that a mistyped one most likely means."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


def found_by(error: ValidationError, origins: Origins) -> Iterator[Problem]:
    """The problems that the settings' types found, each at its place in the file."""
    for details in error.errors(include_url=False):
        # A default that depends on a wrong value is a consequence, not a second problem.
        if details["type"] == "default_factory_not_called":
            continue
        path = _path(details["loc"])
        yield Problem(path, _sentence(details) + _shown(details, path, origins))


def config_error(problems: Iterable[Problem], origins: Origins) -> ConfigError:
    """All problems as one error, in the order of the file; consequences of others left out."""
    kept: list[Problem] = []
    for problem in problems:
        if not any(problem.path[: len(other.path)] == other.path for other in kept):
            kept.append(problem)
    kept.sort(key=lambda problem: origins.line(problem.path) or 0)
    lines = [_line(problem, origins) for problem in kept]
    where = origins.file or "no config file, and in the environment"
    if len(lines) == 1:
        return ConfigError(lines[0], where=where)
    listed = "".join(f"\n  {line}" for line in lines)
    return ConfigError(f"{len(lines)} problems{listed}", where=where)


def _line(problem: Problem, origins: Origins) -> str:
    return f"{origins.name(problem.path)}: {problem.text}" if problem.path else problem.text


def _path(loc: tuple[int | str, ...]) -> Place:
    """A pydantic location without what only pydantic knows: union tags and key marks."""
    plain = [part for part in loc if part != "[key]"]
    if plain[0:1] == ["destinations"] and plain[2:3] and plain[2] in DESTINATION_TYPES:
        del plain[2]
    return tuple(plain)


def _sentence(details: ErrorDetails) -> str:
    """One clear sentence for what pydantic found."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"])
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _type(str(context.get("tag", "")))
    return _SENTENCES.get(kind) or details["msg"].replace("Input should", "must")


def _unknown_key(loc: tuple[int | str, ...]) -> str:
    keys = {key for section in _sections(loc[:-1]) for key in section.model_fields}
    guess = nearest(str(loc[-1]), sorted(keys))
    if guess:
        return f"unknown key; did you mean {guess!r}?"
    return f"unknown key; the keys here are {', '.join(sorted(keys))}"


def _type(tag: str) -> str:
    guess = nearest(tag, DESTINATION_TYPES)
    mend = f"; did you mean {guess!r}?" if guess else ""
    return f"the type must be {_either(DESTINATION_TYPES)}{mend}"


def _either(words: Sequence[str]) -> str:
    """``'a', 'b' or 'c'``."""
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}"


def _sections(loc: tuple[int | str, ...]) -> list[type[Section]]:
    """The section that a location names, found the way pydantic went."""
    here: list[type[Section]] = [Settings]
    for part in loc:
        if isinstance(part, int):
            continue
        fields = [section.model_fields[part] for section in here if part in section.model_fields]
        if fields:
            here = [section for info in fields for section in _inside(info.annotation)]
        else:
            here = [s for s in here if part in get_args(s.model_fields["type"].annotation)]
    return here


def _inside(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)


def _shown(details: ErrorDetails, path: Place, origins: Origins) -> str:
    """The wrong value, where it may and helps."""
    value = details["input"]
    if details["type"] in _SILENT or not isinstance(value, str | int | float):
        return ""
    if _secret(path) or path in origins.filled:
        return ""
    shown = repr(value)
    return f", not {shown}" if len(shown) <= _SHOWN and "@" not in shown else ""


def _secret(path: Place) -> bool:
    if path[0:1] == ("apps",) and "shape" in path:  # a pattern may quote what it is to hide
        return path[-1] in ("pattern", "replacement", "message") or "attributes" in path
    return path == ("fal", "key") or (path[0:1] == ("destinations",) and "headers" in path)
