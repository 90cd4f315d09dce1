"""Log records as syslog messages (RFC 5424, with structured data). Pure.

A message is ``<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [SD] MSG``. Whatever a record holds,
what comes out is valid and no longer than ``max_message_bytes``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import groupby
from typing import Final, Literal

from msgspec import Struct

from bridge import proto
from bridge.destinations.plain import UID, mapping, plain, time_of
from bridge.errors import ConfigError
from bridge.model import Json
from bridge.payload import records_of, uid_of

OnLong = Literal["cut", "split"]

FACILITIES: Final = {
    name: number
    for number, name in enumerate(
        (
            *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news"),
            *("uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock"),
            *(f"local{n}" for n in range(8)),
        )
    )
}
"""The facilities by name (RFC 5424, table 1)."""

SHORTEST: Final = 1_024
"""The least ``max_message_bytes``: the longest header and the uid fit with room to spare."""

_SEVERITIES: Final = ((21, 2), (19, 1), (18, 2), (17, 3), (13, 4), (10, 5), (9, 6), (1, 7), (0, 6))
"""From which OTLP severity number on a record has which severity (RFC 5424, table 2).

Never 0: an emergency is written to every terminal of a receiving machine.
"""
_LONGEST_HOSTNAME: Final = 255
_LONGEST_APP_NAME: Final = 48
_LONGEST_PROCID: Final = 128
_LONGEST_MSGID: Final = 32
_LONGEST_NAME: Final = 32
_LONGEST_UID: Final = 128
_NIL: Final = "-"
_BOM: Final = b"\xef\xbb\xbf"

_CONTINUING: Final = range(0x80, 0xC0)
"""The bytes that do not begin a character of UTF-8 (RFC 3629, 3)."""

_UNPRINTABLE: Final = re.compile(r"[^!-~]")
_NO_NAME: Final = re.compile(r'[^!-~]|[=\]"]')
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_OR_BREAK: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_SPECIAL: Final = re.compile(r'["\\\]]')
_ESCAPE: Final = r"\\\g<0>"
_NAMED: Final = rb"(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})"
_WRITTEN_OUT: Final = re.compile(rb"\\" + _NAMED)
"""A control character in a message, as `cleaned` writes it."""
_ESCAPED: Final = re.compile(rb"\\\\" + _NAMED + rb"|\\.")
"""The same in structured data, and what is escaped there."""
_LONGEST_ESCAPE: Final = len(r"\\u2028")
_PARAM: Final = b' %s="%s"'
_ENTERPRISE: Final = re.compile(r"\d+(?:\.\d+)*")
_SD_NAME: Final = "fal"

_COUNT: Final = b' bridge.cut="%d"'
_PART: Final = b' bridge.part="%d/%d"'
_COUNT_ROOM: Final = len(_COUNT % 999_999)
_PART_ROOM: Final = len(_PART % (999_999, 999_999))
_ELLIPSIS: Final = "…".encode()
_CUT_MARK: Final = "… [cut: {} bytes left out]"
_CUT_MARK_ROOM: Final = len(_CUT_MARK.format(10**10).encode())


class Layout(Struct, frozen=True):
    """What goes where in a message.

    ``hostname``, ``app_name``, ``proc_id`` and ``msg_id`` each name attributes, of the record or
    its resource, of which the first that there is fills the field. ``structured_data`` holds
    patterns (``*``, ``?``, ``[...]``) of attribute names; ``log.record.uid`` is always there.

    Raises:
        ConfigError: something cannot be used.
    """

    facility: str = "local0"
    hostname: tuple[str, ...] = ("host.id",)
    app_name: tuple[str, ...] = ("service.name",)
    proc_id: tuple[str, ...] = ("fal.job.id",)
    msg_id: tuple[str, ...] = ("fal.source",)
    structured_data: tuple[str, ...] = ("*",)
    enterprise_number: str = "32473"
    max_message_bytes: int = 8_000
    on_long: OnLong = "cut"
    bom: bool = False
    line_breaks: bool = True
    """Whether a message keeps its line breaks; else they are written as ``\\n``."""

    def __post_init__(self) -> None:
        """Refuse what no message could be built with."""
        if self.facility not in FACILITIES:
            raise ConfigError(
                f"there is no syslog facility {self.facility!r}",
                hint=f"one of {', '.join(FACILITIES)}",
            )
        if not _ENTERPRISE.fullmatch(self.enterprise_number) or len(self.sd_id) > _LONGEST_NAME:
            raise ConfigError(
                f"{self.enterprise_number!r} is no private enterprise number",
                hint="digits, perhaps dotted: 32473 (RFC 5612) is free for anyone to use",
            )
        if self.max_message_bytes < SHORTEST:
            raise ConfigError(
                f"max_message_bytes {self.max_message_bytes} leaves no room for a message",
                hint=f"at least {SHORTEST}",
            )

    @property
    def sd_id(self) -> str:
        """The SD-ID of the one element (RFC 5424, 6.3.2)."""
        return f"{_SD_NAME}@{self.enterprise_number}"


def messages(raw: bytes, layout: Layout) -> Iterator[bytes]:
    """The messages of an encoded ``ExportLogsServiceRequest``, in order."""
    for _, run in groupby(records_of(raw), key=lambda located: id(located[0])):
        common: _Attributes | None = None
        for resource_logs, _, record in run:
            if common is None:
                common = _attributes(mapping(resource_logs.resource.attributes), layout)
            yield from _messages(common, record, layout)


def cleaned(text: str, *, line_breaks: bool) -> str:
    r"""Text that a reader can show.

    Control characters, ANSI's escape among them, are written as ``\x1b``, LINE SEPARATOR as
    ``\u2028``; lone surrogates become U+FFFD. TAB and line breaks stay, CRLF as LF, where
    ``line_breaks`` lets them; else they are written as ``\t`` and ``\n``.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _SURROGATE.sub("\ufffd", text)
    if line_breaks:
        return _CONTROL.sub(_visible, text.replace("\r\n", "\n"))
    return _CONTROL_OR_BREAK.sub(_visible, text)


