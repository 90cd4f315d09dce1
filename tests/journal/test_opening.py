"""What is opened, what is refused, and that nothing foreign is touched."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.journal import Disk, copy_as_killed, item, walk
from support.virtual import Crash

from bridge.errors import JournalUnusable
from bridge.journal import opening
from bridge.journal.sqlite import SqliteJournal
from bridge.model import AppRecord
from bridge.simulator.manual_clock import ManualClock


def start(path: Path, disk: Disk | None = None) -> SqliteJournal:
    """Open the journal inline."""
    disk = disk or Disk()
    return SqliteJournal.open(
        path, max_bytes=1_000_000, clock=ManualClock(), inline=True, connect=disk.connect
    )


def fill(journal: SqliteJournal) -> None:
    """An app with forty batches of several pages."""

    async def run() -> None:
        await journal.begin(AppRecord("a", "rest/x", "{}", 0))
        for n in range(40):
            await journal.append(walk("a", item(n, f"{n:04}" * 2_500)))

    asyncio.run(run())


def batches(journal: SqliteJournal) -> int:
    """How many batches it holds."""
    return len(asyncio.run(journal.read(0, max_batches=999, max_size=10**9)))


def kept(path: Path) -> dict[str, bytes]:
    """The bytes of the journal's files, but for the shared-memory index that SQLite rebuilds."""
    return {
        file.name: file.read_bytes()
        for file in path.parent.iterdir()
        if file.suffix in {".db", ".db-wal"} and file.stat().st_size
    }


def refused(path: Path) -> str:
    """The refusal to open, after which every byte is as it was and the lock is free."""
    before = kept(path)
    with pytest.raises(JournalUnusable) as caught:
        start(path)
    with pytest.raises(JournalUnusable) as again:
        start(path)
    assert kept(path) == before
    assert str(again.value) == str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def filled(path: Path) -> Path:
    """A journal that was filled and closed."""
    journal = start(path)
    fill(journal)
    asyncio.run(journal.aclose())
    return path


def test_a_new_journal_is_private(tmp_path: Path) -> None:
    """Missing folders are made; logs are nobody else's business; SQLite's marks are set."""
    path = tmp_path / "state" / "bridge" / "journal.db"
    journal = start(path)
    fill(journal)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    pragmas = [
        journal._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "application_id", "user_version")
    ]
    assert pragmas == ["wal", 2, opening.APPLICATION_ID, opening.SCHEMA_VERSION]
    asyncio.run(journal.aclose())
    assert {file.name for file in path.parent.iterdir()} == {"journal.db", "journal.db.lock"}


def test_every_table_is_strict(filled: Path) -> None:
    """A value of the wrong type is an error, never stored as something else."""
    db = sqlite3.connect(filled)
    try:
        tables = db.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table'")
        own = {name: strict for name, strict in tables if not name.startswith("sqlite_")}
    finally:
        db.close()
    assert own == dict.fromkeys(
        (
            *("apps", "seen", "undated", "batches", "cursors", "dead_letters", "reads"),
            *("acks", "gaps", "backfills", "backfill_apps", "backfilled"),
        ),
        1,
    )


