"""The loop that takes one destination from its cursor to the end of the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

from msgspec import Struct

from bridge.clock import Clock
from bridge.delivery.courier import Courier
from bridge.delivery.errands import Errands
from bridge.delivery.gate import Gate, Trouble
from bridge.delivery.insist import Insistent
from bridge.delivery.joining import Joining
from bridge.delivery.keeper import Keeper
from bridge.delivery.selection import EVERYTHING, Selection
from bridge.delivery.slots import Slots
from bridge.delivery.split import Piece
from bridge.destinations import Destination
from bridge.journal import Journal
from bridge.model import Batch, Verdict
from bridge.payload import Request
from bridge.pulse import Pulse
from bridge.telemetry import Emit
from bridge.telemetry.delivering import BatchesNotRead

_MEBIBYTE: Final = 1_048_576
_WINDOW: Final = 16
"""Requests may run ahead of the oldest unanswered one by this many for each one in flight: what
a crash sends again stays bounded."""
_HELD: Final = 4
"""Requests that stand aside are held in memory: with those in flight, so many times the bytes that
may be in flight."""


class Forwarding(Struct, frozen=True):
    """A forwarder at one moment.

    ``cursor`` is the stored one. ``delivered`` and ``dead_lettered`` count records since this
    process began, ``outstanding`` those that were read and are not answered for yet, ``skipped``
    those that the destination does not take. ``paused``: a person asked that nothing be sent.
    """

    destination: str
    cursor: int
    delivered: int
    dead_lettered: int
    outstanding: int
    trouble: Trouble | None
    skipped: int = 0
    paused: bool = False

    @property
    def blocked(self) -> bool:
        """Whether it is held until somebody mends something, which a pause is not."""
        return (
            self.trouble is not None and self.trouble.verdict is Verdict.BLOCKED and not self.paused
        )


class Forwarder:
    """Delivers the journal's batches to one destination, in order and at least once.

    Batches that are ready together are joined into one request of up to ``max_batches`` and
    ``max_size`` bytes before compression; ``in_flight`` requests are on their way at a time.
    There is no limit on tries. The cursor is the end of the unbroken run of requests that were
    answered for, so whatever moment this is cancelled at, a restart sends again all that was
    not, and perhaps a little that was.

    Held in memory are no more than ``in_flight * max_size`` bytes, four times that while records
    stand aside (plus one request), before compression and a copy or two compressed.
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
        selection: Selection = EVERYTHING,
    ) -> None:
        self._name = destination.name
        self._journal = journal
        self._selection = selection
        self._window = _WINDOW * in_flight
        self._most_held = _HELD * in_flight * max_size
        self._changed = Pulse()
        self._insistent = Insistent(self._name, clock, emit, random)
        self._gate = Gate(self._name, clock, emit, random, self._changed)
        self._slots = Slots(in_flight, self._changed)
        self._keeper = Keeper(
            self._name, journal, clock, emit, random=random, changed=self._changed
        )
        self._joining = Joining(clock, max_batches=max_batches, max_size=max_size)
        self._courier = Courier(
            destination,
            clock,
            emit,
            random,
            changed=self._changed,
            gate=self._gate,
            slots=self._slots,
            keeper=self._keeper,
            joining=self._joining,
            selection=selection,
        )
        self._errands = Errands(
            self._name,
            journal,
            clock,
            max_size=max_size,
            changed=self._changed,
            gate=self._gate,
            slots=self._slots,
            keeper=self._keeper,
            courier=self._courier,
            insistent=self._insistent,
        )
        self._outstanding = 0
        self._held = 0
        self._skipped = 0

    @property
    def state(self) -> Forwarding:
        """How it stands now."""
        return Forwarding(
            destination=self._name,
            cursor=self._keeper.cursor,
            delivered=self._courier.delivered,
            dead_lettered=self._courier.dead_lettered,
            outstanding=self._outstanding,
            trouble=self._keeper.trouble or self._gate.trouble,
            skipped=self._skipped,
            paused=self._gate.paused,
        )

    async def drained(self, up_to: int) -> None:
        """Return once the stored cursor has reached a batch's sequence number."""
        while self._keeper.cursor < up_to:
            await self._changed.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; runs once.

        From then on nothing new is sent and nothing waits out a back-off, but what is being sent
        may finish and the cursor is stored. The caller's grace for that is to cancel this, which
        is safe at any moment.
        """
        async with asyncio.TaskGroup() as keeping:
            keeping.create_task(self._keeper.run())
            async with asyncio.TaskGroup() as sending:
                starting = (
                    sending.create_task(self._feed(sending)),
                    sending.create_task(self._errands.run(sending)),
                )
                await stop.wait()
                for task in starting:
                    task.cancel()
                self._gate.close()
            self._keeper.close()

    async def _feed(self, sending: asyncio.TaskGroup) -> None:
        """Read on from the cursor and start a request whenever there is room for one."""
        after = await self._keeper.begin()
        await self._errands.looked.wait()
        while True:
            await self._room()
            batches = await self._insistent.ask(partial(self._read, after), BatchesNotRead)
            if not batches:
                wait = partial(self._journal.wait_for_batch, after)
                await self._insistent.ask(wait, BatchesNotRead)
                continue
            await self._room()
            after = batches[-1].seq
            self._keeper.started(after)
            taken = self._selection.take(batches)
            self._skipped += taken.skipped
            if not taken.parts:
                self._keeper.answered(after)
                continue
            self._slots.take()
            request = Request(taken.parts)
            self._outstanding += request.records
            self._held += request.size
            sending.create_task(self._deliver(Piece(request, taken.parts[0].seq), after))

    async def _read(self, after: int) -> Sequence[Batch]:
        joining = self._joining
        return await self._journal.read(
            after, max_batches=joining.max_batches, max_size=joining.max_size
        )

    async def _room(self) -> None:
        """Wait until the destination accepts and one more request may be on its way."""
        while not (
            self._gate.is_open
            and self._keeper.trouble is None
            and self._slots.free
            and self._keeper.span < self._window
            and self._held < self._most_held
        ):
            await self._changed.wait()

    async def _deliver(self, piece: Piece, last: int) -> None:
        """See one request through; ``last`` is the number of its last batch."""
        try:
            if await self._courier.deliver(piece):
                self._outstanding -= piece.request.records
                self._held -= piece.request.size
                self._keeper.answered(last)
        finally:
            self._slots.give()
