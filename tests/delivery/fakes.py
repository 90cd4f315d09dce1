"""A backend and a journal that behave, and say what they saw."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from delivery.virtual import NOON, clock
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.journal import LIVE

from bridge.errors import JournalError
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
    busy: int = 0
    busiest: int = 0
    acknowledged: bool = True
    limit: int | None = None

    def too_large(self, request: Request) -> Outcome | None:
        """See `Destination.too_large`; ``limit`` is the most records."""
        return TOO_LARGE if self.limit is not None and request.records > self.limit else None

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

    async def fill(self, *sizes: int) -> None:
        """Append batches of that many records, with uids that count on."""
        await self.begin(AppRecord("app", "stream", "{}", NOON))
        for size in sizes:
            first = 1 + len(self.uids)
            found = [
                Identified(Entry({"message": f"line {n}"}, NOON + n), NOON + n, n.to_bytes(16))
                for n in range(first, first + size)
            ]
            done = await self.append(Append("app", found, NOON, _encode, LIVE))
            assert done.last_seq is not None
            self.promised[done.last_seq] = tuple(item.uid.hex() for item in found)

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

    async def advance(
        self, destination: str, cursor: int, dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        """See `Journal.advance`."""
        async with self._failing():
            settled = self._backend.kept.keys() | self.dead | {d.uid for d in dead_letters}
            for seq, uids in self.promised.items():
                assert seq > cursor or settled.issuperset(uids), f"{cursor} is past batch {seq}"
            assert cursor >= self.contents.cursors[destination], "the cursor moves back"
            await super().advance(destination, cursor, dead_letters)
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
