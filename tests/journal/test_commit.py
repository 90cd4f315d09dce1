"""Group commit, and what happens when the disk does not do its part."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support.journal import Disk, Hold, encode_plainly, item, walk

from bridge.errors import JournalError
from bridge.journal import commit, store
from bridge.journal.rules import POSITION_STEP
from bridge.journal.sqlite import SqliteJournal
from bridge.model import Append, Appended, AppRecord, DeadLetter, Encoded, Gap, Identified
from bridge.simulator.manual_clock import ManualClock

Start: TypeAlias = Callable[..., SqliteJournal]

FULL = "database or disk is full"
BROKEN = "disk I/O error"


@pytest.fixture
def start(path: Path, clock: ManualClock, disk: Disk) -> Iterator[Start]:
    """Open the SQLite journal, inline unless told otherwise."""
    opened: list[SqliteJournal] = []

    def open_journal(*, inline: bool = True, max_bytes: int = 1_000_000) -> SqliteJournal:
        journal = SqliteJournal.open(
            path, max_bytes=max_bytes, clock=clock, inline=inline, connect=disk.connect
        )
        opened.append(journal)
        return journal

    yield open_journal
    for journal in opened:
        journal.abandon()


async def prepare(journal: SqliteJournal) -> None:
    """Two apps, one destination, one batch."""
    for name in ("a", "b"):
        await journal.begin(AppRecord(name, "rest/x", "{}", 0))
    await journal.attach("one")
    await journal.append(walk("a", item(1, "x")))


async def together(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run calls at the same moment; results or errors."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def payloads(journal: SqliteJournal) -> list[bytes]:
    """Everything stored."""
    return [batch.gzip for batch in await journal.read(0, max_batches=99, max_size=99_999)]


async def on_its_way(
    journal: SqliteJournal, disk: Disk, append: Append, *, at: str = "COMMIT"
) -> tuple[Hold, asyncio.Task[Appended]]:
    """An append that the disk lets wait at a statement, until it is left."""
    held = disk.hold(at)
    task = asyncio.create_task(journal.append(append))
    assert await asyncio.to_thread(held.entered.wait, 60)
    return held, task


def test_calls_of_one_moment_share_a_commit(start: Start, disk: Disk) -> None:
    """Fifty appends and a cursor: one COMMIT."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        before = disk.commits
        results = await together(
            *(journal.append(walk("a", item(n, f"u{n}"))) for n in range(2, 52)),
            journal.advance("one", 1),
        )
        assert results == [*(Appended(1, 0, n) for n in range(2, 52)), None]
        assert disk.commits == before + 1

    asyncio.run(run())


@pytest.mark.parametrize("waits", ["BEGIN IMMEDIATE", "COMMIT"])
def test_what_comes_while_one_commits_shares_the_next(start: Start, disk: Disk, waits: str) -> None:
    """While the disk, or another process, takes its time the loop is free, and gathers."""

    async def run() -> None:
        journal = start(inline=False)
        await prepare(journal)
        before = disk.commits
        slow = walk("a", item(2, "slow"), position=0)
        held, first = await on_its_way(journal, disk, slow, at=waits)
        rest = [asyncio.create_task(journal.append(walk("b", item(n, "y")))) for n in range(9)]
        await asyncio.sleep(0)
        assert not first.done()
        held.leave()
        assert (await first).last_seq == 2
        assert [(await task).last_seq for task in rest] == list(range(3, 12))
        assert disk.commits == before + 2

    asyncio.run(run())


def test_who_looks_sees_no_transaction_half_way(start: Start, disk: Disk) -> None:
    """What is read while the disk works comes afterwards; a caller that left harms nobody."""

    async def run() -> None:
        journal = start(inline=False)
        await prepare(journal)
        held, append = await on_its_way(journal, disk, walk("a", item(2, "y"), position=7))
        looks = [asyncio.create_task(journal.app(name)) for name in ("a", "b", "a")]
        await asyncio.sleep(0)
        looks[0].cancel()
        await asyncio.sleep(0)
        assert not looks[1].done()
        held.leave()
        await append
        assert await looks[1] == AppRecord("b", "rest/x", "{}", 0, ledger_from=0)
        assert await looks[2] == AppRecord("a", "rest/x", "{}", 7, ledger_from=0)

    asyncio.run(run())


