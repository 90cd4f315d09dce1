"""What every implementation of the journal must decide alike. Pure."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from statistics import median_high
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from bridge.errors import BackfillStopped, DeadLettersFull, JournalError, JournalFull
from bridge.journal import DROPPED
from bridge.model import (
    ALL_DROPPED,
    SECOND,
    Append,
    AppRecord,
    DeadLetter,
    Encoded,
    Gap,
    GapKey,
    Identified,
    Read,
    ReadKind,
    Tick,
)
from bridge.timestamps import format_tick

Key: TypeAlias = tuple[Tick | None, bytes]

POSITION_STEP: Final[Tick] = 60 * SECOND
"""How far a position or a sweep cursor must rise to be worth a commit of its own.

An idle app then costs at most one disk write a minute, a crash a minute of re-reading.
"""

LEDGER_BYTES: Final = 1 << 30
"""How large the ledger may grow where nothing else is said: some 26 million entries."""

DEAD_LETTER_BYTES: Final = 1 << 28
"""How many bytes of dead letters are kept where nothing else is said."""

BACKFILL_SHARE: Final = 2
"""A backfill stores only while less than this part of the journal is taken: 2 for half of it."""

FINGERPRINT_BYTES: Final = 40
"""What one fingerprint takes in the file (measured: 39, in time order or with a third late).

The reads and acknowledgements beside them come on top: some 60 and 30 bytes for each that stored or
passed anything, however many entries that were.
"""


class GapChanges(Struct, frozen=True):
    """What an append does to the gaps: ``new`` ones get a record, ``raised`` ones only a row.

    ``raised`` are known ones with more entries than before, or found open again.
    """

    new: tuple[Gap, ...] = ()
    raised: tuple[Gap, ...] = ()
    closed: tuple[Gap, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.raised or self.closed)


class Holder(Struct, frozen=True):
    """The destination that is furthest behind, and so keeps the oldest batches."""

    destination: str
    in_use: bool
    paused: bool

    @property
    def mend(self) -> str:
        """What makes room."""
        name = self.destination
        word = shlex.quote(name)
        if not self.in_use:
            return (
                f"destination {name} is no longer configured: put it back or run "
                f"`fal-log-bridge destinations forget {word}`"
            )
        if self.paused:
            return (
                f"destination {name} is paused: run `fal-log-bridge destinations resume {word}`, "
                "or raise journal.max_bytes"
            )
        return f"destination {name} is furthest behind: mend it, or raise journal.max_bytes"


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


def places(
    missing: Sequence[Identified], gaps: Sequence[Gap], stored: Sequence[tuple[int, Encoded]]
) -> list[int]:
    """For each entry, then for each gap, its batch; `DROPPED` for an entry that none names.

    ``stored`` are the batches of a checked encoding with their numbers. The records of gaps are
    the last ones.
    """
    records = list(chain.from_iterable(repeat(seq, batch.records) for seq, batch in stored))
    if stored and all(batch.uids is None for _, batch in stored):
        return records
    named: defaultdict[bytes, deque[int]] = defaultdict(deque)
    for seq, batch in stored:
        for uid in batch.uids or ():
            named[uid].append(seq)
    entries = [named[one.uid].popleft() if named.get(one.uid) else DROPPED for one in missing]
    return entries + records[len(records) - len(gaps) :]


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
    """Refuse an encoding that does not hold everything: the fingerprints would hide the loss.

    Where batches name their entries, an entry that is not named counts as dropped by rule. So all
    batches must name them, only entries that are to be stored, each once; a batch that names some
    must have a record for them, at most one for each; and what was dropped altogether must be said.
    """
    if all(batch.uids is None for batch in encoded):
        records = sum(batch.records for batch in encoded)
        wrong = "" if records == len(missing) + len(gaps) else f"as {records} records"
    elif list(encoded) == [ALL_DROPPED]:
        wrong = "as dropped by rule" if gaps else ""
    else:
        wrong = _wrongly_named(missing, gaps, encoded)
    if wrong:
        raise JournalError(
            f"{len(missing)} entries and {len(gaps)} gaps were encoded {wrong}; nothing was stored",
            where=app,
        )


def _wrongly_named(
    missing: Sequence[Identified], gaps: Sequence[Gap], encoded: Sequence[Encoded]
) -> str:
    """What is wrong with batches that name their entries, empty for nothing."""
    if any(batch.uids is None for batch in encoded):
        return "in batches of which only some name their entries"
    strangers = Counter(chain.from_iterable(batch.uids or () for batch in encoded))
    strangers.subtract(one.uid for one in missing)
    if any(times > 0 for times in strangers.values()):
        return "as others, or as some of them twice"
    left = len(gaps)
    for batch in reversed(encoded):
        of_gaps = min(left, batch.records)
        left -= of_gaps
        own, named = batch.records - of_gaps, len(batch.uids or ())
        if batch.records < 1 or own > named or (named and not own):
            return f"as {own} records that name {named} entries"
    return f"without {left} of the gaps" if left else ""


def check_cursor(destination: str, cursor: int, last_seq: int) -> None:
    """Refuse a cursor beyond the newest batch: it would pass batches that nobody delivered."""
    if cursor > last_seq:
        raise JournalError(
            f"the cursor cannot go to {cursor}, the newest batch is {last_seq}", where=destination
        )


def storable(destination: str, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Dead letters as they are stored: text that UTF-8 cannot say is written out."""
    kept = []
    for letter in letters:
        if letter.destination != destination:
            raise JournalError(
                f"a dead letter of {letter.destination} is not its to store", where=destination
            )
        kept.append(replace(letter, reason=_utf8(letter.reason), answer=_utf8(letter.answer)))
    return kept


