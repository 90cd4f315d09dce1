"""The journal's operations on an SQLite connection: plain functions, no threads, no transactions.

The writing ones run inside a transaction that `bridge.journal.commit` opens and ends; each either
finishes or raises, and what it did before raising is rolled back there.

A batch is live while a destination in use has not passed it. Batches are removed from the front
only, so figures over live batches come from the running totals of the first and the last one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple
from typing import Final

from bridge.journal import Backlog, Stats, rules
from bridge.model import (
    Anchor,
    Append,
    Appended,
    AppRecord,
    Batch,
    DeadLetter,
    Encoded,
    Identified,
    Tick,
)

_FIRST_LIVE: Final = """
    (SELECT min(seq) FROM batches
     WHERE seq > (SELECT coalesce(min(cursor), 0) FROM cursors WHERE in_use))
"""


def app(db: sqlite3.Connection, name: str) -> AppRecord | None:
    """See `Journal.app`."""
    row = db.execute(
        "SELECT stream, filters, position, swept FROM apps WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    stream, filters, position, swept = row
    return AppRecord(name, stream, filters, position, _parse_swept(swept))


def begin(db: sqlite3.Connection, record: AppRecord) -> None:
    """See `Journal.begin`. A record that changes nothing writes nothing."""
    db.execute(
        """
        INSERT INTO apps (name, stream, filters, position, swept) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET stream = excluded.stream, filters = excluded.filters
        WHERE (stream, filters) IS NOT (excluded.stream, excluded.filters)
        """,
        (record.name, record.stream, record.filters, record.position, _swept_text(record.swept)),
    )


def anchor(db: sqlite3.Connection, name: str, at_or_below: Tick) -> Anchor | None:
    """See `Journal.anchor`. Borrowed ticks are never a bound."""
    rows = db.execute(
        """
        SELECT tick, uid FROM seen JOIN apps ON apps.id = seen.app
        WHERE apps.name = :name AND tick = (
            SELECT max(tick) FROM seen
            WHERE app = (SELECT id FROM apps WHERE name = :name) AND tick <= :at)
        """,
        {"name": name, "at": at_or_below},
    ).fetchall()
    return Anchor(rows[0][0], frozenset(uid for _, uid in rows)) if rows else None


def append(db: sqlite3.Connection, walk: Append, *, max_bytes: int, now: Tick) -> Appended:
    """See `Journal.append`."""
    record = app(db, walk.app)
    if record is None:
        raise rules.unknown_app(walk.app)
    app_id = _app_id(db, walk.app)
    _remove_passed(db)  # what only a destination no longer configured held must not fill it
    if not has_room(db, max_bytes):
        raise rules.full(max_bytes, _furthest_behind(db), where=walk.app)
    missing = _mark_seen(db, app_id, walk.found)
    newest = None
    if missing:
        encoded = walk.encode(missing)
        rules.check_encoded(walk.app, missing, encoded)
        newest = _store(db, app_id, encoded, now)
    standing = rules.standing_after(record, walk, added=len(missing))
    if standing is not None:
        db.execute(
            "UPDATE apps SET position = ?, swept = ? WHERE id = ?",
            (standing.position, _swept_text(standing.swept), app_id),
        )
    distinct = len({rules.key_of(item) for item in walk.found})
    return Appended(added=len(missing), known=distinct - len(missing), last_seq=newest)


def prune(db: sqlite3.Connection, name: str, below: Tick, *, chunk: int) -> bool:
    """Forget about ``chunk`` fingerprints, oldest first; True while there may be more.

    The app's newest tick stays whatever is asked: without an anchor the next walk has no floor.
    """
    app_id = _app_id(db, name)
    (newest,) = db.execute("SELECT max(tick) FROM seen WHERE app = ?", (app_id,)).fetchone()
    end = below if newest is None else min(below, newest)
    cut = db.execute(
        "SELECT tick FROM seen WHERE app = ? AND tick < ? ORDER BY tick LIMIT 1 OFFSET ?",
        (app_id, end, chunk),
    ).fetchone()
    if cut is not None:
        db.execute("DELETE FROM seen WHERE app = ? AND tick <= ?", (app_id, *cut))
        return True
    db.execute("DELETE FROM seen WHERE app = ? AND tick < ?", (app_id, end))
    db.execute("DELETE FROM undated WHERE app = ? AND tick < ?", (app_id, below))
    return False


def attach(db: sqlite3.Connection, destination: str) -> int:
    """See `Journal.attach`."""
    (oldest,) = db.execute("SELECT min(seq) FROM batches").fetchone()
    start = last_seq(db) if oldest is None else oldest - 1
    db.execute(
        """
        INSERT INTO cursors (destination, cursor, in_use) VALUES (?, ?, 1)
        ON CONFLICT (destination) DO UPDATE
        SET in_use = 1, cursor = max(cursor, excluded.cursor) WHERE NOT in_use
        """,
        (destination, start),
    )
    return _cursor(db, destination)


def read(
    db: sqlite3.Connection, after: int, *, max_batches: int, max_size: int
) -> tuple[Batch, ...]:
    """See `Journal.read`."""
    rows = db.execute(
        """
        SELECT seq, apps.name, records, size, gzip, journaled_at
        FROM batches JOIN apps ON apps.id = batches.app
        WHERE seq > ? ORDER BY seq LIMIT ?
        """,
        (after, max(1, max_batches)),
    )
    taken: list[Batch] = []
    room = max_size
    with closing(rows):  # an unfinished statement would hold back the write-ahead log
        for row in rows:
            batch = Batch(*row)
            room -= batch.size
            if taken and room < 0:
                break
            taken.append(batch)
    return tuple(taken)


def advance(
    db: sqlite3.Connection, destination: str, cursor: int, dead_letters: Sequence[DeadLetter]
) -> None:
    """See `Journal.advance`."""
    _cursor(db, destination)
    rules.check_cursor(destination, cursor, last_seq(db))
    # Not INSERT OR IGNORE: that would pass over every kind of refusal, this only the repeated uid.
    db.executemany(
        """
        INSERT INTO dead_letters (destination, uid, seq, reason, gzip, refused_at)
        VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (destination, uid) DO NOTHING
        """,
        [astuple(letter) for letter in dead_letters],
    )
    db.execute(
        "UPDATE cursors SET cursor = ? WHERE destination = ? AND cursor < ?",
        (cursor, destination, cursor),
    )
    _remove_passed(db)


def has_batch(db: sqlite3.Connection, after: int) -> bool:
    """Is there a batch with a higher number?"""
    return (
        db.execute("SELECT 1 FROM batches WHERE seq > ? LIMIT 1", (after,)).fetchone() is not None
    )


def has_room(db: sqlite3.Connection, max_bytes: int) -> bool:
    """Would an append be accepted? One may go over the bound, the next is refused."""
    return _live_bytes(db) < max_bytes


def last_seq(db: sqlite3.Connection) -> int:
    """The newest number ever given to a batch, 0 before the first."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
    return 0 if row is None else int(row[0])


