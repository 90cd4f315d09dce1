"""Taking requests apart."""

from __future__ import annotations

from collections.abc import Sequence

from delivery.fakes import encode, uids_of
from delivery.virtual import NOON
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.split import Piece, letters, request_of, split
from bridge.model import Batch, Entry, Identified, Outcome, Verdict
from bridge.payload import Request

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def joined(sizes: Sequence[int]) -> Piece:
    """Batches of so many records, numbered from 11, joined into one request."""
    batches = []
    made = 0
    for seq, size in enumerate(sizes, start=11):
        found = [
            Identified(Entry({"message": f"{n}"}, NOON + n), NOON + n, n.to_bytes(16))
            for n in range(made, made + size)
        ]
        made += size
        (part,) = encode(found)
        batches.append(Batch(seq, "app", part.records, part.size, part.gzip, NOON))
    return Piece(Request(tuple(batches)), 11)


def shattered(piece: Piece) -> list[Piece]:
    """Split until nothing more comes apart."""
    pieces = split(piece)
    if len(pieces) == 1:
        return [piece]
    return [last for half in pieces for last in shattered(half)]


def numbered(sizes: Sequence[int]) -> list[int]:
    """The batch number of every record."""
    return [seq for seq, size in enumerate(sizes, start=11) for _ in range(size)]


@given(SIZES)
def test_pieces_hold_everything_once_and_in_order(sizes: list[int]) -> None:
    """Split to the end, every record stands alone, under the number of its batch."""
    whole = joined(sizes)
    pieces = shattered(whole)
    assert [uid for piece in pieces for uid in uids_of(piece.request.raw)] == list(
        uids_of(whole.request.raw)
    )
    assert {piece.request.records for piece in pieces} == {1}
    assert [piece.seq for piece in pieces] == numbered(sizes)


def test_joined_requests_come_apart_at_batch_borders_first() -> None:
    """Stored bytes stay as they are for as long as possible."""
    whole = joined([3, 1, 5])
    first, second = split(whole)
    assert first.request.parts == whole.request.parts[:1]
    assert second.request.parts == whole.request.parts[1:]
    assert (first.seq, second.seq) == (11, 12)


@given(SIZES)
def test_dead_letters_hold_every_record_with_its_batch(sizes: list[int]) -> None:
    """One record each, with its uid, the number of its batch and the reason."""
    whole = joined(sizes)
    outcome = Outcome(Verdict.REJECTED, "too old", answer="entry too far behind")
    dead = list(letters(whole, outcome, destination="backend", refused_at=NOON))
    assert [letter.uid for letter in dead] == list(uids_of(whole.request.raw))
    assert [letter.seq for letter in dead] == numbered(sizes)
    assert {(d.destination, d.reason, d.answer, d.refused_at) for d in dead} == {
        ("backend", "too old", "entry too far behind", NOON)
    }
    requests = [request_of(letter) for letter in dead]
    assert all(uids_of(one.raw) == (d.uid,) for one, d in zip(requests, dead, strict=True))
    assert [one.size for one in requests] == [len(one.raw) for one in requests]
