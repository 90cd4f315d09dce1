"""What every implementation of the journal must decide alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bridge.errors import JournalError, JournalFull
from bridge.model import SECOND, Append, AppRecord, Encoded, Identified, Tick

POSITION_STEP: Final[Tick] = 60 * SECOND
"""How far a position or a sweep cursor must rise to be worth a commit of its own.

An idle app then costs at most one disk write a minute, a crash a minute of re-reading.
"""


def key_of(item: Identified) -> tuple[Tick | None, bytes]:
    """What makes an entry the same one when it is read again.

    A borrowed tick depends on the neighbours shown that time, so it does not count.
    """
    return (None if item.entry.tick is None else item.tick, item.uid)


def standing_after(record: AppRecord, walk: Append, *, added: int) -> AppRecord | None:
    """Where the app stands after an append, None when the append is to commit nothing.

    Nothing moves back. An age no longer swept is forgotten: coming back much later, its old cursor
    would lead below what the seen set still knows.
    """
    position = max(record.position, walk.position)
    swept = {age: max(tick, record.swept.get(age, tick)) for age, tick in walk.swept.items()}
    rises = [position - record.position]
    rises += [tick - record.swept.get(age, tick - POSITION_STEP) for age, tick in swept.items()]
    worth_it = added or max(rises) >= POSITION_STEP
    return replace(record, position=position, swept=swept) if worth_it else None


def check_encoded(app: str, missing: Sequence[Identified], encoded: Sequence[Encoded]) -> None:
    """Refuse an encoding that does not hold every entry: their fingerprints would hide the loss."""
    records = sum(batch.records for batch in encoded)
    if records != len(missing):
        raise JournalError(
            f"{len(missing)} entries were encoded as {records} records; nothing was stored",
            where=app,
        )


def check_cursor(destination: str, cursor: int, last_seq: int) -> None:
    """Refuse a cursor beyond the newest batch: it would pass batches that nobody delivered."""
    if cursor > last_seq:
        raise JournalError(
            f"the cursor cannot go to {cursor}, the newest batch is {last_seq}", where=destination
        )


def unknown_app(name: str) -> JournalError:
    """The error for an app that was never begun."""
    return JournalError("the app was never begun", where=name)


def not_attached(destination: str) -> JournalError:
    """The error for a destination that is not in use."""
    return JournalError("the destination is not attached", where=destination)


def full(max_bytes: int, held_by: str, *, where: str = "") -> JournalFull:
    """The error for an append at the bound; ``held_by`` is empty when no destination is in use."""
    hint = (
        f"destination {held_by} is furthest behind: mend it, or raise journal.max_bytes"
        if held_by
        else "no destination is in use"
    )
    return JournalFull(
        f"the journal is full ({max_bytes:,} bytes wait to be delivered)",
        where=where,
        hint=hint,
        held_by=held_by,
    )
