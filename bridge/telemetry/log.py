"""The bridge's own log: one line for each event, for people or for machines.

For people: time, level, sentence, in colour. For machines: one JSON object a line with ``time``,
``level``, ``event``, ``text`` and the event's fields. What a server sent can be part of a
sentence, so nothing in it can begin a new line or drive a terminal.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO

from bridge.clock import Clock
from bridge.model import Json, Tick
from bridge.telemetry import Event
from bridge.timestamps import format_tick

_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")
_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_COLOURS: Final = (
    (logging.ERROR, "\x1b[31m"),
    (logging.WARNING, "\x1b[33m"),
    (logging.INFO, "\x1b[32m"),
    (logging.NOTSET, _DIM),
)
_TRACEBACK: Final = "traceback"
_LEVEL_WIDTH: Final = 8


class LogWriter:
    """Writes events to a stream as they come; give it to the rooms as their `Emit`."""

    def __init__(self, stream: TextIO, clock: Clock, human: bool) -> None:
        self._stream = stream
        self._clock = clock
        self._format = human_line if human else json_line
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def __call__(self, event: Event) -> None:
        """Write one event; a stream that is gone or full never stops the bridge."""
        line = self._format(event, self._clock.now()).encode(self._encoding, "backslashreplace")
        try:
            self._stream.write(line.decode(self._encoding))
            self._stream.flush()
        except (OSError, ValueError):
            return


def event_name(event: Event) -> str:
    """The constant name of an event: its class in snake_case."""
    return _WORD_START.sub("_", type(event).__name__).lower()


def json_line(event: Event, now: Tick) -> str:
    """One JSON object and a newline, in ASCII."""
    line = {
        "time": format_tick(now),
        "level": logging.getLevelName(event.level),
        "event": event_name(event),
        "text": event.text,
    }
    variables = {name: _plain(getattr(event, name)) for name in event.__struct_fields__}
    # DEL is the one character that drives a terminal and that JSON leaves as it is.
    return json.dumps(line | variables | line).replace("\x7f", "\\u007f") + "\n"


def human_line(event: Event, now: Tick) -> str:
    """One line in colour; a traceback follows it, indented."""
    colour = next(colour for level, colour in _COLOURS if event.level >= level)
    level = logging.getLevelName(event.level).ljust(_LEVEL_WIDTH)
    moment = format_tick(now)[11:]
    line = f"{_DIM}{moment}{_RESET} {colour}{level}{_RESET} {safe(event.text)}\n"
    traceback = str(getattr(event, _TRACEBACK, ""))
    return line + "".join(f"    {safe(part)}\n" for part in traceback.splitlines())


def safe(text: str) -> str:
    """Text in which every character that does not print is written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _plain(value: Any) -> Json:
    """A field as JSON can hold it; what it cannot is said in words."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    return str(value)
