"""A person's orders: what they change, what they refuse, and that the bridge beside goes on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.journal import Disk, copy_as_killed, item, walk
from support.virtual import Crash

from bridge.errors import JournalError, JournalFull, JournalUnusable
from bridge.journal import Backlog, Start, Wishes, opening, orders
from bridge.journal.ledger import Ledger
from bridge.journal.orders import Orders
from bridge.journal.sqlite import SqliteJournal
from bridge.model import AppRecord, DeadLetter
from bridge.simulator.manual_clock import ManualClock


def letter(destination: str, uid: str, gzip: bytes = b"z") -> DeadLetter:
    """A record that a destination refused."""
    return DeadLetter(destination, uid, seq=1, reason="no", gzip=gzip, refused_at=5, answer="sorry")


async def fill(journal: SqliteJournal) -> None:
    """Two batches; the first destination has three dead letters, the second one."""
    await journal.begin(AppRecord("a", "x", "{}", 0))
    await journal.attach("one")
    await journal.attach("two")
    await journal.append(walk("a", item(1, "x" * 50)))
    await journal.append(walk("a", item(2, "y" * 50)))
    await journal.advance("one", 2, [letter("one", uid) for uid in ("u", "v", "w")])
    await journal.advance("two", 1, [letter("two", "u")])


@pytest.fixture
def running(path: Path, clock: ManualClock) -> Iterator[SqliteJournal]:
    """A filled journal, open: a bridge runs."""
    journal = SqliteJournal.open(path, max_bytes=100, clock=clock, inline=True)
    asyncio.run(fill(journal))
    yield journal
    journal.abandon()


def restarted(
    running: SqliteJournal, path: Path, *names: str, max_bytes: int = 100
) -> SqliteJournal:
    """The journal after a restart with these destinations."""

    async def run() -> SqliteJournal:
        await running.aclose()
        journal = SqliteJournal.open(path, max_bytes=max_bytes, clock=ManualClock(0), inline=True)
        for name in names:
            await journal.attach(name)
        return journal

    return asyncio.run(run())


def wished(journal: SqliteJournal, destination: str, max_size: int = 99) -> list[str]:
    """The uids to replay."""
    wishes = asyncio.run(journal.wishes(destination, max_size=max_size))
    return [one.uid for one in wishes.replay]


def test_letters_are_marked_for_replay(running: SqliteJournal, path: Path) -> None:
    """Of one destination, by uid, or all; the bridge sees it at once, the oldest first."""
    with Orders.open(path) as word:
        assert word.replay(destination="one", uids=["w", "ghost"]) == 1
        assert wished(running, "one") == ["w"]
        assert wished(running, "two") == []
        assert word.replay(destination=None, uids=["u"]) == 2
        assert wished(running, "one") == ["u", "w"]
        assert word.replay(destination="one", uids=["u"]) == 1  # marked already
        assert word.replay(destination=None, uids=None) == 4
        assert wished(running, "one") == ["u", "v", "w"]
        assert word.replay(destination="ghost", uids=None) == 0
    wishes = asyncio.run(running.wishes("two", max_size=99))
    assert wishes == Wishes(replay=(letter("two", "u"),))


def test_wishes_come_in_bounded_parts(path: Path, clock: ManualClock) -> None:
    """At least one, then as many as fit."""
    journal = SqliteJournal.open(path, max_bytes=100, clock=clock, inline=True)

    async def store() -> None:
        await journal.attach("one")
        letters = [letter("one", uid, b"z" * 5) for uid in "uvw"]
        await journal.advance("one", 0, letters)

    asyncio.run(store())
    with Orders.open(path) as word:
        word.replay(destination=None, uids=None)
    parts = [wished(journal, "one", size) for size in (0, 9, 10, 14, 15)]
    assert parts == [["u"], ["u"], ["u", "v"], ["u", "v"], ["u", "v", "w"]]
    journal.abandon()


def test_what_was_replayed_goes_and_what_was_refused_again_stays(
    running: SqliteJournal, path: Path
) -> None:
    """Neither is wished for any more."""
    with Orders.open(path) as word:
        word.replay(destination="one", uids=None)
    again = replace(letter("one", "v"), reason="still no", refused_at=9)
    asyncio.run(running.advance("one", 2, [again], replayed=["u"]))
    assert wished(running, "one") == ["w"]
    with Ledger.open(path) as ledger:
        kept = ledger.dead_letters(destination="one", limit=9)
    assert [(one.letter.uid, one.letter.reason, one.replay) for one in kept] == [
        ("v", "still no", False),
        ("w", "no", True),
    ]


def test_letters_are_dropped(
    running: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As chosen, in small transactions; what they took is free."""
    monkeypatch.setattr(orders, "_CHUNK", 2)
    with Orders.open(path) as word:
        assert word.drop(destination="two", uids=["v"]) == 0
        assert word.drop(destination="two", uids=None) == 1
        assert word.drop(destination=None, uids=["u", "v"]) == 2
        assert word.drop(destination=None, uids=[]) == 0
        stats = asyncio.run(running.stats())
        assert (stats.dead_letters, stats.dead_letter_bytes) == (1, len("nosorryz"))
        more = [letter("one", uid) for uid in "abcd"]
        asyncio.run(running.advance("one", 2, more))
        assert word.drop(destination=None, uids=None) == 5
    assert asyncio.run(running.stats()).dead_letter_bytes == 0


