"""When a destination may be sent to: freely while it accepts, one request at a time while not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from msgspec import Struct

from bridge.clock import Clock
from bridge.delivery.rejections import REFUSALS, Answer
from bridge.delivery.retry import Backoff, asked
from bridge.model import Outcome, Tick, Verdict
from bridge.pulse import Pulse
from bridge.telemetry import Emit
from bridge.telemetry.delivering import (
    DestinationBlocked,
    DestinationPaused,
    DestinationRecovered,
    DestinationResumed,
    DestinationRetrying,
)

_FAULTS: Final = 5
"""So many failures while others succeed, and a request is suspected of being the cause."""
_FAULTS_OF_A_PIECE: Final = 2
"""So many for a piece of one that was: its own are expected, and each may be a whole timeout."""
_TOLERATED: Final = 8
"""Refusals in a row that taking requests apart may well come to. After more of them, the
destination itself is in doubt."""
_MOST_TOLERATED: Final = 64
"""So many at most, twice as many each time that a witness has spoken for the destination, half as
many each time that two requests in a row were accepted."""
_HICCUP: Final = 5.0
"""A first failure is worth a line only if the next try is at least this many seconds away."""


class Trouble(Struct, frozen=True):
    """Why a destination is not sent to freely: RETRY or BLOCKED, the last reason, since when."""

    verdict: Verdict
    reason: str
    since: Tick


class NothingToSend(Exception):
    """Raised by `Sending.send` when nothing is left of a request; `Gate.through` lets it pass."""


class Sending(Struct, frozen=True):
    """A request on its way: ``send`` sends it once, ``since`` is `Answer.since` as known so far.

    A ``suspect`` was refused and has stood aside; ``doubted`` if that was in contrast to others. Of
    a request that is not ``telling`` a refusal or its own fault says nothing about the destination.
    A ``piece`` is one of a request that kept failing. One in ``descent`` is on the way down to a
    lone record: that it is refused or fails is expected, says nothing new and costs no waiting. A
    ``witness`` was accepted before and is sent for comparison.
    """

    send: Callable[[], Awaitable[Outcome]]
    since: int | None = None
    suspect: bool = False
    doubted: bool = False
    telling: bool = True
    piece: bool = False
    descent: bool = False
    witness: bool = False

    @property
    def faults(self) -> int:
        """The failures that may be its own until it is suspected of being the cause."""
        if self.suspect:
            return 1
        return _FAULTS_OF_A_PIECE if self.piece else _FAULTS


class _Sent(Struct, frozen=True):
    """A send that came to an end: its number, and the newest accepted one when it began."""

    outcome: Outcome
    number: int
    accepted: int


class Gate:
    """Holds the requests of one destination while it is in trouble.

    The first failure closes the gate: no new request starts, and of those already on their way
    one at a time tries again, in turns, on the destination's own back-off, so that a backend
    that is down or refuses everything sees one request per step. Any accepted request opens the
    gate. Each request also keeps a back-off of its own, so that one that fails while others
    succeed is not tried at their pace.

    A failure that came with progress lets the back-off begin anew.

    A refused request is no failure of a destination that accepts others. Only a destination that
    has accepted nothing yet, or nothing since the last few refusals, or nothing while a record
    stood aside, is blocked; new requests may still start then, in turn, since only another one
    can show whose fault it is.
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
        self._closed = False
        self._pause: Trouble | None = None
        self._trouble: Trouble | None = None
        self._announced: Trouble | None = None
        self._began = 0.0
        self._failures = 0
        self._refusals = 0
        self._tolerated = _TOLERATED
        self._doubtful = False
        self._backoff = Backoff(random)
        self._not_before = 0.0
        self._sent = 0
        self._accepted = 0

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong, None while the destination accepts."""
        return self._pause or self._trouble

    @property
    def paused(self) -> bool:
        """Whether a person asked that nothing be sent."""
        return self._pause is not None

    @property
    def is_open(self) -> bool:
        """Whether new requests may start.

        Also in trouble that may be one request's own: only another one can show it.
        """
        return (self._trouble is None or self._doubtful) and not self._pause and not self._closed

    @property
    def closed(self) -> bool:
        """Whether nothing is sent any more."""
        return self._closed

    @property
    def in_doubt(self) -> bool:
        """Whether so much was refused in a row that one more acceptance should be seen soon.

        Asked at three quarters of what is tolerated, since others are on their way.
        """
        return 4 * self._refusals >= 3 * self._tolerated

    @property
    def accepted(self) -> int:
        """The number of the newest send that was accepted whole, 0 before the first."""
        return self._accepted

    def close(self) -> None:
        """Start nothing any more: who waits gives up at once, who sends may finish."""
        self._closed = True
        self._changed.fire()

    def pause(self, *, paused: bool) -> None:
        """Send nothing until told otherwise, as a person asked; what is being sent may finish."""
        if paused == self.paused:
            return
        if paused:
            self._pause = Trouble(Verdict.BLOCKED, "paused as asked", self._clock.now())
            self._emit(DestinationPaused(self._destination))
        else:
            self._pause = None
            self._emit(DestinationResumed(self._destination))
        self._changed.fire()

    async def through(self, sending: Sending) -> Answer | None:
        """Send, as often as it takes, until the answer is about the request.

        That is DELIVERED, a refusal, or the fifth RETRY that may be the request's own fault; the
        second for a piece of such a request, the first for a suspect, which has stood aside.

        Returns None if the gate was closed for good before that.
        """
        backoff = Backoff(self._random)
        faults, since = 0, sending.since
        while (sent := await self._send_in_turn(sending)) is not None:
            outcome = sent.outcome
            if outcome.verdict is Verdict.DELIVERED or outcome.verdict in REFUSALS:
                return self._answer(sent, self._sent if sending.since is None else sending.since)
            since = sent.number if since is None else since
            faults += outcome.own_fault
            if faults >= sending.faults:
                self._refusals += sending.telling
                answer = self._answer(sent, since)
                self._at_fault(answer, sending)
                return answer
            if outcome.progress:
                faults, backoff = 0, Backoff(self._random)
            again = self._clock.monotonic() + backoff.after(outcome)
            while not self._closed and (left := again - self._clock.monotonic()) > 0:
                await self._changed.within(self._clock, left)
        return None

    def _answer(self, sent: _Sent, since: int) -> Answer:
        return Answer(
            sent.outcome,
            since=since,
            until=self._sent,
            contrast=sent.accepted > since,
            quiet=self._refusals <= self._tolerated,
        )

    async def _send_in_turn(self, sending: Sending) -> _Sent | None:
        """Send once: at once while the gate is open, else as the only one and when it is time."""
        while not self._closed:
            if self._pause is not None:
                await self._changed.wait()
            elif self._trouble is None or (sending.descent and self._doubtful):
                return await self._send(sending, probe=False)
            else:
                async with self._turn:
                    if await self._time_for_a_probe():
                        return await self._send(sending, probe=True)
        return None

    async def _time_for_a_probe(self) -> bool:
        """Wait for it; False if there is none to be made any more."""
        while self._trouble is not None and self._pause is None and not self._closed:
            left = self._not_before - self._clock.monotonic()
            if left <= 0:
                return True
            await self._changed.within(self._clock, left)
        return False

    async def _send(self, sending: Sending, *, probe: bool) -> _Sent:
        """Send once, and note what the answer says of the destination."""
        self._sent += 1
        number, accepted = self._sent, self._accepted
        try:
            outcome = await sending.send()
        except NothingToSend:
            self._let_another_try()
            raise
        if outcome.unsent:
            self._let_another_try()
        elif outcome.verdict is Verdict.DELIVERED:
            self._open(outcome, number, witness=sending.witness)
        elif outcome.verdict not in REFUSALS:
            if probe or not self._expected(outcome, sending):
                self._failed(outcome, probe=probe)
        elif sending.telling:
            unknown = sending.suspect and not sending.doubted
            alone = unknown and accepted <= (sending.since or 0)
            tolerable = sending.descent or (self._refusals < self._tolerated and not alone)
            self._refusals += not sending.descent
            if sending.witness:
                self._tolerated = _TOLERATED
            self._refused(outcome, probe=probe, tolerable=tolerable)
        return _Sent(outcome, number, accepted)

    def _let_another_try(self) -> None:
        """Nothing was sent by what may have been the only one on its way: or nothing ever would."""
        self._doubtful = True
        self._changed.fire()

    def _expected(self, outcome: Outcome, sending: Sending) -> bool:
        """Whether a failure is a piece's own, as was that of the request it was cut from."""
        quiet = self._trouble is None and self._refusals < self._tolerated
        own = outcome.own_fault and sending.piece and not outcome.retry_after
        return own and (sending.descent or quiet)

    def _failed(self, outcome: Outcome, *, probe: bool) -> None:
        """The destination did not take it; only a first failure and a probe's step the back-off."""
        self._doubtful = False
        if outcome.progress:
            self._backoff = Backoff(self._random)
        if probe or self._trouble is None:
            self._step(self._backoff.after(outcome))
        else:
            now = self._clock.monotonic()
            self._not_before = max(self._not_before, now + asked(outcome))
        self._hold(outcome)

    def _refused(self, outcome: Outcome, *, probe: bool, tolerable: bool) -> None:
        """A request was refused, ``tolerable`` if that may well come of taking one apart."""
        expected = self._accepted > 0 or outcome.verdict is Verdict.TOO_LARGE
        if tolerable and expected and self._trouble is None:
            return
        self._doubtful = True
        if probe or self._trouble is None:
            self._step(asked(outcome) if tolerable else self._backoff.after(outcome))
        if not (tolerable and expected):
            self._hold(outcome)
        self._changed.fire()

    def _at_fault(self, answer: Answer, sending: Sending) -> None:
        """A request keeps failing; where others are accepted, that is no one else's trouble."""
        if (answer.contrast and not sending.piece) or (
            (answer.contrast or sending.doubted) and answer.quiet
        ):
            self._recover()
        self._doubtful = True
        self._changed.fire()

    def _step(self, wait: float) -> None:
        """Count a failure, and let the next probe wait."""
        now = self._clock.monotonic()
        if self._trouble is None:
            self._began = now
        self._failures += 1
        self._not_before = now + wait

    def _open(self, outcome: Outcome, number: int, *, witness: bool) -> None:
        """The destination accepts; all of it, if this is to count as contrast."""
        if not outcome.refused:
            self._accepted = max(self._accepted, number)
        if witness:
            self._tolerated = min(2 * self._tolerated, _MOST_TOLERATED)
        elif not self._refusals:
            self._tolerated = max(self._tolerated // 2, _TOLERATED)
        self._refusals = 0
        self._doubtful = False
        self._recover()
        self._changed.fire()

    def _recover(self) -> None:
        """Be in trouble no more."""
        if self._trouble is None:
            return
        self._trouble = None
        self._failures = 0
        self._backoff = Backoff(self._random)
        if self._announced is not None:
            held = self._clock.monotonic() - self._began
            self._emit(DestinationRecovered(self._destination, held))
            self._announced = None

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
