"""What backfills journaled: fingerprints that no live read needs, apart from the ledger's.

Like `bridge.journal.store`: called inside transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from bridge.model import BackfillState, Identified, Tick

UNDATED: Final = -1
"""The tick of an entry without a time here; where it lies is its tick ``around``."""


def remember(
    db: sqlite3.Connection,
    job: tuple[int, int],
    missing: Sequence[Identified],
    seqs: Iterable[int],
    *,
    audience: str,
) -> None:
    """Store the fingerprints of new entries of a job's app, each with its batch, or as dropped."""
    number, app_id = job
    rows: list[tuple[int, Tick, bytes, str, int, int, Tick]] = []
    for item, seq in zip(missing, seqs, strict=False):  # the records of gaps come after
        tick = UNDATED if item.entry.tick is None else item.tick
        rows.append((app_id, tick, item.uid, audience, seq, number, item.tick))
    if audience:
        _replace(db, [row[:4] for row in rows])
    db.executemany("INSERT INTO backfilled VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute(
        "UPDATE backfill_apps SET fingerprints = fingerprints + ? WHERE (job, app) = (?, ?)",
        (len(rows), *job),
    )


def _replace(db: sqlite3.Connection, places: Iterable[tuple[int, Tick, bytes, str]]) -> None:
    """Drop what a backfill brought for a destination of this name that was forgotten since."""
    for place in places:
        for job, seq in db.execute(
            """
            DELETE FROM backfilled WHERE (app, tick, uid, audience) = (?, ?, ?, ?)
            RETURNING job, seq
            """,
            place,
        ).fetchall():
            db.execute(
                """
                UPDATE backfill_apps SET fingerprints = fingerprints - 1 WHERE (job, app) = (?, ?)
                """,
                (job, place[0]),
            )
            db.execute(
                """
                UPDATE reads SET known = known - 1
                WHERE first_seq = (SELECT max(first_seq) FROM reads WHERE first_seq <= ?)
                """,
                (seq,),
            )


def give_up(db: sqlite3.Connection, *, at_most: int) -> int:
    """Forget fingerprints of the finished job that came first; returns how many."""
    if not at_most:
        return 0
    row = db.execute(
        """
        SELECT id FROM backfills WHERE state = ? AND EXISTS (
            SELECT 1 FROM backfill_apps WHERE job = id AND fingerprints > 0)
        ORDER BY id LIMIT 1
        """,
        (BackfillState.DONE,),
    ).fetchone()
    return 0 if row is None else forget(db, row[0], at_most=at_most)


def forget(db: sqlite3.Connection, job: int, *, at_most: int) -> int:
    """Forget the oldest fingerprints of a job's app, and of the next; returns how many."""
    row = db.execute(
        "SELECT app FROM backfill_apps WHERE job = ? AND fingerprints > 0 LIMIT 1", (job,)
    ).fetchone()
    if row is None:
        return 0
    which = (*row, job, at_most)
    chosen = """
        SELECT app, tick, uid, audience, seq FROM backfilled
        WHERE app = ? AND job = ? ORDER BY tick, uid, audience LIMIT ?
    """
    db.execute(
        f"""
        UPDATE reads SET known = known - gone.rows FROM (
            SELECT (SELECT max(first_seq) FROM reads WHERE first_seq <= seq) AS read,
                   count(*) AS rows
            FROM ({chosen}) WHERE seq > 0 GROUP BY read) AS gone
        WHERE first_seq = gone.read
        """,  # noqa: S608 - a constant
        which,
    )
    gone = db.execute(
        f"""
        DELETE FROM backfilled WHERE (app, tick, uid, audience) IN (
            SELECT app, tick, uid, audience FROM ({chosen}))
        """,  # noqa: S608 - a constant
        which,
    ).rowcount
    db.execute(
        "UPDATE backfill_apps SET fingerprints = fingerprints - ? WHERE job = ? AND app = ?",
        (gone, job, row[0]),
    )
    return gone
