"""The dead letters' rows: what a destination refused for good, until it is delivered or dropped.

Like `bridge.journal.store`, which calls the writing ones inside its transactions. How many there
are and what they take, the triggers of the schema keep with each destination.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from bridge.journal import Wishes, rules
from bridge.model import DeadLetter

COLUMNS: Final = "destination, uid, seq, reason, gzip, refused_at, answer"
"""The fields of a `DeadLetter`, in order."""


def remove(db: sqlite3.Connection, destination: str, uids: Sequence[str]) -> None:
    """Remove the letters that were delivered after all."""
    db.executemany(
        "DELETE FROM dead_letters WHERE destination = ? AND uid = ?",
        [(destination, uid) for uid in uids],
    )


def keep(
    db: sqlite3.Connection, destination: str, letters: Sequence[DeadLetter], *, max_bytes: int
) -> None:
    """Store letters; one that is known keeps its place, record and batch.

    Raises:
        DeadLettersFull: there are new ones and they do not fit; the caller undoes what was stored.
    """
    before, _ = totals(db)
    db.executemany(
        f"""
        INSERT INTO dead_letters ({COLUMNS}, size, replay) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)
        ON CONFLICT (destination, uid) DO UPDATE
        SET reason = excluded.reason, answer = excluded.answer, refused_at = excluded.refused_at,
            replay = 0, size = excluded.size - length(excluded.gzip) + length(gzip)
        """,  # noqa: S608 - a constant
        [
            (
                *(one.destination, one.uid, one.seq, one.reason, one.gzip, one.refused_at),
                *(one.answer, rules.letter_size(one)),
            )
            for one in rules.storable(destination, letters)
        ],
    )
    after, size = totals(db)
    if before and after > before and size > max_bytes:
        raise rules.dead_letters_full(destination, after - before, max_bytes)


def totals(db: sqlite3.Connection) -> tuple[int, int]:
    """How many letters there are, and their bytes."""
    letters, size = db.execute(
        "SELECT coalesce(sum(dead_letters), 0), coalesce(sum(dead_bytes), 0) FROM cursors"
    ).fetchone()
    return int(letters), int(size)


def wishes(db: sqlite3.Connection, destination: str, *, max_size: int) -> Wishes:
    """See `Journal.wishes`."""
    row = db.execute(
        "SELECT paused FROM cursors WHERE destination = ? AND in_use", (destination,)
    ).fetchone()
    if row is None:
        raise rules.not_attached(destination)
    rows = db.execute(
        f"SELECT {COLUMNS} FROM dead_letters WHERE destination = ? AND replay ORDER BY id",  # noqa: S608 - a constant
        (destination,),
    )
    with closing(rows):
        return Wishes(bool(row[0]), tuple(_up_to(max_size, (DeadLetter(*one) for one in rows))))


def _up_to(max_size: int, letters: Iterator[DeadLetter]) -> Iterator[DeadLetter]:
    """The first letter, then no more than that many bytes."""
    size = 0
    for count, letter in enumerate(letters):
        size += len(letter.gzip)
        if count and size > max_size:
            return
        yield letter
