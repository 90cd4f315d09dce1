"""Placeholders in values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings.interpolate import PlaceholderError, has_placeholder, interpolate

ENVIRON = {"NAME": "value", "EMPTY": "", "TRICKY": "${env:NAME} $$"}
FILES = {"/secret": "text\n", "/two": "text\n\n", "/dos": "text\r\n", "/none": "text", "/empty": ""}


def _read(path: str) -> str:
    if path == "/binary":
        return b"\xff".decode()
    try:
        return FILES[path]
    except KeyError:
        raise FileNotFoundError(2, "No such file or directory", path) from None


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("plain", "plain"),
        ("${env:NAME}", "value"),
        ("a ${env:NAME}${env:NAME} b", "a valuevalue b"),
        ("${env:EMPTY}", ""),
        ("${env:EMPTY:-other}", "other"),
        ("${env:NAME:-other}", "value"),
        ("${env:UNSET:-other}", "other"),
        ("${env:UNSET:-}", ""),
        ("${env:UNSET:-a:-b}", "a:-b"),
        ("${file:/secret}", "text"),
        ("${file:/two}", "text\n"),
        ("${file:/dos}", "text"),
        ("${file:/none}", "text"),
        ("${file:/empty}", ""),
        ("$$", "$"),
        ("$${env:NAME}", "${env:NAME}"),
        ("$$$${env:NAME}", "$${env:NAME}"),
        ("$$${env:NAME}", "$value"),
        ("$5 and $x", "$5 and $x"),
        ("${env:TRICKY}", "${env:NAME} $$"),
    ],
)
def test_filling_in(written: str, filled: str) -> None:
    """Each placeholder is filled in once; what comes out is not looked at again."""
    assert interpolate(written, ENVIRON, _read) == filled


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("${env:UNSET}", "the variable UNSET is not set"),
        ("${file:/away}", "cannot read /away: No such file"),
        ("${file:/binary}", "cannot read /binary: it is not UTF-8"),
        ("${NAME}", "unknown placeholder"),
        ("${env:}", "unknown placeholder"),
        ("${env:9}", "unknown placeholder"),
        ("${file:}", "unknown placeholder"),
        ("${vault:x}", "unknown placeholder"),
        ("${}", "unknown placeholder"),
        ("${env:NAME", "without its }"),
        ("${env:UNSET:-${env:NAME}}", "default of .*UNSET.* is a placeholder itself"),
    ],
)
def test_what_cannot_be_filled_in(written: str, words: str) -> None:
    """The error names the variable or file, or shows what there is to write."""
    with pytest.raises(PlaceholderError, match=words):
        interpolate(written, ENVIRON, _read)


@given(st.text())
def test_escaping_gives_any_text(text: str) -> None:
    """Any text can be written by doubling its dollars."""
    escaped = text.replace("$", "$$")
    assert interpolate(escaped, {}, _read) == text
    assert not has_placeholder(escaped)


@given(st.text(), st.text(), st.text())
def test_a_value_stays_whole(before: str, value: str, after: str) -> None:
    """Whatever a variable holds arrives unchanged between what stands around it."""
    escaped = [part.replace("$", "$$") for part in (before, after)]
    text = f"{escaped[0]}${{env:V}}{escaped[1]}"
    assert interpolate(text, {"V": value}, _read) == before + value + after
    assert has_placeholder(text)
