"""The frozen values that every room of the bridge shares.

Time is counted in ticks: whole microseconds since the Unix epoch, UTC, the finest step the Logs
API shows. Windows are half-open, ``[floor, ceiling)``; the API's own bounds are exclusive on both
sides (Logs REST API, "Time-based Filtering"), which only `Query` speaks of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeAlias

from msgspec import UNSET, Struct, field, json

Tick: TypeAlias = int
Json: TypeAlias = Any

MILLISECOND: Final[Tick] = 1_000
SECOND: Final[Tick] = 1_000_000


class Filter(Struct, frozen=True):
    """What one stream selects at the API; empty means the whole account.

    ``labels`` are the API's ``extra_filters``, as (key, value) pairs in configured order.
    """

    app_id: str | None = None
    revision: str | None = None
    search: str | None = None
    level: str | None = None
    job_id: str | None = None
    request_id: str | None = None
    traceback: bool = False
    labels: tuple[tuple[str, str], ...] = ()


class Query(Struct, frozen=True):
    """One request: entries with ``since < timestamp < until``, newest first, at most ``limit``.

    ``until`` is None for the open top of the live edge. ``since`` is always sent: without it the
    API answers with "recent" entries of its own choosing.
    """

    filter: Filter
    since: Tick
    until: Tick | None
    limit: int


class Provenance(Struct, frozen=True, gc=False, eq=False):
    """Where an entry comes from, most often one object for all lines of a worker.

    ``labels`` are the worker's, ``attributes`` what they make on the record, None where they have
    to be read one by one with the entry's own. ``own`` are the keys of the labels that say
    something of the entry alone.
    """

    app: Json
    revision: Json
    labels: Mapping[str, Json]
    own: tuple[str, ...]
    attributes: bytes | None


class Cast(Struct, gc=False, eq=False):
    """What a stencil makes of a plain entry at once (`bridge.source.stencil`).

    Its JSON is the ``page`` from ``at`` to ``end``, which are not copied out of it. ``content`` is
    the hash of its canonical form, ``level`` its level. The others are what its record is made of,
    encoded: the attributes of its ``own`` labels, its ``time`` and its ``body``. ``value`` is what
    its JSON decodes to, once somebody asked.
    """

    page: bytes
    at: int
    end: int
    content: bytes
    level: str
    own: bytes
    time: bytes
    body: bytes
    value: Json = UNSET


class Entry(Struct, frozen=True, gc=False):
    """One log entry as the API gave it.

    There are as many as lines of logs, so it is a struct that costs a tenth of a dataclass.

    ``raw`` is the decoded JSON value, normally an object but never trusted to be one. ``tick`` is
    its ``timestamp``, or None where that is missing or cannot be read as a time. ``provenance`` is
    that of a plain entry (`bridge.mapping.provenance`), looked up once for all who need it; None
    says that ``raw`` has to be read word by word, which comes to the same. A plain entry that was
    ``cast`` has no ``value`` of its own: it is decoded when somebody asks for its ``raw`` one.
    """

    value: Json
    tick: Tick | None
    provenance: Provenance | None = None
    cast: Cast | None = None

    @property
    def raw(self) -> Json:
        """The decoded JSON value."""
        cast = self.cast
        if cast is None:
            return self.value
        if cast.value is UNSET:
            cast.value = json.decode(cast.page[cast.at : cast.end])
        return cast.value


class Page(Struct, frozen=True):
    """The answer to one request, in the order the server gave it.

    ``served_at`` is the answer's ``Date`` (whole seconds, so never later than the real moment),
    None when the server sent none. ``size`` is the answer's length in bytes.
    """

    entries: tuple[Entry, ...]
    served_at: Tick | None
    size: int = 0


class Identified(Struct, frozen=True, gc=False):
    """An entry with its identity: ``uid`` is the 16-byte fingerprint, the `log.record.uid`.

    ``tick`` orders it in its window; an entry without a readable time borrows a neighbour's.
    """

    entry: Entry
    tick: Tick
    uid: bytes


class Anchor(Struct, frozen=True):
    """The journaled entries of one app on one tick; a page that shows them reaches that tick."""

    tick: Tick
    uids: frozenset[bytes]


class Encoded(Struct, frozen=True):
    """One encoded ``ExportLogsServiceRequest`` of ``records`` log records.

    ``size`` is its length in bytes before compression, ``gzip`` its one gzip member. ``uids`` are
    the entries it speaks for, where an app's rules drop or join entries: an entry that no batch of
    an append names was dropped by rule. None for one record per entry, in the order given.
    """

    records: int
    size: int
    gzip: bytes
    uids: tuple[bytes, ...] | None = None


ALL_DROPPED: Final = Encoded(records=0, size=0, gzip=b"", uids=())
"""The encoding, alone, of entries that were all dropped by rule; it is not stored.

