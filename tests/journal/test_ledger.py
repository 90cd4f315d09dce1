"""What commands see of a journal, beside a running bridge and without one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.journal import encode_one_each, item, walk

from bridge.errors import JournalUnusable
from bridge.journal import DROPPED
from bridge.journal.ledger import (
    AppStanding,
    DestinationStanding,
    Found,
    GapRecord,
    KeptLetter,
    Lateness,
    Ledger,
    OpenGap,
    ReadRecord,
    Refusal,
    RefusalReason,
    State,
)
from bridge.journal.lock import Lock, is_held, say_task, task_of
from bridge.journal.sqlite import SqliteJournal
from bridge.model import AppRecord, DeadLetter, Encoded, Gap, GapKind, Read, ReadKind
from bridge.simulator.manual_clock import ManualClock

LIVE = Read(ReadKind.LIVE, 0, 10, at=11, pages=2)
SWEEP = Read(ReadKind.SWEEP, 0, 10, at=25, pages=1)
CROWD = Gap(GapKind.CROWDED, 5, 6, at_least=3)


async def fill(journal: SqliteJournal, clock: ManualClock) -> None:
    """Two apps, five batches, two destinations, a gap, late entries."""
    clock.tick = 100
    await journal.begin(AppRecord("a", "x", "{}", 2))
    await journal.begin(AppRecord("b", "y", "{}", 0))
    await journal.attach("one")
    await journal.attach("two")
    found = (item(3, "p"), item(4, "q"))
    await journal.append(walk("a", *found, position=5, encode=encode_one_each, read=LIVE))
    clock.tick = 200
    await journal.append(walk("a", item(5, "u", dated=False), gaps=[CROWD], read=SWEEP))
    await journal.append(walk("b", item(3, "p"), read=LIVE))
    late = (item(6, "r"), item(7, "s"), item(8, "t"))
    await journal.append(walk("a", *late, read=SWEEP))
    clock.tick = 300
    await journal.advance("one", 1, [DeadLetter("one", "u1", 1, "too old", b"z", 250)])
    clock.tick = 400
    await journal.advance("one", 5, [DeadLetter("one", "u2", 1, "no", b"z", 251)])
    await journal.advance("two", 3)


@pytest.fixture
def running(path: Path, clock: ManualClock) -> Iterator[SqliteJournal]:
    """A filled journal, open."""
    journal = SqliteJournal.open(path, max_bytes=999, clock=clock, inline=True)
    asyncio.run(fill(journal, clock))
    yield journal
    journal.abandon()


@pytest.fixture(params=["beside", "alone"])
def ledger(request: pytest.FixtureRequest, running: SqliteJournal, path: Path) -> Iterator[Ledger]:
    """The view of it, while it is open and after it was closed."""
    if request.param == "alone":
        asyncio.run(running.aclose())
    with Ledger.open(path) as view:
        assert view.held == (request.param == "beside")
        yield view


def test_apps(ledger: Ledger) -> None:
    """As the bridge knows them, with their figures."""
    assert ledger.apps() == (
        AppStanding(AppRecord("a", "x", "{}", 5, ledger_from=2), fingerprints=6, open_gaps=1),
        AppStanding(AppRecord("b", "y", "{}", 0, ledger_from=0), fingerprints=1, open_gaps=0),
    )


def test_fingerprints_of_a_window(ledger: Ledger) -> None:
    """The floor is in, the ceiling is not; borrowed ticks count."""
    assert ledger.fingerprints("a", 3, 7) == {b"p": 1, b"q": 2, b"u": 3, b"r": 5}
    assert ledger.fingerprints("a", 4, 5) == {b"q": 2}
    assert ledger.fingerprints("ghost", 0, 99) == {}


def test_a_window_is_counted(ledger: Ledger) -> None:
    """As many as its fingerprints are, of any window; none of an app that is not known."""
    (name, *_) = [one.record.name for one in ledger.apps()]
    windows = [(0, 1 << 62), (0, 0), *((n, n + 3) for n in range(12))]
    counted = [ledger.count(name, *window) for window in windows]
    assert counted == [len(ledger.fingerprints(name, *window)) for window in windows]
    assert counted[0] > max(counted[1:]) > 0
    assert ledger.count("ghost", 0, 1 << 62) == 0


def test_an_entry_is_found_by_its_uid(ledger: Ledger) -> None:
    """In every app; a prefix leads to the whole."""
    assert ledger.find(b"p") == (Found("a", 3, 1, dated=True), Found("b", 3, 4, dated=True))
    assert ledger.find(b"u") == (Found("a", 5, 3, dated=False),)
    assert ledger.find(b"") == ()
    assert ledger.uids_with_prefix(b"u") == (b"u",)
    assert ledger.uids_with_prefix(b"") == tuple(b"%c" % c for c in b"pqrstu")
    assert ledger.uids_with_prefix(b"ux") == ()


def test_the_read_of_a_batch(ledger: Ledger) -> None:
    """One read may have filled several; another app's is not shown."""
    first = ReadRecord(LIVE, journaled_at=100, added=2, first_seq=1, last_seq=2)
    assert ledger.read_of("a", 1) == first
    assert ledger.read_of("a", 2) == first
    assert ledger.read_of("a", 3) == ReadRecord(SWEEP, 200, 1, 3, 3)
    assert ledger.read_of("a", 4) is None
    assert ledger.read_of("b", 4) == ReadRecord(LIVE, 200, 1, 4, 4)
    assert ledger.read_of("a", 6) is None


