r"""Patterns that people configure, found and replaced in time linear in the text. Pure.

The engine is RE2: it has no backtracking, so no pattern and no text can stall the process. Its
syntax (https://github.com/google/re2/wiki/Syntax) is that of most languages without backreferences
and look-around. Two costs remain, and both are bounded here: the size of a compiled pattern, and
many matches that each look far ahead (see `Pattern.replace`).

The engine is imported when the first pattern is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from msgspec import Struct

MAX_LENGTH: Final = 4_000
"""Characters of one pattern."""
MAX_PROGRAM: Final = 5_000
"""Instructions of one compiled pattern; the slowest way of matching takes so many steps a byte."""
WORK: Final = 1 << 28
"""The bytes that matching in one text may look at: each match is counted as one whole look."""

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_REFERENCE: Final = re.compile(r"\\(?:(?P<number>[0-9])|g<(?P<name>\w+)>|(?P<slash>\\)|(?P<bad>))")
_QUOTED: Final = frozenset(
    (
        "bad repetition operator",
        "invalid character class range",
        "invalid escape sequence",
        "invalid perl operator",
        "invalid repetition size",
        "no argument for repetition operator",
    )
)
"""Reasons whose quote is of the syntax alone."""


class PatternError(ValueError):
    """A pattern or replacement cannot be used; the text says why and quotes little of it."""


class Replacement(Struct, frozen=True):
    """What takes a match's place: texts, and numbers of groups whose text is kept."""

    pieces: tuple[str | int, ...]


class Pattern:
    """One compiled pattern.

    Raises:
        PatternError: it is no pattern, too large, or finds the empty text.
    """

    __slots__ = ("_compiled",)

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise PatternError(f"must have at most {MAX_LENGTH} characters")
        self._compiled = _compile(text)
        if self._compiled.programsize > MAX_PROGRAM:
            raise PatternError("is too large; use smaller repetitions and character classes")
        if self._compiled.search(b""):
            raise PatternError("must not match the empty text, since it would match everywhere")

    def replacement(self, text: str) -> Replacement:
        r"""Read a replacement: ``\1`` and ``\g<name>`` are groups, ``\\`` is a backslash.

        Raises:
            PatternError: it names a group that the pattern does not have, or has a lone backslash.
        """
        pieces: list[str | int] = []
        done = 0
        for found in _REFERENCE.finditer(text):
            pieces.append(text[done : found.start()])
            pieces.append("\\" if found["slash"] else self._group(found))
            done = found.end()
        pieces.append(text[done:])
        return Replacement(tuple(piece for piece in pieces if piece != ""))

    def matches(self, text: str) -> bool:
        """Whether it is found anywhere in a text."""
        return self._compiled.search(encoded(text)) is not None

    def replace(self, text: str, by: Replacement, *, beyond: int = 0) -> str | None:
        """Replace every match that is not empty and ends beyond a place; None where there is none.

        The place is in bytes of the text's UTF-8.

        The work is bounded by `WORK`: a text with more matches than that allows for its length (a
        megabyte: some 250; ten kilobytes: more than fit) is replaced as a whole from there on,
        since what a pattern is to hide must not pass.
        """
        raw = encoded(text)
        limit = max(1, WORK // max(1, len(raw)))
        pieces: list[bytes] = []
        done = count = 0
        for match in self._compiled.finditer(raw):
            start, end = match.span()
            if start == end or end <= beyond:
                continue
            count += 1
            pieces += (raw[done:start], _filled(by, match))
            if count == limit:
                done = len(raw)
                break
            done = end
        if not count:
            return None
        pieces.append(raw[done:])
        return b"".join(pieces).decode("utf-8", "replace")

    def _group(self, found: re.Match[str]) -> int:
        if found["bad"] is not None:
            raise PatternError(r"a backslash must be written \\, and a group \1 or \g<name>")
        name = found["name"]
        if name and not name.isdigit():
            number = self._compiled.groupindex.get(name)
            if number is None:
                raise PatternError(f"names the group {name!r}, which the pattern does not have")
            return int(number)
        number = int(found["number"] or name)
        if number > self._compiled.groups:
            raise PatternError(f"names the group {number}, which the pattern does not have")
        return number


class AnyOf:
    """Whether any of some patterns is found in a text, in one look where that can be had."""

    __slots__ = ("_patterns", "_together")

    def __init__(self, texts: Sequence[str]) -> None:
        self._patterns = [_compile(text) for text in texts]
        try:
            self._together: Any = _compile("|".join(f"(?:{text})" for text in texts))
        except PatternError:  # too large together
            self._together = None

    def matches(self, raw: bytes) -> bool:
        """Look into a text that `encoded` gave."""
        if self._together is not None:
            return self._together.search(raw) is not None
        return any(pattern.search(raw) for pattern in self._patterns)


def encoded(text: str) -> bytes:
    """UTF-8, with U+FFFD for lone surrogates: a pattern sees what the record will hold."""
    return (text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)).encode()


def _filled(by: Replacement, match: Any) -> bytes:
    return b"".join(
        piece.encode() if isinstance(piece, str) else match.group(piece) or b""
        for piece in by.pieces
    )


@cache
def _engine() -> Any:
    import re2  # noqa: PLC0415 - only those who configure patterns pay for it

    return re2


def _compile(text: str) -> Any:
    engine = _engine()
    options = engine.Options()
    options.log_errors = False
    try:
        return engine.compile(text, options)
    except (engine.error, UnicodeEncodeError) as error:
        raise PatternError(f"is not a pattern that RE2 takes: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """The engine's reason, without a quote of the pattern's text, which may be a secret."""
    first = error.args[0] if error.args else ""
    said = first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)
    kind = said.partition(": ")[0]
    return said if kind in _QUOTED else kind
