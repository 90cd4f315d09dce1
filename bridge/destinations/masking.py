"""Keeps what a destination's headers hold out of every text that people see. Pure.

A backend that quotes a header may escape it on the way, so a text is masked as it is shown: after
its JSON or protobuf was read, and before it is shortened, since nothing would recognise half a
secret. What is still escaped then is found too: JSON's escapes (also within one another), percent
encoding, HTML's references, Python's ``repr``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.entities import codepoint2name
from itertools import groupby
from typing import Final

_SHORTEST_SECRET: Final = 6
_BACKSLASHES: Final = 15
"""Before an escaped character: of JSON in JSON in JSON in JSON."""
_LONGEST_SPELLING: Final = _BACKSLASHES + len("u0000")


class Mask:
    """Blots out header values wherever a backend or a library quotes them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        secrets = sorted(set(_secrets(headers)), key=len, reverse=True)
        self._secrets = [re.compile(_spellings(secret)) for secret in secrets]
        self._longest = _LONGEST_SPELLING * max(map(len, secrets), default=0)

    def text(self, text: str) -> str:
        """A text without the secrets."""
        return self.start(text, len(text))

    def start(self, text: str, length: int) -> str:
        """The first ``length`` characters of a text, without the secrets that begin in them."""
        text = text[: length + self._longest]
        for secret in self._secrets:
            # As long as before, so that nothing moves up from where the text was cut.
            text = secret.sub(lambda found: "*" * len(found[0]), text)
        return text[:length]


def _secrets(headers: Mapping[str, str]) -> Iterator[str]:
    """Header values, and the credential of a scheme."""
    for value in headers.values():
        credential = value.rpartition(" ")[2]
        yield from (secret for secret in (value, credential) if len(secret) >= _SHORTEST_SECRET)


def _spellings(secret: str) -> str:
    """A pattern for a secret in all its spellings; letters and digits are never escaped.

    No part of it gives back what it took, so looking for it takes linear time.
    """
    runs = ((c, len(list(run))) for c, run in groupby(secret))
    return "".join(_spelled(c, count) for c, count in runs)


def _spelled(c: str, count: int) -> str:
    if c.isascii() and c.isalnum():
        return c * count
    if c == "\\":
        return rf"(?:\\{{{count},{_BACKSLASHES * count}}}+|(?i:%5c){{{count}}})"
    number = ord(c)
    name = codepoint2name.get(number, "apos" if c == "'" else "")
    utf8 = c.encode("utf-8", "replace")
    ways = [
        rf"\\{{0,{_BACKSLASHES}}}+(?:{re.escape(c)}|(?i:u{number:04x}|x{number:02x}))",
        "(?i:" + "".join(f"%{byte:02x}" for byte in utf8) + ")",
        rf"&(?i:#0{{0,4}}{number}|#x0{{0,4}}{number:x}{f'|{name}' if name else ''});",
    ]
    if not c.isascii():  # read as another character set than it was written in
        ways += ["\ufffd{1,4}+", re.escape(utf8.decode("latin-1"))]
        ways.append("".join(rf"\\{{1,{_BACKSLASHES}}}+(?i:x{byte:02x})" for byte in utf8))
    return f"(?:{'|'.join(ways)}){{{count}}}"


NOTHING: Final = Mask({})
"""Where there are no secrets."""
