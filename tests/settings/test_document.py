"""YAML as plain data."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.settings.document import parse, replaced, strings


def _data(text: str) -> Any:
    document = parse(text, "config.yaml")
    assert not document.problems
    return document.data


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1.10", "1.10"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("yes", "yes"),
        ("no", "no"),
        ("On", "On"),
        ("True", "True"),
        ("1e3", "1e3"),
        ("nan", "nan"),
        ("inf", "inf"),
        (".inf", ".inf"),
        ("2025-09-19", "2025-09-19"),
        ("2025-09-19T12:00:00Z", "2025-09-19T12:00:00Z"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  a\n  b", "a\nb"),
    ],
)
def test_scalars_stay_what_is_written(written: str, value: object) -> None:
    """Only what is printed as it is written becomes a number or a boolean."""
    found = _data(f"key: {written}")["key"]
    assert (found, type(found)) == (value, type(value))


def test_lines() -> None:
    """Every value's line is known, lists and nested mappings included."""
    text = "a: 1\nb:\n  - c: 2\n\n  - d:\n      e: 3\n"
    lines = parse(text, "").lines
    assert lines["a",] == 1
    assert lines["b", 0, "c"] == 3
    assert lines["b", 1, "d", "e"] == 6


def test_anchors_and_merges() -> None:
    """Aliases repeat a value, and a merged mapping's keys yield to the mapping's own."""
    text = """
    a: &base {x: 1, y: 2}
    b: {<<: *base, y: 3}
    c: {y: 4, <<: *base}
    d: *base
    e: [{<<: *base}, {<<: [*base, {z: 5}]}]
    """
    assert _data(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 4},
        "d": {"x": 1, "y": 2},
        "e": [{"x": 1, "y": 2}, {"x": 1, "y": 2, "z": 5}],
    }


def test_an_alias_of_a_merging_mapping() -> None:
    """A mapping that merges can itself be repeated."""
    assert _data("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: *b\n")["c"] == {"x": 2}


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", ("a",), "is given again in line 3"),
        ("l:\n  - {a: 1, a: 2}\n", ("l", 0, "a"), "is given again in line 2"),
        ("m: &m {x: 1}\nb: {<<: *m, y: 1, y: 2}\n", ("b", "y"), "is given twice"),
        ("a: &a [*a]\n", ("a", 0), "contains itself"),
        ("a: !secret x\n", ("a",), "the tag '!secret' is not known"),
        ("a: !secret {x: 1}\n", ("a",), "the tag '!secret' is not known"),
        ("a: !!set {x}\n", ("a",), "the tag 'tag:yaml.org,2002:set' is not known"),
        ("a: !secret [x]\n", ("a",), "the tag '!secret' is not known"),
        ("? [x]\n: 1\n", (), "has a key that is not text"),
    ],
)
def test_problems_of_form(text: str, path: tuple[str | int, ...], words: str) -> None:
    """What is YAML but cannot be meant is a problem with its place."""
    (problem,) = parse(text, "").problems
    assert problem.path == path
    assert words in problem.text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1\nb: 2\n", "config.yaml:2:2: "),
        ("a: b: c\n", "config.yaml:1:5: "),
        ("a: 'x\n", "config.yaml:2:1: "),
        ("a: *nobody\n", "config.yaml:1:4: "),
        ("a: 1\n---\nb: 2\n", "config.yaml:2:1: "),
        ("\ta: 1\n", "config.yaml:1:1: "),
    ],
)
def test_syntax_errors(text: str, place: str) -> None:
    """What is not YAML is an error with file, line and column."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "config.yaml")
    assert str(caught.value).startswith(place)
    assert "\n" not in str(caught.value)


def test_control_characters_are_a_syntax_error() -> None:
    """A character that YAML does not allow is an error too, one line with its place."""
    with pytest.raises(ConfigError) as caught:
        parse("a: 1\nb: \x00", "config.yaml")
    assert str(caught.value) == (
        "config.yaml:2:4: is not YAML: it has the control character U+0000"
    )


@pytest.mark.parametrize("text", ["[" * 5_000, "a: " + "[" * 900 + "]" * 900, "a: " + "{b: " * 900])
def test_deep_nesting_is_refused(text: str) -> None:
    """However deep it is, the error is one line."""
    with pytest.raises(ConfigError, match=r"\Aconfig\.yaml: is nested too deeply\Z"):
        parse(text, "config.yaml")


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_a_few_lines_that_stand_for_billions_are_refused(form: str) -> None:
    """Aliases of aliases are counted before they are written out."""
    lines = ["a0: &a0 {x: 1}"]
    for n in range(1, 40):
        aliases = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} {form.format(aliases)}")
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        parse("\n".join(lines), "config.yaml")


def test_an_unquoted_placeholder_gets_a_hint() -> None:
    """Braces within braces need quotes, and the error says so."""
    with pytest.raises(ConfigError, match="quote a placeholder"):
        parse("headers: {Authorization: ${env:TOKEN}}\n", "config.yaml")


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    # Exponents are text here, which PyYAML does not know.
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda n: "e" not in repr(n))
    # YAML cannot hold every control character, and PyYAML writes some ends of lines away.
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_PLAIN)
def test_data_survives(data: Any) -> None:
    """What PyYAML writes is read back as it was."""
    assert _data(yaml.safe_dump(data)) == data


@given(_PLAIN)
def test_strings_and_replaced_agree(data: Any) -> None:
    """Every text found can be replaced at its path, and nothing else changes."""
    found = dict(strings(data))
    assert replaced(data, found) == data
    marked = replaced(data, {path: f"<{text}>" for path, text in found.items()})
    assert dict(strings(marked)) == {path: f"<{text}>" for path, text in found.items()}