An encoding of no batch at all says nothing of its entries, and is refused.
"""


class Batch(Struct, frozen=True):
    """A journaled `Encoded`: ``seq`` orders all batches of the journal and is never reused.

    ``journaled_at`` is the bridge's wall clock when the batch was stored. ``audience`` names the
    one destination that it is for; None for all of them.
    """

    seq: int
    app: str
    records: int
    size: int
    gzip: bytes
    journaled_at: Tick
    audience: str | None = None


class AppRecord(Struct, frozen=True):
    """What the journal knows of one app.

    ``stream`` names the API dialect and app id that the position belongs to, ``filters`` the rest
    of the selection, both as canonical JSON; ``position`` is the tick below which everything the
    API showed has been journaled. ``swept`` holds, for each age in ticks, the tick below which
    everything was read again at that age. From ``ledger_from`` on the journal still knows the
    fingerprint of every entry it took; None for "from the position on", at the start.
    """

    name: str
    stream: str
    filters: str
    position: Tick
    swept: Mapping[Tick, Tick] = field(default_factory=dict)
    ledger_from: Tick | None = None

    @property
    def whole_from(self) -> Tick:
        """From where on the ledger holds the fingerprint of every entry that was journaled."""
        return self.position if self.ledger_from is None else self.ledger_from


class ReadKind(StrEnum):
    """What a walk was for (design, "Three kinds of read"; an audit repairs, a job backfills)."""

    LIVE = "live"
    BACKLOG = "backlog"
    SWEEP = "sweep"
    REPAIR = "repair"
    BACKFILL = "backfill"


class Read(Struct, frozen=True):
    """One completed walk over ``[floor, ceiling)``, begun at server time ``at``, in ``pages``."""

    kind: ReadKind
    floor: Tick
    ceiling: Tick
    at: Tick
    pages: int


class GapKind(StrEnum):
    """Why a stretch cannot be proved complete."""

    CROWDED = "crowded"
    """More entries share its ticks than any page shows."""
    RETENTION = "retention"
    """It may have left the API before it was read."""
    UNREADABLE = "unreadable"
    """The API fails for it while it answers for others; it is tried again."""


GapKey: TypeAlias = "tuple[GapKind, Tick, Tick]"


class Gap(Struct, frozen=True):
    """A stretch ``[floor, ceiling)`` that cannot be proved complete, recorded as such.

    ``at_least`` is how many entries are known to be in it, all of them journaled.
    """

    kind: GapKind
    floor: Tick
    ceiling: Tick
    at_least: int

    @property
    def key(self) -> GapKey:
        """What makes a gap of an app the same one when it is found again."""
        return (self.kind, self.floor, self.ceiling)


Encode: TypeAlias = Callable[[Sequence[Identified], Sequence[Gap]], Sequence[Encoded]]
"""Entries, then one record for each gap, as batches in that order."""


class Append(Struct, frozen=True):
    """A proved walk on its way into the journal, in one transaction.

    ``found`` is everything the walk saw in its window, oldest first; the journal encodes only
    what it has not seen before. ``position`` and ``swept`` (see `AppRecord`) are where the app
    stands once this is stored. ``gaps`` are what the walk could not prove: one that is new becomes
    a record too, one that is known counts by its largest ``at_least``. ``closed`` are gaps that
    turned out whole.
    """

    app: str
    found: Sequence[Identified]
    position: Tick
    encode: Encode
    read: Read
    swept: Mapping[Tick, Tick] = field(default_factory=dict)
    gaps: Sequence[Gap] = ()
    closed: Sequence[Gap] = ()


class Appended(Struct, frozen=True):
    """What an `Append` came to: entries newly journaled, entries known before, newest batch.

    ``dropped`` of the added ones were dropped by rule: known from now on, in no batch.
    """

    added: int
    known: int
    last_seq: int | None
    dropped: int = 0


class BackfillState(StrEnum):
    """Where a backfill stands."""

    ACTIVE = "active"
    """It is read, or waits for a process that reads it."""
    STOPPED = "stopped"
    """By a person's word; it goes on from where it was when it is told to."""
    DONE = "done"
    """All of it is journaled."""