def test_a_look_that_fails_is_told_to_who_looked(start: Start, disk: Disk) -> None:
    """It waited for a transaction, which stands all the same."""

    async def run() -> None:
        journal = start(inline=False)
        await prepare(journal)
        held, append = await on_its_way(journal, disk, walk("a", item(2, "y"), position=7))
        look = asyncio.create_task(journal.gaps("a"))
        await asyncio.sleep(0)
        disk.plan(sqlite3.OperationalError(BROKEN), on="FROM gaps")
        held.leave()
        assert (await append).last_seq == 2
        with pytest.raises(JournalError, match=BROKEN):
            await look

    asyncio.run(run())


def test_a_large_group_leaves_the_loop_its_turns(start: Start) -> None:
    """Between the operations of one transaction the rest of the bridge goes on; not after each."""
    turns = 0

    async def run() -> None:
        nonlocal turns
        journal = start()
        await prepare(journal)
        appends = asyncio.gather(*(journal.append(walk("a", item(n, "y"))) for n in range(2, 52)))
        while not appends.done():
            turns += 1
            await asyncio.sleep(0)
        await appends

    asyncio.run(run())
    assert 6 <= turns < 25


def test_a_journal_that_is_killed_within_a_group_stores_none_of_it(start: Start) -> None:
    """Nobody is told that anything of it holds."""

    def kills(items: Sequence[Identified], _: Sequence[Gap]) -> list[Encoded]:
        asyncio.get_running_loop().call_soon(journal.abandon)
        return encode_plainly(items)

    journal = start(inline=False)

    async def run() -> None:
        await prepare(journal)
        results = await together(
            journal.append(walk("a", item(2, "y"), encode=kills)),
            *(journal.append(walk("b", item(n, "z"))) for n in range(3, 12)),
        )
        assert [type(result) for result in results] == [JournalError] * 10
        with pytest.raises(JournalError, match="closed"):
            await journal.app("a")
        assert await payloads(start()) == [b"x"]

    asyncio.run(run())


def test_a_crowd_is_committed_in_several_groups(start: Start, disk: Disk) -> None:
    """Another process that has a word to say waits for one of them, not for all."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        before = disk.commits
        await together(*(journal.append(walk("a", item(n, f"u{n}"))) for n in range(2, 202)))
        assert disk.commits == before + 4

    asyncio.run(run())


def test_a_gigabyte_that_nobody_waits_for_goes_in_pieces(start: Start) -> None:
    """What only a forgotten destination held: no append takes long for it."""

    async def run() -> None:
        journal = start(max_bytes=1 << 30)
        await prepare(journal)
        for n in range(2, 602):
            journal._db.execute(
                "INSERT INTO batches SELECT :n, app, records, size, journaled_at, records_through,"
                " bytes_through, gzip, audience FROM batches WHERE seq = 1",
                {"n": n},
            )
        journal._db.execute("UPDATE cursors SET cursor = 601")

        def left() -> int:
            (count,) = journal._db.execute("SELECT count(*) FROM batches").fetchone()
            return int(count)

        counts = []
        for n in range(2, 6):
            await journal.append(walk("a", item(n, f"u{n}")))
            counts.append(left())
        assert counts == [346, 91, 3, 4]

    asyncio.run(run())


def test_an_idle_append_commits_nothing(start: Start, disk: Disk, path: Path) -> None:
    """Trap 2's cheap half: an idle app costs no disk write, nor does anything that is known."""

    def files() -> list[bytes]:
        return [path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()]

    async def run() -> None:
        journal = start()
        await prepare(journal)
        await journal.advance("one", 1)
        before, commits = files(), disk.commits
        await journal.append(walk("a", item(1, "x"), position=POSITION_STEP - 1))
        await journal.append(walk("b"))
        await journal.begin(AppRecord("a", "rest/x", "{}", 77))
        await journal.attach("one")
        await journal.advance("one", 1)
        await journal.prune("a", needed=1, kept=1)
        assert (files(), disk.commits) == (before, commits)
        await journal.append(walk("b", position=POSITION_STEP))
        assert disk.commits == commits + 1

    asyncio.run(run())


def test_one_failing_call_harms_no_other(start: Start, disk: Disk) -> None:
    """Each has a savepoint: what an encoder or a refused cursor did is undone alone."""

    def broken(_: Sequence[Identified], __: Sequence[Gap]) -> list[Encoded]:
        raise ValueError("no")

    async def run() -> None:
        journal = start()
        await prepare(journal)
        before = disk.commits
        first, encoder, cursor, last = await together(
            journal.append(walk("a", item(2, "y"))),
            journal.append(walk("b", item(1, "z"), position=0, encode=broken)),
            journal.advance("one", 99),
            journal.append(walk("b", item(1, "z"))),
        )
        assert (first, last) == (Appended(1, 0, 2), Appended(1, 0, 3))
        assert isinstance(encoder, ValueError)
        assert isinstance(cursor, JournalError)
        assert disk.commits == before + 1

    asyncio.run(run())


