"""The journal in memory: for tests that want the promise without the disk."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

from bridge.clock import Clock
from bridge.errors import JournalError
from bridge.journal import Backlog, Stats, rules
from bridge.model import (
    Anchor,
    Append,
    Appended,
    AppRecord,
    Batch,
    DeadLetter,
    Encoded,
    Identified,
    Tick,
)


@dataclass(slots=True)
class Contents:
    """What a disk would hold; readable by tests."""

    apps: dict[str, AppRecord] = field(default_factory=dict)
    seen: defaultdict[str, dict[tuple[Tick | None, bytes], Tick]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    batches: list[Batch] = field(default_factory=list)
    last_seq: int = 0
    cursors: dict[str, int] = field(default_factory=dict)
    dead_letters: dict[tuple[str, str], DeadLetter] = field(default_factory=dict)


class MemoryJournal:
    """A `Journal` that forgets everything with the process."""

    def __init__(self, *, max_bytes: int, clock: Clock, contents: Contents | None = None) -> None:
        """``contents`` are another one's, to stand for a file opened again."""
        self.contents = contents or Contents()
        self._max_bytes = max_bytes
        self._clock = clock
        self._in_use: set[str] = set()
        self._closed = False
        self._changed = asyncio.Event()

    def copy(self) -> MemoryJournal:
        """An independent one with the same contents and the same destinations in use."""
        twin = MemoryJournal(
            max_bytes=self._max_bytes, clock=self._clock, contents=deepcopy(self.contents)
        )
        twin._in_use = set(self._in_use)
        return twin

    async def app(self, name: str) -> AppRecord | None:
        """See `Journal.app`."""
        await self._turn()
        return self.contents.apps.get(name)

    async def begin(self, record: AppRecord) -> None:
        """See `Journal.begin`."""
        await self._turn()
        known = self.contents.apps.get(record.name, record)
        self.contents.apps[record.name] = replace(
            record, position=known.position, swept=known.swept
        )

    async def anchor(self, app: str, at_or_below: Tick) -> Anchor | None:
        """See `Journal.anchor`."""
        await self._turn()
        dated = [key for key in self.contents.seen[app] if key[0] is not None]
        newest = max((t for t, _ in dated if t is not None and t <= at_or_below), default=None)
        if newest is None:
            return None
        return Anchor(newest, frozenset(uid for tick, uid in dated if tick == newest))

    async def append(self, append: Append) -> Appended:
        """See `Journal.append`."""
        await self._turn()
        record = self._app(append.app)
        self._remove_passed()
        if not self._has_room():
            raise rules.full(self._max_bytes, self._furthest_behind(), where=append.app)
        seen = self.contents.seen[append.app]
        distinct: dict[tuple[Tick | None, bytes], Identified] = {}
        for item in append.found:
            distinct.setdefault(rules.key_of(item), item)
        missing = {key: item for key, item in distinct.items() if key not in seen}
        encoded = list(append.encode(list(missing.values()))) if missing else []
        rules.check_encoded(append.app, list(missing.values()), encoded)
        seen.update((key, item.tick) for key, item in missing.items())
        for batch in encoded:
            self._store(append.app, batch)
        standing = rules.standing_after(record, append, added=len(missing))
        if standing is not None:
            self.contents.apps[append.app] = standing
        self._announce()
        return Appended(
            added=len(missing),
            known=len(distinct) - len(missing),
            last_seq=self.contents.last_seq if missing else None,
        )

    async def prune(self, app: str, below: Tick) -> None:
        """See `Journal.prune`."""
        await self._turn()
        self._app(app)
        seen = self.contents.seen[app]
        newest = max((tick for tick, _ in seen if tick is not None), default=None)
        self.contents.seen[app] = {
            key: tick
            for key, tick in seen.items()
            if tick >= below or (newest is not None and key[0] == newest)
        }

    async def attach(self, destination: str) -> int:
        """See `Journal.attach`."""
        await self._turn()
        self._in_use.add(destination)
        batches = self.contents.batches
        start = batches[0].seq - 1 if batches else self.contents.last_seq
        cursor = max(start, self.contents.cursors.get(destination, start))
        self.contents.cursors[destination] = cursor
        return cursor

    async def read(self, after: int, *, max_batches: int, max_size: int) -> Sequence[Batch]:
        """See `Journal.read`."""
        await self._turn()
        taken: list[Batch] = []
        size = 0
        for batch in self._after(after)[: max(1, max_batches)]:
            size += batch.size
            if taken and size > max_size:
                break
            taken.append(batch)
        return tuple(taken)

    async def advance(
        self, destination: str, cursor: int, dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        """See `Journal.advance`."""
        await self._turn()
        if destination not in self._in_use:
            raise rules.not_attached(destination)
        rules.check_cursor(destination, cursor, self.contents.last_seq)
        for letter in dead_letters:
            self.contents.dead_letters.setdefault((letter.destination, letter.uid), letter)
        cursors = self.contents.cursors
        cursors[destination] = max(cursors[destination], cursor)
        self._remove_passed()
        self._announce()

    async def wait_for_batch(self, after: int) -> None:
        """See `Journal.wait_for_batch`."""
        await self._until(lambda: bool(self._after(after)))

    async def wait_for_room(self) -> None:
        """See `Journal.wait_for_room`."""
        await self._until(self._has_room)

    async def stats(self) -> Stats:
        """See `Journal.stats`."""
        await self._turn()
        return Stats(
            live_bytes=self._live_bytes(),
            max_bytes=self._max_bytes,
            last_seq=self.contents.last_seq,
            dead_letters=len(self.contents.dead_letters),
            backlogs=tuple(self._backlog(destination) for destination in sorted(self._in_use)),
        )

    async def aclose(self) -> None:
        """See `Journal.aclose`."""
        self._closed = True
        self._announce()

    async def _turn(self) -> None:
        """Let others run first, as a journal on disk does."""
        await asyncio.sleep(0)
        if self._closed:
            raise JournalError("the journal is closed")

    async def _until(self, holds: Callable[[], bool]) -> None:
        while True:
            changed = self._changed
            await self._turn()
            if holds():
                return
            await changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _app(self, name: str) -> AppRecord:
        record = self.contents.apps.get(name)
        if record is None:
            raise rules.unknown_app(name)
        return record

    def _store(self, app: str, encoded: Encoded) -> None:
        self.contents.last_seq += 1
        self.contents.batches.append(
            Batch(
                seq=self.contents.last_seq,
                app=app,
                records=encoded.records,
                size=encoded.size,
                gzip=encoded.gzip,
                journaled_at=self._clock.now(),
            )
        )

    def _after(self, seq: int) -> list[Batch]:
        return [batch for batch in self.contents.batches if batch.seq > seq]

    def _passed(self) -> int:
        return min((self.contents.cursors[name] for name in self._in_use), default=0)

    def _remove_passed(self) -> None:
        self.contents.batches = self._after(self._passed())

    def _live_bytes(self) -> int:
        return sum(len(batch.gzip) for batch in self._after(self._passed()))

    def _has_room(self) -> bool:
        return self._live_bytes() < self._max_bytes

    def _furthest_behind(self) -> str:
        cursors = self.contents.cursors
        return min(self._in_use, key=lambda name: (cursors[name], name), default="")

    def _backlog(self, destination: str) -> Backlog:
        cursor = self.contents.cursors[destination]
        ahead = self._after(cursor)
        return Backlog(
            destination=destination,
            cursor=cursor,
            batches=len(ahead),
            records=sum(batch.records for batch in ahead),
            oldest=ahead[0].journaled_at if ahead else None,
        )
