"""The journal for a person's word: commands that change it, beside a running bridge or without one.

Each order is one or a few short transactions on a connection of its own. SQLite lets one process
write at a time and the other wait, so that the bridge sees an order whole or not yet; it keeps
nothing in memory of what orders change, and looks again every few seconds.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from bridge.errors import JournalError
from bridge.journal import Backlog, backfills, opening, rules, store, trouble
from bridge.journal.commit import Failed, commit
from bridge.journal.lock import is_held
from bridge.model import Backfill, BackfillState, Tick

T = TypeVar("T")

_CHUNK: Final = 2_000
"""Letters of one transaction: the bridge waits for no longer than these take."""

_CHOSEN: Final = """
    (:destination IS NULL OR destination = :destination)
    AND (:uids IS NULL OR uid IN (SELECT value FROM json_each(:uids)))
"""


class Orders:
    """Made by `open`; a context manager. Every order raises `JournalError` when it fails."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    @classmethod
    def open(cls, path: Path, *, connect: opening.Connect = sqlite3.connect) -> Orders:
        """Open an existing journal for orders; nothing is checked through, created or upgraded.

        Raises:
            JournalUnusable: missing, unreadable, foreign, of another schema version, or corrupt.
        """
        path = path.absolute()
        db = opening.existing(path, connect, mode="rw")
        orders = cls(path, db)
        try:
            with orders._translated():
                db.execute("PRAGMA synchronous = FULL")
        except BaseException:
            db.close()
            raise
        return orders

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def replay(self, *, destination: str | None, uids: Collection[str] | None) -> int:
        """Mark dead letters to be sent again; how many of the chosen ones are marked now.

        Chosen are those of one destination or all, with one of the uids or any.
        """
        chosen = _chosen(destination, uids)
        self._in_chunks("UPDATE dead_letters SET replay = 1", "NOT replay", chosen)
        with self._translated():
            (marked,) = self._db.execute(
                f"SELECT count(*) FROM dead_letters WHERE replay AND {_CHOSEN}",  # noqa: S608 - a constant
                chosen,
            ).fetchone()
        return int(marked)

    def drop(self, *, destination: str | None, uids: Collection[str] | None) -> int:
        """Give up dead letters, chosen as in `replay`, for good; how many those were."""
        return self._in_chunks("DELETE FROM dead_letters", "TRUE", _chosen(destination, uids))

    def pause(self, destination: str, *, paused: bool) -> bool:
        """Let a destination rest, or go on; False where that is so already."""
        return self._write(partial(_pause, destination, paused))

    def forget(self, destination: str) -> Backlog:
        """Forget where a destination stood, and with it what only it held; returns what it held.

        Raises:
            JournalError: it is in use by a running bridge, has dead letters, or is not known.
        """
        return self._write(partial(self._forget, destination))

    def rewind(self, app: str, to: Tick) -> None:
        """Move an app's position back to a tick, and every sweep cursor that is above it.

        The next run reads from there on. What the ledger knows is recognised and not stored
        again; below the app's ``ledger_from`` it knows nothing, and what was stored before is
        stored and delivered once more, under the same uids.

        Raises:
            JournalError: a bridge runs, the app is not known, or its position is not above.
        """
        self._write(partial(self._rewind, app, to))

    def begin_backfill(self, job: Backfill, *, resume: bool) -> Backfill:
        """Begin a backfill; returns it as it stands.

        With ``resume``, one of the same name that is not done goes on instead.

        Raises:
            JournalError: there is one of that name already.
        """
        return self._write(partial(_begin_backfill, job, resume))

    def resume_backfill(self, name: str) -> Backfill:
        """Let a stopped backfill go on; one that is active or done stays so.

        Raises:
            JournalError: there is none of that name.
        """
        return self._write(partial(_turn_backfill, name, BackfillState.ACTIVE))

    def stop_backfill(self, name: str) -> Backfill:
        """Stop a backfill where it is; one that is done stays so.

        Raises:
            JournalError: there is none of that name.
        """
        return self._write(partial(_turn_backfill, name, BackfillState.STOPPED))

    def forget_backfill(self, name: str) -> None:
        """Forget a backfill that is not active, and with it which entries it journaled.

        Raises:
            JournalError: it is active, or there is none of that name.
        """
        self._write(partial(_check_forgettable, name))
        while self._write(partial(backfills.forget, name=name, at_most=_CHUNK)):
            pass

    def _rewind(self, app: str, to: Tick, db: sqlite3.Connection) -> None:
        # A bridge keeps positions in memory. One that starts now waits with its first attach until
        # this transaction has ended, and reads them after that.
        if is_held(self._path):
            raise JournalError(
                "a running bridge reads on from its position",
                where=f"app {app}",
                hint="stop the bridge, rewind, and start it again",
            )
        record = store.app(db, app)
        if record is None:
            known = [
                name for (name,) in db.execute("SELECT name FROM apps WHERE begun ORDER BY name")
            ]
            raise rules.not_known("app", app, known)
        if to >= record.position:
            raise rules.not_back(app, record.position)
        swept = {age: min(cursor, to) for age, cursor in record.swept.items()}
        db.execute(
            "UPDATE apps SET position = ?, swept = ? WHERE name = ?",
            (to, store.swept_text(swept), app),
        )

    def _forget(self, destination: str, db: sqlite3.Connection) -> Backlog:
        held, in_use = _standing(db, destination)
        # A bridge that starts now waits with its first attach until this transaction has ended.
        if in_use and is_held(self._path):
            raise JournalError(
                "a running bridge delivers to it",
                where=f"destination {destination}",
                hint="take it out of the configuration and restart the bridge, then forget it",
            )
        if held.dead_letters:
            raise JournalError(
                f"it has {held.dead_letters:,} dead letters",
                where=f"destination {destination}",
                hint="`fal-log-bridge dead-letters export` keeps them elsewhere, "
                "`fal-log-bridge dead-letters drop` gives them up; then forget it",
            )
        for table in ("acks", "cursors"):
            db.execute(f"DELETE FROM {table} WHERE destination = ?", (destination,))  # noqa: S608 - one of two names
        return held

    def _in_chunks(self, act: str, still: str, chosen: dict[str, Any]) -> int:
        """Do something to the chosen letters that are there now, chunk by chunk; to how many.

        They are looked for outside of the transactions; an id is never used again.
        """
        done, after = 0, 0
        with self._translated():
            (newest,) = self._db.execute("SELECT max(id) FROM dead_letters").fetchone()
            bounds = {**chosen, "newest": newest, "chunk": _CHUNK}
            while ids := self._ids(still, {**bounds, "after": after}):
                done += self._write(partial(_act_on, act, ids))
                after = ids[-1]
        return done

    def _ids(self, still: str, bounds: dict[str, Any]) -> list[int]:
        rows = self._db.execute(
            f"""
            SELECT id FROM dead_letters
            WHERE id > :after AND id <= :newest AND {still} AND {_CHOSEN} ORDER BY id LIMIT :chunk
            """,  # noqa: S608 - constants
            bounds,
        )
        return [number for (number,) in rows.fetchall()]

    def _write(self, order: Callable[[sqlite3.Connection], T]) -> T:
        """One order, in one transaction."""
        with self._translated():
            (result,) = commit([order], self._db)
        if isinstance(result, Failed):
            with self._translated():
                raise result.error
        done: T = result
        return done

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise trouble.translated(error, self._path) from error
        except OSError as error:
            raise trouble.unreadable(error, self._path) from error


