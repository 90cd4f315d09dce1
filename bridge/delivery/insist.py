"""Asking the journal until it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

from bridge.clock import Clock
from bridge.delivery.retry import jittered
from bridge.errors import DeadLettersFull, JournalError
from bridge.telemetry import Emit, Event
from bridge.telemetry.delivering import JournalRecovered

_T = TypeVar("_T")

_PATIENCE: Final = 5.0
"""The longest wait before the journal is asked again, in seconds."""


class Insistent:
    """Asks on behalf of one destination; trouble is reported once, and so is its end."""

    def __init__(self, destination: str, clock: Clock, emit: Emit, random: Random) -> None:
        self._destination = destination
        self._clock = clock
        self._emit = emit
        self._random = random

    async def ask(
        self, call: Callable[[], Awaitable[_T]], report: Callable[[str, str], Event]
    ) -> _T:
        """The journal's answer, however long it takes.

        Raises:
            DeadLettersFull: which no trying mends, but a person.
        """
        waits = jittered(self._random, longest=_PATIENCE)
        troubled = False
        while True:
            try:
                answer = await call()
            except DeadLettersFull:
                raise
            except JournalError as error:
                if not troubled:
                    self._emit(report(self._destination, str(error)))
                troubled = True
                await self._clock.sleep(next(waits))
            else:
                if troubled:
                    self._emit(JournalRecovered(self._destination))
                return answer
