"""The loop that takes one destination from its cursor to the end of the journal."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, TypeVar

from bridge.clock import Clock
from bridge.delivery.gate import Gate, Trouble
from bridge.delivery.inflight import InFlight
from bridge.delivery.pulse import Pulse
from bridge.delivery.retry import jittered
from bridge.delivery.split import Piece, letters, split
from bridge.destinations import Destination
from bridge.errors import JournalError
from bridge.journal import Journal
from bridge.model import Batch, DeadLetter, Outcome, Verdict
from bridge.payload import Request
from bridge.telemetry import Emit, Event
from bridge.telemetry.delivering import (
    BatchesNotRead,
    CursorNotStored,
    JournalRecovered,
    OddAnswer,
    PartialSuccess,
    RecordDeadLettered,
    RequestSplit,
)

_T = TypeVar("_T")

_MORE_PATIENCE: Final = 2.0
_MEBIBYTE: Final = 1_048_576
_JOURNAL_PATIENCE: Final = 5.0
"""The longest wait before the journal is asked again, in seconds."""
_WINDOW: Final = 16
"""Requests may run ahead of the oldest unanswered one by this many for each one in flight: what
a crash sends again stays bounded."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A forwarder at one moment.

    ``cursor`` is the stored one. ``delivered`` and ``dead_lettered`` count records since this
    process began, ``outstanding`` those that were read and are not answered for yet.
    """

    destination: str
    cursor: int
    delivered: int
    dead_lettered: int
    outstanding: int
    trouble: Trouble | None


class Forwarder:
    """Delivers the journal's batches to one destination, in order and at least once.

    Batches that are ready together are joined into one request of up to ``max_batches`` and
    ``max_size`` bytes before compression; ``in_flight`` requests are on their way at a time.
    There is no limit on tries. The cursor is the end of the unbroken run of requests that were
    answered for, so whatever moment this is cancelled at, a restart sends again all that was
    not, and perhaps a little that was.
    """

    def __init__(
        self,
        destination: Destination,
        journal: Journal,
        clock: Clock,
        emit: Emit,
        random: Random,
        *,
        in_flight: int = 4,
        max_batches: int = 256,
        max_size: int = _MEBIBYTE,
    ) -> None:
        self._destination = destination
        self._name = destination.name
        self._journal = journal
        self._clock = clock
        self._emit = emit
        self._random = random
        self._in_flight = in_flight
        self._max_batches = max_batches
        self._max_size = max_size
        self._changed = Pulse()
        self._gate = Gate(self._name, clock, emit, random, self._changed)
        self._line = InFlight(0)
        self._letters: list[DeadLetter] = []
        self._cursor = 0
        self._busy = 0
        self._delivered = 0
        self._dead_lettered = 0
        self._outstanding = 0
        self._closing = False
        self._odd = False

    @property
    def state(self) -> Forwarding:
        """How it stands now."""
        return Forwarding(
            destination=self._name,
            cursor=self._cursor,
            delivered=self._delivered,
            dead_lettered=self._dead_lettered,
            outstanding=self._outstanding,
            trouble=self._gate.trouble,
        )

    async def drained(self, up_to: int) -> None:
        """Return once the stored cursor has reached a batch's sequence number."""
        while self._cursor < up_to:
            await self._changed.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; runs once.

        From then on nothing new is sent and nothing waits out a back-off, but what is being sent
        may finish and the cursor is stored. The caller's grace for that is to cancel this, which
        is safe at any moment.
        """
        async with asyncio.TaskGroup() as keeping:
            keeping.create_task(self._keep_cursor())
            async with asyncio.TaskGroup() as sending:
                feeding = sending.create_task(self._feed(sending))
                await stop.wait()
                feeding.cancel()
                self._gate.close()
            self._closing = True
            self._changed.fire()

    async def _feed(self, sending: asyncio.TaskGroup) -> None:
        """Read on from the cursor and start a request whenever there is room for one."""
        after = await self._insist(partial(self._journal.attach, self._name), BatchesNotRead)
        self._cursor = after
        self._line = InFlight(after)
        self._changed.fire()
        while True:
            await self._room()
            batches = await self._insist(partial(self._read, after), BatchesNotRead)
            if not batches:
                wait = partial(self._journal.wait_for_batch, after)
                await self._insist(wait, BatchesNotRead)
                continue
            await self._room()
            after = batches[-1].seq
            self._line.started(after)
            self._busy += 1
            request = Request(tuple(batches))
            self._outstanding += request.records
            sending.create_task(self._deliver(Piece(request, batches[0].seq), after))

    async def _read(self, after: int) -> Sequence[Batch]:
        return await self._journal.read(
            after, max_batches=self._max_batches, max_size=self._max_size
        )

    async def _room(self) -> None:
        """Wait until the destination accepts and one more request may be on its way."""
        window = _WINDOW * self._in_flight
        while not (
            self._gate.is_open and self._busy < self._in_flight and self._line.span < window
        ):
            await self._changed.wait()

    async def _deliver(self, piece: Piece, last: int) -> None:
        """See one request through; ``last`` is the number of its last batch."""
        try:
            if await self._deliver_all_of(piece):
                self._line.answered(last)
                self._outstanding -= piece.request.records
        finally:
            self._busy -= 1
            self._changed.fire()

    async def _deliver_all_of(self, whole: Piece) -> bool:
        """Deliver a request, in pieces where it is too large; False if stopped before the end."""
        pieces, since = deque([whole]), self._gate.accepts
        while pieces:
            piece = pieces.popleft()
            outcome = await self._gate.through(
                partial(self._destination.send, piece.request),
                since=since,
                divisible=piece.request.records > 1,
            )
            if outcome is None:
                return False
            if outcome.verdict is Verdict.DELIVERED:
                self._taken(piece, outcome)
            else:
                pieces.extendleft(reversed(self._apart(piece, outcome)))
        return True

    def _apart(self, piece: Piece, outcome: Outcome) -> tuple[Piece, ...]:
        """The pieces to send instead of one that is too large or fails; none for a lone record.

        What fails without being too large may need more time, so its pieces get it.
        """
        request = piece.request
        too_large = outcome.verdict is Verdict.TOO_LARGE
        pieces = split(piece, patience=1.0 if too_large else _MORE_PATIENCE)
        if len(pieces) == 1:
            for letter in self._bury(piece, outcome.reason):
                self._emit(RecordDeadLettered(self._name, letter.uid, outcome.reason))
            return ()
        if too_large and len(request.parts) > 1:  # the next ones are joined to fit
            self._max_size = min(self._max_size, request.size // 2)
        self._emit(RequestSplit(self._name, request.records, request.size, outcome.reason))
        return pieces

    def _taken(self, piece: Piece, outcome: Outcome) -> None:
        """Count what was delivered, and keep a copy where some of it was refused."""
        records = piece.request.records
        refused = min(outcome.refused, records)
        self._delivered += records - refused
        if refused:
            self._bury(piece, outcome.reason)
            self._emit(PartialSuccess(self._name, refused, records, outcome.reason))
        elif outcome.reason and not self._odd:
            self._odd = True
            self._emit(OddAnswer(self._name, outcome.reason))

    def _bury(self, piece: Piece, reason: str) -> list[DeadLetter]:
        """Put a piece's records among the dead letters that are to be stored."""
        refused_at = self._clock.now()
        dead = list(letters(piece, destination=self._name, reason=reason, refused_at=refused_at))
        self._letters.extend(dead)
        self._dead_lettered += len(dead)
        self._changed.fire()
        return dead

    async def _keep_cursor(self) -> None:
        """Store the cursor and the dead letters as they come; what gathers meanwhile goes once."""
        while True:
            if self._line.prefix > self._cursor or self._letters:
                await self._store()
            elif self._closing:
                return
            else:
                await self._changed.wait()

    async def _store(self) -> None:
        cursor, dead = self._line.prefix, tuple(self._letters)
        advance = partial(self._journal.advance, self._name, cursor, dead)
        await self._insist(advance, CursorNotStored)
        del self._letters[: len(dead)]
        self._cursor = cursor
        self._changed.fire()

    async def _insist(
        self, call: Callable[[], Awaitable[_T]], report: Callable[[str, str], Event]
    ) -> _T:
        """Ask the journal until it answers, and report its trouble once."""
        waits = jittered(self._random, longest=_JOURNAL_PATIENCE)
        troubled = False
        while True:
            try:
                answer = await call()
            except JournalError as error:
                if not troubled:
                    self._emit(report(self._name, str(error)))
                troubled = True
                await self._clock.sleep(next(waits))
            else:
                if troubled:
                    self._emit(JournalRecovered(self._name))
                return answer
