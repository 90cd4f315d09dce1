"""From a path to a connection: create, or check and open; never touch what is not ours.

A file of an older schema is brought up to date in one transaction, once it is known to be sound.

The checks come before anything that could write: the header is read as bytes, then the content is
checked through a read-only connection, because a writing one would fold the write-ahead log into
a damaged file when it closes.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Final, TypeAlias

from bridge.errors import JournalUnusable
from bridge.journal import continuity, trouble

Connect: TypeAlias = Callable[..., sqlite3.Connection]

APPLICATION_ID: Final = 0x664C424A  # "fLBJ", SQLite's mark of whose file it is
SCHEMA_VERSION: Final = 4

WRITABLE: Final = "give the bridge a folder it can write to, by journal.path or $STATE_DIRECTORY"

_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = struct.Struct(">60xI4xI")  # user_version, application_id ("Database Header")
_UPGRADES: Final = {1: "upgrade_2.sql", 2: "upgrade_3.sql", 3: "upgrade_4.sql"}
"""By the version they start from; each ends one version higher."""
_FRONTED: Final = 3
"""From this version on batches leave only behind every cursor."""
_BUSY_TIMEOUT: Final = 10.0
_WAL_LIMIT: Final = 16 * 1024 * 1024


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while opening into `JournalUnusable`."""
    try:
        yield
    except OSError as error:
        raise JournalUnusable(
            f"cannot be used: {error.strerror or error}",
            where=error.filename or str(path),
            hint=WRITABLE,
        ) from error
    except sqlite3.Error as error:
        raise JournalUnusable(
            f"cannot be opened: {error}", where=str(path), hint=trouble.hint(error)
        ) from error


def open_database(path: Path, connect: Connect) -> sqlite3.Connection:
    """A connection to the journal at an absolute path, new or existing. The lock is held.

    Raises:
        JournalUnusable: corrupt, foreign or of a newer schema; the file is left as it was.
        OSError, sqlite3.Error: what `usable` translates.
    """
    if not path.exists():
        _create(path, connect)
    check_header(path)
    _check_content(path, connect)
    return _ready(path, connect)


def _create(path: Path, connect: Connect) -> None:
    """Build the file under another name and move it into place, so that it is whole or absent."""
    wal = _beside(path, "-wal")
    if wal.exists() and wal.stat().st_size:
        raise JournalUnusable(
            f"the file is gone but its write-ahead log {wal.name} is still there",
            where=str(path),
            hint="put the file back, or move that one away to begin anew",
        )
    fresh = _beside(path, ".new")
    for leftover in (fresh, _beside(fresh, "-journal"), _beside(fresh, "-wal")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(connected(fresh, connect, mode="rw")) as db:
        db.executescript(_text("schema.sql"))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise JournalUnusable(
            "the file system cannot hold a write-ahead log",
            where=str(path),
            hint="put the journal on a local file system",
        )
    fresh.replace(path)
    _sync_folder(path.parent)


def check_header(path: Path) -> None:
    """Refuse what is not a journal or is of a newer schema, without waking SQLite."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise JournalUnusable(
            "not a journal: not an SQLite database", where=str(path), hint=trouble.KEEP
        )
    version, application = _HEADER.unpack_from(head)
    if application != APPLICATION_ID:
        raise JournalUnusable(
            "not a journal: another program's SQLite database",
            where=str(path),
            hint="give the bridge another journal.path",
        )
    _refuse_newer(version, path)


def schema_version(db: sqlite3.Connection) -> int:
    """The version as it stands with the write-ahead log, which the header may not show yet."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _refuse_newer(version: int, path: Path) -> None:
    if version not in {*_UPGRADES, SCHEMA_VERSION}:
        raise JournalUnusable(
            f"written with schema version {version}, this bridge knows {SCHEMA_VERSION}",
            where=str(path),
            hint="run the version of the bridge that wrote it, or a newer one",
        )


def existing(path: Path, connect: Connect, *, mode: str) -> sqlite3.Connection:
    """A connection to a journal at an absolute path as it is: not made, checked or upgraded.

    For who looks or writes beside a running bridge; the lock is not asked for.

    Raises:
        JournalUnusable: missing, unreadable, foreign, of another schema version, or corrupt.
    """
    try:
        check_header(path)
        db = connected(path, connect, mode=mode)
    except FileNotFoundError as error:
        raise JournalUnusable(
            "there is no journal",
            where=str(path),
            hint="run the bridge first, or name its journal.path",
        ) from error
    except OSError as error:
        raise trouble.unreadable(error, path) from error
    except sqlite3.Error as error:
        raise trouble.unusable(error, path) from error
    try:
        _check_version(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    """Refuse an older or a newer schema as the write-ahead log has it, and a broken one."""
    try:
        version = schema_version(db)
        if version == SCHEMA_VERSION:
            db.execute("SELECT 1 FROM apps, seen, undated, batches, cursors LIMIT 1").close()
            return
    except sqlite3.Error as error:
        raise trouble.unusable(error, path) from error
    raise JournalUnusable(
        f"written with schema version {version}, this program knows {SCHEMA_VERSION}",
        where=str(path),
        hint="an older journal is brought up to date when the bridge starts; "
        "a newer one needs the version that wrote it",
    )


def _check_content(path: Path, connect: Connect) -> None:
    with closing(connected(path, connect, mode="ro")) as db:
        version = schema_version(db)
        _refuse_newer(version, path)
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict == "ok":
            verdict = continuity.broken(db, fronted=version >= _FRONTED)
    if verdict:
        raise JournalUnusable(f"corrupt: {verdict}", where=str(path), hint=trouble.KEEP)


def _ready(path: Path, connect: Connect) -> sqlite3.Connection:
    db = connected(path, connect, mode="rw")
    try:
        db.execute("PRAGMA synchronous = FULL")
        # What a savepoint would undo is a file of its own otherwise, written twice as often as the
        # log; and some builds overwrite all that is deleted, by way of both.
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA secure_delete = FAST")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        _upgrade(db)
        db.execute("UPDATE cursors SET in_use = 0 WHERE in_use")
    except BaseException:
        db.close()
        raise
    return db


def _upgrade(db: sqlite3.Connection) -> None:
    """Bring an older schema up to date; then fold the log in, so that the header tells it too."""
    version = schema_version(db)
    if version == SCHEMA_VERSION:
        return
    for known in range(version, SCHEMA_VERSION):
        db.executescript(_text(_UPGRADES[known]))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def connected(path: Path, connect: Connect, *, mode: str) -> sqlite3.Connection:
    """Transactions are ours alone (no implicit ones); the worker's thread is not the opener's.

    Who finds another process writing waits for it: a command beside a running bridge, and the
    bridge beside a command. Both write in short transactions.
    """
    uri = f"{path.as_uri()}?mode={mode}"
    return connect(
        uri, uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )


def _text(name: str) -> str:
    return resources.files("bridge.journal").joinpath(name).read_text(encoding="utf-8")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: it lives in the folder, not in the file."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