def test_destinations_and_what_waits(ledger: Ledger) -> None:
    """Cursor, records and bytes behind it, since when, dead letters."""
    assert ledger.destinations() == (
        DestinationStanding("one", 5, True, 0, 0, None, 2, len("too oldznoz")),
        DestinationStanding("two", 3, True, 4, len(b"p" + b"r s t"), 200, 0),
    )
    assert ledger.live_bytes() == len(b"p" + b"r s t")


def test_when_a_batch_was_acknowledged(ledger: Ledger) -> None:
    """The moment the cursor first passed it."""
    assert [ledger.acknowledged("one", seq) for seq in range(1, 7)] == [300, *[400] * 4, None]
    assert [ledger.acknowledged("two", seq) for seq in (1, 3, 4)] == [400, 400, None]
    assert ledger.acknowledged("ghost", 1) is None


def test_dead_letters_page_by_page(ledger: Ledger) -> None:
    """In the order they came, of one destination, or with the beginning of a uid."""
    first, second = ledger.dead_letters(limit=9)
    letter = DeadLetter("one", "u1", 1, "too old", b"z", 250)
    assert first == KeptLetter(1, letter, size=8, replay=False)
    assert second.letter.uid == "u2"
    assert ledger.dead_letters(limit=1) == (first,)
    assert ledger.dead_letters(after=1, limit=1) == (second,)
    assert ledger.dead_letters(uid="u2", limit=9) == (second,)
    assert len(ledger.dead_letters(uid="u", destination="one", limit=9)) == 2
    assert ledger.dead_letters(destination="two", limit=9) == ()


def test_dropped_entries_are_known_as_such(running: SqliteJournal, path: Path) -> None:
    """They have a place in time, and no batch and no read."""
    found = (item(20, "kept"), item(21, "out"), item(22, "odd", dated=False))
    encoded = [Encoded(1, 1, b"kept", uids=(b"kept",))]
    sweep = Read(ReadKind.SWEEP, 0, 30, at=40, pages=1)
    done = asyncio.run(running.append(walk("b", *found, read=sweep, encode=lambda _, __: encoded)))
    assert done.dropped == 2
    with Ledger.open(path) as ledger:
        assert ledger.fingerprints("b", 20, 30) == {b"kept": 6, b"out": DROPPED, b"odd": DROPPED}
        places = [ledger.find(uid) for uid in (b"kept", b"out", b"odd")]
        assert [place.dropped for (place,) in places] == [False, True, True]
        assert ledger.read_of("b", 6) == ReadRecord(sweep, 400, added=1, first_seq=6, last_seq=6)
        assert ledger.read_of("b", DROPPED) is None
        assert ledger.acknowledged("one", DROPPED) is None
        assert ledger.lateness("b") == Lateness(entries=1, latest=20, median=20)


def test_dead_letters_of_some_records(ledger: Ledger) -> None:
    """With the reason, without the payload."""
    assert ledger.dead_letters_of(["u1", "u9"]) == (Refusal("one", "u1", "too old", 250),)
    assert [one.uid for one in ledger.dead_letters_of({"u2", "u1"})] == ["u1", "u2"]


def test_why_records_were_refused(running: SqliteJournal, path: Path) -> None:
    """Each reason of a destination once, the commonest first."""
    again = [
        DeadLetter("two", f"v{n}", 4, ("rare", "no", "no")[n], b"z", 260 + n) for n in range(3)
    ]
    asyncio.run(running.advance("two", 4, again))
    with Ledger.open(path) as ledger:
        reasons = ledger.refusal_reasons(limit=9)
        assert ledger.refusal_reasons(limit=1) == reasons[:1]
    assert reasons == (
        RefusalReason("one", "no", 1, 251),
        RefusalReason("one", "too old", 1, 250),
        RefusalReason("two", "no", 2, 262),
        RefusalReason("two", "rare", 1, 260),
    )


