"""The journal for commands: a read-only view, beside a running bridge or without one.

Every call reads the file as it is at that moment (one statement, one snapshot) and holds nothing
back: neither the bridge's writes nor, for longer than the call, its write-ahead log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from bridge.errors import JournalUnusable
from bridge.journal import opening, store, trouble
from bridge.journal.lock import is_held
from bridge.model import AppRecord, Gap, GapKind, Read, ReadKind, Tick

_FEW: Final = 16
"""How many fingerprints `Ledger.uids_with_prefix` shows: enough to say that it is ambiguous."""


@dataclass(frozen=True, slots=True)
class AppStanding:
    """What the journal knows of an app, with the number of fingerprints and of open gaps."""

    record: AppRecord
    fingerprints: int
    open_gaps: int


@dataclass(frozen=True, slots=True)
class Found:
    """A journaled entry; ``seq`` 0: stored before the ledger kept batch numbers.

    Not ``dated``: its tick is borrowed.
    """

    app: str
    tick: Tick
    seq: int
    dated: bool


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """A walk that filled the batches from ``first_seq`` to ``last_seq`` with ``added`` entries."""

    read: Read
    journaled_at: Tick
    added: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class DestinationStanding:
    """What a destination has still to deliver, ``bytes`` compressed.

    ``in_use``: by the running bridge, else by the last one that ran.
    """

    name: str
    cursor: int
    in_use: bool
    records: int
    bytes: int
    oldest: Tick | None
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A dead letter without its payload."""

    destination: str
    uid: str
    reason: str
    refused_at: Tick


@dataclass(frozen=True, slots=True)
class Lateness:
    """What sweeps found: how many entries, and how long after its time the latest came.

    ``median`` is the middle one of the medians of the reads, each counted by its entries.
    """

    entries: int
    latest: Tick
    median: Tick


@dataclass(frozen=True, slots=True)
class OpenGap:
    """An open gap, when it was found, and the batch that its record went into."""

    gap: Gap
    found_at: Tick
    seq: int


@dataclass(frozen=True, slots=True)
class GapRecord:
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
        try:
            opening.check_header(path)
            db = opening.connected(path, connect, mode="ro")
        except FileNotFoundError as error:
            raise JournalUnusable(
                "there is no journal",
                where=str(path),
                hint="run the bridge first, or name its journal.path",
            ) from error
        except OSError as error:
            raise _unreadable(error.strerror or str(error), path) from error
        except sqlite3.Error as error:
            raise _unusable(error, path) from error
        try:
            _check_version(db, path)
        except BaseException:
            db.close()
            raise
        return cls(path, db)

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
            raise _unreadable(error.strerror or str(error), self._path) from error

    def apps(self) -> tuple[AppStanding, ...]:
        """Every app that was ever begun, by name."""
        rows = self._rows(
            """
            SELECT name, stream, filters, position, swept, ledger_from, fingerprints,
                   (SELECT count(*) FROM gaps WHERE app = apps.id AND closed_at IS NULL)
            FROM apps ORDER BY name
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
        """The batch of every journaled entry of ``[floor, ceiling)``, by uid.

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
                """,
                window,
            )
        )

    def undated(self, app: str, floor: Tick, ceiling: Tick) -> frozenset[bytes]:
        """Those of `fingerprints` that are of entries without a time."""
        rows = self._rows(
            """
            SELECT uid FROM undated WHERE app = (SELECT id FROM apps WHERE name = ?)
            AND tick >= ? AND tick < ?
            """,
            (app, floor, ceiling),
        )
        return frozenset(uid for (uid,) in rows)

    def find(self, uid: bytes) -> tuple[Found, ...]:
        """Where a uid was journaled, oldest first.

        Looks at every fingerprint: about a second for ten million. The hot path pays for no index.
        """
        rows = self._rows(
            """
            SELECT name, tick, seq, dated FROM (
                SELECT app, tick, seq, 1 AS dated FROM seen WHERE uid = :uid
                UNION ALL
                SELECT app, tick, seq, 0 FROM undated WHERE uid = :uid)
            JOIN apps ON apps.id = app ORDER BY tick, name, dated
            """,
            {"uid": uid},
        )
        return tuple(Found(app, tick, seq, bool(dated)) for app, tick, seq, dated in rows)

    def uids_with_prefix(self, prefix: bytes) -> tuple[bytes, ...]:
        """The first few uids, in order, that begin so; as slow as `find`."""
        rows = self._rows(
            """
            SELECT uid FROM seen WHERE substr(uid, 1, :length) = :prefix
            UNION
            SELECT uid FROM undated WHERE substr(uid, 1, :length) = :prefix
            ORDER BY uid LIMIT :few
            """,
            {"prefix": prefix, "length": len(prefix), "few": _FEW},
        )
        return tuple(uid for (uid,) in rows)

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
        """Every destination that was ever attached, by name."""
        rows = self._rows(
            """
            SELECT destination, cursor, in_use,
                   coalesce(last.records_through - first.records_through + first.records, 0),
                   coalesce(last.bytes_through - first.bytes_through + length(first.gzip), 0),
                   first.journaled_at,
                   (SELECT count(*) FROM dead_letters
                    WHERE dead_letters.destination = cursors.destination)
            FROM cursors
            LEFT JOIN batches AS first
                ON first.seq = (SELECT min(seq) FROM batches WHERE seq > cursor)
            LEFT JOIN batches AS last
                ON first.seq IS NOT NULL AND last.seq = (SELECT max(seq) FROM batches)
            ORDER BY destination
            """
        )
        return tuple(
            DestinationStanding(name, cursor, bool(in_use), *rest)
            for name, cursor, in_use, *rest in rows
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

    def live_bytes(self) -> int:
        """Compressed bytes of the batches that a destination in use has not passed."""
        try:
            return store.live_bytes(self._db)
        except sqlite3.Error as error:
            raise _unusable(error, self._path) from error

    def _rows(self, sql: str, parameters: Any = ()) -> Iterator[Any]:
        try:
            with closing(self._db.execute(sql, parameters)) as rows:
                yield from rows
        except sqlite3.Error as error:
            raise _unusable(error, self._path) from error


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    """Refuse an older or a newer schema as the write-ahead log has it, and a broken one."""
    try:
        version = opening.schema_version(db)
        if version == opening.SCHEMA_VERSION:
            db.execute("SELECT 1 FROM apps, seen, undated, batches, cursors LIMIT 1").close()
            return
    except sqlite3.Error as error:
        raise _unusable(error, path) from error
    raise JournalUnusable(
        f"written with schema version {version}, this program knows {opening.SCHEMA_VERSION}",
        where=str(path),
        hint="an older journal is brought up to date when the bridge starts; "
        "a newer one needs the version that wrote it",
    )


def _unusable(error: sqlite3.Error, path: Path) -> JournalUnusable:
    return JournalUnusable(
        f"the journal cannot be read: {error}", where=str(path), hint=trouble.hint(error)
    )


def _unreadable(why: str, path: Path) -> JournalUnusable:
    return JournalUnusable(
        f"the journal cannot be read: {why}",
        where=str(path),
        hint="run this as the user that the bridge runs as",
    )
