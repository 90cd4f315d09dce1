"""The journal's operations on an SQLite connection: plain functions, no threads, no transactions.

The writing ones run inside a transaction that `bridge.journal.commit` opens and ends; each either
finishes or raises, and what it did before raising is rolled back there.

A batch is live while a destination, in use or not, has not passed it. Batches are removed from the
front only, so figures over live batches come from the running totals of the first and the last one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Final

from msgspec.structs import replace

from bridge.journal import DROPPED, Backlog, Start, Stats, fingerprints, gaps, letters, rules
from bridge.model import (
    ALL_DROPPED,
    Anchor,
    Append,
    Appended,
    AppRecord,
    Batch,
    DeadLetter,
    Encoded,
    Gap,
    Identified,
    Tick,
)

_REMOVED_AT_ONCE: Final = 256
_FIRST_LIVE: Final = """
    (SELECT min(seq) FROM batches
     WHERE seq > (SELECT coalesce(min(cursor), 0) FROM cursors))
"""


def app(db: sqlite3.Connection, name: str) -> AppRecord | None:
    """See `Journal.app`."""
    known = _known_app(db, name)
    return known and known[1]


def begin(db: sqlite3.Connection, record: AppRecord) -> None:
    """See `Journal.begin`. A record that changes nothing writes nothing."""
    db.execute(
        """
        INSERT INTO apps (name, stream, filters, position, swept, ledger_from)
        VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET
            stream = excluded.stream, filters = excluded.filters, begun = 1,
            position = iif(begun, position, excluded.position),
            swept = iif(begun, swept, excluded.swept),
            ledger_from = iif(begun, max(ledger_from, position), excluded.ledger_from)
        WHERE NOT begun OR (stream, filters) IS NOT (excluded.stream, excluded.filters)
        """,
        (
            *(record.name, record.stream, record.filters, record.position),
            *(swept_text(record.swept), record.whole_from),
        ),
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
    app_id, record = _begun(db, walk.app)
    make_room(db, max_bytes, where=walk.app)
    entries = rules.distinct(walk.found)
    missing = fingerprints.unknown(db, app_id, entries)
    made = gaps.changes(db, app_id, walk)
    places, last = put(db, app_id, walk, missing, made.new, now=now)
    if places:
        fingerprints.remember(db, app_id, missing, places)
    if made:
        gaps.store(db, app_id, made, places[len(missing) :], now)
    standing = rules.standing_after(record, walk, added=len(missing), gaps=made)
    if standing is not None:
        db.execute(
            "UPDATE apps SET position = ?, swept = ? WHERE id = ?",
            (standing.position, swept_text(standing.swept), app_id),
        )
    return Appended(
        added=len(missing),
        known=len(entries) - len(missing),
        last_seq=last,
        dropped=places.count(DROPPED),
    )


def make_room(db: sqlite3.Connection, max_bytes: int, *, where: str) -> None:
    """Remove what only a forgotten destination held.

    Raises:
        JournalFull: the live batches fill so many bytes all the same.
    """
    _remove_passed(db)
    if not has_room(db, max_bytes):
        raise rules.full(max_bytes, _holder(db), where=where)


def put(
    db: sqlite3.Connection,
    app_id: int,
    walk: Append,
    missing: Sequence[Identified],
    new: Sequence[Gap],
    *,
    now: Tick,
    audience: str | None = None,
) -> tuple[list[int], int | None]:
    """Store entries and then gaps as batches, with the walk that brought them.

    Returns the places of the entries and the gaps, and the newest batch, None for no new one.
    """
    if not (missing or new):
        return [], None
    encoded = walk.encode(missing, new)
    rules.check_encoded(walk.app, missing, new, encoded)
    stored = _store(db, app_id, encoded, now, audience)
    places = rules.places(missing, new, stored)
    if not stored:
        return places, None
    kept = missing
    if DROPPED in places:
        kept = [item for item, seq in zip(missing, places, strict=False) if seq != DROPPED]
    seqs = (stored[0][0], stored[-1][0])
    fingerprints.note_read(db, app_id, walk, kept, seqs=seqs, now=now)
    return places, stored[-1][0]


def prune(
    db: sqlite3.Connection, name: str, *, needed: Tick, kept: Tick, ledger_bytes: int, chunk: int
) -> bool:
    """See `Journal.prune`; in pieces of ``chunk`` rows, True while there may be more."""
    app_id, _ = _begun(db, name)
    return fingerprints.prune(
        db, app_id, needed=needed, kept=kept, ledger_bytes=ledger_bytes, chunk=chunk
    )


def attach(db: sqlite3.Connection, destination: str, start: Start) -> int:
    """See `Journal.attach`."""
    (oldest,) = db.execute("SELECT min(seq) FROM batches").fetchone()
    first = last_seq(db) if oldest is None or start is Start.NOW else oldest - 1
    db.execute(
        """
        INSERT INTO cursors (destination, cursor, in_use, began) VALUES (:name, :first, 1, :first)
        ON CONFLICT (destination) DO UPDATE SET in_use = 1 WHERE NOT in_use
        """,
        {"name": destination, "first": first},
    )
    return _cursor(db, destination)


def read(
    db: sqlite3.Connection, after: int, *, max_batches: int, max_size: int
) -> tuple[Batch, ...]:
    """See `Journal.read`."""
    rows = db.execute(
        """
        SELECT seq, apps.name, records, size, gzip, journaled_at, audience
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
    db: sqlite3.Connection,
    destination: str,
    cursor: int,
    dead_letters: Sequence[DeadLetter],
    replayed: Sequence[str],
    *,
    dead_letters_max_bytes: int,
    now: Tick,
) -> None:
    """See `Journal.advance`."""
    before = _cursor(db, destination)
    rules.check_cursor(destination, cursor, last_seq(db))
    if replayed:
        letters.remove(db, destination, replayed)
    if dead_letters:
        letters.keep(db, destination, dead_letters, max_bytes=dead_letters_max_bytes)
    if cursor > before:
        db.execute("UPDATE cursors SET cursor = ? WHERE destination = ?", (cursor, destination))
        db.execute(
            "INSERT INTO acks (destination, cursor, after, at) VALUES (?, ?, ?, ?)",
            (destination, cursor, before, now),
        )
    _remove_passed(db)