def test_lateness_is_what_sweeps_found(ledger: Ledger) -> None:
    """Counted by entries; no sweep, no lateness."""
    assert ledger.lateness("a") == Lateness(entries=4, latest=20, median=18)
    assert ledger.lateness("b") is None


def test_open_gaps(ledger: Ledger) -> None:
    """With the batch of their record."""
    assert ledger.gaps("a") == (OpenGap(CROWD, found_at=200, seq=3),)
    assert ledger.gaps("b") == ()


def test_what_is_forgotten_goes_with_its_reads_and_acknowledgements(
    running: SqliteJournal, path: Path
) -> None:
    """Unless a batch of it still waits; other apps' and later ones stay."""

    async def prune() -> None:
        await running.append(walk("a", item(9, "z"), read=LIVE))
        await running.prune("a", needed=9, kept=9)

    asyncio.run(prune())
    with Ledger.open(path) as ledger:
        assert ledger.read_of("a", 1) is None
        assert ledger.read_of("a", 3) is None
        assert ledger.read_of("b", 4) is not None
        assert ledger.read_of("a", 5) is not None  # waits for the second destination
        assert ledger.acknowledged("two", 1) is None
        assert ledger.acknowledged("one", 4) == 400
        asyncio.run(running.advance("two", 5))
        asyncio.run(running.prune("a", needed=9, kept=9))
        assert ledger.read_of("a", 5) is None
        assert ledger.read_of("a", 6) is not None
        rows = running._db.execute("SELECT destination, after, cursor FROM acks").fetchall()
        assert rows == [("one", 1, 5), ("two", 3, 5)]  # the other app's batch is among them


def test_it_sees_what_is_stored_meanwhile(running: SqliteJournal, path: Path) -> None:
    """And cannot write."""
    with Ledger.open(path) as ledger:
        asyncio.run(running.append(walk("b", item(8, "new"))))
        assert ledger.fingerprints("b", 8, 9) == {b"new": 6}
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            ledger._db.execute("DELETE FROM seen")


def refused(path: Path, **options: Any) -> str:
    """Why it does not open."""
    with pytest.raises(JournalUnusable) as caught:
        Ledger.open(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_missing_journal_is_told(path: Path) -> None:
    """And not made."""
    assert "there is no journal (run the bridge first" in refused(path)
    assert not path.exists()


def test_what_is_no_journal_is_told(path: Path) -> None:
    """No database, another program's, a folder."""
    path.write_bytes(b"timestamp,message\n" * 50)
    assert "not an SQLite database" in refused(path)
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE batches (seq INTEGER PRIMARY KEY)")
    db.close()
    assert "another program's SQLite database" in refused(path)
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory (run this as the user" in refused(path)


def test_a_broken_journal_is_told(running: SqliteJournal, path: Path) -> None:
    """At once where its schema is gone, else when the broken part is read."""
    asyncio.run(running.aclose())
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(whole) - 4096))
    message = refused(path)
    assert "the journal cannot be read: " in message
    assert "restore a copy" in message
    path.write_bytes(whole[:100] + b"\xff" * 300 + whole[400:])
    assert "malformed" in refused(path)


def test_a_folder_that_cannot_hold_the_shared_memory_is_told(
    running: SqliteJournal, path: Path
) -> None:
    """SQLite needs a -shm file beside the journal, from the bridge or of its own."""
    asyncio.run(running.aclose())

    class Denied(sqlite3.Connection):
        def execute(self, *_: Any) -> sqlite3.Cursor:
            raise sqlite3.OperationalError("unable to open database file")

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=Denied, **kwargs)

    assert "unable to open database file (make the file and its folder" in refused(
        path, connect=connect
    )


def test_a_break_while_reading_is_told(running: SqliteJournal, path: Path) -> None:
    """By every method, as the bridge's own error."""
    asyncio.run(running.aclose())
    ledger = Ledger.open(path)
    ledger.close()
    for read in (ledger.apps, ledger.destinations, ledger.live_bytes):
        with pytest.raises(JournalUnusable, match="the journal cannot be read"):
            read()