def test_a_statement_that_fails_is_that_call_s_alone(start: Start, disk: Disk) -> None:
    """SQLite undoes the statement, the savepoint the rest of the call."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        disk.plan(sqlite3.OperationalError(BROKEN), on="INSERT INTO batches")
        first, second = await together(
            journal.append(walk("a", item(2, "y"))), journal.append(walk("b", item(1, "z")))
        )
        assert isinstance(first, JournalError)
        assert second == Appended(1, 0, 2)
        assert await journal.append(walk("a", item(2, "y"))) == Appended(1, 0, 3)

    asyncio.run(run())


@pytest.mark.parametrize("error", [FULL, BROKEN])
def test_a_failed_commit_fails_all_and_leaves_nothing(
    start: Start, disk: Disk, path: Path, error: str
) -> None:
    """Everyone hears what failed, where and what to do; the next try works without a restart."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        cause = sqlite3.OperationalError(error)
        disk.plan(cause, on="COMMIT")
        letter = DeadLetter("one", "u", 1, "refused", b"z", 5)
        results = await together(
            journal.append(walk("a", item(2, "y"), position=9)),
            journal.begin(AppRecord("c", "rest/x", "{}", 0)),
            journal.advance("one", 1, [letter]),
        )
        for result in results:
            assert isinstance(result, JournalError)
            assert str(result).startswith(f"{path}: the journal failed: {error} (")
            assert result.__cause__ is cause
        assert await payloads(journal) == [b"x"]
        assert await journal.app("a") == AppRecord("a", "rest/x", "{}", 0, ledger_from=0)
        assert await journal.app("c") is None
        assert (await journal.stats()).dead_letters == 0
        assert (await journal.stats()).backlogs[0].cursor == 0
        assert await journal.append(walk("a", item(2, "y"), position=9)) == Appended(1, 0, 2)

    asyncio.run(run())


def test_a_failed_rollback_is_made_good_before_the_next_call(start: Start) -> None:
    """A transaction left open is never read from nor built upon."""

    async def run() -> None:
        journal = start()
        await prepare(journal)

        def leave_open() -> None:
            journal._db.execute("BEGIN IMMEDIATE")
            journal._db.execute("UPDATE apps SET position = 55")

        leave_open()
        assert await journal.app("a") == AppRecord("a", "rest/x", "{}", 0, ledger_from=0)
        leave_open()
        assert await journal.append(walk("a", item(2, "y"))) == Appended(1, 0, 2)
        assert await journal.app("b") == AppRecord("b", "rest/x", "{}", 0, ledger_from=0)

    asyncio.run(run())


