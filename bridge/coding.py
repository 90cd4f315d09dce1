"""A body without its content coding (RFC 9110, 8.4), in bounded memory. Pure.

A few kilobytes may stand for gigabytes, so a peer's body is read as it came and decoded here,
never by an HTTP library as it reads.
"""

from __future__ import annotations

import zlib
from typing import Final

GZIP: Final = "gzip"
"""The coding that can be decoded, as it is asked for."""
_NONE: Final = frozenset({"", "identity"})
_ALIASES: Final = ([GZIP], ["x-gzip"])
_GZIP_BITS: Final = zlib.MAX_WBITS | 16


class UndecodableError(ValueError):
    """A body is not what its Content-Encoding says, or that is none that can be decoded."""


def decoded(body: bytes, coding: str, *, most: int) -> bytes:
    """A body as it was before its ``Content-Encoding``: its first ``most`` bytes.

    Raises:
        UndecodableError: see there. An empty body is always readable.
    """
    names = [name for part in coding.split(",") if (name := part.strip().lower()) not in _NONE]
    if not names or not body:
        return body[:most]
    if names not in _ALIASES:
        raise UndecodableError("is in a Content-Encoding that was not asked for")
    member = zlib.decompressobj(_GZIP_BITS)
    try:
        text = member.decompress(body, most)
    except zlib.error as error:
        raise UndecodableError("is not gzip, as its Content-Encoding says") from error
    if member.unused_data or (len(text) < most and not member.eof):
        raise UndecodableError("is not one whole gzip member, as its Content-Encoding says")
    return text
