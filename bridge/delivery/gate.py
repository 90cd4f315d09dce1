"""When a destination may be sent to: freely while it accepts, one request at a time while not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from bridge.clock import Clock
from bridge.delivery.pulse import Pulse
from bridge.delivery.retry import Backoff, asked
from bridge.model import Outcome, Tick, Verdict
from bridge.telemetry import Emit
from bridge.telemetry.delivering import (
    DestinationBlocked,
    DestinationRecovered,
    DestinationRetrying,
)

_ACCEPTED: Final = frozenset({Verdict.DELIVERED, Verdict.TOO_LARGE})
"""Answers that show a destination at work, and with which a request need not be tried again."""
_FAULTS: Final = 5
"""So many failures while others succeed, and a request is suspected of being the cause."""
_HICCUP: Final = 5.0
"""A first failure is worth a line only if the next try is at least this many seconds away."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a destination is not sent to freely: RETRY or BLOCKED, the last reason, since when."""

    verdict: Verdict
    reason: str
    since: Tick


class Gate:
    """Holds the requests of one destination while it is in trouble.

    The first failure closes the gate: no new request starts, and of those already on their way
    one at a time tries again, in turns, on the destination's own back-off, so that a backend
    that is down or refuses everything sees one request per step. Any accepted request opens the
    gate; ``accepts`` counts them. Each request also keeps a back-off of its own, so that one that
    fails while others succeed is not tried at their pace.

    A rejected request keeps the gate closed by itself until it is accepted: running on past it
    would leave the cursor behind, with ever more to send again after a restart.
    """

    def __init__(
        self, destination: str, clock: Clock, emit: Emit, random: Random, changed: Pulse
    ) -> None:
        self._destination = destination
        self._clock = clock
        self._emit = emit
        self._random = random
        self._changed = changed
        self._turn = asyncio.Lock()
        self._rejected: dict[object, Outcome] = {}
        self._closed = False
        self._trouble: Trouble | None = None
        self._announced: Trouble | None = None
        self._began = 0.0
        self._failures = 0
        self._suspects = False
        self.accepts = 0
        self._backoff = Backoff(random)
        self._not_before = 0.0

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong, None while the destination accepts."""
        return self._trouble

    @property
    def is_open(self) -> bool:
        """Whether new requests may start.

        Also in trouble that may be one request's own: only another one can show it.
        """
        return (self._trouble is None or self._suspects) and not self._closed

    def close(self) -> None:
        """Start nothing any more: who waits gives up at once, who sends may finish."""
        self._closed = True
        self._changed.fire()

    async def through(
        self, send: Callable[[], Awaitable[Outcome]], *, since: int, divisible: bool
    ) -> Outcome | None:
        """Send, as often as it takes, until the answer is DELIVERED or TOO_LARGE.

        ``since`` is what `accepts` was when the request was first sent, whole. If it keeps
        failing in a way that may be its own fault, while others have been accepted since, a
        ``divisible`` one is given up with that answer (a RETRY), and a lone record counts as
        rejected, which holds the destination.

        Returns None if the gate was closed for good before that.
        """
        key = object()
        backoff = Backoff(self._random)
        faults = 0
        while True:
            outcome = await self._send_in_turn(key, send)
            if outcome is None or outcome.verdict in _ACCEPTED:
                return outcome
            faults += outcome.own_fault
            if faults >= _FAULTS:
                if self.accepts > since and divisible:
                    return outcome
                self._suspect(key, outcome, since)
            again = self._clock.monotonic() + backoff.after(outcome)
            while not self._closed and (left := again - self._clock.monotonic()) > 0:
                await self._sleep(left)

    def _suspect(self, key: object, outcome: Outcome, since: int) -> None:
        """A request that keeps failing by itself: let another show that the backend works.

        Once one has, and this is a lone record, it is as good as rejected.
        """
        if self.accepts > since:
            self._rejected[key] = outcome
            self._hold(replace(outcome, verdict=Verdict.REJECTED))
        elif not self._suspects:
            self._suspects = True
            self._changed.fire()

    async def _send_in_turn(
        self, key: object, send: Callable[[], Awaitable[Outcome]]
    ) -> Outcome | None:
        """Send once: at once while the gate is open, else as the only one and when it is time."""
        while self._trouble is not None:
            async with self._turn:
                await self._until_time_for_a_probe()
                if self._closed:
                    return None
                if self._trouble is not None:
                    outcome = await send()
                    self._judge(key, outcome, probe=True)
                    return outcome
        if self._closed:
            return None
        outcome = await send()
        self._judge(key, outcome, probe=False)
        return outcome

    async def _until_time_for_a_probe(self) -> None:
        while self._trouble is not None and not self._closed:
            left = self._not_before - self._clock.monotonic()
            if left <= 0:
                return
            await self._sleep(left)

    async def _sleep(self, seconds: float) -> None:
        """Wait that long, or until anything changed."""
        waits = (
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._changed.wait()),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _judge(self, key: object, outcome: Outcome, *, probe: bool) -> None:
        """Note an answer; only a first failure and a probe's step the back-off."""
        self._rejected.pop(key, None)
        if outcome.verdict in _ACCEPTED:
            self._accepted()
            return
        if outcome.verdict is Verdict.REJECTED:
            self._rejected[key] = outcome
        now = self._clock.monotonic()
        if self._trouble is None:
            self._began = now
        if probe or self._trouble is None:
            self._failures += 1
            self._not_before = now + self._backoff.after(outcome)
        else:
            self._not_before = max(self._not_before, now + asked(outcome))
        self._hold(outcome)

    def _accepted(self) -> None:
        """Open the gate, unless a rejected request keeps it closed."""
        self.accepts += 1
        self._suspects = False
        if self._trouble is None:
            return
        self._failures = 0
        self._backoff = Backoff(self._random)
        self._not_before = self._clock.monotonic()
        if self._rejected:
            self._hold(next(iter(self._rejected.values())))
        else:
            self._trouble = None
            if self._announced is not None:
                held = self._clock.monotonic() - self._began
                self._emit(DestinationRecovered(self._destination, held))
                self._announced = None
        self._changed.fire()

    def _hold(self, outcome: Outcome) -> None:
        """Be in trouble for this reason, and say so once it is more than a hiccup."""
        since = self._clock.now() if self._trouble is None else self._trouble.since
        verdict = Verdict.RETRY if outcome.verdict is Verdict.RETRY else Verdict.BLOCKED
        self._trouble = Trouble(verdict, outcome.reason, since)
        said = self._announced
        if verdict is Verdict.BLOCKED:
            if said is None or (said.verdict, said.reason) != (verdict, outcome.reason):
                self._emit(DestinationBlocked(self._destination, outcome.reason))
                self._announced = self._trouble
        elif said is None or said.verdict is not verdict:
            away = self._not_before - self._clock.monotonic()
            if self._failures > 1 or away >= _HICCUP:
                self._emit(DestinationRetrying(self._destination, outcome.reason))
                self._announced = self._trouble
