"""The journal for commands: a read-only view, beside a running bridge or without one.

Every call reads the file as it is at that moment (one statement, one snapshot) and holds nothing
back: neither the bridge's writes nor, for longer than the call, its write-ahead log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from msgspec import Struct

from bridge.journal import DROPPED, backfills, letters, opening, store, trouble
from bridge.journal.lock import is_held, task_of
from bridge.model import AppRecord, Backfill, DeadLetter, Gap, GapKind, Read, ReadKind, Tick

_FEW: Final = 16
"""How many fingerprints `Ledger.uids_with_prefix` shows: enough to say that it is ambiguous."""


class AppStanding(Struct, frozen=True):
    """What the journal knows of an app, with the number of fingerprints and of open gaps."""

    record: AppRecord
    fingerprints: int
    open_gaps: int


class Found(Struct, frozen=True):
    """A journaled entry; ``seq`` 0: stored before the ledger kept batch numbers.

    `DROPPED` as ``seq``: dropped by rule. Not ``dated``: its tick is borrowed. ``audience``: by a
    backfill that was for this destination only, empty for all.
    """

    app: str
    tick: Tick
    seq: int
    dated: bool
    audience: str = ""

    @property
    def dropped(self) -> bool:
        """Whether a rule dropped it: it is known, and in no batch."""
        return self.seq == DROPPED


class ReadRecord(Struct, frozen=True):
    """A walk that filled the batches from ``first_seq`` to ``last_seq`` with ``added`` entries."""

    read: Read
    journaled_at: Tick
    added: int
    first_seq: int
    last_seq: int


class DestinationStanding(Struct, frozen=True):
    """What a destination has still to deliver, ``bytes`` compressed, and its dead letters.

    ``in_use``: by the running bridge, else by the last one that ran.
    """

    name: str
    cursor: int
    in_use: bool
    records: int
    bytes: int
    oldest: Tick | None
    dead_letters: int
    dead_letter_bytes: int = 0
    paused: bool = False


class Refusal(Struct, frozen=True):
    """A dead letter without its payload."""

    destination: str
    uid: str
    reason: str
    refused_at: Tick


class RefusalReason(Struct, frozen=True):
    """A reason for which a destination refused records, how many it did, the newest one's time."""

    destination: str
    reason: str
    letters: int
    newest: Tick


class KeptLetter(Struct, frozen=True):
    """A dead letter with its ``place`` in the order of coming, and what it counts for in bytes.

    ``replay``: a person wants it sent again.
    """

    place: int
    letter: DeadLetter
    size: int
    replay: bool


class Lateness(Struct, frozen=True):
    """What sweeps found: how many entries, and how long after its time the latest came.

    ``median`` is the middle one of the medians of the reads, each counted by its entries.
    """

    entries: int
    latest: Tick
    median: Tick


class OpenGap(Struct, frozen=True):
    """An open gap, when it was found, and the batch that its record went into."""

    gap: Gap
    found_at: Tick
    seq: int


class GapRecord(Struct, frozen=True):
    """A gap, open or closed, when it was found, and the batch that its record went into."""

    app: str
    gap: Gap
    found_at: Tick
    closed_at: Tick | None
    seq: int


class State(StrEnum):
    """What became of a journaled record at one destination."""

    ACKNOWLEDGED = "acknowledged"
    WAITING = "waiting"
    DEAD_LETTER = "dead letter"
    LOST = "lost"
    """Its batch left the journal, and nobody is known to have acknowledged it."""
    UNKNOWN = "unknown"
    """Its batch was passed while this destination was not there, or before such times were kept."""


