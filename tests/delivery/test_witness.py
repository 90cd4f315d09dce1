"""The record that speaks for a destination, and how far refusals are believed."""

from __future__ import annotations

import asyncio

from delivery.fakes import encode, uids_of
from delivery.virtual import NOON, clock, run

from bridge.delivery.selection import Selection, TooOld
from bridge.delivery.split import Piece
from bridge.delivery.trust import Trust
from bridge.delivery.witness import Witness
from bridge.model import SECOND, Entry, Identified
from bridge.payload import Request


def piece(*messages: str) -> Piece:
    """A request of one batch, with records of these texts, all of noon."""
    found = [
        Identified(Entry({"message": message}, NOON), NOON, n.to_bytes(16))
        for n, message in enumerate(messages, start=1)
    ]
    return Piece(Request(tuple(encode(found))), 1)


def test_it_is_the_smallest_record_of_what_was_accepted_last() -> None:
    """The same each time, as the bytes that it would be sent as by itself."""

    async def main() -> None:
        witness = Witness(Selection(), clock())
        assert not witness.known
        assert witness.call() is None
        witness.keep(piece("before"))
        witness.keep(piece("a long one" * 9, "short", "a long one" * 9))
        first, again = witness.call(), witness.call()
        assert first is not None
        assert again is not None
        uid, request = first
        assert uids_of(request.raw) == (uid,) == (f"{2:032x}",)
        assert again[1].gzip == request.gzip
        witness.drop()
        assert witness.call() is None

    run(main())


def test_a_lone_record_goes_as_the_bytes_that_it_was() -> None:
    """Re-sends are byte-equal."""

    async def main() -> None:
        accepted = piece("one")
        witness = Witness(Selection(), clock())
        witness.keep(accepted)
        found = witness.call()
        assert found is not None
        assert found[1].gzip == accepted.request.gzip

    run(main())


def test_one_that_has_become_too_old_is_none() -> None:
    """It might be refused for its age, which would say nothing of the destination."""

    async def main() -> None:
        witness = Witness(Selection(max_age=300 * SECOND, too_old=TooOld.DEAD_LETTER), clock())
        witness.keep(piece("one"))
        await asyncio.sleep(299)
        assert witness.call() is not None
        await asyncio.sleep(2)
        assert witness.call() is None
        assert not witness.known

    run(main())


def test_trust_is_lost_for_ten_minutes_and_further_each_time() -> None:
    """Then one refusal in contrast is proof again."""

    async def main() -> None:
        trust = Trust(clock())
        assert (trust.lost, trust.proof) == (False, 1)
        proofs = []
        for _ in range(20):
            trust.lose()
            proofs.append(trust.proof)
        assert proofs == [*range(6, 10), *[10] * 16]
        await asyncio.sleep(601)
        assert (trust.lost, trust.proof) == (False, 1)
        trust.lose()
        assert trust.proof == 6

    run(main())
