"""Python tracebacks in the three places where fal puts them, and what was raised.

The Logs REST API promises them in the labels ("Traceback Information"); fal's runners print them
as a JSON object ``{"traceback": "…"}`` or plainly into the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from bridge.mapping.conventions import TRACEBACK_HEADER
from bridge.mapping.reading import Reading
from bridge.model import Json

_HEADER: Final = TRACEBACK_HEADER
_KEY: Final = "traceback"
_START: Final = re.compile(r"(?:  \+ Exception Group )?" + re.escape(_HEADER))
_LINE_HEADER: Final = re.compile(r"^(?:Exception Group )?" + re.escape(_HEADER), re.MULTILINE)
_GROUP_MARGIN: Final = re.compile(r"^  [|+] ", re.MULTILINE)
_GROUP_RULE: Final = re.compile(r"\n *\+-")
_RAISED: Final = re.compile(
    r"(?P<type>[^\W\d]\w*(?:\.(?:\w+|<locals>))*)(?:(?P<colon>:)(?: (?P<message>.*))?|\s*)"
)


class Traceback(Struct, frozen=True):
    """A traceback as printed. ``label`` is the key of the label that held it, if one did.

    ``type`` and ``message`` are empty where the text does not show what was raised.
    """

    stacktrace: str
    type: str
    message: str
    label: str | None = None

    def attributes(self) -> Iterator[tuple[str, str]]:
        """Its attributes (semantic conventions, "Exceptions in logs")."""
        yield "exception.stacktrace", self.stacktrace
        if self.type:
            yield "exception.type", self.type
        if self.message:
            yield "exception.message", self.message


def find_traceback(reading: Reading, envelope: Mapping[str, Json]) -> Traceback | None:
    """Find an entry's traceback: in a label, in a JSON message, else in the message's text."""
    labels, message = reading.labels, reading.message
    label = _label(labels)
    if label is not None:
        return _traceback(labels[label], label)
    enveloped = envelope.get(_KEY)
    if isinstance(enveloped, str) and enveloped:
        return _traceback(enveloped)
    start = _START.search(message) if isinstance(message, str) and _HEADER in message else None
    return _traceback(message[start.start() :]) if start else None


def _label(labels: Mapping[str, Json]) -> str | None:
    """The label named ``traceback``, else the first that holds one, save the repeated message."""
    found = None
    for key, value in labels.items():
        if not isinstance(value, str):
            continue
        if key == _KEY and value:
            return key
        if found is None and _HEADER in value and key != "message":
            found = key
    return found


def _traceback(stacktrace: str, label: str | None = None) -> Traceback:
    kind, message = _raised(stacktrace)
    return Traceback(stacktrace, kind, message, label)


def _raised(stacktrace: str) -> tuple[str, str]:
    """The type and message of the exception that reached the top.

    Python prints the causes first, so it is what stands below the last header; below the frames,
    which are indented. Members of an exception group stand behind a margin and are passed over.
    """
    text = _GROUP_MARGIN.sub("", stacktrace)
    if _HEADER not in text:
        return _last_line(text)
    headers = list(_LINE_HEADER.finditer(text))
    end_of_header = headers[-1].end() if headers else text.rfind(_HEADER) + len(_HEADER)
    first, *more = _below_frames(text[end_of_header:])
    found = _RAISED.fullmatch(first)
    if found is None or found["colon"] is None:
        return (found["type"] if found else ""), ""
    message = "\n".join([found["message"] or "", *more])
    if headers and headers[-1].group() != _HEADER:
        message = _GROUP_RULE.split(message, maxsplit=1)[0]
    return found["type"], message.rstrip()


def _below_frames(text: str) -> list[str]:
    """The lines from the first one that is not indented; one empty line if there is none."""
    lines = text.split("\n")[1:]
    for number, line in enumerate(lines):
        if line.strip() and not line[0].isspace():
            return lines[number:]
    return [""]


def _last_line(text: str) -> tuple[str, str]:
    """What a text without a header says was raised: its last line, if that has the form."""
    found = _RAISED.fullmatch(text.rstrip().rpartition("\n")[2])
    return (found["type"], found["message"]) if found and found["message"] else ("", "")