def param_name(key: str) -> str:
    """An attribute's key as a PARAM-NAME: 1 to 32 characters, still its own where it is cut."""
    name = _NO_NAME.sub("_", key) or "_"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=3).hexdigest()
    return f"{name[: _LONGEST_NAME - len(digest) - 1]}~{digest}"


def severity(number: int) -> int:
    """The syslog severity of an OTLP severity number."""
    return next((severity for floor, severity in _SEVERITIES if number >= floor), 6)


class _Param(Struct, frozen=True):
    """An attribute on its way into structured data; ``whole`` is all of it, as it is sent."""

    name: bytes
    value: str
    whole: bytes


class _Attributes(Struct, frozen=True):
    """Attributes by key, and those of them that go into structured data."""

    values: dict[str, Json]
    params: dict[str, _Param]


def _attributes(values: dict[str, Json], layout: Layout) -> _Attributes:
    return _Attributes(
        values,
        {key: _param(key, value) for key, value in values.items() if _is_shown(key, layout)},
    )


def _is_shown(key: str, layout: Layout) -> bool:
    patterns = layout.structured_data
    return key != UID and ("*" in patterns or any(fnmatchcase(key, one) for one in patterns))


def _param(key: str, value: Json) -> _Param:
    name, text = param_name(key).encode(), cleaned(_text(value), line_breaks=False)
    return _Param(name, text, _PARAM % (name, _SPECIAL.sub(_ESCAPE, text).encode()))


