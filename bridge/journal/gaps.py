"""The gaps' rows: what could not be proved complete, open until it turns out whole.

Like `bridge.journal.store`, which calls it inside its transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from bridge.journal import rules
from bridge.journal.rules import GapChanges
from bridge.model import Append, Gap, GapKey, GapKind, Tick


def open_gaps(db: sqlite3.Connection, app: str) -> tuple[Gap, ...]:
    """See `Journal.gaps`."""
    rows = db.execute(
        """
        SELECT kind, floor, ceiling, at_least FROM gaps JOIN apps ON apps.id = gaps.app
        WHERE apps.name = ? AND closed_at IS NULL ORDER BY floor, ceiling, kind
        """,
        (app,),
    )
    return tuple(Gap(GapKind(kind), *rest) for kind, *rest in rows)


def changes(db: sqlite3.Connection, app_id: int, walk: Append) -> GapChanges:
    """What the walk does to the app's gaps; nothing is stored."""
    known: dict[GapKey, tuple[Gap, bool]] = {}
    for key in {gap.key for gap in (*walk.gaps, *walk.closed)}:
        row = db.execute(
            """
            SELECT at_least, closed_at IS NULL FROM gaps
            WHERE app = ? AND kind = ? AND floor = ? AND ceiling = ?
            """,
            (app_id, *key),
        ).fetchone()
        if row is not None:
            known[key] = (Gap(*key, at_least=row[0]), bool(row[1]))
    return rules.gap_changes(walk, known)


def store(
    db: sqlite3.Connection, app_id: int, made: GapChanges, seqs: Iterable[int], now: Tick
) -> None:
    """Store the changes; ``seqs`` are the batches that the records of the new ones are in."""
    db.executemany(
        """
        INSERT INTO gaps (app, kind, floor, ceiling, at_least, seq, found_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        """,
        [
            (app_id, *gap.key, gap.at_least, seq, now)
            for gap, seq in zip(made.new, seqs, strict=True)
        ],
    )
    _update(db, app_id, made.raised, closed_at=None)
    _update(db, app_id, made.closed, closed_at=now)


def _update(
    db: sqlite3.Connection, app_id: int, known: Iterable[Gap], *, closed_at: Tick | None
) -> None:
    db.executemany(
        """
        UPDATE gaps SET at_least = ?, closed_at = ?
        WHERE app = ? AND kind = ? AND floor = ? AND ceiling = ?
        """,
        [(gap.at_least, closed_at, app_id, *gap.key) for gap in known],
    )
