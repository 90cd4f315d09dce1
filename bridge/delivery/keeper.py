"""Keeps what was answered: the cursor, the dead letters, and which of those were delivered."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from random import Random

from bridge.clock import Clock
from bridge.delivery.gate import Trouble
from bridge.delivery.inflight import InFlight
from bridge.delivery.insist import Insistent
from bridge.delivery.retry import doubling
from bridge.errors import DeadLettersFull
from bridge.journal import Journal
from bridge.model import DeadLetter, Verdict
from bridge.pulse import Pulse
from bridge.telemetry import Emit
from bridge.telemetry.delivering import (
    BatchesNotRead,
    CursorNotStored,
    DestinationBlocked,
    DestinationRecovered,
)


class Keeper:
    """Stores in the journal how far one destination is, as answers come.

    The cursor is the end of the unbroken run of requests that were answered for. Where dead letters
    do not fit into the journal, everything waits, the cursor too, until a person makes room.
    """

    def __init__(
        self,
        destination: str,
        journal: Journal,
        clock: Clock,
        emit: Emit,
        *,
        random: Random,
        changed: Pulse,
    ) -> None:
        self._destination = destination
        self._journal = journal
        self._clock = clock
        self._emit = emit
        self._changed = changed
        self._insistent = Insistent(destination, clock, emit, random)
        self._line = InFlight(0)
        self._cursor = 0
        self._letters: list[DeadLetter] = []
        self._replayed: list[str] = []
        self._noted = 0
        self._stored = 0
        self._trouble: Trouble | None = None
        self._began = 0.0
        self._waits = doubling()
        self._closing = False

    @property
    def cursor(self) -> int:
        """The stored cursor."""
        return self._cursor

    @property
    def noted(self) -> int:
        """How often something was given to be stored."""
        return self._noted

    @property
    def span(self) -> int:
        """See `InFlight.span`."""
        return self._line.span

    @property
    def trouble(self) -> Trouble | None:
        """The dead letters are full; None while they are not."""
        return self._trouble

    async def begin(self) -> int:
        """Put the destination in use; where it is."""
        attach = partial(self._journal.attach, self._destination)
        self._cursor = await self._insistent.ask(attach, BatchesNotRead)
        self._line = InFlight(self._cursor)
        self._changed.fire()
        return self._cursor

    def started(self, last: int) -> None:
        """See `InFlight.started`."""
        self._line.started(last)

    def answered(self, last: int) -> None:
        """See `InFlight.answered`."""
        self._line.answered(last)
        self._changed.fire()

    def bury(self, letters: Iterable[DeadLetter]) -> None:
        """Have these dead letters stored."""
        self._letters.extend(letters)
        self._noted += 1
        self._changed.fire()

    def replayed(self, uid: str) -> None:
        """Have a dead letter removed, since it was delivered."""
        self._replayed.append(uid)
        self._noted += 1
        self._changed.fire()

    def has_stored(self, noted: int) -> bool:
        """Whether what was given by then is stored, where ``noted`` is what `noted` was."""
        return self._stored >= noted

    def close(self) -> None:
        """Store what there is, and let `run` end."""
        self._closing = True
        self._changed.fire()

    async def run(self) -> None:
        """Store whatever comes, as it comes; what gathers meanwhile goes together."""
        while True:
            if self._line.prefix > self._cursor or self._letters or self._replayed:
                await self._store()
                if self._closing and self._trouble is not None:
                    return  # a restart sends again what could not be stored
            elif self._closing:
                return
            else:
                await self._changed.wait()

    async def _store(self) -> None:
        cursor, noted = self._line.prefix, self._noted
        letters, replayed = tuple(self._letters), tuple(self._replayed)
        name = self._destination
        advance = partial(self._journal.advance, name, cursor, letters, replayed)
        try:
            await self._insistent.ask(advance, CursorNotStored)
        except DeadLettersFull as error:
            await self._wait_for_room(error)
            return
        del self._letters[: len(letters)]
        del self._replayed[: len(replayed)]
        self._cursor, self._stored = cursor, noted
        self._has_room()
        self._changed.fire()

    async def _wait_for_room(self, error: DeadLettersFull) -> None:
        """Be in trouble, and let some time pass; no time at the end."""
        now = self._clock.monotonic()
        if self._trouble is None:
            self._began = now
            self._trouble = Trouble(Verdict.BLOCKED, str(error), self._clock.now())
            self._emit(DestinationBlocked(self._destination, str(error)))
        again = now + next(self._waits)
        while not self._closing and (left := again - self._clock.monotonic()) > 0:
            await self._changed.within(self._clock, left)

    def _has_room(self) -> None:
        if self._trouble is None:
            return
        self._trouble, self._waits = None, doubling()
        held = self._clock.monotonic() - self._began
        self._emit(DestinationRecovered(self._destination, held))
