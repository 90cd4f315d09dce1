"""The lines of one Python traceback, printed as separate entries, found again among others.

What continues a traceback is what Python prints (library reference, "traceback"): indented frames,
the line that names the exception, then perhaps the sentence that leads to the next one of a chain.
Further lines of an exception's own message look like any other line and stay entries of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, TypeAlias

from msgspec import Struct, field

from bridge.mapping.severity import is_level
from bridge.model import SECOND, Identified, Json

MAX_LINES: Final = 1_000
MAX_LENGTH: Final = 1 << 18
WITHIN: Final = 5 * SECOND
"""The longest pause between two lines."""

_HEADER: Final = "Traceback (most recent call last):"
_HEADER_LINE: Final = re.compile(
    r"(?P<group>\s*\+ Exception Group )?" + re.escape(_HEADER) + r"\s*"
)
_CONNECTORS: Final = frozenset(
    (
        "The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:",
    )
)
_RAISED: Final = re.compile(
    r"(?P<type>[^\W\d]\w*(?:\.(?:[^\W\d]\w*|<locals>))*)(?P<said>:(?:\s.*)?)?\s*", re.DOTALL
)
_JOB_LABELS: Final = (
    "fal_job_id",
    "fal_node_id",
    "fal_worker_id",
    "fal_request_id",
    "isolate_source",
    "source",
)


class _State(Enum):
    FRAMES = "frames"
    """Below a header: frames, then the exception."""
    GROUP = "group"
    """In an exception group, which is indented to its end."""
    RAISED = "raised"
    """Below the exception: the end, unless a chain goes on."""
    CHAIN = "chain"
    """Below a chain's sentence: the next header."""


class _Open(Struct):
    """A traceback that may go on: its entries, and blank ones that belong to it if it does."""

    state: _State
    taken: list[int]
    tick: int
    length: int
    blank: list[int] = field(default_factory=list)


_Key: TypeAlias = tuple[str, ...]


def groups(found: Sequence[Identified]) -> Iterator[tuple[Identified, ...]]:
    """The entries in order, each alone, or those of one traceback together at its first line.

    A traceback's lines are of one app, revision, job, request, source and level, at most `WITHIN`
    apart, at most `MAX_LINES` entries and `MAX_LENGTH` characters; other jobs' lines may stand
    between them.
    """
    joined = _joined([(one, _text(one.entry.raw)) for one in found])
    rest = {number for numbers in joined.values() for number in numbers[1:]}
    for number, one in enumerate(found):
        if number in joined:
            yield tuple(found[other] for other in joined[number])
        elif number not in rest:
            yield (one,)


def text_of(group: Sequence[Identified]) -> str:
    """The text of a traceback's entries together."""
    return "\n".join(_text(one.entry.raw) or "" for one in group)


def _joined(lines: Sequence[tuple[Identified, str | None]]) -> dict[int, list[int]]:
    """The entries of each traceback of more than one, by its first."""
    going: dict[_Key, _Open] = {}
    joined: dict[int, list[int]] = {}
    for number, (one, text) in enumerate(lines):
        if text is None or not (going or _HEADER in text):
            continue
        key = _key(one.entry.raw)
        open_ = going.get(key)
        if open_ is not None and _goes_on(open_, number, one, text):
            if len(open_.taken) > 1:
                joined[open_.taken[0]] = open_.taken
            continue
        going.pop(key, None)
        state = _begun(text)
        if state is not None:
            going[key] = _Open(state, [number], one.tick, len(text))
    return joined


def _goes_on(open_: _Open, number: int, one: Identified, text: str) -> bool:
    """Take an entry into a traceback, if it continues it."""
    fits = len(open_.taken) + len(open_.blank) < MAX_LINES and open_.length + len(text) < MAX_LENGTH
    if not fits or one.tick - open_.tick > WITHIN:
        return False
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if line.strip()), None)
    if first is None:
        open_.blank.append(number)
        return True
    state = _after(open_.state, lines[first])
    if state is None:
        return False
    open_.tick, open_.length = one.tick, open_.length + len(text) + 1
    open_.state = _through(state, lines[first + 1 :])
    open_.taken += (*open_.blank, number)
    open_.blank.clear()
    return True


def _begun(text: str) -> _State | None:
    """The state below an entry that begins a traceback; None where it does not."""
    if _HEADER not in text:
        return None
    lines = text.split("\n")
    for number, line in enumerate(lines):
        header = _HEADER_LINE.fullmatch(line)
        if header is not None:
            return _through(_below(header), lines[number + 1 :])
    return None


def _through(state: _State, lines: Sequence[str]) -> _State:
    """The state below further lines of the same entry, whatever they are."""
    for line in lines:
        state = _after(state, line) or state
    return state


def _after(state: _State, line: str) -> _State | None:
    """The state below a line that continues a traceback; None for one that does not."""
    if not line.strip():
        return state
    header = _HEADER_LINE.fullmatch(line)
    if header is not None:
        return _below(header) if state is _State.CHAIN else None
    if line.strip() in _CONNECTORS:
        return _State.CHAIN if state in {_State.RAISED, _State.GROUP} else None
    if state in {_State.FRAMES, _State.GROUP} and line[0].isspace():
        return state
    return _State.RAISED if state is _State.FRAMES and _names_exception(line) else None


def _below(header: re.Match[str]) -> _State:
    return _State.GROUP if header["group"] else _State.FRAMES


def _names_exception(line: str) -> bool:
    """Whether a line is ``pkg.Type: message``, or ``Type`` alone; not ``INFO: message``."""
    found = _RAISED.fullmatch(line)
    if found is None or is_level(found["type"]):
        return False
    return found["said"] is not None or found["type"].rpartition(".")[2][0].isupper()


def _text(raw: Json) -> str | None:
    message = raw.get("message") if isinstance(raw, dict) else None
    return message if isinstance(message, str) else None


def _key(raw: dict[str, Json]) -> _Key:
    labels = raw.get("labels")
    known = labels if isinstance(labels, dict) else {}
    named = [raw.get("app"), raw.get("revision"), raw.get("level")]
    return tuple(
        value if isinstance(value, str) else ""
        for value in (*named, *(known.get(label) for label in _JOB_LABELS))
    )