def stats(db: sqlite3.Connection, *, max_bytes: int) -> Stats:
    """See `Journal.stats`."""
    in_use = db.execute("SELECT destination FROM cursors WHERE in_use ORDER BY destination")
    (letters,) = db.execute("SELECT count(*) FROM dead_letters").fetchone()
    return Stats(
        live_bytes=_live_bytes(db),
        max_bytes=max_bytes,
        last_seq=last_seq(db),
        dead_letters=letters,
        backlogs=tuple(_backlog(db, destination) for (destination,) in in_use.fetchall()),
    )


def _mark_seen(
    db: sqlite3.Connection, app_id: int, found: Iterable[Identified]
) -> list[Identified]:
    """Store the fingerprints that are new and return their entries: the insert is the question."""
    missing: list[Identified] = []
    for item in found:
        table = "undated" if item.entry.tick is None else "seen"
        fresh = db.execute(
            f"INSERT INTO {table} (app, tick, uid) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",  # noqa: S608 - one of two names
            (app_id, item.tick, item.uid),
        )
        if fresh.rowcount:
            missing.append(item)
    return missing


def _store(db: sqlite3.Connection, app_id: int, encoded: Iterable[Encoded], now: Tick) -> int:
    """Store batches behind the last one; returns the newest number."""
    records, stored = db.execute(
        "SELECT records_through, bytes_through FROM batches ORDER BY seq DESC LIMIT 1"
    ).fetchone() or (0, 0)
    for batch in encoded:
        records += batch.records
        stored += len(batch.gzip)
        db.execute(
            """
            INSERT INTO batches
                (app, records, size, journaled_at, records_through, bytes_through, gzip)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            (app_id, batch.records, batch.size, now, records, stored, batch.gzip),
        )
    return last_seq(db)


def _app_id(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM apps WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise rules.unknown_app(name)
    return int(row[0])


def _swept_text(swept: Mapping[Tick, Tick]) -> str:
    return json.dumps(dict(swept), sort_keys=True)


def _parse_swept(text: str) -> dict[Tick, Tick]:
    return {int(age): cursor for age, cursor in json.loads(text).items()}


def _cursor(db: sqlite3.Connection, destination: str) -> int:
    row = db.execute(
        "SELECT cursor FROM cursors WHERE destination = ? AND in_use", (destination,)
    ).fetchone()
    if row is None:
        raise rules.not_attached(destination)
    return int(row[0])


def _furthest_behind(db: sqlite3.Connection) -> str:
    row = db.execute(
        "SELECT destination FROM cursors WHERE in_use ORDER BY cursor, destination LIMIT 1"
    ).fetchone()
    return "" if row is None else str(row[0])


def _remove_passed(db: sqlite3.Connection) -> None:
    """Remove what every destination in use has passed; with none in use the bound is NULL."""
    db.execute("DELETE FROM batches WHERE seq <= (SELECT min(cursor) FROM cursors WHERE in_use)")


def _live_bytes(db: sqlite3.Connection) -> int:
    row = db.execute(
        f"""
        SELECT last.bytes_through - first.bytes_through + length(first.gzip)
        FROM batches AS first, batches AS last
        WHERE first.seq = {_FIRST_LIVE} AND last.seq = (SELECT max(seq) FROM batches)
        """  # noqa: S608 - a constant
    ).fetchone()
    return 0 if row is None else int(row[0])


def _backlog(db: sqlite3.Connection, destination: str) -> Backlog:
    cursor = _cursor(db, destination)
    row = db.execute(
        """
        SELECT last.seq - first.seq + 1,
               last.records_through - first.records_through + first.records,
               first.journaled_at
        FROM batches AS first, batches AS last
        WHERE first.seq = (SELECT min(seq) FROM batches WHERE seq > ?)
          AND last.seq = (SELECT max(seq) FROM batches)
        """,
        (cursor,),
    ).fetchone()
    return Backlog(destination, cursor, *(row or (0, 0, None)))
