"""The level that a printed line says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bridge.mapping.severity import iostream, is_level
from bridge.model import Json

LEVEL_KEYS: Final = ("level", "levelname", "severity", "lvl", "log_level")
_LOOKED_AT: Final = 512
_WORD: Final = (
    "TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|CRIT|CRITICAL|ALERT|FATAL|EMERG|EMERGENCY"
)
# What is possessive (`*+`) or atomic (`(?>`) never gives back what it took: otherwise a line of
# dashes could be shared out among these parts in a million ways.
_TIME: Final = r"[\[(]?[0-9]{1,4}+(?:[0-9:./,Z+\- ]|T(?!(?i:RACE))){0,40}+(?:[\])]|[AP]M\b)?+"
_LEADING: Final = re.compile(
    rf"""
    \s*+ (?: (?> {_TIME} [\s|\-]*+ ) )?             # 2024-01-01 12:00:00,123
    (?: \[ [\w.:\-/+\ ]{{1,60}}+ \] \s*+ ){{0,3}}?     # [pid] [worker]
    (?:
        [\[(<] \s*+ (?P<bracket> (?i:{_WORD}) ) \s*+ [\])>]         # [warn]
      | (?P<colon> (?i:{_WORD}) ) \s*+ :                            # Warning:
      | (?P<plain> {_WORD} ) (?= [\s|\-/] | $ )                     # INFO served
      | [\w.\-/]{{1,100}} \s*+ [|\-] \s*+ (?P<named> {_WORD} ) \s*+ [|\-:] # my.app - INFO - served
    )
    """,
    re.VERBOSE | re.ASCII,
)
_LOGFMT: Final = re.compile(
    r"(?:^|\s)(?:level|lvl|severity)=\"?(?P<word>[A-Za-z]+)\"?(?=\s|$)", re.ASCII
)
_GLOG: Final = re.compile(
    r"(?P<letter>[DIWEF])[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]", re.ASCII
)
_LETTERS: Final = {"D": "DEBUG", "I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}
_NUMBERS: Final = {10: "TRACE", 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR", 60: "FATAL"}
"""pino's and bunyan's; Python's loggers write names."""


def level_of_text(text: str) -> str | None:
    """The level word that a line begins with, in upper case; None where it has none."""
    head = text[:_LOOKED_AT]
    found = _LEADING.match(head)
    if found is not None:
        return next(word for word in found.groups() if word).upper()
    glog = _GLOG.match(head)
    if glog is not None:
        return _LETTERS[glog["letter"]]
    logfmt = _LOGFMT.search(head) if "=" in head else None
    return _known(logfmt["word"]) if logfmt else None


def level_of_json(fields: Mapping[str, Json]) -> tuple[str, str] | None:
    """The key and the level of a structured log line; None where it says none we know."""
    for key in LEVEL_KEYS:
        level = _known(fields.get(key))
        if level is not None:
            return key, level
    return None


def _known(level: Json) -> str | None:
    if isinstance(level, int) and not isinstance(level, bool):
        return _NUMBERS.get(level)
    word = level.strip().upper() if isinstance(level, str) and is_level(level) else None
    return None if iostream(level) else word
