"""Group commit: what is asked while one transaction is on its way to the disk shares the next.

An fsync costs the same for one operation as for fifty. Each operation has a savepoint of its own,
so that one that fails is undone alone; its callers hear of success only after COMMIT.

What may wait, for the disk or for another process that writes, runs on the worker: BEGIN and
COMMIT. The operations between them run on the event loop: on a thread of their own they would
contend with it for the interpreter, statement by statement (docs/decisions/0008).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

from msgspec import Struct

from bridge.errors import JournalError
from bridge.journal.worker import Worker

Operation: TypeAlias = Callable[[sqlite3.Connection], Any]
Run: TypeAlias = Callable[[Operation], Any]
_Asked: TypeAlias = "tuple[Operation, asyncio.Future[Any]]"

_MOST: Final = 64
"""Operations of one group: other processes, and those who look, wait for its end."""
_AT_ONCE: Final = 8
"""Operations after which the event loop has a turn, the lock of the file being held."""


class Failed(Struct, frozen=True):
    """An operation that raised and was undone, in place of its result."""

    error: BaseException


def commit(operations: Sequence[Operation], db: sqlite3.Connection) -> list[Any]:
    """Run operations in one transaction; each one's result, or `Failed`, in order.

    Nothing is written to the disk when no operation changed a row.

    Raises:
        sqlite3.Error: the transaction as a whole failed and left nothing.
    """
    before = _begin(db)
    try:
        results = [_apart(operation, db) for operation in operations]
        _end(before, db)
    except Exception:
        give_up(db)
        raise
    return results


def settle(db: sqlite3.Connection) -> None:
    """End a transaction that an earlier failure left open: nobody was told that it holds."""
    if db.in_transaction:
        db.execute("ROLLBACK")


def _begin(db: sqlite3.Connection) -> int:
    """Open a transaction; returns the count of rows that were changed before it."""
    settle(db)
    db.execute("BEGIN IMMEDIATE")
    return db.total_changes


def _end(before: int, db: sqlite3.Connection) -> None:
    db.execute("COMMIT" if db.total_changes != before else "ROLLBACK")


def give_up(db: sqlite3.Connection) -> None:
    """End a transaction that failed, as far as that is possible."""
    with suppress(sqlite3.Error):  # the next one settles it
        settle(db)


def _apart(operation: Operation, db: sqlite3.Connection) -> Any:
    """Run one operation so that its failure undoes itself alone.

    SQLite answers some errors (a full disk, a failed read) by rolling back everything; then the
    savepoint is gone and the whole transaction has failed.
    """
    db.execute("SAVEPOINT operation")
    try:
        result: Any = operation(db)
    except Exception as error:
        if not db.in_transaction:
            raise
        db.execute("ROLLBACK TO operation")
        result = Failed(error)
    db.execute("RELEASE operation")
    return result


class GroupCommit:
    """Collects operations and commits them in groups, one after another."""

    def __init__(self, worker: Worker, run: Run, committed: Callable[[], None]) -> None:
        """``run`` calls an operation with the connection and translates errors.

        ``committed`` is called on the loop after each group.
        """
        self._worker = worker
        self._run = run
        self._committed = committed
        self._waiting: list[_Asked] = []
        self._looking: list[_Asked] = []
        self._flushing: asyncio.Task[None] | None = None
        self._within = False

    async def submit(self, operation: Operation) -> Any:
        """Return the operation's result once it is on disk.

        A cancelled caller hears nothing, but its operation goes on: it may be half-way to the disk.
        """
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="journal commit")
        return await done

    async def look(self, operation: Operation) -> Any:
        """Return the result of an operation that changes nothing, run between two transactions."""
        if not self._within:
            return self._run(operation)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._looking.append((operation, done))
        return await done

    async def drain(self) -> None:
        """Return once everything submitted has been committed or has failed."""
        if self._flushing is not None and not self._flushing.done():
            await asyncio.wait([self._flushing])

    def drop(self) -> None:
        """Give up what waits for its turn, as a killed process would."""
        for _, done in self._waiting + self._looking:
            done.cancel()
        self._waiting.clear()
        self._looking.clear()

    async def _flush(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            self._within = True
            try:
                results = await self._commit([operation for operation, _ in group])
            except asyncio.CancelledError:  # the event loop ends without `aclose`
                self._waiting = group + self._waiting
                self.drop()
                raise
            except BaseException as error:  # noqa: BLE001 - passed on to the callers
                results = [Failed(error)] * len(group)
            finally:
                self._within = False
            for (_, done), result in zip(group, results, strict=True):
                _resolve(done, result)
            self._let_look()
            self._committed()

    async def _commit(self, operations: Sequence[Operation]) -> list[Any]:
        """The same as `commit`, with what may wait on the worker."""
        before = await self._worker.run(partial(self._run, _begin))
        try:
            results: list[Any] = []
            for number, operation in enumerate(operations, 1):
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)  # the rest of the bridge has a turn
                results.append(self._run(partial(_apart, operation)))
            await self._worker.run(partial(self._run, partial(_end, before)))
        except Exception:
            with suppress(JournalError):
                self._run(give_up)
            raise
        return results

    def _let_look(self) -> None:
        looking, self._looking = self._looking, []
        for operation, done in looking:
            try:
                result = self._run(operation)
            except BaseException as error:  # noqa: BLE001 - passed on to the caller
                result = Failed(error)
            _resolve(done, result)


def _resolve(done: asyncio.Future[Any], result: Any) -> None:
    if done.cancelled():
        return
    if isinstance(result, Failed):
        done.set_exception(result.error)
    else:
        done.set_result(result)
