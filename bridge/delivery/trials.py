"""A request that is taken apart: its pieces, and which is to be sent next. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.delivery.rejections import Answer
from bridge.delivery.retry import Backoff, doubling
from bridge.delivery.split import Piece
from bridge.model import Batch, Verdict

REQUESTS: Final = 64
"""Requests that a batch may cost before it has to wait."""


@dataclass(slots=True)
class Budget:
    """The requests that one batch, or one joined request above its batches, may cost.

    Used up, it is renewed after a wait of 1 s doubling to 60 s: a batch of mostly bad records comes
    to its end too, only at a pace that a backend can bear.
    """

    left: int = REQUESTS
    waits: Iterator[float] = field(default_factory=doubling)

    def spend(self) -> float:
        """Take one request; the seconds to wait before it is sent."""
        wait = 0.0
        if not self.left:
            self.left, wait = REQUESTS, next(self.waits)
        self.left -= 1
        return wait


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A piece that stands aside, until it is ``due`` on the monotonic clock or others are accepted.

    ``until`` is `Answer.until` of its last refusal, ``doubted`` whether one came in contrast.
    """

    until: int
    doubted: bool
    due: float


@dataclass(slots=True)
class Trial:
    """A piece to be sent. ``since`` is the newest send when it was last refused, in whole or alone.

    None before the first refusal.
    """

    piece: Piece
    budget: Budget
    since: int | None = None
    suspicion: Suspicion | None = None
    waits: Backoff | None = None

    @property
    def lone(self) -> bool:
        """Whether it is a single record."""
        return self.piece.request.records == 1

    @property
    def doubted(self) -> bool:
        """Whether it was refused although others were accepted."""
        return self.suspicion is not None and self.suspicion.doubted


class Trials:
    """The pieces of one request, those that stand aside after all others."""

    def __init__(self, whole: Piece) -> None:
        self._fresh = deque([Trial(whole, Budget())])
        self._aside: deque[Trial] = deque()

    def next(self) -> Trial | None:
        """The piece that comes next, no longer among these; None when nothing is left."""
        queue = self._fresh or self._aside
        return queue.popleft() if queue else None

    def apart(self, trial: Trial, pieces: Sequence[Piece], answer: Answer) -> None:
        """Have these pieces sent instead of a trial.

        Of what was rejected all of one size are tried before any smaller one: then the first one
        to be accepted, which tells a bad record from a bad destination, is at most a few requests
        away. Of what is too large, the first is taken down to a size that fits.
        """
        joined = len(trial.piece.request.parts) > 1
        children = [
            Trial(piece, Budget() if joined and _is_a_batch(piece) else trial.budget, answer.since)
            for piece in pieces
        ]
        if answer.outcome.verdict is Verdict.REJECTED:
            self._fresh.extend(children)
        else:
            self._fresh.extendleft(reversed(children))

    def aside(self, trial: Trial, suspicion: Suspicion) -> None:
        """Let a trial wait behind all others."""
        trial.suspicion, trial.since = suspicion, suspicion.until
        self._aside.append(trial)


def _is_a_batch(piece: Piece) -> bool:
    return len(piece.request.parts) == 1 and isinstance(piece.request.parts[0], Batch)
