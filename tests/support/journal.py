"""Parts for tests of the journal and on it: a disk that fails on demand, and small walks."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bridge.model import Append, Encode, Encoded, Entry, Gap, Identified, Read, ReadKind, Tick


class Hold:
    """A statement that waits, once: ``entered`` says that it does, `leave` lets it go on."""

    def __init__(self, on: str) -> None:
        self.entered = threading.Event()
        self._left = threading.Event()
        self._on = on

    def leave(self) -> None:
        """Let it go on."""
        self._left.set()

    def wait(self, sql: str) -> None:
        """Wait, if it is that statement and the first time."""
        if self._on and self._on in sql and not self.entered.is_set():
            self.entered.set()
            assert self._left.wait(60)


class Disk:
    """Stands in for `sqlite3.connect`; sees every statement and makes one fail when told to."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self._error: BaseException | None = None
        self._skip = 0
        self._on = ""
        self._late = False
        self._hold = Hold("")

    @property
    def commits(self) -> int:
        """How many transactions have been committed."""
        return self.statements.count("COMMIT")

    @property
    def armed(self) -> bool:
        """True while a planned fault has not happened."""
        return self._error is not None

    def plan(
        self, error: BaseException, *, skip: int = 0, on: str = "", late: bool = False
    ) -> None:
        """Raise once: at the statement that contains ``on``, after skipping as many of them.

        ``late`` raises after the statement was carried out instead of before.
        """
        self._error, self._skip, self._on, self._late = error, skip, on, late

    def hold(self, on: str) -> Hold:
        """Let the next statement that contains ``on`` wait, as a slow disk does."""
        self._hold = Hold(on)
        return self._hold

    def calm(self) -> None:
        """Forget a planned fault."""
        self._error = None

    def connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        """See `sqlite3.connect`."""
        db: _Connection = sqlite3.connect(*args, factory=_Connection, **kwargs)
        db.disk = self
        return db

    def watch(self, sql: str, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """Carry out a statement unless its fault comes first."""
        self._hold.wait(sql)
        error = self._fault_of(sql)
        if error is not None and not self._late:
            raise error
        cursor = run()
        self.statements.append(sql)
        if error is not None:
            raise error
        return cursor

    def _fault_of(self, sql: str) -> BaseException | None:
        if self._error is None or self._on not in sql:
            return None
        if self._skip:
            self._skip -= 1
            return None
        error, self._error = self._error, None
        return error


class _Connection(sqlite3.Connection):
    disk: Disk

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self.disk.watch(sql, partial(super().execute, sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        return self.disk.watch(sql, partial(super().executemany, sql, parameters))

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        return self.disk.watch(sql_script, partial(super().executescript, sql_script))


def copy_as_killed(journal: Path, folder: Path) -> Path:
    """Copy the files of an open journal as a kill at this moment would leave them."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal"):
        source = journal.with_name(journal.name + suffix)
        if source.exists():
            shutil.copyfile(source, folder / source.name)
    return folder / journal.name


def item(tick: Tick, uid: str, *, dated: bool = True) -> Identified:
    """An entry; not ``dated``: its tick is borrowed."""
    return Identified(Entry({"message": uid}, tick=tick if dated else None), tick, uid.encode())


def encode_plainly(items: Sequence[Identified], gaps: Sequence[Gap] = ()) -> list[Encoded]:
    """One batch that names its entries and gaps: ``a b c crowded:5-6``; as large as compressed."""
    names = [entry.uid for entry in items]
    names += [f"{gap.kind}:{gap.floor}-{gap.ceiling}".encode() for gap in gaps]
    payload = b" ".join(names)
    return [Encoded(records=len(names), size=len(payload), gzip=payload)]


def encode_one_each(items: Sequence[Identified], gaps: Sequence[Gap] = ()) -> list[Encoded]:
    """A batch for each record."""
    return [
        *(batch for entry in items for batch in encode_plainly([entry])),
        *(batch for gap in gaps for batch in encode_plainly((), [gap])),
    ]


LIVE = Read(ReadKind.LIVE, floor=0, ceiling=100, at=100, pages=1)
"""What a walk was where nothing else is said."""


def walk(
    app: str,
    *found: Identified,
    position: Tick = 0,
    swept: Mapping[Tick, Tick] | None = None,
    encode: Encode = encode_plainly,
    read: Read = LIVE,
    gaps: Sequence[Gap] = (),
    closed: Sequence[Gap] = (),
) -> Append:
    """An append of these entries."""
    return Append(
        app=app,
        found=found,
        position=position,
        encode=encode,
        read=read,
        swept=swept or {},
        gaps=gaps,
        closed=closed,
    )
