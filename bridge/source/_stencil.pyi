from hashlib import blake2b

from bridge.model import Cast, Entry
from bridge.source.stencil import Other, Stencil

def scan(
    body: bytes,
    kept: tuple[bytes, ...],
    known: dict[bytes, Stencil],
    other: Other,
    entry: type[Entry],
    cast: type[Cast],
    hash: blake2b,  # noqa: A002 - by position
    /,
) -> tuple[Entry, ...] | None: ...
