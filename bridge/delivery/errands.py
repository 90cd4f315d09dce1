"""What a person asked for from outside: pauses, and dead letters to send again."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from bridge.clock import Clock
from bridge.delivery.courier import Courier
from bridge.delivery.gate import Gate
from bridge.delivery.insist import Insistent
from bridge.delivery.keeper import Keeper
from bridge.delivery.slots import Slots
from bridge.journal import Journal
from bridge.model import DeadLetter
from bridge.pulse import Pulse
from bridge.telemetry.delivering import WishesNotRead

EVERY: Final = 5.0
"""Seconds from one look to the next."""
_LETTERS: Final = 4
"""Dead letters under way at a time, those that stand aside among them: more of them would stand
in line for a slot ahead of what is new."""


class Errands:
    """Looks for wishes now and then, and sees to them.

    Dead letters go beside the batches, through the same gate and slots. More are taken only when
    all that were taken are answered for and stored, so that none is sent twice. ``looked`` is set
    once it is known whether anything may be sent.
    """

    def __init__(
        self,
        destination: str,
        journal: Journal,
        clock: Clock,
        *,
        max_size: int,
        changed: Pulse,
        gate: Gate,
        slots: Slots,
        keeper: Keeper,
        courier: Courier,
        insistent: Insistent,
    ) -> None:
        self._wishes = partial(journal.wishes, destination, max_size=max_size)
        self._clock = clock
        self._changed = changed
        self._gate = gate
        self._slots = slots
        self._keeper = keeper
        self._courier = courier
        self._insistent = insistent
        self._under_way = 0
        self._sending = 0
        self.looked = asyncio.Event()

    async def run(self, sending: asyncio.TaskGroup) -> None:
        """Look for ever; what is to be replayed is sent by tasks of the group."""
        while True:
            wishes = await self._insistent.ask(self._wishes, WishesNotRead)
            self._gate.pause(paused=wishes.paused)
            self.looked.set()
            if wishes.replay and not self._under_way:
                self._under_way = len(wishes.replay)
                sending.create_task(self._replay_all(wishes.replay, sending))
            await self._clock.sleep(EVERY)

    async def _replay_all(
        self, letters: tuple[DeadLetter, ...], sending: asyncio.TaskGroup
    ) -> None:
        for letter in letters:
            while not self._gate.closed and not (self._slots.free and self._sending < _LETTERS):
                await self._changed.wait()
            if self._gate.closed:
                return
            self._slots.take()
            self._sending += 1
            sending.create_task(self._replay(letter))

    async def _replay(self, letter: DeadLetter) -> None:
        try:
            answered = await self._courier.replay(letter)
        finally:
            self._sending -= 1
            self._slots.give()
        noted = self._keeper.noted
        while answered and not self._keeper.has_stored(noted) and not self._gate.closed:
            await self._changed.wait()
        self._under_way -= 1