def test_a_destination_rests_and_goes_on(running: SqliteJournal, path: Path) -> None:
    """Whether it is in use or not, across restarts; asking twice is fine."""
    with Orders.open(path) as word:
        assert word.pause("two", paused=True)
        assert not word.pause("two", paused=True)
    journal = restarted(running, path, "one", "two")
    assert asyncio.run(journal.wishes("two", max_size=1)).paused
    assert not asyncio.run(journal.wishes("one", max_size=1)).paused
    assert [one.paused for one in asyncio.run(journal.stats()).backlogs] == [False, True]
    with Orders.open(path) as word:
        assert word.pause("two", paused=False)
        assert not word.pause("two", paused=False)
    assert not asyncio.run(journal.wishes("two", max_size=1)).paused
    journal.abandon()


def test_a_paused_destination_that_fills_the_journal_is_named(
    running: SqliteJournal, path: Path
) -> None:
    """With the word that lets it go on."""
    with Orders.open(path) as word:
        word.pause("two", paused=True)
    asyncio.run(running.append(walk("a", item(3, "z" * 50))))
    with pytest.raises(JournalFull, match=r"two is paused: run .*destinations resume two`"):
        asyncio.run(running.append(walk("a", item(4, "w"))))


def test_a_destination_is_forgotten(running: SqliteJournal, path: Path) -> None:
    """With what it held, which is told; the bridge then removes what only it held."""
    journal = restarted(running, path, "one", max_bytes=50)
    with pytest.raises(JournalFull, match="forget two`"):
        asyncio.run(journal.append(walk("a", item(3, "z"))))
    with Orders.open(path) as word:
        word.drop(destination="two", uids=None)
        held = word.forget("two")
        assert held == Backlog("two", 1, 1, 1, 1_000, bytes=50)
        with pytest.raises(JournalError, match=r"destination two: .* knows no .*there are: one"):
            word.forget("two")
    assert asyncio.run(journal.append(walk("a", item(3, "z")))).last_seq == 3
    assert [batch.seq for batch in asyncio.run(journal.read(0, max_batches=9, max_size=99))] == [3]
    assert journal._db.execute("SELECT DISTINCT destination FROM acks").fetchall() == [("one",)]
    assert asyncio.run(journal.attach("two", Start.NOW)) == 3
    journal.abandon()


