"""Sees requests through to one destination: whole, in pieces, or into the dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import islice
from random import Random
from typing import Final

from msgspec.structs import replace

from bridge.clock import Clock
from bridge.delivery.gate import Gate, NothingToSend, Sending
from bridge.delivery.joining import Joining
from bridge.delivery.keeper import Keeper
from bridge.delivery.rejections import Answer, Step, decide
from bridge.delivery.retry import Backoff, asked, doubling
from bridge.delivery.selection import Selection
from bridge.delivery.slots import Slots
from bridge.delivery.split import Piece, letters, request_of, split
from bridge.delivery.trials import Budget, Suspicion, Trial, Trials
from bridge.delivery.trust import Trust
from bridge.delivery.witness import Witness
from bridge.destinations import Destination
from bridge.model import DeadLetter, Outcome, Verdict
from bridge.pulse import Pulse
from bridge.telemetry import Emit
from bridge.telemetry.delivering import (
    DeadLetterDelivered,
    OddAnswer,
    PartialSuccess,
    RecordDeadLettered,
    RecordsTooOld,
    RequestSplit,
    WitnessSent,
)

_MORE_PATIENCE: Final = 2.0
_MOST_PATIENCE: Final = 4.0
"""A request that fails has its pieces waited for twice as long, and theirs, up to this."""
_ALONE: Final = 2
"""A request that stood aside so often for failing, with no other to be sent, is split all the
same. Once would not do: what else there is may have to be read first."""
_LONELY: Final = 7.0
"""Seconds that a lone record waits for another one to be accepted before a witness is sent."""
_TRIES_OF_A_LETTER: Final = 6
"""After the first, which with waits of 1 s doubling to 32 s is a minute."""


class Courier:
    """Delivers one request at a time for each caller, and counts what came of the records."""

    def __init__(
        self,
        destination: Destination,
        clock: Clock,
        emit: Emit,
        random: Random,
        *,
        changed: Pulse,
        gate: Gate,
        slots: Slots,
        keeper: Keeper,
        joining: Joining,
        selection: Selection,
    ) -> None:
        self._destination = destination
        self._name = destination.name
        self._clock = clock
        self._emit = emit
        self._random = random
        self._changed = changed
        self._gate = gate
        self._slots = slots
        self._keeper = keeper
        self._joining = joining
        self._selection = selection
        self._odd = False
        self._witness = Witness(selection, clock)
        self._hearing = asyncio.Lock()
        self._trust = Trust(clock)
        self._under_way: list[Trials] = []
        self.delivered = 0
        self.dead_lettered = 0

    async def deliver(self, whole: Piece) -> bool:
        """See a request through; False if stopped before the end.

        The caller's slot is lent to others while everything that is left of it stands aside.
        """
        trials = Trials(whole)
        self._under_way.append(trials)
        try:
            return await self._see_through(trials)
        finally:
            self._under_way.remove(trials)

    async def _see_through(self, trials: Trials) -> bool:
        while (trial := trials.next()) is not None:
            suspicion = trial.suspicion
            if suspicion is not None and not await self._stand_aside(suspicion):
                return False
            await self._hear_witness(trials, trial)
            try:
                answer = await self._try(trials, trial)
            except NothingToSend:
                continue
            if answer is None:
                return False
            self._act(trials, trial, answer)
        return True

    async def replay(self, letter: DeadLetter) -> bool:
        """Send a dead letter once more, and have the answer kept; False if stopped before it.

        It is a dead letter already: a refusal needs no contrast, and tells nothing new.
        """
        trial = Trial(Piece(request_of(letter), letter.seq), Budget())
        try:
            answer = await self._try_again(trial)
        except NothingToSend:
            return True
        if answer is None:
            return False
        outcome = answer.outcome
        if outcome.verdict is Verdict.DELIVERED and not outcome.refused:
            self._keeper.replayed(letter.uid)
            self._emit(DeadLetterDelivered(self._name, letter.uid))
        else:
            now = self._clock.now()
            self._keeper.bury(
                [replace(letter, reason=outcome.reason, answer=outcome.answer, refused_at=now)]
            )
            self._emit(RecordDeadLettered(self._name, letter.uid, outcome.reason))
        return True

    async def _try_again(self, trial: Trial) -> Answer | None:
        """Send a dead letter; where it fails by its own fault, some times more, the slot lent.

        That may be the destination's: then it is over after a while. If others are accepted
        meanwhile, or it is not over, the letter stays one.
        """
        self._refresh(trial)
        if over := self._destination.too_large(trial.piece.request):
            return Answer(over)
        send = partial(self._send, trial)
        again = Sending(send, suspect=True, telling=False, piece=True)
        answer = await self._gate.through(again)
        for wait in islice(doubling(), _TRIES_OF_A_LETTER):
            if answer is None or answer.outcome.verdict is not Verdict.RETRY or answer.contrast:
                break
            due = self._clock.monotonic() + max(wait, asked(answer.outcome))
            suspicion = Suspicion(answer.until, doubted=False, due=due, lonely=due)
            if not await self._stand_aside(suspicion):
                return None
            answer = await self._gate.through(replace(again, since=answer.since))
        return answer

    async def _stand_aside(self, suspicion: Suspicion) -> bool:
        """Wait until another request has been accepted, or it is time to try this one again."""
        async with self._slots.lent():
            while not (accepted := self._accepts_since(suspicion)) or self._trust.lost:
                due = suspicion.due if accepted else max(suspicion.due, suspicion.lonely)
                left = due - self._clock.monotonic()
                if left <= 0 or self._gate.closed:
                    break
                await self._changed.within(self._clock, left)
        return not self._gate.closed

    def _accepts_since(self, suspicion: Suspicion) -> bool:
        return self._gate.accepted > suspicion.until

    async def _hear_witness(self, trials: Trials, trial: Trial) -> None:
        """Send what was accepted before once more, where nothing else shows whose fault it is."""
        if not self._wants_contrast(trials, trial):
            return  # and waits for nobody else's witness
        async with self._hearing:
            if not self._wants_contrast(trials, trial) or (found := self._witness.call()) is None:
                return
            uid, request = found
            send = partial(self._destination.send, request)
            answer = await self._gate.through(Sending(send, witness=True))
            if answer is None or answer.outcome.unsent:
                return
            accepted = answer.outcome.verdict is Verdict.DELIVERED and not answer.outcome.refused
            if not accepted:
                self._witness.drop()
            self._emit(WitnessSent(self._name, uid, accepted))

    def _wants_contrast(self, trials: Trials, trial: Trial) -> bool:
        if trial.lone and trial.suspicion and not self._accepts_since(trial.suspicion):
            return True
        fresh = trial.since is None  # and so as good a contrast itself
        return self._gate.in_doubt and not fresh and not self._descends(trials, trial)

    async def _try(self, trials: Trials, trial: Trial) -> Answer | None:
        """Send one piece, within its batch's budget, unless it is known to be too large."""
        self._refresh(trial)
        over = self._destination.too_large(trial.piece.request)
        if over is not None:
            return Answer(over, since=trial.since, certain=True)
        wait = trial.budget.spend(self._gate.accepted)
        if self._searches(trials, trial):
            wait = max(wait, trials.search.spend(self._gate.accepted))
        if not await self._rest(wait):
            return None
        sending = Sending(
            partial(self._send, trial),
            since=trial.since,
            suspect=trial.suspicion is not None,
            doubted=trial.doubted,
            piece=trial.failing,
            descent=self._descends(trials, trial),
        )
        return await self._gate.through(sending)

    def _descends(self, trials: Trials, trial: Trial) -> bool:
        """Whether it is on the way down to a lone record; one request at a time may be."""
        if self._searches(trials, trial):
            return True
        if trial.since is None or trial.lone or trial.suspicion or trial.budget.fruitless:
            return False
        return trials is next((other for other in self._under_way if other.descending), None)

    def _searches(self, trials: Trials, trial: Trial) -> bool:
        """Whether it may be the first to be accepted; the oldest request is gone through once."""
        if self._gate.accepted or trial.since is None or trial.suspicion or trial.failing:
            return False
        return trials is self._under_way[0] and not trials.in_order

    def _only(self, trials: Trials, trial: Trial) -> bool:
        """Whether a trial that fails has to come apart for anything to be accepted at all."""
        alone = all(other.stuck for other in self._under_way if other is not trials)
        return alone and (trial.failures >= _ALONE or self._descends(trials, trial))

    async def _send(self, trial: Trial) -> Outcome:
        self._refresh(trial)
        return await self._destination.send(trial.piece.request)

    def _refresh(self, trial: Trial) -> None:
        """See to the records of a trial that have become too old for the destination.

        Raises:
            NothingToSend: all of them have, and are dead letters now.
        """
        now = self._clock.now()
        if not self._selection.expired(trial.piece.request, now):
            return
        fresh = self._selection.fresh(trial.piece, now, destination=self._name)
        if fresh.restamped:
            self._emit(RecordsTooOld(self._name, fresh.restamped, "restamp"))
        if fresh.dead:
            self.dead_lettered += len(fresh.dead)
            self._keeper.bury(fresh.dead)
            self._emit(RecordsTooOld(self._name, len(fresh.dead), "dead_letter"))
        if fresh.piece is None:
            raise NothingToSend
        trial.piece = fresh.piece

    async def _rest(self, seconds: float) -> bool:
        """Wait, the slot free for others; False if stopped meanwhile."""
        if seconds:
            until = self._clock.monotonic() + seconds
            async with self._slots.lent():
                while not self._gate.closed and (left := until - self._clock.monotonic()) > 0:
                    await self._changed.within(self._clock, left)
        return not self._gate.closed

    def _act(self, trials: Trials, trial: Trial, answer: Answer) -> None:
        """Do what the answer asks for."""
        trial.confirmed += trial.suspicion is not None and answer.contrast
        proved = trial.confirmed >= self._trust.proof
        only = self._only(trials, trial)
        step = decide(answer, lone=trial.lone, proved=proved, only=only)
        if step is Step.TAKEN:
            if trials.taken(trial, unsent=answer.outcome.unsent):
                self._trust.lose()
            self._taken(trial.piece, answer.outcome)
        elif step is Step.APART:
            trials.apart(trial, self._apart(trial.piece, answer.outcome), answer)
        elif step is Step.BURIED:
            self._bury(trial.piece, answer.outcome)
        else:
            trial.waits = trial.waits or Backoff(self._random)
            trial.failures += answer.outcome.verdict is Verdict.RETRY
            now = self._clock.monotonic()
            rejected = answer.outcome.verdict is Verdict.REJECTED
            suspicion = Suspicion(
                answer.until,
                doubted=answer.contrast or trial.doubted,
                due=now + trial.waits.after(answer.outcome),
                lonely=now + _LONELY if trial.lone and self._witness.known else now,
                refused=rejected and trial.lone,
            )
            trials.aside(trial, suspicion)

    def _apart(self, piece: Piece, outcome: Outcome) -> Sequence[Piece]:
        """The pieces to send instead; what fails may need more time, so its pieces get it."""
        request = piece.request
        patience = request.patience
        if outcome.verdict is Verdict.RETRY:
            patience = min(patience * _MORE_PATIENCE, _MOST_PATIENCE)
        if outcome.verdict is Verdict.TOO_LARGE and len(request.parts) > 1:
            self._joining.too_large(request.size)
        self._emit(RequestSplit(self._name, request.records, request.size, outcome.reason))
        return split(piece, patience=patience)

    def _taken(self, piece: Piece, outcome: Outcome) -> None:
        """Count what was delivered, and keep a copy where some of it was refused."""
        records = piece.request.records
        refused = min(outcome.refused, records)
        if not refused:
            self._witness.keep(piece)
        self.delivered += records - refused
        if late := self._selection.late(piece.request, self._clock.now()):
            self._emit(RecordsTooOld(self._name, late, "send"))
        if refused:
            self._joining.partly()
            reason = f"{refused} of {records} in one request refused, not said which"
            self._keep(piece, replace(outcome, reason=f"{reason}: {outcome.reason}"))
            self._emit(PartialSuccess(self._name, refused, records, outcome.reason))
        elif outcome.reason and not self._odd:
            self._odd = True
            self._emit(OddAnswer(self._name, outcome.reason))

    def _bury(self, piece: Piece, outcome: Outcome) -> None:
        """Make a lone record a dead letter."""
        for letter in self._keep(piece, outcome):
            self._emit(RecordDeadLettered(self._name, letter.uid, outcome.reason))

    def _keep(self, piece: Piece, outcome: Outcome) -> list[DeadLetter]:
        """Put a piece's records among the dead letters."""
        now = self._clock.now()
        dead = list(letters(piece, outcome, destination=self._name, refused_at=now))
        self.dead_lettered += len(dead)
        self._keeper.bury(dead)
        return dead
