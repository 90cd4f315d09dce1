"""RELP's frames (RELP specification, "RELP Frame"). Pure.

A frame is ``TXNR SP COMMAND SP DATALEN [SP DATA] LF``; an answer is the command ``rsp`` under the
number of what it answers, its data ``CODE [SP TEXT] [LF MORE]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

LAST_NUMBER: Final = 999_999_999
HINT: Final = 0
"""The number of what is said without being asked, such as ``serverclose``."""

_LARGEST_ANSWER: Final = 65_536
_HEAD: Final = re.compile(rb"(\d{1,9}) ([A-Za-z]{1,32}) (\d{1,9})(?=[ \n])")
_LONGEST_HEAD: Final = 9 + 1 + 32 + 1 + 9
_ANSWER: Final = re.compile(rb"(\d{3})(?: ([^\n]*))?(?:\n(.*))?", re.DOTALL)


class NotRelp(Exception):
    """What came is not RELP."""


class Frame(Struct, frozen=True):
    """One frame."""

    number: int
    command: str
    data: bytes = b""

    def encoded(self) -> bytes:
        """Its bytes."""
        head = b"%d %s %d" % (self.number, self.command.encode("ascii"), len(self.data))
        return b"%s %s\n" % (head, self.data) if self.data else head + b"\n"


class Answer(Struct, frozen=True):
    """What an ``rsp`` says; ``more`` are the offers of an answer to ``open``."""

    code: int
    text: str
    more: bytes

    @classmethod
    def of(cls, frame: Frame) -> Answer:
        """Read it.

        Raises:
            NotRelp: it has no code.
        """
        found = _ANSWER.fullmatch(frame.data)
        if found is None:
            raise NotRelp(f"an answer without a code: {frame.data[:60]!r}")
        text = (found[2] or b"").decode("utf-8", "replace")
        return cls(int(found[1]), text, found[3] or b"")


class Decoder:
    """Takes bytes as they come, however they are cut, and gives whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.

        Raises:
            NotRelp: the bytes are no frames, or one is larger than an answer may be.
        """
        self._rest += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        head = _HEAD.match(self._rest)
        if head is None:
            if len(self._rest) > _LONGEST_HEAD or not _may_begin(self._rest):
                raise NotRelp(f"what it says is not RELP: {self._rest[:60]!r}")
            return None
        length = int(head[3])
        if length > _LARGEST_ANSWER:
            raise NotRelp(f"a frame of {length} bytes")
        # librelp leaves out the space before empty data; others send it.
        begin = head.end() + (self._rest[head.end() : head.end() + 1] == b" ")
        end = begin + length
        if len(self._rest) <= end:
            return None
        if self._rest[end : end + 1] != b"\n":
            raise NotRelp(f"a frame that does not end: {self._rest[:60]!r}")
        frame = Frame(int(head[1]), head[2].decode("ascii"), self._rest[begin:end])
        self._rest = self._rest[end + 1 :]
        return frame


def following(number: int) -> int:
    """The number after a number; 0 is left to hints."""
    return number + 1 if number < LAST_NUMBER else 1


def offers(data: bytes) -> dict[str, str]:
    """The offers of an ``open`` or its answer, one ``name=value`` a line."""
    pairs = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _may_begin(rest: bytes) -> bool:
    """Whether more bytes could make it the head of a frame."""
    return (
        re.fullmatch(rb"\d{0,9}|\d{1,9} [A-Za-z]{0,32}|\d{1,9} [A-Za-z]+ \d{0,9}", rest) is not None
    )
