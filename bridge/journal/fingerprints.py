"""The ledger's rows: fingerprints, the reads that brought them, and when those were acknowledged.

Like `bridge.journal.store`, which calls it inside its transactions.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from bridge.journal import backfilled, rules
from bridge.journal.backfilled import UNDATED
from bridge.model import Append, Identified, Tick

_OLDEST: Final = """
    SELECT tick, seq FROM (
        SELECT tick, seq FROM seen WHERE app = :app AND tick < min(:below, :newest)
        UNION ALL
        SELECT tick, seq FROM undated WHERE app = :app AND tick < :below
        ORDER BY tick)
"""
"""What may be forgotten below a tick; the app's newest tick stays, for it is the anchor."""

EVER: Final = -1
"""Where a cursor began for whom every batch counts."""

_FOR_ALL: Final = "(seq <= 0 OR seq > :began)"
_FOR_IT: Final = f"(audience IN ('', :audience) AND {_FOR_ALL})"


def unknown(
    db: sqlite3.Connection,
    app_id: int,
    entries: Mapping[rules.Key, Identified],
    *,
    audience: str = "",
    began: int = EVER,
) -> list[Identified]:
    """Those entries that were never stored, in order.

    With an ``audience``, those that were never stored for that destination: neither for all nor,
    by a backfill, for it, in a batch after the one where its cursor ``began``. What came before
    that was for one of its name that was forgotten.

    What is known is asked for in one range: much less work than a question for each entry, as a
    walk finds nearly everything that lies between the first and the last of its entries.
    """
    ticks = [tick for tick, _ in entries if tick is not None]
    whose = {"app": app_id, "audience": audience, "began": began}
    known = set()
    if ticks:
        window = {**whose, "first": min(ticks), "last": max(ticks)}
        known = set(
            db.execute(
                f"""
                SELECT tick, uid FROM seen
                WHERE app = :app AND tick BETWEEN :first AND :last AND {_FOR_ALL}
                UNION ALL
                SELECT tick, uid FROM backfilled
                WHERE app = :app AND tick BETWEEN :first AND :last AND {_FOR_IT}
                """,  # noqa: S608 - constants
                window,
            )
        )
    return [
        item
        for key, item in entries.items()
        if key not in known
        and (key[0] is not None or not _has_undated(db, {**whose, "uid": item.uid}))
    ]


def remember(
    db: sqlite3.Connection, app_id: int, missing: Sequence[Identified], seqs: Iterable[int]
) -> None:
    """Store the fingerprints of new entries, each with its batch, or as dropped.

    Those alike in table, batch and length go in one statement: row by row takes twice as long.
    """
    alike: defaultdict[tuple[str, int, int], list[Identified]] = defaultdict(list)
    for item, seq in zip(missing, seqs, strict=False):  # the records of gaps come after
        table = "undated" if item.entry.tick is None else "seen"
        alike[table, seq, len(item.uid)].append(item)
    for (table, seq, length), items in alike.items():
        ticks = msgspec.json.encode([item.tick for item in items]).decode()
        uids = b"".join([item.uid for item in items])
        db.execute(
            f"""
            INSERT INTO {table} (app, tick, uid, seq)
            SELECT :app, value, substr(:uids, key * :length + 1, :length), :seq
            FROM json_each(:ticks)
            """,  # noqa: S608 - one of two names
            {"app": app_id, "ticks": ticks, "uids": uids, "length": length, "seq": seq},
        )
    db.execute(
        "UPDATE apps SET fingerprints = fingerprints + ? WHERE id = ?", (len(missing), app_id)
    )


def note_read(
    db: sqlite3.Connection,
    app_id: int,
    walk: Append,
    kept: Sequence[Identified],
    *,
    seqs: tuple[int, int],
    now: Tick,
) -> None:
    """Store which walk filled the batches from the first to the last with the kept entries."""
    read = walk.read
    figures = (app_id, read.kind, read.floor, read.ceiling, read.at, read.pages, now)
    db.execute(
        "INSERT INTO reads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*seqs, *figures, len(kept), len(kept), *rules.lateness(read, kept)),
    )


