"""The journal: the durable, ordered store of batches between reading and delivering.

The promise, in words:

1. What `append` returned for is on disk: the batch, the fingerprints that make a re-read
   recognisable, and the app's position, all in one transaction. A crash leaves all or nothing.
2. An entry is stored once: what was seen before is recognised inside the writing transaction.
3. Batches are numbered from 1 upward in the order they become visible; a number is never used
   again, not even after every batch is gone or the process restarted.
4. A destination's cursor moves only by `advance`; positions and cursors never move back, but for an
   app's position by a person's word (`Orders.rewind`).
5. A batch is removed only when every destination has passed it that was ever attached, whether it
   is in use, paused or no longer configured, and that nobody has forgotten by command.
6. ``max_bytes`` bounds the live batches. At the bound only `append` is refused (`JournalFull`,
   nothing moved); cursors, dead letters and clean-up go on, so that the journal empties.
7. One process at a time. A corrupt, foreign or newer file stops the start and is never replaced;
   an older one is brought up to date in one transaction.
8. The fingerprints are a ledger: kept for a configured time within a bound of their own, and
   beyond both as long as a read may still return them. From an app's ``ledger_from`` on it is
   whole. It says which batch an entry went into; beside it stand the reads that filled those
   batches, and when each destination acknowledged them.
9. Dead letters are unique by (destination, uid) and bounded in bytes. Where they do not fit,
   `advance` is refused (`DeadLettersFull`, nothing moved). One leaves only when it was delivered
   after all, or by a person's word.
10. A gap is stored in the transaction of the walk that could not prove it, once.
11. A backfill's batches, fingerprints and progress are stored in one transaction, as a live read's
    are, and move no position. Its fingerprints are kept apart, until the job is forgotten, or until
    it is done and the ledger is over its bound: they are the first to go.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from bridge.model import (
    Anchor,
    Append,
    Appended,
    AppRecord,
    Backfill,
    Batch,
    DeadLetter,
    Gap,
    Tick,
)

DROPPED: Final = -1
"""The batch number of an entry that was dropped by rule: it is known, and in no batch."""


class Start(StrEnum):
    """Where a destination begins that the journal has never seen."""

    OLDEST = "oldest"
    """At the oldest batch the journal still holds for another destination."""
    NOW = "now"
    """Behind the newest batch."""


class Wishes(Struct, frozen=True):
    """What a person asked of one destination, from outside the running process.

    ``paused``: send nothing. ``replay``: dead letters to send again, the oldest first.
    """

    paused: bool = False
    replay: tuple[DeadLetter, ...] = ()


class Backlog(Struct, frozen=True):
    """What one destination has still to deliver, and its dead letters.

    ``bytes`` are those of the batches, compressed; ``dead_letter_bytes`` count towards the bound of
    all dead letters.
    """

    destination: str
    cursor: int
    batches: int
    records: int
    oldest: Tick | None
    dead_letters: int = 0
    bytes: int = 0
    dead_letter_bytes: int = 0
    paused: bool = False


class Stats(Struct, frozen=True):
    """The journal at one moment: live batch bytes, dead letters, the state of each destination.

    ``backlogs`` are those of the destinations in use. ``unused`` are the others, which hold their
    batches too and deliver nothing.
    """

    live_bytes: int
    max_bytes: int
    last_seq: int
    dead_letters: int
    backlogs: tuple[Backlog, ...]
    dead_letter_bytes: int = 0
    dead_letters_max_bytes: int = 0
    unused: tuple[Backlog, ...] = ()


class Journal(Protocol):
    """The store's port. Every method raises `JournalError` when the store cannot do its part."""

    async def app(self, name: str) -> AppRecord | None:
        """What is known of the app, None when it was never begun."""
        ...

    async def begin(self, record: AppRecord) -> None:
        """Commit a new app's start, or a known app's new stream and filters.

        The position and the sweep cursors of a known app are kept. What it took under another
        selection cannot be compared with this one, so its ledger begins at the position then.
        """
        ...

    async def anchor(self, app: str, at_or_below: Tick) -> Anchor | None:
        """The newest tick at or below the given one that holds journaled entries, with them."""
        ...

    async def append(self, append: Append) -> Appended:
        """Store a proved walk: unseen entries as batches, fingerprints, position.

        An append that adds no entry, opens or closes no gap, and raises neither the position nor
        a sweep cursor by at least a minute of ticks commits nothing (an idle app costs no disk
        write); the caller keeps them. A sweep age that is stored for the first time counts as
        raised; one that is not among the append's is forgotten with the next commit. A gap that
        closed and is found again is open again, without a second record.

        Raises:
            JournalFull: live batches fill the journal; nothing was stored or moved.
        """
        ...

    async def backfills(self) -> Sequence[Backfill]:
        """The active ones, in the order of coming; sees what another process wrote."""
        ...

    async def backfill(self, append: Append, job: str) -> Appended:
        """Store a proved walk of a backfill: unseen entries as batches, and how far it has come.

        The job's position of the app becomes the append's; the app's own stays, as do its sweeps.
        For an audience each destination gets a batch of what was not journaled for it before. With
        the last walk of its last app the job is done.

        Raises:
            BackfillStopped: the job is not active (any more); nothing was stored.
            JournalFull: live batches fill half of the journal, so that reading never has to wait
                for a backfill; nothing was stored.
            JournalError: a destination of the audience is not in use.
        """
        ...

    async def note_backfill(self, job: str, app: str, note: str) -> None:
        """Say what holds up a backfill of an app, for those who look; empty for nothing."""
        ...

    async def gaps(self, app: str) -> Sequence[Gap]:
        """The app's open gaps, oldest first."""
        ...

    async def prune(self, app: str, *, needed: Tick, kept: Tick) -> None:
        """Forget old fingerprints of the app, and what is told of the batches they went into.

        Those below ``kept`` go; of those from there up to ``needed``, below which no read may
        return anything again, the oldest go while the ledger is over its bound. ``ledger_from``
        rises accordingly.
        """
        ...

    async def attach(self, destination: str, start: Start = Start.OLDEST) -> int:
        """Put a destination in use and return its cursor.

        A new one starts where ``start`` says; a known one goes on where it was.

        Attach every destination before the first `append` or `advance`: those remove what all known
        destinations have passed, and a new one is not among them yet.
        """
        ...

    async def read(self, after: int, *, max_batches: int, max_size: int) -> Sequence[Batch]:
        """The next batches after a sequence number, in order.

        At least one when there is any, then no more than ``max_batches`` and no more than
        ``max_size`` bytes before compression in all.
        """
        ...

    async def advance(
        self,
        destination: str,
        cursor: int,
        dead_letters: Sequence[DeadLetter] = (),
        replayed: Sequence[str] = (),
    ) -> None:
        """Move a destination's cursor and store its dead letters; remove what all have passed.

        ``replayed`` are the uids of dead letters that were delivered after all: they are removed,
        before the new ones come. A dead letter that is refused again keeps its place, with the new
        reason, answer and time, and is no longer wished for; it is never refused for its size.

        Raises:
            DeadLettersFull: the new dead letters do not fit, and there are others already; nothing
                was stored or moved.
        """
        ...

    async def wishes(self, destination: str, *, max_size: int) -> Wishes:
        """What is asked of a destination now: at least one letter to replay if there is any.

        Then no more letters than ``max_size`` bytes compressed. Cheap enough to be asked every few
        seconds, and it sees what another process wrote.
        """
        ...

    async def wait_for_batch(self, after: int) -> None:
        """Return once a batch with a higher sequence number is visible."""
        ...

    async def wait_for_room(self) -> None:
        """Return once an append would not be refused as `JournalFull`."""
        ...

    async def stats(self) -> Stats:
        """The journal's own figures."""
        ...

    async def aclose(self) -> None:
        """Finish what was submitted and release the file."""
        ...