def has_batch(db: sqlite3.Connection, after: int) -> bool:
    """Is there a batch with a higher number?"""
    return (
        db.execute("SELECT 1 FROM batches WHERE seq > ? LIMIT 1", (after,)).fetchone() is not None
    )


def has_room(db: sqlite3.Connection, max_bytes: int) -> bool:
    """Would an append be accepted? One may go over the bound, the next is refused."""
    return live_bytes(db) < max_bytes


def live_bytes(db: sqlite3.Connection) -> int:
    """Compressed bytes of the live batches."""
    row = db.execute(
        f"""
        SELECT last.bytes_through - first.bytes_through + length(first.gzip)
        FROM batches AS first, batches AS last
        WHERE first.seq = {_FIRST_LIVE} AND last.seq = (SELECT max(seq) FROM batches)
        """  # noqa: S608 - a constant
    ).fetchone()
    return 0 if row is None else int(row[0])


def last_seq(db: sqlite3.Connection) -> int:
    """The newest number ever given to a batch, 0 before the first."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
    return 0 if row is None else int(row[0])


def stats(db: sqlite3.Connection, *, max_bytes: int, dead_letters_max_bytes: int) -> Stats:
    """See `Journal.stats`."""
    known = standings(db)
    return Stats(
        live_bytes=live_bytes(db),
        max_bytes=max_bytes,
        last_seq=last_seq(db),
        dead_letters=sum(one.dead_letters for one, _ in known),
        backlogs=tuple(one for one, in_use in known if in_use),
        dead_letter_bytes=sum(one.dead_letter_bytes for one, _ in known),
        dead_letters_max_bytes=dead_letters_max_bytes,
        unused=tuple(one for one, in_use in known if not in_use),
    )


def standings(db: sqlite3.Connection) -> list[tuple[Backlog, bool]]:
    """Every destination by name, with whether it is in use; one statement, one snapshot."""
    rows = db.execute(
        """
        SELECT destination, cursor,
               coalesce(last.seq - first.seq + 1, 0),
               coalesce(last.records_through - first.records_through + first.records, 0),
               first.journaled_at,
               dead_letters,
               coalesce(last.bytes_through - first.bytes_through + length(first.gzip), 0),
               dead_bytes, paused, in_use
        FROM cursors
        LEFT JOIN batches AS first
            ON first.seq = (SELECT min(seq) FROM batches WHERE seq > cursor)
        LEFT JOIN batches AS last
            ON first.seq IS NOT NULL AND last.seq = (SELECT max(seq) FROM batches)
        ORDER BY destination
        """
    ).fetchall()
    return [
        (replace(Backlog(*rest), paused=bool(paused)), bool(used)) for *rest, paused, used in rows
    ]


def swept_text(swept: Mapping[Tick, Tick]) -> str:
    """Sweep cursors as they are stored."""
    return json.dumps(dict(swept), sort_keys=True)


def parse_swept(text: str) -> dict[Tick, Tick]:
    """Sweep cursors as they were stored."""
    return {int(age): cursor for age, cursor in json.loads(text).items()}


def _store(
    db: sqlite3.Connection,
    app_id: int,
    encoded: Iterable[Encoded],
    now: Tick,
    audience: str | None,
) -> list[tuple[int, Encoded]]:
    """Store batches behind the last one; returns them with their numbers."""
    records, size = db.execute(
        "SELECT records_through, bytes_through FROM batches ORDER BY seq DESC LIMIT 1"
    ).fetchone() or (0, 0)
    stored: list[tuple[int, Encoded]] = []
    for batch in encoded:
        if batch == ALL_DROPPED:
            continue
        records += batch.records
        size += len(batch.gzip)
        row = db.execute(
            """
            INSERT INTO batches
                (app, records, size, journaled_at, records_through, bytes_through, gzip, audience)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (app_id, batch.records, batch.size, now, records, size, batch.gzip, audience),
        )
        stored.append((row.lastrowid or 0, batch))
    return stored