def test_room_that_a_command_makes_is_noticed(running: SqliteJournal, path: Path) -> None:
    """Who waits for room looks now and then: nobody in the process tells."""
    journal = restarted(running, path, "one", max_bytes=50)

    async def run() -> None:
        waiter = asyncio.create_task(journal.wait_for_room())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiter.done()
        with Orders.open(path) as word:
            word.drop(destination="two", uids=None)
            word.forget("two")
        await asyncio.wait_for(waiter, 60)

    asyncio.run(run())
    journal.abandon()


def test_what_is_in_use_is_not_forgotten(running: SqliteJournal, path: Path) -> None:
    """By a running bridge; when none runs, its last use is no obstacle."""
    with Orders.open(path) as word:
        word.drop(destination=None, uids=None)
        with pytest.raises(JournalError, match=r"destination two: a running bridge delivers to it"):
            word.forget("two")
        assert [one.destination for one in asyncio.run(running.stats()).backlogs] == ["one", "two"]
        asyncio.run(running.aclose())
        word.forget("two")
    with Ledger.open(path) as ledger:
        assert [one.name for one in ledger.destinations()] == ["one"]


def test_a_destination_with_dead_letters_is_not_forgotten(
    running: SqliteJournal, path: Path
) -> None:
    """They go by their own command only."""
    asyncio.run(running.aclose())
    with (
        Orders.open(path) as word,
        pytest.raises(JournalError, match=r"it has 3 dead letters .*dead-letters drop"),
    ):
        word.forget("one")
    with Ledger.open(path) as ledger:
        assert [one.name for one in ledger.destinations()] == ["one", "two"]


def test_a_destination_that_never_was_is_told(path: Path) -> None:
    """Also where there is none at all."""
    SqliteJournal.open(path, max_bytes=9, clock=ManualClock(), inline=True).abandon()
    with Orders.open(path) as word:
        with pytest.raises(JournalError, match=r"no such destination .none has been run yet"):
            word.forget("x")
        with pytest.raises(JournalError, match=r"no such destination .none has been run yet"):
            word.pause("x", paused=True)


def test_no_journal_is_made_or_upgraded(path: Path) -> None:
    """A missing one, a foreign one, one of another version."""
    with pytest.raises(JournalUnusable, match="there is no journal"):
        Orders.open(path)
    assert not path.exists()
    path.write_bytes(b"something else" * 50)
    with pytest.raises(JournalUnusable, match="not an SQLite database"):
        Orders.open(path)
    path.unlink()
    SqliteJournal.open(path, max_bytes=9, clock=ManualClock(), inline=True).abandon()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {opening.SCHEMA_VERSION - 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalUnusable, match="brought up to date when the bridge starts"):
        Orders.open(path)
    assert path.read_bytes() == before


def test_orders_that_fail_are_told_and_undone(running: SqliteJournal, path: Path) -> None:
    """A full disk at any statement: the bridge's own error, and nothing of it holds."""
    for skip in range(99):
        disk = Disk()
        disk.plan(sqlite3.OperationalError("database or disk is full"), skip=skip)
        problem = _problem_of_pausing(path, disk)
        if disk.armed:
            assert (problem, skip > 5) == ("", True)
            return
        assert "make room on that disk" in problem
        assert not asyncio.run(running.wishes("two", max_size=1)).paused
    pytest.fail("the order never ended")


