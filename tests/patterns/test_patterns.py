"""Patterns of people: what is refused, what is found, and that none can stall the process."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import patterns
from bridge.patterns import AnyOf, Pattern, PatternError, encoded

any_text = st.text(st.characters(exclude_categories=()), max_size=30)


def replaced(pattern: str, text: str, by: str = "*") -> str | None:
    """A text with a pattern replaced."""
    compiled = Pattern(pattern)
    return compiled.replace(text, compiled.replacement(by))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a(", "is not a pattern that RE2 takes: missing )"),
        ("a**", "bad repetition operator: **"),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("(?=a)", "invalid perl operator: (?="),
        ("[z-a]", "invalid character class range: z-a"),
        ("\ud800", "is not a pattern that RE2 takes"),
        ("a*", "must not match the empty text"),
        ("|a", "must not match the empty text"),
        ("(?:a{1,900}b){900}", "is not a pattern that RE2 takes"),
        ("[01]*1" + r"\pL{300}", "is too large"),
        ("a" * 4_001, "must have at most 4000 characters"),
    ],
)
def test_refused(text: str, words: str) -> None:
    """What is no pattern, or none that can be used, is refused with a reason."""
    with pytest.raises(PatternError) as caught:
        Pattern(text)
    assert words in str(caught.value)


def test_a_reason_quotes_little() -> None:
    """A broken pattern may hold the secret that it was to hide."""
    with pytest.raises(PatternError) as caught:
        Pattern("(the-secret-that-was-to-be-hidden")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("*", "[*]"),
        (r"\1", "[ab]"),
        (r"\g<1>", "[ab]"),
        (r"\g<two>-\1", "[cd-ab]"),
        (r"\0", "[ab=cd]"),
        (r"\\1é", "[\\1é]"),
        ("", "[]"),
    ],
)
def test_replacements(by: str, expected: str) -> None:
    """Groups by number and name, a backslash, and text as it is."""
    assert replaced("(ab)=(?P<two>cd)", "[ab=cd]", by) == expected


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (r"\2", "names the group 2"),
        (r"\g<7>", "names the group 7"),
        (r"\g<x>", "names the group 'x'"),
        ("a\\", r"must be written \\"),
        (r"\d", r"must be written \\"),
    ],
)
def test_replacements_refused(by: str, words: str) -> None:
    """A group that is not there, and a backslash that says nothing."""
    with pytest.raises(PatternError) as caught:
        Pattern("(a)").replacement(by)
    assert words in str(caught.value)


def test_a_group_without_a_part_is_empty() -> None:
    """A group that took no part in the match leaves nothing."""
    assert replaced("(a)|b", "ab", r"<\1>") == "<a><>"


def test_what_is_not_found_is_none() -> None:
    """Empty matches do not count."""
    assert replaced("x", "abc") is None
    assert replaced(r"\b", "abc") is None


@given(any_text, st.sampled_from(["a", "[0-9]+", "é|ß", r"\S+", ".", "[^a]b?", "\N{SNOWMAN}"]))
def test_replaces_as_python_does(text: str, pattern: str) -> None:
    """For patterns that both engines read alike, the result is Python's."""
    shown = encoded(text).decode()
    flags = re.ASCII
    expected = re.sub(pattern, "*", shown, flags=flags)
    # Python's \S is not space as Unicode or ASCII has it; \v is one only to Python.
    if "\x0b" in text or any("\x1c" <= c <= "\x1f" for c in text):
        return
    assert (replaced(pattern, text) or shown) == expected


@given(any_text)
def test_any_of_finds_what_one_finds(text: str) -> None:
    """One look for all patterns sees what a look for each sees."""
    texts = ["a+b", "(?P<n>[0-9])", "é$", "^x"]
    one_by_one = any(Pattern(each).matches(text) for each in texts)
    assert AnyOf(texts).matches(encoded(text)) == one_by_one


def test_any_of_too_large_together() -> None:
    """Where the patterns cannot be compiled as one, each is looked for."""
    large = r"(?:[^\x00-\x7f][a-z]){900}x"
    many = AnyOf([f"{n}{large}" for n in range(300)] + ["needle"])
    assert many._together is None
    assert many.matches(b"a needle")
    assert not many.matches(b"hay")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 500_000 + "!"),
        ("(?:a|aa)+b", "a" * 500_000),
        ("([a-zA-Z]+)*1", "a" * 500_000),
        ("(.*)(.*)(.*)(.*)=x", "=" * 500_000),
    ],
)
def test_catastrophes_of_other_engines_are_none(pattern: str, text: str) -> None:
    """What takes a backtracking engine for ever is over before the test's limit."""
    assert replaced(pattern, text) is None


def test_many_long_looks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matches that each look to the end: past the bound, the rest is replaced as a whole."""
    monkeypatch.setattr(patterns, "WORK", 1_000)
    text = "x" * 100
    assert replaced("x.*y|x", text, "<>") == "<>" * 10
    assert replaced("x.*y|x", "x" * 20, "<>") == "<>" * 20


def test_many_long_looks_end() -> None:
    """The bound holds at its real size."""
    found = replaced("x[^y]*y|x", "x" * 300_000)
    assert found is not None
    assert "x" not in found


def test_the_engine_is_loaded_when_first_used() -> None:
    """Who configures no pattern does not load it."""
    code = "import sys, bridge.app.parts, bridge.settings; sys.exit('re2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