class Ledger:
    """Made by `open`; a context manager. Every method raises `JournalUnusable` on a broken file."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    @classmethod
    def open(cls, path: Path, *, connect: opening.Connect = sqlite3.connect) -> Ledger:
        """Open an existing journal for reading; nothing is checked through, created or changed.

        Raises:
            JournalUnusable: missing, unreadable, foreign, of another schema version, or corrupt.
        """
        path = path.absolute()
        return cls(path, opening.existing(path, connect, mode="ro"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @property
    def held(self) -> bool:
        """Does a running bridge hold the journal at this moment?"""
        try:
            return is_held(self._path)
        except OSError as error:
            raise trouble.unreadable(error, self._path) from error

    @property
    def task(self) -> str:
        """What the process that holds the journal does and nothing else; empty for a bridge."""
        try:
            return task_of(self._path)
        except OSError as error:
            raise trouble.unreadable(error, self._path) from error

    def apps(self) -> tuple[AppStanding, ...]:
        """Every app that was ever begun, by name."""
        rows = self._rows(
            """
            SELECT name, stream, filters, position, swept, ledger_from, fingerprints,
                   (SELECT count(*) FROM gaps WHERE app = apps.id AND closed_at IS NULL)
            FROM apps WHERE begun ORDER BY name
            """
        )
        return tuple(
            AppStanding(
                AppRecord(name, stream, filters, position, store.parse_swept(swept), ledger_from),
                fingerprints=fingerprints,
                open_gaps=gaps,
            )
            for name, stream, filters, position, swept, ledger_from, fingerprints, gaps in rows
        )

    def fingerprints(self, app: str, floor: Tick, ceiling: Tick) -> dict[bytes, int]:
        """The batch of every journaled entry of ``[floor, ceiling)``, by uid, or `DROPPED`.

        Entries without a time are in it by the tick they borrowed. Held in memory as a whole, some
        150 bytes for each entry: a million entries are fine, larger windows are for the caller to
        cut.
        """
        window = {"app": app, "floor": floor, "ceiling": ceiling}
        return dict(
            self._rows(
                """
                SELECT uid, seq FROM seen WHERE app = (SELECT id FROM apps WHERE name = :app)
                AND tick >= :floor AND tick < :ceiling
                UNION ALL
                SELECT uid, seq FROM undated WHERE app = (SELECT id FROM apps WHERE name = :app)
                AND tick >= :floor AND tick < :ceiling
                UNION ALL
                SELECT uid, seq FROM backfilled WHERE app = (SELECT id FROM apps WHERE name = :app)
                AND tick >= :floor AND tick < :ceiling AND audience = ''
                UNION ALL
                SELECT uid, seq FROM backfilled WHERE app = (SELECT id FROM apps WHERE name = :app)
                AND tick = -1 AND around >= :floor AND around < :ceiling AND audience = ''
                """,
                window,
            )
        )

    def count(self, app: str, floor: Tick, ceiling: Tick) -> int:
        """How many entries `fingerprints` would give."""
        ((known,),) = self._rows(
            """
            SELECT (SELECT count(*) FROM seen WHERE app = apps.id AND tick >= :floor
                    AND tick < :ceiling)
                 + (SELECT count(*) FROM undated WHERE app = apps.id AND tick >= :floor
                    AND tick < :ceiling)
                 + (SELECT count(*) FROM backfilled WHERE app = apps.id AND tick >= :floor
                    AND tick < :ceiling AND audience = '')
                 + (SELECT count(*) FROM backfilled WHERE app = apps.id AND tick = -1
                    AND around >= :floor AND around < :ceiling AND audience = '')
            FROM apps WHERE name = :app
            UNION ALL SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM apps WHERE name = :app)
            """,
            {"app": app, "floor": floor, "ceiling": ceiling},
        )
        return int(known)

    def undated(self, app: str, floor: Tick, ceiling: Tick) -> frozenset[bytes]:
        """Those of `fingerprints` that are of entries without a time."""
        rows = self._rows(
            """
            SELECT uid FROM undated WHERE app = (SELECT id FROM apps WHERE name = :app)
            AND tick >= :floor AND tick < :ceiling
            UNION ALL
            SELECT uid FROM backfilled WHERE app = (SELECT id FROM apps WHERE name = :app)
            AND tick = -1 AND around >= :floor AND around < :ceiling AND audience = ''
            """,
            {"app": app, "floor": floor, "ceiling": ceiling},
        )
        return frozenset(uid for (uid,) in rows)

    def find(self, uid: bytes) -> tuple[Found, ...]:
        """Where a uid was journaled, oldest first.

        Looks at every fingerprint: about a second for ten million. The hot path pays for no index.
        """
        rows = self._rows(
            """
            SELECT name, tick, seq, dated, audience FROM (
                SELECT app, tick, seq, 1 AS dated, '' AS audience FROM seen WHERE uid = :uid
                UNION ALL
                SELECT app, tick, seq, 0, '' FROM undated WHERE uid = :uid
                UNION ALL
                SELECT app, around, seq, tick != -1, audience FROM backfilled WHERE uid = :uid)
            JOIN apps ON apps.id = app ORDER BY tick, name, dated, audience
            """,
            {"uid": uid},
        )
        return tuple(
            Found(app, tick, seq, bool(dated), audience) for app, tick, seq, dated, audience in rows
        )

    def uids_with_prefix(self, prefix: bytes) -> tuple[bytes, ...]:
        """The first few uids, in order, that begin so; as slow as `find`."""
        rows = self._rows(
            """
            SELECT uid FROM seen WHERE substr(uid, 1, :length) = :prefix
            UNION
            SELECT uid FROM undated WHERE substr(uid, 1, :length) = :prefix
            UNION
            SELECT uid FROM backfilled WHERE substr(uid, 1, :length) = :prefix
            ORDER BY uid LIMIT :few
            """,
            {"prefix": prefix, "length": len(prefix), "few": _FEW},
        )
        return tuple(uid for (uid,) in rows)

    def backfilled(self, app: str, tick: Tick, uid: bytes) -> Found | None:
        """An entry that a backfill journaled for some destinations only."""
        rows = self._rows(
            """
            SELECT seq, audience FROM backfilled WHERE app = (SELECT id FROM apps WHERE name = ?)
            AND tick = ? AND uid = ? AND audience != '' LIMIT 1
            """,
            (app, tick, uid),
        )
        return next((Found(app, tick, seq, True, audience) for seq, audience in rows), None)

    def read_of(self, app: str, seq: int) -> ReadRecord | None:
        """The walk that filled a batch of the app; None when it is not known (any more)."""
        rows = self._rows(
            """
            SELECT kind, floor, ceiling, at, pages, journaled_at, added, first_seq, last_seq
            FROM reads WHERE first_seq = (SELECT max(first_seq) FROM reads WHERE first_seq <= :seq)
            AND last_seq >= :seq AND app = (SELECT id FROM apps WHERE name = :app)
            """,
            {"app": app, "seq": seq},
        )
        for kind, floor, ceiling, at, pages, *rest in rows:
            return ReadRecord(Read(ReadKind(kind), floor, ceiling, at, pages), *rest)
        return None

    def destinations(self) -> tuple[DestinationStanding, ...]:
        """Every destination that was ever attached and is not forgotten, by name."""
        try:
            known = store.standings(self._db)
        except sqlite3.Error as error:
            raise trouble.unusable(error, self._path) from error
        return tuple(
            DestinationStanding(
                name=one.destination,
                cursor=one.cursor,
                in_use=in_use,
                records=one.records,
                bytes=one.bytes,
                oldest=one.oldest,
                dead_letters=one.dead_letters,
                dead_letter_bytes=one.dead_letter_bytes,
                paused=one.paused,
            )
            for one, in_use in known
        )

    def acknowledged(self, destination: str, seq: int) -> Tick | None:
        """When the destination's cursor first passed a batch, None when that is not known."""
        rows = self._rows(
            """
            SELECT after, at FROM acks WHERE destination = ? AND cursor >= ?
            ORDER BY cursor LIMIT 1
            """,
            (destination, seq),
        )
        return next((at for after, at in rows if after < seq), None)

    def state_of(self, destination: DestinationStanding, seq: int) -> tuple[State, Tick | None]:
        """What became of a batch at a destination that stood so, and when it was acknowledged.

        Single records of it may be dead letters all the same, see `dead_letters_of`. A batch that
        was removed and passed over within one acknowledgement cannot be told from a delivered one.
        """
        waits = seq > destination.cursor
        at = None if waits else self.acknowledged(destination.name, seq)
        if at is not None:
            return State.ACKNOWLEDGED, at
        kept, lost = self._whereabouts(destination.name, seq)
        if lost:
            return State.LOST, None
        # One in use that has passed it by now was waiting when it stood so.
        return (State.WAITING if waits and (kept or destination.in_use) else State.UNKNOWN), None

    def _whereabouts(self, destination: str, seq: int) -> tuple[bool, bool]:
        """Whether a batch is kept, and whether it is lost.

        Acknowledgements are kept as long as the walk that they belong to.
        """
        rows = self._rows(
            """
            SELECT kept, NOT kept AND (
                EXISTS (SELECT 1 FROM cursors
                        WHERE destination = :destination AND in_use AND cursor < :seq)
                OR :seq <= (SELECT last_seq FROM reads WHERE first_seq <= :seq
                            ORDER BY first_seq DESC LIMIT 1)
                AND NOT EXISTS (
                    SELECT 1 FROM cursors WHERE :seq > (
                        SELECT after FROM acks
                        WHERE acks.destination = cursors.destination AND acks.cursor >= :seq
                        ORDER BY acks.cursor LIMIT 1)))
            FROM (SELECT EXISTS (SELECT 1 FROM batches WHERE seq = :seq) AS kept)
            """,
            {"destination": destination, "seq": seq},
        )
        for kept, lost in rows:
            return bool(kept), bool(lost)
        return False, False

    def dead_letters_of(self, uids: Collection[str]) -> tuple[Refusal, ...]:
        """The refusals of these records, in the order they came."""
        wanted = frozenset(uids)
        rows = self._rows(
            "SELECT destination, uid, reason, refused_at FROM dead_letters ORDER BY id"
        )
        return tuple(Refusal(*row) for row in rows if row[1] in wanted)

    def dead_letters(
        self, *, destination: str | None = None, uid: str = "", after: int = 0, limit: int
    ) -> tuple[KeptLetter, ...]:
        """The first dead letters behind a place, of one destination or all, whose uid begins so."""
        rows = self._rows(
            f"""
            SELECT id, size, replay, {letters.COLUMNS} FROM dead_letters
            WHERE id > :after AND (:destination IS NULL OR destination = :destination)
            AND substr(uid, 1, length(:uid)) = :uid
            ORDER BY id LIMIT :limit
            """,  # noqa: S608 - a constant
            {"destination": destination, "uid": uid, "after": after, "limit": limit},
        )
        return tuple(
            KeptLetter(place, DeadLetter(*fields), size, bool(replay))
            for place, size, replay, *fields in rows
        )

    def refusal_reasons(self, *, limit: int) -> tuple[RefusalReason, ...]:
        """The reasons of the dead letters, by destination, the commonest first."""
        rows = self._rows(
            """
            SELECT destination, reason, count(*), max(refused_at) FROM dead_letters
            GROUP BY destination, reason ORDER BY destination, count(*) DESC, reason LIMIT ?
            """,
            (limit,),
        )
        return tuple(RefusalReason(*row) for row in rows)

    def lateness(self, app: str) -> Lateness | None:
        """How late the entries came that sweeps found, as far as their reads are still known."""
        rows = list(
            self._rows(
                """
                SELECT median_late_by, latest_by, added FROM reads
                WHERE app = (SELECT id FROM apps WHERE name = ?) AND latest_by IS NOT NULL
                ORDER BY median_late_by
                """,
                (app,),
            )
        )
        entries = sum(added for _, _, added in rows)
        passed = 0
        for median, _, added in rows:
            passed += added
            if 2 * passed >= entries:
                return Lateness(entries, max(latest for _, latest, _ in rows), median)
        return None

    def gaps(self, app: str) -> tuple[OpenGap, ...]:
        """The app's open gaps, oldest first."""
        rows = self._rows(
            """
            SELECT kind, floor, ceiling, at_least, found_at, seq FROM gaps
            WHERE app = (SELECT id FROM apps WHERE name = ?) AND closed_at IS NULL
            ORDER BY floor, ceiling, kind
            """,
            (app,),
        )
        return tuple(
            OpenGap(Gap(GapKind(kind), floor, ceiling, at_least), found_at, seq)
            for kind, floor, ceiling, at_least, found_at, seq in rows
        )

    def gap_records(self) -> tuple[GapRecord, ...]:
        """The gaps of every app, open or closed, as far as they are still known; oldest first."""
        rows = self._rows(
            """
            SELECT name, kind, floor, ceiling, at_least, found_at, closed_at, seq
            FROM gaps JOIN apps ON apps.id = app ORDER BY floor, ceiling, kind, name
            """
        )
        return tuple(
            GapRecord(app, Gap(GapKind(kind), floor, ceiling, at_least), *rest)
            for app, kind, floor, ceiling, at_least, *rest in rows
        )

    def backfills(self) -> tuple[Backfill, ...]:
        """The backfills that are not forgotten, in the order of coming."""
        try:
            return backfills.jobs(self._db)
        except sqlite3.Error as error:
            raise trouble.unusable(error, self._path) from error

    def live_bytes(self) -> int:
        """Compressed bytes of the batches that a destination has not passed."""
        try:
            return store.live_bytes(self._db)
        except sqlite3.Error as error:
            raise trouble.unusable(error, self._path) from error

    def _rows(self, sql: str, parameters: Any = ()) -> Iterator[Any]:
        try:
            with closing(self._db.execute(sql, parameters)) as rows:
                yield from rows
        except sqlite3.Error as error:
            raise trouble.unusable(error, self._path) from error
