"""Whether all batches are there: numbers and running totals that lead on from one to the next.

Batches leave from the front only, behind every cursor. So what is missing anywhere else was taken
out by a hand or lost with a part of the file, and a journal that went on without it would have its
next acknowledgement cover the hole: nobody could tell any more that those entries never arrived.
"""

from __future__ import annotations

import sqlite3
from typing import Final

_HOLE: Final = """
    SELECT before + 1, seq - 1 FROM (
        SELECT seq, lag(seq) OVER (ORDER BY seq) AS before FROM batches)
    WHERE seq <> before + 1 ORDER BY seq LIMIT 1
"""
_JUMP: Final = """
    SELECT batch.seq FROM batches AS batch JOIN batches AS before ON before.seq = batch.seq - 1
    WHERE batch.records_through - batch.records <> before.records_through
       OR batch.bytes_through - length(batch.gzip) <> before.bytes_through
    ORDER BY batch.seq LIMIT 1
"""
"""For numbers without a hole. No window: SQLite would copy every batch to a file for it."""
_ENDS: Final = """
    SELECT (SELECT min(cursor) FROM cursors), (SELECT max(cursor) FROM cursors),
           (SELECT min(seq) FROM batches), (SELECT max(seq) FROM batches),
           coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'batches'), 0)
"""


def broken(db: sqlite3.Connection, *, fronted: bool) -> str:
    """What is missing or does not fit, empty for nothing.

    ``fronted``: nothing may be missing between the cursors and the first batch either; earlier
    schemas took away what a destination out of use had not passed.
    """
    for first, last in db.execute(_HOLE):
        return _missing(first, last)
    for (seq,) in db.execute(_JUMP):
        return f"batch {seq} does not go on from the one before it"
    behind, ahead, oldest, newest, last_seq = db.execute(_ENDS).fetchone()
    if ahead is not None and ahead > last_seq:
        return f"a destination is at batch {ahead}, and the last one was {last_seq}"
    if newest is not None and newest < last_seq:
        return _missing(newest + 1, last_seq)
    waited = last_seq if oldest is None else oldest - 1
    if fronted and behind is not None and behind < waited:
        return _missing(behind + 1, waited)
    return ""


def _missing(first: int, last: int) -> str:
    which = f"batch {first} is" if first == last else f"batches {first} to {last} are"
    it = "it" if first == last else "them"
    return f"{which} missing, and not every destination has passed {it}"