def _problem_of_pausing(path: Path, disk: Disk) -> str:
    try:
        with Orders.open(path, connect=disk.connect) as word:
            word.pause("two", paused=True)
    except JournalError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "order",
    [
        lambda word: word.drop(destination="one", uids=None),
        lambda word: word.replay(destination="one", uids=None),
        lambda word: word.forget("three"),
    ],
)
def test_a_killed_order_is_whole_or_absent(
    running: SqliteJournal, path: Path, tmp_path: Path, order: Callable[[Orders], object]
) -> None:
    """At whatever statement it dies, the counts are right and the bridge goes on."""
    asyncio.run(running.attach("three"))
    asyncio.run(running.aclose())
    outcomes = set()
    for skip in range(99):
        copy = copy_as_killed(path, tmp_path / str(skip))
        disk = Disk()
        disk.plan(Crash(), skip=skip)
        try:
            with Orders.open(copy, connect=disk.connect) as word:
                order(word)
        except Crash:
            assert not disk.armed
        journal = SqliteJournal.open(copy, max_bytes=99, clock=ManualClock(), inline=True)
        asyncio.run(journal.attach("one"))
        stats = asyncio.run(journal.stats())
        count, size, marked = journal._db.execute(
            "SELECT count(*), coalesce(sum(size), 0), sum(replay) FROM dead_letters"
        ).fetchone()
        assert (count, size) == (stats.dead_letters, stats.dead_letter_bytes)
        outcomes.add((count, marked, len(stats.unused)))
        journal.abandon()
        if disk.armed:
            assert len(outcomes) == 2
            return
    pytest.fail("the order never ended")


_PERSON = """
import json, sys
from pathlib import Path
from bridge.journal.orders import Orders
for line in sys.stdin:
    with Orders.open(Path(sys.argv[1])) as word:
        marked = word.replay(destination="one", uids=None)
        word.pause("two", paused=line == "pause\\n")
        dropped = word.drop(destination="two", uids=None)
    print(json.dumps([marked, dropped]), flush=True)
"""


def _ordered(person: subprocess.Popen[bytes], word: bytes) -> list[int]:
    """One round of the person's process: how many letters it marked, and dropped."""
    assert person.stdin is not None
    assert person.stdout is not None
    person.stdin.write(word)
    person.stdin.flush()
    answer: list[int] = json.loads(person.stdout.readline())
    return answer