def test_a_relative_path_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are characters that mean something in an URI."""
    monkeypatch.chdir(tmp_path)
    path = Path("a b?c#d%20") / "journal.db"
    journal = start(path)
    fill(journal)
    asyncio.run(journal.aclose())
    journal = start(path)
    assert batches(journal) == 40
    journal.abandon()


@pytest.mark.parametrize("late", [False, True])
def test_a_crash_while_it_is_created_or_opened_is_harmless(tmp_path: Path, late: bool) -> None:
    """Whichever statement the process dies at, the next start finds nothing or everything."""
    for skip in range(99):
        path = tmp_path / str(skip) / "journal.db"
        disk = Disk()
        disk.plan(Crash(), skip=skip, late=late)
        try:
            journal = start(path, disk)
        except Crash:
            journal = start(path)
        ended = disk.armed
        disk.calm()
        fill(journal)
        journal.abandon()
        if ended:
            assert skip > 5
            return
    pytest.fail("opening never ended")


def test_a_half_made_file_of_an_earlier_start_is_replaced(path: Path) -> None:
    """It bears a name of its own, and the lock says that nobody builds it now."""
    for suffix in (".new", ".new-journal", ".new-wal"):
        path.with_name(path.name + suffix).write_bytes(b"half")
    journal = start(path)
    fill(journal)
    asyncio.run(journal.aclose())
    assert {file.name for file in path.parent.iterdir()} == {"journal.db", "journal.db.lock"}


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\0", b"timestamp,message\n" * 50, b"\0" * 4096]
)
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    """An empty file too: it may be what is left of a journal."""
    path.write_bytes(content)
    assert "not an SQLite database (the file was left as it is" in refused(path)


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_another_program_s_database_is_refused(path: Path, tmp_path: Path, mode: str) -> None:
    """Even its write-ahead log is left alone."""
    source = tmp_path / "elsewhere" / "journal.db"
    source.parent.mkdir()
    db = sqlite3.connect(source, isolation_level=None)
    try:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("CREATE TABLE batches (seq INTEGER PRIMARY KEY)")
        db.execute("PRAGMA wal_checkpoint")
        db.execute("INSERT INTO batches VALUES (1)")
        copy_as_killed(source, path.parent)
    finally:
        db.close()
    assert "another program's SQLite database (give the bridge another" in refused(path)


def test_a_newer_schema_is_refused(filled: Path) -> None:
    """An older bridge does not know what a newer one wrote."""
    db = sqlite3.connect(filled)
    db.execute(f"PRAGMA user_version = {opening.SCHEMA_VERSION + 1}")
    db.close()
    assert f"schema version {opening.SCHEMA_VERSION + 1}" in refused(filled)


def _scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 3 * 4096)


def _lose_the_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5 * 4096)


def _lose_the_schema(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 300)


@pytest.mark.parametrize("damage", [_scribble, _lose_the_end, _lose_the_schema])
def test_a_corrupt_file_is_refused(filled: Path, damage: Callable[[Path], None]) -> None:
    """The start stops and says what to do; the evidence stays."""
    damage(filled)
    message = refused(filled)
    assert "the file was left as it is: restore a copy" in message


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM batches WHERE seq = 17", "batch 17 is missing"),
        ("DELETE FROM batches WHERE seq IN (17, 18)", "batches 17 to 18 are missing"),
        ("DELETE FROM batches WHERE seq = 40", "batch 40 is missing"),
        ("DELETE FROM batches WHERE seq < 4", "batches 1 to 3 are missing"),
        ("DELETE FROM batches", "batches 1 to 40 are missing"),
        ("UPDATE batches SET records = 2 WHERE seq = 9", "batch 9 does not go on"),
        ("UPDATE batches SET gzip = x'00' WHERE seq = 9", "batch 9 does not go on"),
        ("UPDATE cursors SET cursor = 41", "at batch 41, and the last one was 40"),
    ],
)
def test_a_journal_with_a_hole_is_refused(filled: Path, damage: str, told: str) -> None:
    """The next acknowledgement would cover it; the file is left as evidence, and for a copy."""
    with closing(sqlite3.connect(filled, isolation_level=None)) as db:
        db.execute("INSERT INTO cursors (destination, cursor, in_use) VALUES ('out', 0, 1)")
        db.execute(damage)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    message = refused(filled)
    assert told in message
    assert "restore a copy" in message


def test_what_every_destination_has_passed_leaves_no_hole(path: Path) -> None:
    """Nor does an empty journal, one without destinations, or a destination that is behind."""

    async def deliver(journal: SqliteJournal, *cursors: int) -> None:
        for name in ("one", "two"):
            await journal.attach(name)
        for cursor in cursors:
            await journal.advance("one", cursor)
        await journal.aclose()

    journal = start(path)
    fill(journal)
    asyncio.run(journal.aclose())
    for cursors in ((5, 9), (40,), ()):
        asyncio.run(deliver(start(path), *cursors))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM cursors WHERE destination = 'two'")
    asyncio.run(deliver(start(path)))
    assert batches(start(path)) == 40


def test_a_corrupt_file_keeps_its_write_ahead_log(filled: Path, tmp_path: Path) -> None:
    """Closing a writing connection would fold the log in; the check is made without one."""
    journal = start(filled)
    asyncio.run(journal.append(walk("a", item(99, "y"))))
    copy = copy_as_killed(filled, tmp_path / "killed")
    journal.abandon()
    _scribble(copy)
    assert set(kept(copy)) == {"journal.db", "journal.db-wal"}
    assert "restore a copy" in refused(copy)


def test_a_log_without_its_file_is_refused(filled: Path, tmp_path: Path) -> None:
    """SQLite would replay it into the new file."""
    journal = start(filled)
    asyncio.run(journal.append(walk("a", item(99, "y"))))
    copy = copy_as_killed(filled, tmp_path / "killed")
    journal.abandon()
    copy.unlink()
    assert "its write-ahead log journal.db-wal is still there" in refused(copy)


def test_an_unusable_folder_is_told(tmp_path: Path) -> None:
    """Where it cannot be made, and where the journal's name is taken by a folder."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(JournalUnusable, match=r"cannot be used: .*journal\.path"):
        start(blocker / "journal.db")
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(JournalUnusable, match="Is a directory"):
        start(tmp_path / "journal.db")


def test_a_disk_full_at_the_start_is_told(path: Path) -> None:
    """As an error of the bridge, with the mend; the next start goes well."""
    disk = Disk()
    disk.plan(sqlite3.OperationalError("database or disk is full"), on="application_id")
    with pytest.raises(JournalUnusable, match=r"cannot be opened: .*make room on that disk"):
        start(path, disk)
    start(path, disk).abandon()


_HOLDER = """
import sys
from pathlib import Path
from bridge.clock import SystemClock
from bridge.journal.sqlite import SqliteJournal
journal = SqliteJournal.open(Path(sys.argv[1]), max_bytes=1000, clock=SystemClock())
print("open", flush=True)
sys.stdin.read()
"""


def test_one_process_at_a_time(path: Path) -> None:
    """Trap 24's first half: the second is told who holds it; a killed holder holds nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"open\n"
            with pytest.raises(JournalUnusable) as caught:
                start(path)
            assert f"{path}: in use by another process (pid {holder.pid})" in str(caught.value)
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait(60)
    start(path).abandon()
