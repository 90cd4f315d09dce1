"""A journal of an older schema version is brought up to date whole, or left as it was."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.journal import Disk, copy_as_killed, item, walk

from bridge.errors import JournalUnusable
from bridge.journal import opening
from bridge.journal.ledger import Ledger
from bridge.journal.sqlite import SqliteJournal
from bridge.model import Anchor, Appended, AppRecord, DeadLetter
from bridge.simulator.manual_clock import ManualClock

SCHEMA_1 = Path(__file__).with_name("schema_1.sql").read_text(encoding="utf-8")
UPGRADES = resources.files("bridge.journal")


def start(path: Path, disk: Disk | None = None) -> SqliteJournal:
    """Open the journal inline."""
    connect = (disk or Disk()).connect
    return SqliteJournal.open(
        path, max_bytes=1_000_000, clock=ManualClock(7), inline=True, connect=connect
    )


@pytest.fixture(params=[1, 2, 3])
def version(request: pytest.FixtureRequest) -> int:
    """The version that wrote the journal."""
    number: int = request.param
    return number


@pytest.fixture
def old(path: Path, version: int) -> Path:
    """An old journal: two apps, a delivered and two waiting batches, dead letters.

    The destination ``gone`` was out of use while its first batch was removed. A journal of a later
    version began as one of version 1.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(SCHEMA_1)
        db.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(
            """
            INSERT INTO apps VALUES (1, 'a', 'rest/x', '{}', 50, '{"15": 40}'),
                                    (2, 'b', 'rest/y', '{}', 9, '{}');
            INSERT INTO seen VALUES (1, 10, x'70'), (1, 20, x'71'), (1, 30, x'72'), (2, 5, x'70');
            INSERT INTO undated VALUES (1, x'75', 20);
            INSERT INTO batches VALUES (1, 1, 1, 1, 100, 1, 1, x'70');
            INSERT INTO batches VALUES (2, 1, 3, 5, 200, 4, 6, x'7120722075');
            INSERT INTO batches VALUES (3, 2, 1, 1, 300, 5, 7, x'70');
            DELETE FROM batches WHERE seq = 1;
            INSERT INTO cursors VALUES ('one', 1, 1), ('two', 2, 1), ('gone', 0, 0);
            INSERT INTO dead_letters VALUES (7, 'one', 'u', 1, 'refusé', 5, x'7a'),
                                            (3, 'two', 'u', 1, 'no', 5, x'7a7a');
            """
        )
        for number in range(2, version + 1):
            db.executescript(UPGRADES.joinpath(f"upgrade_{number}.sql").read_text(encoding="utf-8"))
    return path


def shape(db: sqlite3.Connection) -> dict[str, Any]:
    """The tables: columns with type, default and key; indexes; whether strict and without rowid.

    And the text of indexes and triggers, and of the tables that an upgrade makes whole.
    """
    tables = db.execute(
        "SELECT name, type, wr, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite%'"
    )
    found = {
        row[0]: (
            row,
            db.execute(f"PRAGMA table_info({row[0]})").fetchall(),
            db.execute(f"PRAGMA index_list({row[0]})").fetchall(),
        )
        for row in tables.fetchall()
    }
    texts = db.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type != 'table' OR name = 'dead_letters'"
    )
    return found | {f"text of {name}": _bare(sql) for name, sql in texts.fetchall()}


def _bare(sql: str | None) -> str:
    """Without comments, quotes and the manner of spacing."""
    text = re.sub(r"--.*", "", sql or "")
    return " ".join(re.sub(r'"', "", text).split())


async def look(journal: SqliteJournal) -> None:
    """Everything that the old journal held is there and goes on."""
    assert await journal.app("a") == AppRecord("a", "rest/x", "{}", 50, {15: 40}, ledger_from=50)
    assert await journal.app("b") == AppRecord("b", "rest/y", "{}", 9, ledger_from=9)
    assert await journal.anchor("a", 29) == Anchor(20, frozenset({b"q"}))
    assert await journal.attach("one") == 1
    assert await journal.attach("two") == 2
    waiting = await journal.read(1, max_batches=9, max_size=99)
    assert [(batch.seq, batch.app, batch.gzip) for batch in waiting] == [
        (2, "a", b"q r u"),
        (3, "b", b"p"),
    ]
    stats = await journal.stats()
    assert [(b.dead_letters, b.dead_letter_bytes) for b in stats.backlogs] == [(1, 8), (1, 4)]
    assert [(b.destination, b.cursor, b.batches) for b in stats.unused] == [("gone", 1, 2)]
    assert await journal.attach("gone") == 1
    again = DeadLetter("one", "u", 9, "again", b"other", 9, "answer")
    await journal.advance("one", 1, [again, replace(again, uid="v")])
    known = (item(10, "p"), item(20, "q"), item(30, "r"), item(21, "u", dated=False))
    assert await journal.append(walk("a", *known, item(40, "s"))) == Appended(1, 4, 4)
    await journal.advance("one", 4)
    await journal.advance("two", 4)
    assert len(await journal.read(0, max_batches=9, max_size=99)) == 3
    await journal.advance("gone", 4)
    assert await journal.read(0, max_batches=9, max_size=99) == ()
    await journal.prune("a", needed=25, kept=25)
    assert await journal.anchor("a", 29) is None
    rows = journal._db.execute("SELECT id, uid, seq, reason, answer, gzip, size FROM dead_letters")
    assert rows.fetchall() == [
        (3, "u", 1, "no", "", b"zz", 4),
        (7, "u", 1, "again", "answer", b"z", 12),
        (9, "v", 9, "again", "answer", b"other", 16),
    ]


