"""The backfills' rows: jobs, how far they have come, and storing what they read.

Like `bridge.journal.store`: called inside transactions.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from bridge.journal import DROPPED, backfilled, fingerprints, gaps, rules, store
from bridge.journal.rules import Key
from bridge.model import (
    Append,
    Appended,
    Backfill,
    BackfillApp,
    BackfillState,
    Tick,
)

_COLUMNS: Final = (
    "id, name, asked, floor, ceiling, audience, own_stream, created_at, state, finished_at"
)


def jobs(db: sqlite3.Connection) -> tuple[Backfill, ...]:
    """Every backfill that is not forgotten, in the order of coming."""
    return _jobs(db, "TRUE")


def active(db: sqlite3.Connection) -> tuple[Backfill, ...]:
    """See `Journal.backfills`; asked every second, so finished ones must cost nothing."""
    return _jobs(db, "state = ?", BackfillState.ACTIVE)


def named(db: sqlite3.Connection, name: str) -> Backfill | None:
    """The backfill of a name, None where there is none."""
    return next(iter(_jobs(db, "name = ?", name)), None)


def create(db: sqlite3.Connection, job: Backfill) -> None:
    """Store a new job. Its apps may be unknown yet: then they still have no position."""
    (number,) = db.execute(
        f"""
        INSERT INTO backfills ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
        """,  # noqa: S608 - constants
        (
            *(job.name, job.asked, job.floor, job.ceiling, json.dumps(job.audience)),
            *(job.own_stream, job.created_at, job.state, job.finished_at),
        ),
    ).fetchone()
    for app in job.apps:
        db.execute(
            """
            INSERT INTO apps (name, stream, filters, position, swept, begun)
            VALUES (?, ?, ?, 0, '{}', 0) ON CONFLICT (name) DO NOTHING
            """,
            (app.name, app.stream, app.filters),
        )
        db.execute(
            "INSERT INTO backfill_apps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                *(number, _app_id(db, app.name), app.stream, app.filters, app.position),
                *(app.added, app.known, app.gaps, app.last_seq, app.note),
            ),
        )


def turn(db: sqlite3.Connection, name: str, state: BackfillState) -> None:
    """Let a job stand otherwise; nothing holds it up any more."""
    db.execute("UPDATE backfills SET state = ? WHERE name = ?", (state, name))
    db.execute(
        "UPDATE backfill_apps SET note = '' WHERE job = (SELECT id FROM backfills WHERE name = ?)",
        (name,),
    )


def forget(db: sqlite3.Connection, name: str, *, at_most: int) -> bool:
    """Forget a job, its fingerprints first; in pieces, True while there is more."""
    row = db.execute("SELECT id FROM backfills WHERE name = ?", (name,)).fetchone()
    if row is None or backfilled.forget(db, row[0], at_most=at_most):
        return row is not None
    db.execute("DELETE FROM backfill_apps WHERE job = ?", row)
    db.execute("DELETE FROM backfills WHERE id = ?", row)
    return False


def note(db: sqlite3.Connection, name: str, app: str, text: str) -> None:
    """See `Journal.note_backfill`."""
    db.execute(
        """
        UPDATE backfill_apps SET note = :text
        WHERE job = (SELECT id FROM backfills WHERE name = :name)
        AND app = (SELECT id FROM apps WHERE name = :app) AND note != :text
        """,
        {"name": name, "app": app, "text": text},
    )


def append(
    db: sqlite3.Connection, walk: Append, name: str, *, max_bytes: int, now: Tick
) -> Appended:
    """See `Journal.backfill`."""
    number, audience = _open(db, name)
    app_id = _app_id(db, walk.app)
    store.make_room(db, max_bytes // rules.BACKFILL_SHARE, where=walk.app)
    entries = rules.distinct(walk.found)
    made = gaps.changes(db, app_id, walk)
    added: set[Key] = set()
    stored: int | None = None
    seqs: Sequence[int] = ()
    dropped = 0
    began = {destination: _began(db, destination) for destination in audience or ("",)}
    for destination, first in began.items():
        missing = fingerprints.unknown(db, app_id, entries, audience=destination, began=first)
        places, newest = store.put(
            db, app_id, walk, missing, made.new, now=now, audience=destination or None
        )
        backfilled.remember(db, (number, app_id), missing, places, audience=destination)
        keys = rules.distinct(missing).keys()
        dropped += places.count(DROPPED)
        added |= keys
        stored, seqs = newest or stored, places[len(missing) :]
    # What is known may still be on its way.
    last = store.last_seq(db) if len(added) < len(entries) else stored
    if made:
        gaps.store(db, app_id, made, seqs, now)
    db.execute(
        """
        UPDATE backfill_apps SET position = max(position, ?), added = added + ?, known = known + ?,
            gaps = gaps + ?, last_seq = coalesce(?, last_seq), note = ''
        WHERE job = ? AND app = ?
        """,
        (
            *(walk.position, len(added), len(entries) - len(added)),
            *(len(made.new) + len(made.raised), last, number, app_id),
        ),
    )
    if _finished(db, number):
        db.execute(
            "UPDATE backfills SET state = ?, finished_at = ? WHERE id = ?",
            (BackfillState.DONE, now, number),
        )
    return Appended(len(added), len(entries) - len(added), stored, dropped)


def _finished(db: sqlite3.Connection, job: int) -> bool:
    row = db.execute(
        """
        SELECT 1 FROM backfill_apps JOIN backfills ON id = job WHERE job = ? AND position < ceiling
        """,
        (job,),
    ).fetchone()
    return row is None


def _open(db: sqlite3.Connection, name: str) -> tuple[int, tuple[str, ...]]:
    """An active job's number and audience.

    Raises:
        BackfillStopped: it is not active.
    """
    row = db.execute(
        "SELECT id, audience FROM backfills WHERE name = ? AND state = ?",
        (name, BackfillState.ACTIVE),
    ).fetchone()
    if row is None:
        raise rules.stopped(name)
    return row[0], tuple(json.loads(row[1]))


def _began(db: sqlite3.Connection, destination: str) -> int:
    """From which batch on a destination takes what is for all.

    Raises:
        JournalError: it is not in use: nothing would hold what is for it alone.
    """
    if not destination:
        return fingerprints.EVER
    row = db.execute(
        "SELECT began FROM cursors WHERE destination = ? AND in_use", (destination,)
    ).fetchone()
    if row is None:
        raise rules.not_attached(destination)
    return int(row[0])


def _app_id(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM apps WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise rules.unknown_app(name)
    return int(row[0])


def _jobs(db: sqlite3.Connection, which: str, *values: str) -> tuple[Backfill, ...]:
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM backfills WHERE {which} ORDER BY id",  # noqa: S608 - constants
        values,
    ).fetchall()
    return tuple(_job(db, row) for row in rows)


def _job(db: sqlite3.Connection, row: Sequence[Any]) -> Backfill:
    number, name, asked, floor, ceiling, audience, own_stream, created_at, state, finished_at = row
    rows = db.execute(
        """
        SELECT apps.name, job.stream, job.filters, job.position, added, known, gaps, last_seq, note
        FROM backfill_apps AS job JOIN apps ON apps.id = job.app WHERE job = ? ORDER BY apps.name
        """,
        (number,),
    ).fetchall()
    return Backfill(
        name=name,
        asked=asked,
        floor=floor,
        ceiling=ceiling,
        audience=tuple(json.loads(audience)),
        own_stream=bool(own_stream),
        apps=tuple(BackfillApp(*row) for row in rows),
        created_at=created_at,
        state=BackfillState(state),
        finished_at=finished_at,
    )