def _known_app(db: sqlite3.Connection, name: str) -> tuple[int, AppRecord] | None:
    row = db.execute(
        """
        SELECT id, stream, filters, position, swept, ledger_from FROM apps
        WHERE name = ? AND begun
        """,
        (name,),
    ).fetchone()
    if row is None:
        return None
    app_id, stream, filters, position, swept, ledger_from = row
    return app_id, AppRecord(name, stream, filters, position, parse_swept(swept), ledger_from)


def _begun(db: sqlite3.Connection, name: str) -> tuple[int, AppRecord]:
    known = _known_app(db, name)
    if known is None:
        raise rules.unknown_app(name)
    return known


def _cursor(db: sqlite3.Connection, destination: str) -> int:
    row = db.execute(
        "SELECT cursor FROM cursors WHERE destination = ? AND in_use", (destination,)
    ).fetchone()
    if row is None:
        raise rules.not_attached(destination)
    return int(row[0])


def _holder(db: sqlite3.Connection) -> rules.Holder | None:
    row = db.execute(
        "SELECT destination, in_use, paused FROM cursors ORDER BY cursor, destination LIMIT 1"
    ).fetchone()
    return row and rules.Holder(row[0], bool(row[1]), bool(row[2]))


def _remove_passed(db: sqlite3.Connection) -> None:
    """Remove what every destination has passed, in pieces; without any the bound is NULL.

    Where a destination was forgotten, that may be a gigabyte: no call is to take long for it.
    """
    db.execute(
        """
        DELETE FROM batches WHERE seq IN (
            SELECT seq FROM batches WHERE seq <= (SELECT min(cursor) FROM cursors)
            ORDER BY seq LIMIT ?)
        """,
        (_REMOVED_AT_ONCE,),
    )