def test_the_lock_says_what_its_holder_does(path: Path) -> None:
    """Where that is one task; it goes with the lock, and who comes next is told the pid alone."""
    assert task_of(path) == ""
    lock = Lock(path)
    assert task_of(path) == ""
    say_task(path, "run --once")
    assert task_of(path) == "run --once"
    with pytest.raises(JournalUnusable, match=rf"another process \(pid {os.getpid()}\)"):
        Lock(path)
    assert task_of(path) == "run --once"
    lock.release()
    assert task_of(path) == ""
    lock = Lock(path)
    assert task_of(path) == ""
    lock.release()


def test_looking_at_the_lock_is_no_rival(path: Path) -> None:
    """A bridge that starts while a command looks waits for it and is not refused."""
    assert not is_held(path)
    lock = Lock(path)
    assert is_held(path)
    lock.release()
    assert not is_held(path)
    looker = subprocess.Popen(
        [sys.executable, "-c", _LOOKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with looker:
        assert looker.stdout is not None
        assert looker.stdin is not None
        assert looker.stdout.readline() == b"looking\n"
        looker.stdin.close()
        Lock(path).release()
        looker.wait(60)


_LOOKER = """
import fcntl, os, sys
fd = os.open(sys.argv[1] + ".lock", os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
print("looking", flush=True)
sys.stdin.read()
"""


def test_entries_without_a_time(ledger: Ledger) -> None:
    """Among the fingerprints of a window, by the tick they borrowed."""
    assert ledger.undated("a", 0, 99) == {b"u"}
    assert ledger.undated("a", 0, 5) == ledger.undated("ghost", 0, 99) == frozenset()


def test_every_gap_is_known_open_or_closed(running: SqliteJournal, ledger: Ledger) -> None:
    """With the batch of its record."""
    assert ledger.gap_records() == (GapRecord("a", CROWD, 200, None, 3),)
    if not ledger.held:
        return
    asyncio.run(running.append(walk("a", closed=[CROWD])))
    assert ledger.gaps("a") == ()
    assert ledger.gap_records() == (GapRecord("a", CROWD, 200, 400, 3),)


def states(ledger: Ledger) -> dict[str, list[str]]:
    """What became of the five batches at each destination."""
    return {
        one.name: [ledger.state_of(one, seq)[0].value for seq in range(1, 6)]
        for one in ledger.destinations()
    }


def test_what_became_of_batches(ledger: Ledger) -> None:
    """Acknowledged, with the time, or waiting; 0 stands for a batch that was not noted."""
    assert states(ledger) == {
        "one": ["acknowledged"] * 5,
        "two": [*["acknowledged"] * 3, "waiting", "waiting"],
    }
    one, _ = ledger.destinations()
    assert ledger.state_of(one, 1) == (State.ACKNOWLEDGED, 300)
    assert ledger.state_of(one, 0) == (State.UNKNOWN, None)


def test_a_batch_that_is_gone_is_lost(running: SqliteJournal, path: Path) -> None:
    """To a destination that is there and has not had it, and to all if nobody has."""
    asyncio.run(running.aclose())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM batches WHERE seq = 4")
        db.execute(
            "INSERT INTO cursors (destination, cursor, in_use) VALUES ('away', 0, 0), ('new', 5, 1)"
        )
    with Ledger.open(path) as ledger:
        found = states(ledger)
    assert found["one"] == ["acknowledged"] * 5
    assert found["two"] == [*["acknowledged"] * 3, "lost", "waiting"]
    assert found["away"] == [*["unknown"] * 4, "waiting"]
    assert found["new"] == ["unknown"] * 5
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM acks WHERE cursor = 5")
    with Ledger.open(path) as ledger:
        found = states(ledger)
    assert {name: of[3] for name, of in found.items()} == dict.fromkeys(found, "lost")
    assert (found["one"][4], found["two"][4]) == ("unknown", "waiting")


def test_what_is_forgotten_is_not_lost(running: SqliteJournal, path: Path) -> None:
    """A walk that brought a gap only is forgotten once it is delivered, answers included."""

    async def pass_by() -> None:
        gap = Gap(GapKind.RETENTION, 1, 2, at_least=0)
        await running.append(walk("a", gaps=[gap]))
        for name, cursor in (("two", 5), ("one", 6), ("two", 6)):
            await running.advance(name, cursor)
        await running.prune("a", needed=0, kept=0)
        await running.aclose()

    asyncio.run(pass_by())
    with Ledger.open(path) as ledger:
        assert ledger.read_of("a", 6) is None
        one, two = ledger.destinations()
        assert ledger.state_of(one, 6) == (State.UNKNOWN, None)
        assert ledger.state_of(two, 5) == (State.ACKNOWLEDGED, 400)
