"""Taking a request apart and keeping its records, with the batch each came from. Pure."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from bridge.model import Batch, DeadLetter, Encoded, Outcome, Tick
from bridge.payload import Request, halves, singles


class Piece(Struct, frozen=True):
    """A request or a part of one; ``seq`` is its batch, the first of them if it joins several."""

    request: Request
    seq: int


def split(piece: Piece, *, patience: float = 1.0) -> tuple[Piece, ...]:
    """Take a piece in two, at a batch border if it has one; a lone record comes back alone.

    ``patience`` is that of the halves.
    """
    return tuple(
        Piece(replace(half, patience=patience), _seq(half, piece.seq))
        for half in halves(piece.request)
    )


def letters(
    piece: Piece, outcome: Outcome, *, destination: str, refused_at: Tick
) -> Iterator[DeadLetter]:
    """Every record of a piece as a dead letter, with the reason and the answer of the outcome."""
    for part in piece.request.parts:
        seq = part.seq if isinstance(part, Batch) else piece.seq
        for uid, record in singles(Request((part,))):
            yield DeadLetter(
                destination=destination,
                uid=uid,
                seq=seq,
                reason=outcome.reason,
                gzip=record.gzip,
                refused_at=refused_at,
                answer=outcome.answer,
            )


def request_of(letter: DeadLetter) -> Request:
    """A dead letter as the request it is: the bytes that were refused."""
    size = len(gzip.decompress(letter.gzip))
    return Request((Encoded(records=1, size=size, gzip=letter.gzip),))


def _seq(request: Request, parent: int) -> int:
    """The batch a half belongs to: a batch's own number, else that of what it was cut from."""
    first = request.parts[0]
    return first.seq if isinstance(first, Batch) else parent