def _messages(common: _Attributes, record: proto.LogRecord, layout: Layout) -> Iterator[bytes]:
    own = _attributes(mapping(record.attributes), layout)
    head = _head(record, {**common.values, **own.values}, layout)
    uid = _escaped(uid_of(record), _LONGEST_UID)
    message = cleaned(_text(plain(record.body)), line_breaks=layout.line_breaks).encode()
    space = (b" " + _BOM if layout.bom else b" ") if message else b""
    element = b"[%s %s=%s" % (layout.sd_id.encode(), UID.encode(), b'"%s"' % uid)
    # What is left for attributes and the message, once the element is closed.
    room = layout.max_message_bytes - len(head) - len(element) - len(b"]") - len(space)
    params = {**_intrinsic(record, layout), **common.params, **own.params}
    shown = _params(tuple(params.values()), max(room // 2, room - len(message)))
    room -= len(shown)
    if len(message) <= room:
        yield b"%s%s%s]%s%s" % (head, element, shown, space, message)
    elif layout.on_long == "cut":
        yield b"%s%s%s]%s%s" % (head, element, shown, space, _cut(message, room))
    else:
        pieces = _pieces(message, room - _PART_ROOM, room + len(shown) - _PART_ROOM)
        for number, piece in enumerate(pieces, start=1):
            part = _PART % (number, len(pieces)) + (shown if number == 1 else b"")
            yield b"%s%s%s]%s%s" % (head, element, part, space, piece)


def _head(record: proto.LogRecord, attributes: dict[str, Json], layout: Layout) -> bytes:
    """Everything before the structured data, with the space after it."""
    priority = FACILITIES[layout.facility] * 8 + severity(record.severity_number)
    known = record.time_unix_nano or record.observed_time_unix_nano
    fields = (
        time_of(record) if known else _NIL,
        _field(attributes, layout.hostname, _LONGEST_HOSTNAME),
        _field(attributes, layout.app_name, _LONGEST_APP_NAME),
        _field(attributes, layout.proc_id, _LONGEST_PROCID),
        _field(attributes, layout.msg_id, _LONGEST_MSGID),
    )
    return f"<{priority}>1 {' '.join(fields)} ".encode("ascii")


def _field(attributes: dict[str, Json], keys: Sequence[str], longest: int) -> str:
    value = next((text for key in keys if (text := _text(attributes.get(key)))), _NIL)
    return _UNPRINTABLE.sub("_", value)[:longest]


def _intrinsic(record: proto.LogRecord, layout: Layout) -> dict[str, _Param]:
    """What a record has besides attributes that a header cannot say, as far as asked for."""
    found = {
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
        "severity_text": record.severity_text,
    }
    return {k: _param(k, value) for k, value in found.items() if value and _is_shown(k, layout)}


def _params(params: Sequence[_Param], room: int) -> bytes:
    """SD-PARAMs within a number of bytes.

    Where they are too long together, the longest give way first: each may use an equal share of
    what the shorter ones leave. A value that is cut ends in an ellipsis; ``bridge.cut`` counts
    those that were cut or left out.
    """
    whole = [param.whole for param in params]
    if sum(map(len, whole)) <= room:
        return b"".join(whole)
    room -= _COUNT_ROOM
    kept: dict[int, bytes] = {}
    for done, index in enumerate(sorted(range(len(whole)), key=lambda i: len(whole[i]))):
        share = room // (len(whole) - done)
        param = whole[index]
        if len(param) > share:
            name, value = params[index].name, params[index].value
            left = share - len(_PARAM % (name, b""))
            param = _PARAM % (name, _escaped(value, left)) if left > len(_ELLIPSIS) else b""
        kept[index] = param
        room -= len(param)
    cut = sum(kept[index] != param for index, param in enumerate(whole))
    return b"".join(kept[index] for index in range(len(whole))) + _COUNT % cut


def _escaped(value: str, room: int) -> bytes:
    """A PARAM-VALUE within a number of bytes, no escape and no character cut in two."""
    whole = _SPECIAL.sub(_ESCAPE, cleaned(value, line_breaks=False)).encode()
    if len(whole) <= room:
        return whole
    return _within(whole, room - len(_ELLIPSIS), _ESCAPED) + _ELLIPSIS


def _cut(message: bytes, room: int) -> bytes:
    """As much of a message as there is room for, with a mark that says how much is missing."""
    head = _within(message, room - _CUT_MARK_ROOM)
    return head + _CUT_MARK.format(len(message) - len(head)).encode()


def _pieces(message: bytes, first: int, further: int) -> list[bytes]:
    """A message in pieces of at most so many bytes."""
    pieces = [_within(message, first)]
    start = len(pieces[0])
    while start < len(message):
        pieces.append(_within(message[start : start + further + _LONGEST_ESCAPE], further))
        start += len(pieces[-1])
    return pieces


def _within(text: bytes, room: int, escape: re.Pattern[bytes] = _WRITTEN_OUT) -> bytes:
    """The longest start of UTF-8 text that fits and ends between characters and escapes."""
    if len(text) <= room:
        return text
    end = max(0, room)
    while end and text[end] in _CONTINUING:
        end -= 1
    slash = text.rfind(b"\\", max(0, end - _LONGEST_ESCAPE), end)
    if slash >= 0:
        # Which of several backslashes begin an escape shows only from the first of them on.
        first = len(text[: slash + 1].rstrip(b"\\"))
        for found in escape.finditer(text, first, slash + _LONGEST_ESCAPE):
            if found.start() < end < found.end():
                return text[: found.start()]
    return text[:end]


def _text(value: Json) -> str:
    """A value as text: what is no string as JSON has it, nothing as an empty string."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _visible(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