class BackfillApp(Struct, frozen=True):
    """How far a backfill has read one app.

    ``stream`` and ``filters`` as in `AppRecord`, as the settings had them when the job was made.
    ``position`` is the tick below which its window is journaled; ``added`` entries were new,
    ``known`` ones not, ``gaps`` stretches could not be proved. ``last_seq`` is the newest batch
    that may hold any of them, 0 before the first. ``note`` says what holds it up at the moment,
    empty for nothing.
    """

    name: str
    stream: str
    filters: str
    position: Tick
    added: int = 0
    known: int = 0
    gaps: int = 0
    last_seq: int = 0
    note: str = ""


class Backfill(Struct, frozen=True):
    """A named job that reads ``[floor, ceiling)`` of some apps beside the live stream.

    ``asked`` is what was asked for, as canonical JSON: the same again means the same job. Its
    records go to the destinations of the ``audience``, to all where that is empty. ``own_stream``
    says that they carry a stream identity of their own.
    """

    name: str
    asked: str
    floor: Tick
    ceiling: Tick
    audience: tuple[str, ...]
    own_stream: bool
    apps: tuple[BackfillApp, ...]
    created_at: Tick
    state: BackfillState = BackfillState.ACTIVE
    finished_at: Tick | None = None

    @property
    def share(self) -> float:
        """How much of it is read, by time: 0 to 1."""
        whole = len(self.apps) * (self.ceiling - self.floor)
        return sum(app.position - self.floor for app in self.apps) / max(1, whole)


class DeadLetter(Struct, frozen=True):
    """A record that a destination refused for good: one-record request, reason, when.

    ``seq`` is the batch it came in. ``answer`` is the beginning of the destination's own answer,
    as text, empty where there was none.
    """

    destination: str
    uid: str
    seq: int
    reason: str
    gzip: bytes
    refused_at: Tick
    answer: str = ""


class Verdict(StrEnum):
    """The five things one send can come to (design, "Delivery")."""

    DELIVERED = "delivered"
    RETRY = "retry"
    TOO_LARGE = "too large"
    REJECTED = "rejected"
    BLOCKED = "blocked"


class Outcome(Struct, frozen=True):
    """What one send came to.

    ``reason`` is for people: the status, the endpoint and a bounded, printable piece of the answer;
    empty for a plain success, a warning for an odd one. ``retry_after`` is the wait in seconds that
    the destination asked for. ``refused`` counts the records that a delivered request's partial
    success gave back. ``own_fault`` says of a RETRY that the cause may be this very request: a 500
    or 502, no answer in time, a lost connection. ``answer`` is the beginning of what the
    destination itself answered, as text for a dead letter, empty where it took all or said nothing.
    ``progress`` says of a RETRY that some of the request was taken before it failed. ``unsent``
    says of a DELIVERED that nothing had to be sent for it, since all of it had been acknowledged in
    earlier tries: no word on how the destination does now.
    """

    verdict: Verdict
    reason: str = ""
    retry_after: float | None = None
    refused: int = 0
    own_fault: bool = False
    answer: str = ""
    progress: bool = False
    unsent: bool = False