def letter_size(letter: DeadLetter) -> int:
    """The bytes that a dead letter counts for."""
    return len(letter.gzip) + len(letter.reason.encode()) + len(letter.answer.encode())


def dead_letters_full(destination: str, new: int, max_bytes: int) -> DeadLettersFull:
    """The error for new dead letters that do not fit."""
    return DeadLettersFull(
        f"the dead letters are full ({max_bytes:,} bytes): {new:,} more do not fit",
        where=destination,
        hint="replay, or export and drop, what `fal-log-bridge dead-letters list` shows; "
        "or raise journal.dead_letters_max_bytes",
    )


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def unknown_app(name: str) -> JournalError:
    """The error for an app that was never begun."""
    return JournalError("the app was never begun", where=name)


def not_known(what: str, name: str, known: Iterable[str]) -> JournalError:
    """The error for a person's word about an app or a destination that was never there."""
    names = ", ".join(known)
    return JournalError(
        f"the journal knows no such {what}",
        where=f"{what} {name}",
        hint=f"there are: {names}" if names else "none has been run yet",
    )


def stopped(name: str) -> BackfillStopped:
    """The error for a backfill that is not to go on."""
    return BackfillStopped("it was stopped by command", where=f"backfill {name}")


def not_back(name: str, position: Tick) -> JournalError:
    """The error for a rewind that would skip entries, or change nothing."""
    return JournalError(
        f"its position is {format_tick(position)}, and a rewind only leads back",
        where=f"app {name}",
        hint="give an earlier time",
    )


def not_attached(destination: str) -> JournalError:
    """The error for a destination that is not in use."""
    return JournalError("the destination is not attached", where=destination)


def full(max_bytes: int, holder: Holder | None, *, where: str = "") -> JournalFull:
    """The error for an append at the bound; ``holder`` is None when there is no destination."""
    return JournalFull(
        f"the journal is full ({max_bytes:,} bytes wait to be delivered)",
        where=where,
        hint="no destination is in use" if holder is None else holder.mend,
        held_by="" if holder is None else holder.destination,
    )
