"""The mapping's parts on their own, where a file of entries does not show enough."""

from __future__ import annotations

import json
import math
import traceback
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.mapping.json_text import _pieces, json_text
from bridge.mapping.reading import Reading, read
from bridge.mapping.severity import iostream, severity_number, severity_text
from bridge.mapping.trace_context import trace_context
from bridge.mapping.tracebacks import find_traceback
from bridge.model import Entry

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def reading(labels: dict[str, Any], message: Any) -> Reading:
    """An entry with these labels and this message, read."""
    return read(Entry({"labels": labels, "message": message}, 1))


class CustomError(Exception):
    """An exception with a dotted name."""


@given(values)
@example({"a": [], "b": {}, "c": [{}], "": [[1, -0.0, math.inf]]})
def test_text_without_recursion_is_the_same_text(value: Any) -> None:
    """The way for deep values writes exactly what the standard library writes."""
    assert "".join(_pieces(value)) == json_text(value)
    assert json.loads(json_text(value)) == value


@given(st.text(st.characters(exclude_categories=())))
def test_json_text_loses_no_character(text: str) -> None:
    """Lone surrogates survive in JSON text as escapes, and the text is UTF-8."""
    written = json_text([text])
    assert written.encode()
    assert json.loads(written) == json.loads(json.dumps([text]))


@pytest.mark.parametrize(
    ("level", "number"),
    [
        *[("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("NOTICE", 10), ("WARN", 13), ("WARNING", 13)],
        *[("ERR", 17), ("ERROR", 17), ("CRITICAL", 18), ("ALERT", 19), ("FATAL", 21)],
        *[("STDOUT", 9), ("STDERR", 12), ("VERBOSE", 0), ("", 0), ("İNFO", 0)],
    ],
)
def test_severity_number_in_any_case(level: str, number: int) -> None:
    """A level counts the same in upper, lower and mixed case; an unknown one not at all."""
    forms = [level, level.lower(), level.title(), f" {level}\t"]
    assert {severity_number(form, stderr=12) for form in forms} == {number}
    assert [severity_text(form) for form in forms] == forms


@pytest.mark.parametrize(
    ("level", "text"), [(None, ""), (30, "30"), (True, "true"), (["INFO"], '["INFO"]')]
)
def test_level_that_is_no_string(level: Any, text: str) -> None:
    """Its text is its JSON, its number unspecified."""
    assert (severity_text(level), severity_number(level, stderr=9)) == (text, 0)
    assert iostream(level) is None


def fail(message: str, cause: str | None) -> None:
    """Raise an exception, from another that was raised if a cause is given."""
    if cause is None:
        raise CustomError(message)
    try:
        fail(cause, None)
    except CustomError as error:
        raise CustomError(message) from error


def raised(message: str, cause: str | None = None) -> str:
    """What Python prints for an exception."""
    try:
        fail(message, cause)
    except CustomError:
        return traceback.format_exc()
    return ""


printable = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=60)


@given(printable, st.booleans(), st.sampled_from(["", "boom: ", "12:00 ERROR failed\n"]))
@example("", False, "")
@example("\n\nlate", True, "")
@example("first \n  indented\nlast", True, "x\n")
def test_raised_exception_is_read_from_what_python_prints(
    message: str, chained: bool, prefix: str
) -> None:
    """Type and message of any exception, chained or not, are found in a printed traceback."""
    printed = raised(message, "the cause" if chained else None)
    found = find_traceback(reading({}, prefix + printed), {})
    assert found is not None
    assert found.type == f"{CustomError.__module__}.CustomError"
    assert found.message == message.rstrip()
    assert prefix + found.stacktrace == prefix + printed


def test_carriage_returns_do_not_hide_what_was_raised() -> None:
    """A traceback with Windows line ends is read as well."""
    text = 'Traceback (most recent call last):\r\n  File "a.py", line 1\r\nSystemExit\r\n'
    found = find_traceback(reading({}, text), {})
    assert found is not None
    assert (found.type, found.message) == ("SystemExit", "")


def test_label_wins_over_envelope_over_message() -> None:
    """One traceback is told, from the place that the document names first."""
    label, inner, text = raised("label"), raised("envelope"), raised("message")
    both = find_traceback(
        reading({"note": label, "traceback": "E: named"}, text), {"traceback": inner}
    )
    assert both is not None
    assert (both.label, both.message) == ("traceback", "named")
    held = find_traceback(reading({"message": text, "note": label}, text), {"traceback": inner})
    assert held is not None
    assert (held.label, held.message) == ("note", "label")
    enveloped = find_traceback(reading({"message": text}, text), {"traceback": inner})
    assert enveloped is not None
    assert (enveloped.label, enveloped.message) == (None, "envelope")


@pytest.mark.parametrize(
    "text", ["", "nothing here", "see the Traceback", "Traceback (most recent call last)"]
)
def test_message_without_traceback(text: str) -> None:
    """Only Python's header makes a message a traceback."""
    assert find_traceback(reading({}, text), {}) is None
    assert find_traceback(reading({}, None), {"traceback": None}) is None


def test_traceparent_of_a_later_version_stays_a_label() -> None:
    """Ids of a later version are used, and what its further fields say is not dropped."""
    found = trace_context({"traceparent": f"cc-{TRACE}-{SPAN}-09-later"})
    assert found is not None
    assert (found.trace_id.hex(), found.span_id.hex(), found.flags) == (TRACE, SPAN, 9)
    assert found.keys == frozenset()


def test_own_span_id_wins_over_the_parents() -> None:
    """``span_id`` is the entry's own; a ``traceparent`` that names another span stays a label."""
    found = trace_context(
        {"trace_id": TRACE, "span_id": "1" * 16, "traceparent": f"00-{TRACE}-{SPAN}-01"}
    )
    assert found is not None
    assert (found.span_id.hex(), found.flags) == ("1" * 16, 1)
    assert found.keys == {"trace_id", "span_id"}


@given(st.text() | st.text("0123456789abcdefABCDEF-", min_size=30, max_size=60) | st.none())
def test_trace_context_never_raises(value: str | None) -> None:
    """Whatever stands there, ids have their exact length and are not all zero."""
    for key in ("trace_id", "traceparent"):
        found = trace_context({key: value, "span_id": value})
        if found is not None:
            assert len(found.trace_id) == 16
            assert any(found.trace_id)
            assert len(found.span_id) in (0, 8)
