"""A simulated API and a journal that was filled from it, for tests of what looks at both later."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx
from support.virtual import VirtualClock, VirtualLoop, run_virtually

from bridge.journal.sqlite import SqliteJournal
from bridge.mapping import Mapper
from bridge.model import (
    SECOND,
    Append,
    AppRecord,
    DeadLetter,
    Filter,
    Gap,
    Identified,
    Read,
    ReadKind,
    Tick,
)
from bridge.simulator.faults import Faults, Faulty
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.transport import CoreTransport
from bridge.source.account import Account
from bridge.source.audit import read_again
from bridge.source.limiter import Limiter
from bridge.source.reader import Reader
from bridge.source.rest import RestApi
from bridge.telemetry import Event
from bridge.timestamps import format_tick

NOON: Tick = 1_758_283_200 * SECOND
FLOOR: Tick = NOON - 3_600 * SECOND
KEY = "id:the-secret-of-fal"
STREAM = '{"api": "rest", "app_id": "%s"}'
FILTERS = (
    '{"app_id": null, "job_id": null, "labels": [], "level": null, "request_id": null, '
    '"revision": null, "search": null, "traceback": false}'
)

T = TypeVar("T")


@dataclass
class Scene:
    """The account's logs behind ``front``, where faults may strike; the clock starts at noon."""

    folder: Path
    cap: int | None = None
    now: float = 0.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(NOON)
        self.logs = LogsApiFake(self.clock, LogsApiConfig(key=KEY, cap=self.cap))
        self.front = Faulty(self.logs, Faults(), Random(1))
        self.random = Random(1)
        self.path = self.folder / "journal.sqlite"

    def write(self, message: str, tick: Tick, app: str = "one", **extra: Any) -> None:
        """An app writes an entry; one that is given another ``timestamp`` stands there anyway."""
        raw = {"timestamp": format_tick(tick), "level": "INFO", "message": message, "app": app}
        self.logs.write(raw | extra, tick, visible_at=tick)

    def play(self, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Let something happen in virtual time."""
        loop = VirtualLoop(start=self.now)
        try:
            return run_virtually(body(), loop=loop)
        finally:
            self.now = loop.time()

    @property
    def transport(self) -> CoreTransport:
        """The way to the API."""
        return CoreTransport(self.front, self.clock)

    @asynccontextmanager
    async def reading(
        self, app: str = "one", page_size: int = 1_000
    ) -> AsyncIterator[tuple[Reader, Account]]:
        """What reads an app."""
        async with httpx.AsyncClient(transport=self.transport) as client:
            api = RestApi(client, base_url="http://api.test", key=lambda: KEY)
            limiter = Limiter(self.clock, requests_per_second=100, concurrency=4)
            account = Account(api, limiter, self.clock)
            reader = Reader(
                app,
                Filter(app_id=app),
                page_size=page_size,
                account=account,
                clock=self.clock,
                random=self.random,
                emit=self.events.append,
            )
            yield reader, account

    def open(self) -> SqliteJournal:
        """The journal, for itself."""
        return SqliteJournal.open(self.path, max_bytes=1 << 30, clock=self.clock, inline=True)

    def fill(
        self,
        app: str = "one",
        *,
        floor: Tick = FLOOR,
        ceiling: Tick = NOON,
        swept: Mapping[Tick, Tick] | None = None,
        gaps: Sequence[Gap] = (),
    ) -> list[Identified]:
        """Read the app's window at once and journal it for the destination ``out``."""

        async def main() -> list[Identified]:
            async with self.reading(app) as (reader, _):
                walk, crowds = await read_again(reader, floor, ceiling)
            found = walk.found()
            journal = self.open()
            await journal.attach("out")
            await journal.begin(AppRecord(app, STREAM % app, FILTERS, floor))
            await journal.append(
                Append(
                    app,
                    found,
                    ceiling,
                    lambda entries, unproved: _mapper(app).encode(entries, NOON, unproved),
                    Read(ReadKind.LIVE, floor, ceiling, NOON, walk.pages),
                    swept or {},
                    [*gaps, *(crowds or ())],
                )
            )
            await journal.aclose()
            return found

        return self.play(main)

    def attach(self, destination: str) -> None:
        """Another destination comes into use, once."""
        self.acknowledge(0, destination=destination)

    def running(self, destination: str = "out") -> SqliteJournal:
        """The journal, open, with the destination in use: a bridge runs."""

        async def main() -> SqliteJournal:
            journal = self.open()
            await journal.attach(destination)
            return journal

        return self.play(main)

    def acknowledge(
        self, cursor: int, letters: Sequence[DeadLetter] = (), destination: str = "out"
    ) -> None:
        """The destination passes batches."""

        async def main() -> None:
            journal = self.open()
            await journal.attach(destination)
            await journal.advance(destination, cursor, letters)
            await journal.aclose()

        self.play(main)

    def forget(self, *uids: bytes) -> None:
        """Take entries out of the ledger, as a reader that missed them would have left it."""
        with closing(sqlite3.connect(self.path)) as db, db:
            for table in ("seen", "undated"):
                statement = f"DELETE FROM {table} WHERE uid = ?"  # noqa: S608 - one of two names
                db.executemany(statement, [(uid,) for uid in uids])


def _mapper(app: str) -> Mapper:
    return Mapper(app=app, service=None, fallback_service=app, resource={})
