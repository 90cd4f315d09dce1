"""SQLite's errors in the bridge's words: translated once, at the journal's edge."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from bridge.errors import JournalError, JournalUnusable

KEEP: Final = (
    "the file was left as it is: restore a copy, or move it away with its -wal file "
    "to begin anew; reading then starts at each app's start setting"
)

_HINTS: Final = (
    ("disk is full", "make room on that disk; the journal goes on by itself"),
    ("disk I/O error", "check the disk and the system's log; the journal tries again"),
    ("readonly", "make the file and its folder writable"),
    (
        "unable to open",
        "make the file and its folder readable and writable, also for one who only reads",
    ),
    ("locked", "another program writes to the journal; close it, or try again"),
    ("malformed", KEEP),
    ("not a database", KEEP),
)


def hint(error: sqlite3.Error) -> str:
    """What to do about it, empty when nothing better than the message is known."""
    return next((mend for sign, mend in _HINTS if sign in str(error)), "")


def translated(error: sqlite3.Error, path: Path) -> JournalError:
    """The `JournalError` to raise ``from`` it."""
    return JournalError(f"the journal failed: {error}", where=str(path), hint=hint(error))


def unusable(error: sqlite3.Error, path: Path) -> JournalUnusable:
    """The error of a command that cannot read the journal, to raise ``from`` it."""
    return JournalUnusable(
        f"the journal cannot be read: {error}", where=str(path), hint=hint(error)
    )


def unreadable(error: OSError, path: Path) -> JournalUnusable:
    """The same where the file itself cannot be opened."""
    return JournalUnusable(
        f"the journal cannot be read: {error.strerror or error}",
        where=str(path),
        hint="run this as the user that the bridge runs as",
    )
