"""A backend and a journal that behave, and say what they saw."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate

from delivery.virtual import NOON, clock
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.journal import LIVE

from bridge.errors import DeadLettersFull, JournalError
from bridge.journal import Wishes
from bridge.journal.memory import MemoryJournal
from bridge.model import (
    Append,
    AppRecord,
    Batch,
    DeadLetter,
    Encoded,
    Entry,
    Gap,
    Identified,
    Outcome,
    Verdict,
)
from bridge.payload import Request, encoded, records_of, uid_of

DELIVERED = Outcome(Verdict.DELIVERED)
DOWN = Outcome(Verdict.RETRY, "503 Service Unavailable")
BLOCKED = Outcome(Verdict.BLOCKED, "401 Unauthorized")
REJECTED = Outcome(Verdict.REJECTED, "400 Bad Request")
TOO_LARGE = Outcome(Verdict.TOO_LARGE, "413 Content Too Large")
OVER = Outcome(Verdict.TOO_LARGE, "over max_payload")
FAULT = Outcome(Verdict.RETRY, "500 Internal Server Error", own_fault=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a backend meets one send: does it keep the records, what does it say, how late."""

    outcome: Outcome = DELIVERED
    keeps: bool = True
    seconds: float = 0.1


def refusing(outcome: Outcome, seconds: float = 0.1) -> Answer:
    """An answer that keeps nothing."""
    return Answer(outcome, keeps=False, seconds=seconds)


@dataclass
class Sent:
    """One send: when it began and ended (None while it goes on), what it carried, its answer."""

    at: float
    uids: tuple[str, ...]
    request: Request
    answer: Answer
    ended: float | None = None


@dataclass
class Backend:
    """A `Destination` that keeps what it accepts; ``decide`` says how it meets each send."""

    decide: Callable[[Request], Answer] = field(default=lambda _: Answer())
    name: str = "backend"
    sends: list[Sent] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    limit: int | None = None
    busy: int = 0
    busiest: int = 0
    acknowledged: bool = True

    async def probe(self) -> Outcome:
        """See `Destination.probe`."""
        return self.decide(Request(())).outcome

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        now = asyncio.get_running_loop().time
        answer = self.decide(request)
        sent = Sent(now(), uids_of(request.raw), request, answer)
        self.sends.append(sent)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(answer.seconds / 2)
            if answer.keeps:
                self.kept.update(sent.uids)
            await asyncio.sleep(answer.seconds / 2)
        finally:
            self.busy -= 1
        sent.ended = now()
        return answer.outcome

    def too_large(self, request: Request) -> Outcome | None:
        """See `Destination.too_large`."""
        if self.limit is None or request.size <= self.limit:
            return None
        return OVER

    async def aclose(self) -> None:
        """See `Destination.aclose`."""


def scripted(answers: Sequence[Answer]) -> Callable[[Request], Answer]:
    """These answers one after another, then all is well."""
    script: Iterator[Answer] = iter(answers)
    return lambda _: next(script, Answer())


def _encode(found: Sequence[Identified], _: Sequence[Gap]) -> Sequence[Encoded]:
    return encode(found)


class Store(MemoryJournal):
    """A journal that fails where it is told to, and checks the promise at every advance."""

    def __init__(self, backend: Backend, *, failures: Sequence[str] = ()) -> None:
        """``failures`` of reads and advances: "before" or "after" the work, or only "slow"."""
        super().__init__(max_bytes=1 << 40, clock=clock())
        self._backend = backend
        self._failures = iter(failures)
        self.promised: dict[int, tuple[str, ...]] = {}
        self.advances: list[int] = []
        self.paused = False
        self.wishes_fail = False
        self.wished: set[str] = set()
        self.letters_fit = 1_000_000
        self.huge: frozenset[int] = frozenset()

    async def fill(self, *sizes: int) -> None:
        """Append batches of that many records, with uids that count on."""
        await self.begin(AppRecord("app", "stream", "{}", NOON))
        for size in sizes:
            first = 1 + len(self.uids)
            found = [
                Identified(Entry({"message": self._message(n)}, NOON + n), NOON + n, n.to_bytes(16))
                for n in range(first, first + size)
            ]
            done = await self.append(Append("app", found, NOON, _encode, LIVE))
            assert done.last_seq is not None
            self.promised[done.last_seq] = tuple(item.uid.hex() for item in found)

    def _message(self, number: int) -> str:
        return f"line {number}" + " and on" * 200 * (number in self.huge)

    @property
    def uids(self) -> set[str]:
        """Everything that was ever appended."""
        return {uid for uids in self.promised.values() for uid in uids}

    @property
    def dead(self) -> set[str]:
        """The uids of the dead letters."""
        return {letter.uid for letter in self.contents.dead_letters.values()}

    async def read(self, after: int, *, max_batches: int, max_size: int) -> Sequence[Batch]:
        """See `Journal.read`."""
        async with self._failing():
            return await super().read(after, max_batches=max_batches, max_size=max_size)

    async def wishes(self, destination: str, *, max_size: int) -> Wishes:
        """See `Journal.wishes`: of the letters that are wished for, those that fit."""
        if self.wishes_fail:
            raise JournalError("the database is locked")
        letters = [
            letter
            for (name, uid), letter in self.contents.dead_letters.items()
            if name == destination and uid in self.wished
        ]
        sizes = accumulate(len(letter.gzip) for letter in letters)
        few = sum(size <= max_size for size in sizes)
        return Wishes(paused=self.paused, replay=tuple(letters[: max(1, few)]))

    async def advance(
        self,
        destination: str,
        cursor: int,
        dead_letters: Sequence[DeadLetter] = (),
        replayed: Sequence[str] = (),
    ) -> None:
        """See `Journal.advance`."""
        async with self._failing():
            fresh = {d.uid for d in dead_letters} - self.dead
            if fresh and len(self.dead - set(replayed)) + len(fresh) > self.letters_fit:
                raise DeadLettersFull("the dead letters are full", hint="replay or drop some")
            settled = self._backend.kept.keys() | self.dead | fresh
            for seq, uids in self.promised.items():
                assert seq > cursor or settled.issuperset(uids), f"{cursor} is past batch {seq}"
            assert cursor >= self.contents.cursors[destination], "the cursor moves back"
            await super().advance(destination, cursor, dead_letters, replayed)
            self.wished -= {d.uid for d in dead_letters} | set(replayed)
            self.advances.append(cursor)

    @asynccontextmanager
    async def _failing(self) -> AsyncIterator[None]:
        failure = next(self._failures, "")
        if failure == "slow":
            await asyncio.sleep(5)
        if failure == "before":
            raise JournalError("disk full")
        yield
        if failure == "after":
            raise JournalError("disk full, it seems")


def encode(found: Sequence[Identified]) -> Sequence[Encoded]:
    """One batch of them all."""
    message = ExportLogsServiceRequest()
    scope = message.resource_logs.add().scope_logs.add()
    for item in found:
        record = scope.log_records.add(time_unix_nano=item.tick * 1_000)
        record.body.string_value = item.entry.raw["message"]
        record.attributes.add(key="log.record.uid").value.string_value = item.uid.hex()
    return [encoded(message.SerializeToString(), len(found))]


def uids_of(raw: bytes) -> tuple[str, ...]:
    """The uids a request carries."""
    return tuple(uid_of(record) for _, _, record in records_of(raw))
