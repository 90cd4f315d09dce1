"""The bridge's own log lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bridge.telemetry import Event
from bridge.telemetry.log import LogWriter, event_name, human_line, json_line, safe
from bridge.telemetry.service import InternalError

NOW = 1_758_284_170_599_000


class _StoppedClock:
    """A clock that shows one moment."""

    def now(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError(seconds)


class SomethingHappened(Event, frozen=True):
    """An event with a field of any kind."""

    level: ClassVar[int] = logging.WARNING
    what: Any

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"it was {self.what}"


def test_json_line() -> None:
    """A line for machines has time, level, event, text and the fields."""
    line = json_line(SomethingHappened("odd"), NOW)
    assert line.endswith("\n")
    assert list(json.loads(line)) == ["time", "level", "event", "text", "what"]
    assert json.loads(line) == {
        "time": "2025-09-19T12:16:10.599Z",
        "level": "WARNING",
        "event": "something_happened",
        "text": "it was odd",
        "what": "odd",
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1, 1),
        (1.5, 1.5),
        (True, True),
        (None, None),
        (float("inf"), None),
        (float("nan"), None),
        (("a", 1), ["a", 1]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({"k": (1,)}, {"k": [1]}),
        (Path("/p"), "/p"),
        (b"x", "b'x'"),
        (ValueError("wrong"), "wrong"),
        (SecretStr("s3cr3t"), "**********"),
    ],
)
def test_fields_as_json(value: object, written: object) -> None:
    """Whatever a field holds, the line is JSON; a secret stays one."""
    assert json.loads(json_line(SomethingHappened(value), NOW))["what"] == written


def test_human_line() -> None:
    """A line for people has time, level and text, with the level in colour."""
    line = human_line(SomethingHappened("odd"), NOW)
    assert line == "\x1b[2m12:16:10.599Z\x1b[0m \x1b[33mWARNING \x1b[0m it was odd\n"


@pytest.mark.parametrize(
    ("level", "colour"),
    [
        (logging.DEBUG, "\x1b[2mDEBUG"),
        (logging.INFO, "\x1b[32mINFO"),
        (logging.ERROR, "\x1b[31mERROR"),
        (logging.CRITICAL, "\x1b[31mCRITICAL"),
    ],
)
def test_levels_have_colours(level: int, colour: str) -> None:
    """Each level has its colour."""

    class Levelled(SomethingHappened, frozen=True):
        pass

    Levelled.level = level
    assert colour in human_line(Levelled("x"), NOW)


def test_traceback_lines_are_indented() -> None:
    """A traceback follows its line, each of its lines indented and safe."""
    event = InternalError("there", "ValueError: \x1b[31m", "one\n  two \x1b[2J\n")
    first, *rest = human_line(event, NOW).splitlines()
    assert first.endswith("internal error in there: ValueError: \\x1b[31m")
    assert rest == ["    one", "      two \\x1b[2J"]


@pytest.mark.parametrize("write", [human_line, json_line])
@given(text=st.text())
def test_nothing_gets_out_of_its_line(write: Callable[[Event, int], str], text: str) -> None:
    """Text from a server can neither begin a line nor drive a terminal."""
    clean = write(SomethingHappened(""), NOW)
    line = write(SomethingHappened(text), NOW)
    assert line.splitlines() == [line[:-1]]
    controls = {c for c in line if not c.isprintable()} - {"\n"}
    assert controls <= {"\x1b"}
    assert line.count("\x1b") == clean.count("\x1b")


@given(st.text())
def test_json_gives_the_text_back(text: str) -> None:
    """A line for machines holds exactly what was said."""
    line = json.loads(json_line(SomethingHappened(text), NOW))
    assert line["what"] == text
    assert line["text"] == f"it was {text}"


@given(st.text())
def test_safe_changes_only_what_does_not_print(text: str) -> None:
    """Printable text stays as it is, and what comes out always prints."""
    assert safe(text).isprintable()
    if text.isprintable():
        assert safe(text) == text


@pytest.mark.parametrize(
    ("name", "constant"),
    [("Started", "started"), ("ApiKeyRefused", "api_key_refused"), ("Gap", "gap")],
)
def test_event_names(name: str, constant: str) -> None:
    """The constant name of an event is its class in snake_case."""
    assert event_name(type(name, (SomethingHappened,), {})("x")) == constant


@pytest.mark.parametrize("human", [True, False])
def test_writer(human: bool) -> None:
    """The writer writes each event at once, in the form it was made for."""
    stream = io.StringIO()
    write = LogWriter(stream, _StoppedClock(), human)
    write(SomethingHappened("a"))
    write(SomethingHappened("b"))
    form = human_line if human else json_line
    assert stream.getvalue() == "".join(form(SomethingHappened(x), NOW) for x in "ab")


def test_writer_on_a_narrow_stream() -> None:
    """Characters that a stream cannot hold are written out, not lost."""
    raw = io.BytesIO()
    write = LogWriter(io.TextIOWrapper(raw, encoding="ascii"), _StoppedClock(), human=True)
    write(SomethingHappened("café"))
    assert raw.getvalue().endswith(b"it was caf\\xe9\n")


class _BrokenStream(io.StringIO):
    """A stream whose other end is gone."""

    tries = 0

    def write(self, _: str) -> int:
        self.tries += 1
        raise BrokenPipeError


def test_writer_outlives_its_stream() -> None:
    """A stream that is gone never stops the bridge; each event is still tried."""
    broken, closed = _BrokenStream(), io.StringIO()
    closed.close()
    for stream in (broken, closed):
        write = LogWriter(stream, _StoppedClock(), human=False)
        write(SomethingHappened("a"))
        write(SomethingHappened("b"))
    assert broken.tries == 2