def _begin_backfill(job: Backfill, resume: bool, db: sqlite3.Connection) -> Backfill:
    before = backfills.named(db, job.name)
    if before is None:
        backfills.create(db, job)
        return job
    if resume and before.state is not BackfillState.DONE:
        return _turn_backfill(job.name, BackfillState.ACTIVE, db)
    raise JournalError(
        "there is one of that name already",
        where=f"backfill {job.name}",
        hint="give another name, or forget that one",
    )


def _turn_backfill(name: str, state: BackfillState, db: sqlite3.Connection) -> Backfill:
    job = _backfill(name, db)
    if job.state in {state, BackfillState.DONE}:
        return job
    backfills.turn(db, name, state)
    return _backfill(name, db)


def _check_forgettable(name: str, db: sqlite3.Connection) -> None:
    if _backfill(name, db).state is BackfillState.ACTIVE:
        raise JournalError(
            "it is not done",
            where=f"backfill {name}",
            hint=f"stop it first: fal-log-bridge backfill cancel {shlex.quote(name)}",
        )


def _backfill(name: str, db: sqlite3.Connection) -> Backfill:
    job = backfills.named(db, name)
    if job is None:
        raise rules.not_known("backfill", name, [one.name for one in backfills.jobs(db)])
    return job


def _act_on(act: str, ids: list[int], db: sqlite3.Connection) -> int:
    these = "id IN (SELECT value FROM json_each(?))"
    return db.execute(f"{act} WHERE {these}", (json.dumps(ids),)).rowcount


def _chosen(destination: str | None, uids: Collection[str] | None) -> dict[str, Any]:
    return {
        "destination": destination,
        "uids": None if uids is None else json.dumps(sorted(uids)),
    }


def _standing(db: sqlite3.Connection, destination: str) -> tuple[Backlog, bool]:
    """A destination's backlog, and whether it is in use.

    Raises:
        JournalError: there is none of that name.
    """
    known = {one.destination: (one, in_use) for one, in_use in store.standings(db)}
    if destination not in known:
        raise rules.not_known("destination", destination, known)
    return known[destination]


def _pause(destination: str, paused: bool, db: sqlite3.Connection) -> bool:
    standing, _ = _standing(db, destination)
    if standing.paused is paused:
        return False
    db.execute("UPDATE cursors SET paused = ? WHERE destination = ?", (int(paused), destination))
    return True