def test_a_person_s_process_beside_a_working_bridge(path: Path) -> None:
    """Orders from another process while this one appends and advances: no word is lost."""

    async def work(journal: SqliteJournal, numbers: range) -> None:
        for n in numbers:
            done, _, _ = await asyncio.gather(
                journal.append(walk("a", item(n, f"{n}"))),
                journal.advance("one", n - 1, [letter("one", f"{n}")]),
                journal.advance("two", n - 1, [letter("two", f"{n}")]),
            )
            assert done.last_seq == n

    async def run(person: subprocess.Popen[bytes]) -> None:
        journal = SqliteJournal.open(path, max_bytes=1 << 30, clock=ManualClock())
        await journal.begin(AppRecord("a", "x", "{}", 0))
        await journal.attach("one")
        await journal.attach("two")
        replayed = dropped = 0
        for turn in range(20):
            order = b"pause\n" if turn % 2 else b"resume\n"
            (marked, gone), _ = await asyncio.gather(
                asyncio.to_thread(_ordered, person, order),
                work(journal, range(turn * 10 + 1, turn * 10 + 11)),
            )
            wishes = await journal.wishes("one", max_size=1 << 20)
            assert len(wishes.replay) == marked
            assert (await journal.wishes("two", max_size=1)).paused is bool(turn % 2)
            await journal.advance("one", 0, replayed=[one.uid for one in wishes.replay])
            replayed += marked
            dropped += gone
        backlogs = (await journal.stats()).backlogs
        left = [(one.cursor, one.dead_letters) for one in backlogs]
        assert left == [(199, 200 - replayed), (199, 200 - dropped)]
        assert min(replayed, dropped) >= 190 - 10
        await journal.aclose()

    SqliteJournal.open(path, max_bytes=9, clock=ManualClock(), inline=True).abandon()
    with subprocess.Popen(
        [sys.executable, "-c", _PERSON, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as person:
        asyncio.run(run(person))
        assert person.stdin is not None
        person.stdin.close()
        assert person.wait(60) == 0


def _occupied(path: Path) -> sqlite3.Connection:
    """Another process in the middle of a write."""
    other = opening.connected(path, sqlite3.connect, mode="rw")
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_bridge_waits_for_an_order_that_is_being_written(path: Path) -> None:
    """It is not told of it."""

    async def run() -> None:
        journal = SqliteJournal.open(path, max_bytes=999, clock=ManualClock())
        await journal.begin(AppRecord("a", "x", "{}", 0))
        other = _occupied(path)
        appending = asyncio.create_task(journal.append(walk("a", item(1, "x"))))
        done, _ = await asyncio.wait([appending], timeout=0.05)
        assert not done
        other.execute("COMMIT")
        other.close()
        assert (await appending).added == 1
        await journal.aclose()

    asyncio.run(run())


def test_a_bridge_that_waited_too_long_goes_on_afterwards(path: Path) -> None:
    """It is told, as trouble of the disk is, and the next try is whole."""

    def impatient(*args: Any, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = sqlite3.connect(*args, **{**options, "timeout": 0.0})
        return db

    async def run() -> None:
        journal = SqliteJournal.open(
            path, max_bytes=999, clock=ManualClock(), inline=True, connect=impatient
        )
        await journal.begin(AppRecord("a", "x", "{}", 0))
        other = _occupied(path)
        with pytest.raises(JournalError, match=r"locked .another program writes"):
            await journal.append(walk("a", item(1, "x")))
        assert await journal.read(0, max_batches=1, max_size=1) == ()
        other.execute("COMMIT")
        other.close()
        assert (await journal.append(walk("a", item(1, "x")))).added == 1
        await journal.aclose()

    asyncio.run(run())


async def _swept(journal: SqliteJournal) -> None:
    """An app that stands at 100 and was swept at two ages."""
    await journal.begin(AppRecord("b", "x", "{}", 50))
    await journal.append(
        walk("b", item(60, "p"), item(90, "r"), position=100, swept={10: 90, 30: 70})
    )


def test_a_rewind_moves_position_and_sweeps_back(path: Path, clock: ManualClock) -> None:
    """Never one of them forward; what the ledger knows stays known, and from where on."""
    journal = SqliteJournal.open(path, max_bytes=100, clock=clock, inline=True)
    asyncio.run(_swept(journal))
    asyncio.run(journal.aclose())
    with Orders.open(path) as word:
        word.rewind("b", 80)
    again = SqliteJournal.open(path, max_bytes=100, clock=clock, inline=True)
    record = asyncio.run(again.app("b"))
    assert record == AppRecord("b", "x", "{}", 80, {10: 80, 30: 70}, 50)
    seen = asyncio.run(
        again.append(
            walk("b", *(item(n, u) for n, u in ((60, "p"), (70, "q"), (90, "r"))), position=95)
        )
    )
    assert (seen.added, seen.known) == (1, 2)
    asyncio.run(again.aclose())
    with Orders.open(path) as word:
        word.rewind("b", 7)
    with Ledger.open(path) as ledger:
        (standing,) = ledger.apps()
    assert (standing.record.position, standing.record.whole_from) == (7, 50)


def test_a_rewind_is_refused(running: SqliteJournal, path: Path) -> None:
    """While a bridge runs, of an app that is not known, and where it would skip or do nothing."""
    asyncio.run(_swept(running))
    with Orders.open(path) as word:
        with pytest.raises(JournalError, match=r"app b: a running bridge .* \(stop the bridge, "):
            word.rewind("b", 80)
        asyncio.run(running.aclose())
        with pytest.raises(JournalError, match=r"app c: .* no such app \(there are: a, b\)"):
            word.rewind("c", 80)
        for to in (100, 101):
            with pytest.raises(JournalError, match=r"its position is 1970-01-01T00:00:00.000100Z"):
                word.rewind("b", to)
    with Ledger.open(path) as ledger:
        assert [one.record.position for one in ledger.apps()][1] == 100