def test_an_old_journal_with_all_it_holds_is_opened(old: Path) -> None:
    """Positions, cursors, fingerprints, waiting batches; the counts are right from the start."""
    journal = start(old)
    asyncio.run(look(journal))
    counts = journal._db.execute("SELECT fingerprints FROM apps ORDER BY id").fetchall()
    assert counts == [(2,), (1,)]
    asyncio.run(journal.aclose())
    with Ledger.open(old) as ledger:
        assert ledger.fingerprints("a", 0, 99) == {b"r": 0, b"s": 4}
        assert ledger.read_of("a", 0) is None
        assert ledger.acknowledged("one", 4) == 7
    assert opening._HEADER.unpack_from(old.read_bytes())[0] == opening.SCHEMA_VERSION


def test_where_cursors_began_is_told_by_the_first_acknowledgement(path: Path) -> None:
    """Else by the cursor: what a destination took before that nobody knows."""
    journal = start(path)

    async def fill() -> None:
        await journal.begin(AppRecord("a", "rest/x", "{}", 0))
        await journal.attach("one")
        for tick in range(1, 5):
            await journal.append(walk("a", item(tick, f"{tick}")))
        await journal.advance("one", 1)
        await journal.attach("two")
        await journal.advance("one", 3)
        await journal.advance("two", 2)
        await journal.attach("three")

    asyncio.run(fill())
    for table in ("backfills", "backfill_apps", "backfilled"):
        journal._db.execute(f"DROP TABLE {table}")
    for table, column in (("apps", "begun"), ("batches", "audience"), ("cursors", "began")):
        journal._db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    journal._db.execute("PRAGMA user_version = 3")
    journal.abandon()
    journal = start(path)
    began = journal._db.execute("SELECT destination, began FROM cursors ORDER BY destination")
    assert began.fetchall() == [("one", 0), ("three", 2), ("two", 1)]
    journal.abandon()


def test_an_upgraded_journal_has_the_shape_of_a_new_one(old: Path, tmp_path: Path) -> None:
    """Column for column, with the same keys and indexes."""
    new = start(tmp_path / "new" / "journal.db")
    upgraded = start(old)
    assert shape(upgraded._db) == shape(new._db)
    new.abandon()
    upgraded.abandon()


def test_a_kill_amid_the_upgrade_leaves_the_old_or_the_new(
    old: Path, version: int, tmp_path: Path
) -> None:
    """Before every statement of it; what is left opens and holds everything."""
    copies: list[Path] = []

    def snap(_: str) -> None:
        copies.append(copy_as_killed(old, tmp_path / str(len(copies))))

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = sqlite3.connect(*args, **kwargs)
        db.set_trace_callback(snap)
        return db

    SqliteJournal.open(
        old, max_bytes=1_000_000, clock=ManualClock(), inline=True, connect=connect
    ).abandon()
    versions = []
    for copy in copies:
        with closing(sqlite3.connect(copy)) as db:
            versions.append(opening.schema_version(db))
        journal = start(copy)
        asyncio.run(look(journal))
        journal.abandon()
    assert versions == sorted(versions)
    assert set(versions) == set(range(version, opening.SCHEMA_VERSION + 1))
    assert all(versions.count(number) >= 8 for number in range(version, opening.SCHEMA_VERSION))


@pytest.mark.parametrize("late", [False, True])
def test_a_full_disk_amid_the_upgrade_is_told(old: Path, late: bool) -> None:
    """The start is refused with the mend; the next one goes well."""
    disk = Disk()
    disk.plan(sqlite3.OperationalError("database or disk is full"), on="ALTER", late=late)
    with pytest.raises(JournalUnusable, match="make room on that disk"):
        start(old, disk)
    journal = start(old)
    asyncio.run(look(journal))
    journal.abandon()


def test_a_newer_version_that_only_the_log_knows_is_refused(path: Path, tmp_path: Path) -> None:
    """The header on disk may be behind its write-ahead log."""
    journal = start(path)
    journal._db.execute(f"PRAGMA user_version = {opening.SCHEMA_VERSION + 1}")
    copy = copy_as_killed(path, tmp_path / "killed")
    journal.abandon()
    assert opening._HEADER.unpack_from(copy.read_bytes())[0] == opening.SCHEMA_VERSION
    with pytest.raises(JournalUnusable, match=f"schema version {opening.SCHEMA_VERSION + 1}"):
        start(copy)
    with pytest.raises(JournalUnusable, match=f"schema version {opening.SCHEMA_VERSION + 1}"):
        Ledger.open(copy)


def test_a_command_does_not_upgrade(old: Path) -> None:
    """It says that the bridge does."""
    before = old.read_bytes()
    with pytest.raises(JournalUnusable, match="brought up to date when the bridge starts"):
        Ledger.open(old)
    assert old.read_bytes() == before
