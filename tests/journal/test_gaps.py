"""Gaps and the ledger's bounds, kept by every implementation alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from support.journal import encode_one_each, encode_plainly, item, walk

from bridge.errors import JournalError
from bridge.journal import Journal, rules
from bridge.journal.memory import MemoryJournal
from bridge.journal.sqlite import SqliteJournal
from bridge.model import Appended, AppRecord, Encoded, Gap, GapKind, Identified
from bridge.simulator.manual_clock import ManualClock

Open = Callable[[], Journal]

CROWD = Gap(GapKind.CROWDED, 5, 6, at_least=3)
LOST = Gap(GapKind.RETENTION, 1, 5, at_least=0)


def play(open_journal: Open, scenario: Callable[[Journal], Awaitable[None]]) -> None:
    """Run a scenario on a journal that knows the app ``a`` from tick 2 on, and close it."""

    async def run() -> None:
        journal = open_journal()
        try:
            await journal.begin(AppRecord("a", "x", "{}", 2))
            await scenario(journal)
        finally:
            await journal.aclose()

    asyncio.run(run())


async def payloads(journal: Journal) -> list[bytes]:
    """Everything stored."""
    return [batch.gzip for batch in await journal.read(0, max_batches=99, max_size=9_999)]


async def ledger_from(journal: Journal) -> int | None:
    """Where the ledger of the app begins."""
    known = await journal.app("a")
    assert known is not None
    return known.ledger_from


def test_a_gap_is_stored_with_its_record_once(open_journal: Open) -> None:
    """Behind the entries of the same walk; found again it only counts higher, never lower."""

    async def first(journal: Journal) -> None:
        assert await journal.gaps("a") == ()
        found = walk("a", item(5, "p"), gaps=[CROWD, LOST, CROWD])
        assert await journal.append(found) == Appended(1, 0, 1)
        assert await payloads(journal) == [b"p crowded:5-6 retention:1-5"]
        more = Gap(GapKind.CROWDED, 5, 6, at_least=7)
        assert await journal.append(walk("a", gaps=[more])) == Appended(0, 0, None)
        await journal.append(walk("a", gaps=[CROWD]))
        assert await journal.gaps("a") == (LOST, more)

    async def second(journal: Journal) -> None:
        assert await journal.gaps("a") == (LOST, Gap(GapKind.CROWDED, 5, 6, at_least=7))
        assert len(await payloads(journal)) == 1
        assert await journal.gaps("b") == ()

    play(open_journal, first)
    play(open_journal, second)


def test_a_gap_alone_makes_a_batch(open_journal: Open) -> None:
    """A walk that found nothing new still tells what it could not prove."""

    async def scenario(journal: Journal) -> None:
        alone = walk("a", gaps=[LOST, CROWD], encode=encode_one_each)
        assert await journal.append(alone) == Appended(0, 0, 2)
        assert await payloads(journal) == [b"retention:1-5", b"crowded:5-6"]

    play(open_journal, scenario)


def test_a_closed_gap_opens_again_without_a_second_record(open_journal: Open) -> None:
    """Closing what is not open does nothing; found and closed at once is open."""

    async def scenario(journal: Journal) -> None:
        await journal.append(walk("a", closed=[CROWD]))
        assert await payloads(journal) == []
        await journal.append(walk("a", gaps=[CROWD, LOST]))
        await journal.append(walk("a", closed=[CROWD]))
        assert await journal.gaps("a") == (LOST,)
        await journal.append(walk("a", gaps=[CROWD]))
        assert await journal.gaps("a") == (LOST, CROWD)
        await journal.append(walk("a", gaps=[CROWD], closed=[CROWD, LOST]))
        assert await journal.gaps("a") == (CROWD,)
        assert len(await payloads(journal)) == 1

    play(open_journal, scenario)


def test_an_encoding_without_the_gap_stores_nothing(open_journal: Open) -> None:
    """A gap is never known without its record."""

    def forgetful(items: Sequence[Identified], _: Sequence[Gap]) -> list[Encoded]:
        return encode_plainly(items)

    async def scenario(journal: Journal) -> None:
        with pytest.raises(JournalError, match="1 entries and 1 gaps were encoded as 1 records"):
            await journal.append(walk("a", item(5, "p"), gaps=[CROWD], encode=forgetful))
        assert await journal.gaps("a") == ()
        assert (await journal.append(walk("a", item(5, "p")))).added == 1

    play(open_journal, scenario)


def test_the_ledger_begins_at_the_position_and_rises(open_journal: Open) -> None:
    """With what is forgotten, and to the position when the selection changes; never back."""

    async def scenario(journal: Journal) -> None:
        assert await ledger_from(journal) == 2
        await journal.append(walk("a", *(item(tick, "p") for tick in range(9)), position=20))
        await journal.prune("a", needed=99, kept=2)
        assert await ledger_from(journal) == 2
        await journal.prune("a", needed=4, kept=9)  # what a read may return stays
        assert await ledger_from(journal) == 4
        await journal.prune("a", needed=99, kept=99)
        assert await ledger_from(journal) == 8
        await journal.begin(AppRecord("a", "x", "{}", 77))
        assert await ledger_from(journal) == 8
        await journal.begin(AppRecord("a", "x", '{"level":"INFO"}', 77))
        assert await ledger_from(journal) == 20
        await journal.append(walk("a", item(9, "p")))
        await journal.prune("a", needed=99, kept=99)
        assert await journal.anchor("a", 8) is None
        assert await ledger_from(journal) == 20

    play(open_journal, scenario)


def test_over_its_bound_the_ledger_gives_up_the_oldest(path: Path, clock: ManualClock) -> None:
    """Of the app that is pruned, whole ticks, those without a time too; never what is needed."""
    bound = 5 * rules.FINGERPRINT_BYTES
    journals: list[Journal] = [
        MemoryJournal(max_bytes=999, ledger_bytes=bound, clock=clock),
        SqliteJournal.open(path, max_bytes=999, ledger_bytes=bound, clock=clock, inline=True),
    ]

    async def scenario(journal: Journal) -> None:
        await journal.begin(AppRecord("b", "x", "{}", 0))
        await journal.append(walk("b", item(0, "p"), item(1, "q")))
        found = [item(3, "p"), item(4, "u", dated=False), item(5, "q"), item(5, "r"), item(6, "s")]
        await journal.append(walk("a", *found))
        await journal.prune("a", needed=3, kept=0)
        assert await ledger_from(journal) == 2
        await journal.prune("a", needed=9, kept=0)
        assert await ledger_from(journal) == 5
        await journal.prune("a", needed=9, kept=0)
        assert await ledger_from(journal) == 5
        assert await journal.append(walk("a", *found)) == Appended(2, 3, 3)
        await journal.append(walk("a", item(7, "t")))
        await journal.prune("a", needed=9, kept=0)
        assert await ledger_from(journal) == 6
        assert await journal.anchor("b", 0) is not None
        known = await journal.anchor("a", 99)
        assert known is not None
        assert known.tick == 7

    for journal in journals:
        play(lambda one=journal: one, scenario)  # type: ignore[misc]


def test_a_closed_gap_below_the_ledger_is_forgotten(path: Path, clock: ManualClock) -> None:
    """No read returns to it; an open one stays until it is closed."""

    async def scenario(journal: Journal) -> None:
        assert isinstance(journal, SqliteJournal)
        await journal.append(walk("a", item(7, "p"), item(9, "q"), gaps=[CROWD, LOST]))
        await journal.append(walk("a", closed=[CROWD]))
        await journal.prune("a", needed=7, kept=7)
        rows = journal._db.execute("SELECT kind FROM gaps ORDER BY kind")
        assert rows.fetchall() == [("crowded",), ("retention",)]
        await journal.prune("a", needed=8, kept=8)
        assert journal._db.execute("SELECT kind FROM gaps").fetchall() == [("retention",)]
        assert await journal.gaps("a") == (LOST,)

    play(lambda: SqliteJournal.open(path, max_bytes=999, clock=clock, inline=True), scenario)