def test_a_transaction_that_sqlite_gave_up_fails_as_a_whole(tmp_path: Path) -> None:
    """Where SQLite itself rolls back everything, no call of the group may count as stored."""

    def marks(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO t VALUES (1)")
        return "stored"

    def gives_up(db: sqlite3.Connection) -> None:
        db.execute("ROLLBACK")  # what SQLite may do by itself on these errors
        raise sqlite3.OperationalError(FULL)

    db = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    try:
        db.execute("CREATE TABLE t (x)")
        with pytest.raises(sqlite3.OperationalError, match=FULL):
            commit.commit([marks, gives_up, marks], db)
        assert not db.execute("SELECT * FROM t").fetchall()
        assert commit.commit([marks], db) == ["stored"]
        assert db.execute("SELECT * FROM t").fetchall() == [(1,)]
    finally:
        db.close()


def test_a_commit_that_failed_only_in_words_repeats_nothing(start: Start, disk: Disk) -> None:
    """An fsync error may come after the data is safe: the retry recognises every entry."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        disk.plan(sqlite3.OperationalError(BROKEN), on="COMMIT", late=True)
        with pytest.raises(JournalError):
            await journal.append(walk("a", item(2, "y"), position=9))
        assert await journal.append(walk("a", item(2, "y"), position=9)) == Appended(0, 1, None)
        assert await payloads(journal) == [b"x", b"y"]
        known = await journal.app("a")
        assert known is not None
        assert known.position == 9

    asyncio.run(run())


@pytest.mark.parametrize("inline", [True, False])
def test_a_disk_really_full_is_survived(start: Start, inline: bool) -> None:
    """SQLite's own SQLITE_FULL: told, nothing stored; with room again it goes on."""

    async def run() -> None:
        journal = start(inline=inline)
        await prepare(journal)
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        big = walk("b", item(1, "z" * 4_000_000))  # more than the page cache holds
        with pytest.raises(JournalError, match="make room on that disk"):
            await journal.append(big)
        await journal.advance("one", 1)
        assert (await journal.append(walk("a", item(2, "y")))).last_seq == 2
        assert await payloads(journal) == [b"y"]
        journal._db.execute("PRAGMA max_page_count = 1000000")
        assert (await journal.append(big)).last_seq == 3
        assert journal._db.execute("PRAGMA quick_check").fetchall() == [("ok",)]

    asyncio.run(run())


def test_a_cancelled_call_is_on_disk_with_the_others(start: Start, disk: Disk) -> None:
    """Trap 11's kin: the caller left, the fact that was on its way did not."""

    async def run() -> None:
        journal = start(inline=False)
        await prepare(journal)
        held, task = await on_its_way(journal, disk, walk("a", item(2, "y"), position=0))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.leave()
        await journal.aclose()
        assert await payloads(start()) == [b"x", b"y"]

    asyncio.run(run())


def test_closing_finishes_what_was_submitted(start: Start, disk: Disk) -> None:
    """Calls handed over before `aclose` get their answers, those that wait for a commit too."""

    async def run() -> None:
        journal = start(inline=False)
        await prepare(journal)
        held, first = await on_its_way(journal, disk, walk("a", item(2, "y"), position=0))
        calls: list[asyncio.Task[Any]] = [first]
        calls += [asyncio.create_task(journal.append(walk("b", item(n, "z")))) for n in range(9)]
        calls += [asyncio.create_task(journal.app("a")) for _ in range(9)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(journal.aclose())
        await asyncio.sleep(0)
        held.leave()
        await closing
        assert all([await call for call in calls])
        assert len(await payloads(start())) == 11

    asyncio.run(run())


def test_an_event_loop_that_ends_early_leaves_a_sound_journal(start: Start) -> None:
    """Without `aclose` what was not committed is dropped, and the file opens again."""

    async def cut_short(journal: SqliteJournal) -> None:
        await prepare(journal)
        tasks = [asyncio.create_task(journal.append(walk("a", item(n, "y")))) for n in (2, 3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)

    async def look(journal: SqliteJournal) -> None:
        assert set(await payloads(journal)) <= {b"x", b"y"}
        assert (await journal.append(walk("a", item(4, "z")))).added == 1

    journal = start(inline=False)
    asyncio.run(cut_short(journal))
    journal.abandon()
    asyncio.run(look(start()))


def test_prune_goes_in_pieces(start: Start) -> None:
    """Each transaction forgets a bounded number, at least one whole tick, until all is done."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        found = [item(tick, uid) for tick in range(1, 6) for uid in ("p", "q", "r")]
        await journal.append(walk("b", *found))

        def left() -> list[int]:
            rows = journal._db.execute("SELECT tick FROM seen JOIN apps ON id = app AND name = 'b'")
            return [tick for (tick,) in rows.fetchall()]

        def prune(chunk: int) -> bool:
            return store.prune(
                journal._db, "b", needed=99, kept=99, ledger_bytes=1 << 30, chunk=chunk
            )

        assert prune(2)
        assert left() == [2] * 3 + [3] * 3 + [4] * 3 + [5] * 3
        assert prune(4)
        assert left() == [4] * 3 + [5] * 3
        assert not prune(4)
        assert left() == [5] * 3

    asyncio.run(run())


def test_prune_of_many_is_complete(start: Start, disk: Disk) -> None:
    """More fingerprints than one piece: several commits, and all below are gone."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        await journal.append(walk("b", *(item(tick, "p") for tick in range(12_000))))
        before = disk.commits
        await journal.prune("b", needed=11_000, kept=11_000)
        assert disk.commits == before + 3
        assert await journal.anchor("b", 10_999) is None
        assert await journal.anchor("b", 11_000) is not None

    asyncio.run(run())


def test_the_files_do_not_grow_without_bound(start: Start, path: Path) -> None:
    """Pages of delivered batches are used again, and the write-ahead log starts over."""

    async def run() -> None:
        journal = start()
        await prepare(journal)
        for n in range(2, 302):
            await journal.append(walk("a", item(n, f"{n:06}" * 20_000)))
            await journal.advance("one", n)
            await journal.prune("a", needed=n, kept=n)

    asyncio.run(run())
    assert path.stat().st_size < 2_000_000
    assert path.with_name(f"{path.name}-wal").stat().st_size < 17_000_000
