"""Levels as OpenTelemetry severities (logs data model, "Severity Fields" and its appendix)."""

from __future__ import annotations

from typing import Final

from bridge.mapping.json_text import json_text
from bridge.model import Json

UNSPECIFIED: Final = 0
INFO: Final = 9
WARN: Final = 13

_NUMBERS: Final = {
    "TRACE": 1,
    "DEBUG": 5,
    "INFO": INFO,
    "NOTICE": 10,
    "WARN": WARN,
    "WARNING": WARN,
    "ERR": 17,
    "ERROR": 17,
    "CRIT": 18,
    "CRITICAL": 18,
    "ALERT": 19,
    "FATAL": 21,
    "EMERG": 21,
    "EMERGENCY": 21,
}
_STREAMS: Final = {"STDOUT": "stdout", "STDERR": "stderr"}


def severity_text(level: Json) -> str:
    """The level as given; JSON text where it is not a string, empty where there is none."""
    if level is None:
        return ""
    return level if isinstance(level, str) else json_text(level)


def severity_number(level: Json, *, stderr: int) -> int:
    """The level's number; 0 (unspecified) for a level that says nothing we know.

    fal gives a stream's name in place of a level for what an app prints: ``STDOUT`` counts as
    INFO, ``STDERR`` as ``stderr``.
    """
    name = _name(level)
    if name in _STREAMS:
        return stderr if name == "STDERR" else INFO
    return _NUMBERS.get(name, UNSPECIFIED)


def is_level(level: Json) -> bool:
    """Whether it is a level, or a stream in place of one, that we know."""
    return (name := _name(level)) in _NUMBERS or name in _STREAMS


def iostream(level: Json) -> str | None:
    """The value of ``log.iostream`` where the level names an output stream."""
    return _STREAMS.get(_name(level))


def _name(level: Json) -> str:
    return level.strip().upper() if isinstance(level, str) else ""