def prune(
    db: sqlite3.Connection,
    app_id: int,
    *,
    needed: Tick,
    kept: Tick,
    ledger_bytes: int,
    chunk: int,
) -> bool:
    """See `Journal.prune`. Forgets about ``chunk`` rows of a kind; True while there may be more."""
    gone = _forget(db, app_id, below=min(kept, needed), at_most=chunk)
    if gone < chunk:
        excess = min(rules.excess(_held(db), ledger_bytes), chunk)
        while excess and (given_up := backfilled.give_up(db, at_most=excess)):
            gone, excess = gone + given_up, excess - given_up
        gone += _forget(db, app_id, below=needed, at_most=excess)
    db.execute(
        """
        DELETE FROM gaps WHERE app = :app AND closed_at IS NOT NULL
        AND ceiling <= (SELECT ledger_from FROM apps WHERE id = :app)
        """,
        {"app": app_id},
    )
    return max(gone, _drop_spent_reads(db, chunk)) >= chunk


def _has_undated(db: sqlite3.Connection, which: Mapping[str, object]) -> bool:
    row = db.execute(
        f"""
        SELECT 1 FROM undated WHERE app = :app AND uid = :uid AND {_FOR_ALL}
        UNION ALL
        SELECT 1 FROM backfilled
        WHERE app = :app AND tick = {UNDATED} AND uid = :uid AND {_FOR_IT}
        """,  # noqa: S608 - constants
        which,
    ).fetchone()
    return row is not None


def _held(db: sqlite3.Connection) -> int:
    """How many fingerprints there are, those of backfills included."""
    (held,) = db.execute(
        """
        SELECT (SELECT coalesce(sum(fingerprints), 0) FROM apps)
             + (SELECT coalesce(sum(fingerprints), 0) FROM backfill_apps)
        """
    ).fetchone()
    return int(held)


def _forget(db: sqlite3.Connection, app_id: int, *, below: Tick, at_most: int) -> int:
    """Forget the oldest fingerprints below a tick, whole ticks; returns how many."""
    if not at_most:
        return 0
    (newest,) = db.execute(
        "SELECT coalesce(max(tick), :below) FROM seen WHERE app = :app",
        {"app": app_id, "below": below},
    ).fetchone()
    bounds = {"app": app_id, "below": below, "newest": newest, "at_most": at_most}
    (last,) = db.execute(
        f"SELECT max(tick) FROM ({_OLDEST} LIMIT :at_most)",  # noqa: S608 - a constant
        bounds,
    ).fetchone()
    if last is None:
        return 0
    bounds["below"] = last + 1
    db.execute(
        f"""
        UPDATE reads SET known = known - gone.rows FROM (
            SELECT (SELECT max(first_seq) FROM reads WHERE first_seq <= seq) AS read,
                   count(*) AS rows
            FROM ({_OLDEST}) GROUP BY read) AS gone
        WHERE first_seq = gone.read
        """,  # noqa: S608 - a constant
        bounds,
    )
    gone = db.execute(
        "DELETE FROM seen WHERE app = :app AND tick < min(:below, :newest)", bounds
    ).rowcount
    gone += db.execute("DELETE FROM undated WHERE app = :app AND tick < :below", bounds).rowcount
    db.execute(
        """
        UPDATE apps SET fingerprints = fingerprints - ?, ledger_from = max(ledger_from, ?)
        WHERE id = ?
        """,
        (gone, last + 1, app_id),
    )
    return gone


def _drop_spent_reads(db: sqlite3.Connection, chunk: int) -> int:
    """Forget walks that no fingerprint and no batch refers to, with what acknowledged only them."""
    spent = db.execute(
        """
        DELETE FROM reads WHERE first_seq IN (
            SELECT first_seq FROM reads
            WHERE known = 0 AND NOT EXISTS (SELECT 1 FROM batches WHERE seq <= last_seq)
            ORDER BY first_seq LIMIT ?)
        RETURNING first_seq, last_seq
        """,
        (chunk,),
    ).fetchall()
    if spent:
        destinations = db.execute("SELECT destination FROM cursors").fetchall()
        db.executemany(
            """
            DELETE FROM acks WHERE destination = :destination AND cursor >= :first
            AND cursor <= coalesce((SELECT min(cursor) FROM acks
                                    WHERE destination = :destination AND cursor >= :last), :last)
            AND NOT EXISTS (SELECT 1 FROM batches WHERE seq <= acks.cursor)
            AND after >= coalesce((SELECT last_seq FROM reads WHERE first_seq <= acks.cursor
                                   ORDER BY first_seq DESC LIMIT 1), 0)
            """,
            [
                {"destination": name, "first": first, "last": last}
                for first, last in spent
                for (name,) in destinations
            ],
        )
    return len(spent)
