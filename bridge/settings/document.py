"""One YAML file as plain data, with the line of every value. Pure.

Reading alters nothing: a plain scalar becomes a number or a boolean only where that is written
the way it is printed, so ``1.10``, ``007``, ``yes`` and ``2025-09-19`` stay the text they are and
the settings' own types do the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import yaml
from msgspec import Struct, field

from bridge.errors import ConfigError
from bridge.model import Json

Place: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and list indexes."""

_BOOLEANS: Final = {"true": True, "false": False}
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TEXT: Final = "tag:yaml.org,2002:str"
_TAGS: Final = {
    yaml.ScalarNode: _TEXT,
    yaml.MappingNode: "tag:yaml.org,2002:map",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
}
_MOST_VALUES: Final = 100_000
"""Values of a document with its aliases written out; a few lines can stand for billions."""


class Problem(Struct, frozen=True):
    """Something wrong with one value: the way to it, and one sentence about it."""

    path: Place
    text: str


class Document(Struct):
    """A file's data, the line of each value (from 1), and what is wrong with its form."""

    data: Json = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Composes and merges; scalars keep their text."""


_Loader.yaml_implicit_resolvers = {
    "<": [("tag:yaml.org,2002:merge", yaml.SafeLoader.yaml_implicit_resolvers["<"][0][1])]
}


def parse(text: str, where: str) -> Document:
    """Read one YAML document.

    Duplicate keys and the like are its `problems`; the first value of a duplicate key stands.

    Raises:
        ConfigError: it is not YAML; ``where`` is extended by line and column.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        document = Document()
        if root is None:
            return document
        if _written_out(root, {}) > _MOST_VALUES:
            what = f"is more than {_MOST_VALUES:,} values with its aliases written out"
            raise ConfigError(what, where=where)
        document.data = _Builder(loader, document).build(root, ())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, where, error) from None
    except yaml.reader.ReaderError as error:
        raise _character_error(text, where, error) from None
    except RecursionError:
        raise ConfigError("is nested too deeply", where=where) from None
    return document


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; one that contains itself counts once in itself."""
    if id(node) not in known:
        known[id(node)] = 1
        inside = node.value if isinstance(node, yaml.CollectionNode) else ()
        nodes = (n for item in inside for n in (item if isinstance(item, tuple) else (item,)))
        known[id(node)] += sum(_written_out(n, known) for n in nodes)
    return known[id(node)]


class _Builder:
    """Turns nodes into data, noting lines and problems on the way."""

    def __init__(self, loader: _Loader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._open: set[int] = set()
        self._flat: set[int] = set()

    def build(self, node: yaml.Node, path: Place) -> Json:
        """The value of a node at a path."""
        self._document.lines.setdefault(path, _line(node))
        if id(node) in self._open:
            self._report(path, "contains itself")
            return None
        self._open.add(id(node))
        try:
            return self._value(node, path)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, path: Place) -> Json:
        if node.tag != _TAGS[type(node)]:
            self._report(path, f"the tag {node.tag!r} is not known here; quote the text")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return scalar(node.value) if plain else node.value

    def _mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Json]:
        merged = self._flatten(node, path)
        mapping: dict[str, Json] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(path, "has a key that is not text")
                continue
            key = key_node.value
            if key in mapping and not merged:
                self._report((*path, key), f"is given again in line {_line(key_node)}")
                continue
            self._document.lines[(*path, key)] = _line(key_node)
            mapping[key] = self.build(value_node, (*path, key))
        return mapping

    def _flatten(self, node: yaml.MappingNode, path: Place) -> bool:
        """Resolve ``<<`` once; whether the mapping had one, so that a key may come twice."""
        had = any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value)
        if had:
            own = [key.value for key, _ in node.value]
            for key in {key for key in own if isinstance(key, str) and own.count(key) > 1}:
                self._report((*path, key), "is given twice")
            self._loader.flatten_mapping(node)
            self._flat.add(id(node))
        return id(node) in self._flat

    def _report(self, path: Place, text: str) -> None:
        self._document.problems.append(Problem(path, text))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def scalar(text: str) -> Json:
    """What an unquoted scalar means: null, a boolean, a number written plainly, or its text."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for number in (int, float):
        value = _number(text, number)
        if value is not None and str(value) == text:
            return value
    return text


def _number(text: str, kind: Callable[[str], int | float]) -> int | float | None:
    # Infinity and not-a-number are words in a config file, never quantities.
    if not text[-1:].isdigit():
        return None
    try:
        return kind(text)
    except ValueError:
        return None


def strings(data: Json, path: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every text value of a document with the way to it; keys are not values."""
    if isinstance(data, str):
        yield path, data
    for key, value in _children(data):
        yield from strings(value, (*path, key))


def replaced(data: Json, values: dict[Place, str], path: Place = ()) -> Json:
    """The same data with the text values at some paths replaced."""
    if isinstance(data, dict):
        return {key: replaced(value, values, (*path, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [replaced(value, values, (*path, at)) for at, value in enumerate(data)]
    return values.get(path, data) if isinstance(data, str) else data


def _children(data: Json) -> Iterator[tuple[str | int, Json]]:
    if isinstance(data, dict):
        yield from data.items()
    elif isinstance(data, list):
        yield from enumerate(data)


def _syntax_error(text: str, where: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    what = f"is not YAML: {error.problem or error.context}"
    if mark is None:
        return ConfigError(what, where=where)
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    hint = 'inside { } or [ ], quote a placeholder: "${env:NAME}"' if "${" in line else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "indent with spaces: YAML takes no tabs there"
    return ConfigError(what, where=f"{where}:{mark.line + 1}:{mark.column + 1}", hint=hint)


def _character_error(text: str, where: str, error: yaml.reader.ReaderError) -> ConfigError:
    before = text[: error.position]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    code = ord(text[error.position])
    return ConfigError(
        f"is not YAML: it has the control character U+{code:04X}",
        where=f"{where}:{line}:{column}",
    )
