"""What every implementation of the journal must decide alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from statistics import median_high
from typing import Final, TypeAlias

from bridge.errors import JournalError, JournalFull
from bridge.model import (
    SECOND,
    Append,
    AppRecord,
    Encoded,
    Gap,
    GapKey,
    Identified,
    Read,
    ReadKind,
    Tick,
)

Key: TypeAlias = tuple[Tick | None, bytes]

POSITION_STEP: Final[Tick] = 60 * SECOND
"""How far a position or a sweep cursor must rise to be worth a commit of its own.

An idle app then costs at most one disk write a minute, a crash a minute of re-reading.
"""

LEDGER_BYTES: Final = 1 << 30
"""How large the ledger may grow where nothing else is said: some 26 million entries."""

FINGERPRINT_BYTES: Final = 40
"""What one fingerprint takes in the file (measured: 39, in time order or with a third late).

The reads and acknowledgements beside them come on top: some 60 and 30 bytes for each that stored or
passed anything, however many entries that were.
"""


@dataclass(frozen=True, slots=True)
class GapChanges:
    """What an append does to the gaps: ``new`` ones get a record, ``raised`` ones only a row.

    ``raised`` are known ones with more entries than before, or found open again.
    """

    new: tuple[Gap, ...] = ()
    raised: tuple[Gap, ...] = ()
    closed: tuple[Gap, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.raised or self.closed)


def distinct(found: Iterable[Identified]) -> dict[Key, Identified]:
    """The entries by what makes each the same one when it is read again; the first one counts.

    A borrowed tick depends on the neighbours shown that time, so it is no part of the key.
    """
    entries: dict[Key, Identified] = {}
    for item in found:
        entries.setdefault((None if item.entry.tick is None else item.tick, item.uid), item)
    return entries


def gap_changes(walk: Append, known: Mapping[GapKey, tuple[Gap, bool]]) -> GapChanges:
    """Compare a walk's gaps with the known ones of its app, each with whether it is open.

    A gap that is both found and closed is open: what cannot be proved wins.
    """
    found: dict[GapKey, Gap] = {}
    for gap in walk.gaps:
        twin = found.setdefault(gap.key, gap)
        found[gap.key] = max(gap, twin, key=lambda one: one.at_least)
    return GapChanges(
        new=tuple(gap for key, gap in found.items() if key not in known),
        raised=tuple(
            replace(gap, at_least=max(gap.at_least, known[key][0].at_least))
            for key, gap in found.items()
            if key in known and (not known[key][1] or known[key][0].at_least < gap.at_least)
        ),
        closed=tuple(
            known[key][0]
            for key in dict.fromkeys(gap.key for gap in walk.closed)
            if key not in found and key in known and known[key][1]
        ),
    )


def numbers(batches: Iterable[tuple[int, int]]) -> Iterator[int]:
    """For each record of an encoding its batch, from the (number, records) of the batches."""
    return chain.from_iterable(repeat(seq, records) for seq, records in batches)


def lateness(read: Read, missing: Sequence[Identified]) -> tuple[Tick | None, Tick | None]:
    """How long after their time the latest and the median of a sweep's finds were found.

    None for what any other read found: it was not looked for before.
    """
    if read.kind is not ReadKind.SWEEP or not missing:
        return None, None
    late = [read.at - item.tick for item in missing]
    return max(late), median_high(late)


def excess(fingerprints: int, ledger_bytes: int) -> int:
    """How many fingerprints all apps together have too many."""
    return max(0, fingerprints - ledger_bytes // FINGERPRINT_BYTES)


def ledger_start(record: AppRecord) -> Tick:
    """From where on the ledger of an app that begins is whole."""
    return record.position if record.ledger_from is None else record.ledger_from


def standing_after(
    record: AppRecord, walk: Append, *, added: int, gaps: GapChanges
) -> AppRecord | None:
    """Where the app stands after an append, None when the append is to commit nothing.

    Nothing moves back. An age no longer swept is forgotten: coming back much later, its old cursor
    would lead below what the seen set still knows.
    """
    position = max(record.position, walk.position)
    swept = {age: max(tick, record.swept.get(age, tick)) for age, tick in walk.swept.items()}
    rises = [position - record.position]
    rises += [tick - record.swept.get(age, tick - POSITION_STEP) for age, tick in swept.items()]
    worth_it = added or gaps or max(rises) >= POSITION_STEP
    return replace(record, position=position, swept=swept) if worth_it else None


def check_encoded(
    app: str, missing: Sequence[Identified], gaps: Sequence[Gap], encoded: Sequence[Encoded]
) -> None:
    """Refuse an encoding that does not hold everything: the fingerprints would hide the loss."""
    records = sum(batch.records for batch in encoded)
    if records != len(missing) + len(gaps):
        raise JournalError(
            f"{len(missing)} entries and {len(gaps)} gaps were encoded as {records} records; "
            "nothing was stored",
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
