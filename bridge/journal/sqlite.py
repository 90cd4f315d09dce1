"""The journal on SQLite: one file, one connection, and one thread for what may wait.

What the operations do stands in `bridge.journal.store`, how they reach the disk in
`bridge.journal.commit`, how the file is made and checked in `bridge.journal.opening`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from bridge.clock import Clock
from bridge.errors import JournalError
from bridge.journal import (
    Start,
    Stats,
    Wishes,
    backfills,
    gaps,
    letters,
    opening,
    rules,
    store,
    trouble,
)
from bridge.journal.commit import GroupCommit, give_up, settle
from bridge.journal.lock import Lock
from bridge.journal.worker import InlineWorker, ThreadWorker, Worker
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

T = TypeVar("T")
Call = Callable[[sqlite3.Connection], T]

_PRUNE_CHUNK: Final = 5_000
_LOOK_EVERY: Final = 2.0
"""Seconds after which who waits for room looks again: another process tells nobody."""


class SqliteJournal:
    """The durable `Journal`. Made by `open`; used from one event loop at a time."""

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        lock: Lock,
        worker: Worker,
        *,
        max_bytes: int,
        ledger_bytes: int,
        dead_letters_max_bytes: int,
        clock: Clock,
    ) -> None:
        self._path = path
        self._db = db
        self._lock = lock
        self._worker = worker
        self._max_bytes = max_bytes
        self._ledger_bytes = ledger_bytes
        self._dead_letters_max_bytes = dead_letters_max_bytes
        self._clock = clock
        self._closed = False
        self._killed = False
        self._changed = asyncio.Event()
        self._commits = GroupCommit(worker, self._call, self._announce)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        max_bytes: int,
        clock: Clock,
        ledger_bytes: int = rules.LEDGER_BYTES,
        dead_letters_max_bytes: int = rules.DEAD_LETTER_BYTES,
        inline: bool = False,
        connect: opening.Connect = sqlite3.connect,
    ) -> SqliteJournal:
        """Open or create the journal; blocks while an existing file is checked.

        Args:
            path: the file; its folder is made when missing, a lock file stands beside it.
            max_bytes: how many compressed bytes of live batches make it full.
            clock: stamps what is stored.
            ledger_bytes: how large the fingerprints of all apps may grow (an estimate, see
                `rules.FINGERPRINT_BYTES`) before `prune` gives up the oldest.
            dead_letters_max_bytes: how many bytes of dead letters of all destinations, with
                reasons and answers, are kept before `advance` refuses more.
            inline: wait for the disk on the event loop, not on a thread; for deterministic
                simulation.
            connect: stands in for `sqlite3.connect`, so that tests can make it fail.

        Raises:
            JournalUnusable: in use by another process, not writable, corrupt, foreign, or of
                a newer schema version. What is there is left as it was.
        """
        path = path.absolute()
        with opening.usable(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = Lock(path)
            try:
                db = opening.open_database(path, connect)
            except BaseException:
                lock.release()
                raise
        worker: Worker = InlineWorker() if inline else ThreadWorker()
        return cls(
            *(path, db, lock, worker),
            max_bytes=max_bytes,
            ledger_bytes=ledger_bytes,
            dead_letters_max_bytes=dead_letters_max_bytes,
            clock=clock,
        )

    async def app(self, name: str) -> AppRecord | None:
        """See `Journal.app`."""
        return await self._read(lambda db: store.app(db, name))

    async def begin(self, record: AppRecord) -> None:
        """See `Journal.begin`."""
        await self._write(lambda db: store.begin(db, record))

    async def anchor(self, app: str, at_or_below: Tick) -> Anchor | None:
        """See `Journal.anchor`."""
        return await self._read(lambda db: store.anchor(db, app, at_or_below))

    async def append(self, append: Append) -> Appended:
        """See `Journal.append`."""
        return await self._write(
            lambda db: store.append(db, append, max_bytes=self._max_bytes, now=self._clock.now())
        )

    async def backfills(self) -> Sequence[Backfill]:
        """See `Journal.backfills`."""
        return await self._read(backfills.active)

    async def backfill(self, append: Append, job: str) -> Appended:
        """See `Journal.backfill`."""
        return await self._write(
            lambda db: backfills.append(
                db, append, job, max_bytes=self._max_bytes, now=self._clock.now()
            )
        )

    async def note_backfill(self, job: str, app: str, note: str) -> None:
        """See `Journal.note_backfill`."""
        await self._write(lambda db: backfills.note(db, job, app, note))

    async def gaps(self, app: str) -> Sequence[Gap]:
        """See `Journal.gaps`."""
        return await self._read(lambda db: gaps.open_gaps(db, app))

    async def prune(self, app: str, *, needed: Tick, kept: Tick) -> None:
        """See `Journal.prune`. Goes in small transactions, so that nobody waits long for it."""
        piece = partial(
            store.prune,
            name=app,
            needed=needed,
            kept=kept,
            ledger_bytes=self._ledger_bytes,
            chunk=_PRUNE_CHUNK,
        )
        while await self._write(piece):
            pass

    async def attach(self, destination: str, start: Start = Start.OLDEST) -> int:
        """See `Journal.attach`."""
        return await self._write(lambda db: store.attach(db, destination, start))

    async def read(self, after: int, *, max_batches: int, max_size: int) -> Sequence[Batch]:
        """See `Journal.read`."""
        return await self._read(
            lambda db: store.read(db, after, max_batches=max_batches, max_size=max_size)
        )

    async def advance(
        self,
        destination: str,
        cursor: int,
        dead_letters: Sequence[DeadLetter] = (),
        replayed: Sequence[str] = (),
    ) -> None:
        """See `Journal.advance`."""
        await self._write(
            lambda db: store.advance(
                *(db, destination, cursor, dead_letters, replayed),
                dead_letters_max_bytes=self._dead_letters_max_bytes,
                now=self._clock.now(),
            )
        )

    async def wishes(self, destination: str, *, max_size: int) -> Wishes:
        """See `Journal.wishes`."""
        return await self._read(lambda db: letters.wishes(db, destination, max_size=max_size))

    async def wait_for_batch(self, after: int) -> None:
        """See `Journal.wait_for_batch`."""
        await self._until(lambda db: store.has_batch(db, after))

    async def wait_for_room(self) -> None:
        """See `Journal.wait_for_room`. Also looks now and then, for room that a command made."""
        await self._until(lambda db: store.has_room(db, self._max_bytes), or_after=_LOOK_EVERY)

    async def stats(self) -> Stats:
        """See `Journal.stats`."""
        return await self._read(
            lambda db: store.stats(
                db,
                max_bytes=self._max_bytes,
                dead_letters_max_bytes=self._dead_letters_max_bytes,
            )
        )

    async def aclose(self) -> None:
        """See `Journal.aclose`. Who still waits for a batch or for room gets a `JournalError`."""
        self._closed = True
        self._announce()
        try:
            await self._commits.drain()
            if not self._killed:
                await self._worker.run(self._db.close)
        except sqlite3.Error as error:
            raise trouble.translated(error, self._path) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Release the file at once, as a killed process would: only what is committed stays.

        Waits for the call that is running. Does nothing the second time.
        """
        self._closed = self._killed = True
        self._commits.drop()
        self._worker.stop()
        try:
            give_up(self._db)  # or an error that somebody keeps could keep the lock
            self._db.close()
        finally:
            self._lock.release()

    async def _read(self, call: Call[T]) -> T:
        def alone(db: sqlite3.Connection) -> T:
            settle(db)
            return call(db)

        self._check_open()
        found: T = await self._commits.look(alone)
        return found

    async def _write(self, call: Call[T]) -> T:
        self._check_open()
        result: T = await self._commits.submit(partial(self._translated, call))
        return result

    async def _until(self, holds: Call[bool], *, or_after: float | None = None) -> None:
        """Look until it holds: after every change, and after so many seconds if that is given."""
        while True:
            changed = self._changed  # taken before looking, so that no change is missed
            if await self._read(holds):
                return
            if or_after is None:
                await changed.wait()
            else:
                await _first_of(changed.wait(), self._clock.sleep(or_after))

    def _announce(self) -> None:
        """Wake everyone who waits for the journal to change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _check_open(self) -> None:
        if self._closed or self._killed:
            raise self._closed_error()

    def _closed_error(self) -> JournalError:
        return JournalError("the journal is closed", where=str(self._path))

    def _call(self, call: Call[T]) -> T:
        """Anything but an ordinary error is the end, as if the process were killed there."""
        if self._killed:
            raise self._closed_error()
        try:
            return self._translated(call, self._db)
        except Exception:
            raise
        except BaseException:
            self._killed = True
            raise

    def _translated(self, call: Call[T], db: sqlite3.Connection) -> T:
        try:
            return call(db)
        except sqlite3.Error as error:
            raise trouble.translated(error, self._path) from error


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when one of them does, with the others cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
