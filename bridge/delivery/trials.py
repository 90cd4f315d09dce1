"""A request that is taken apart: its pieces, and which is to be sent next. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct, field

from bridge.delivery.rejections import Answer
from bridge.delivery.retry import Backoff, doubling
from bridge.delivery.split import Piece
from bridge.model import Batch, Verdict

REQUESTS: Final = 64
"""Requests that a batch may cost before it has to wait."""
_SPARE: Final = 16
"""So many records at most are kept to the end, to be accepted after all that is refused."""


class Budget(Struct):
    """The requests that one batch, or one joined request above its batches, may cost.

    Used up, it is renewed after a wait: of 1 s where the destination has accepted something
    meanwhile, else of up to 60 s, doubling each time. ``fruitless``: a round was the latter.
    """

    left: int = REQUESTS
    waits: Iterator[float] = field(default_factory=doubling)
    fruitless: bool = False
    accepted: int = 0

    def spend(self, accepted: int) -> float:
        """Take one request; the seconds to wait before it is sent.

        ``accepted`` is the number of the newest send that was accepted.
        """
        wait = 0.0
        if not self.left:
            self.fruitless = accepted <= self.accepted
            if not self.fruitless:
                self.waits = doubling()
            self.left, wait = REQUESTS, next(self.waits)
        if self.left == REQUESTS:
            self.accepted = accepted
        self.left -= 1
        return wait


class Suspicion(Struct, frozen=True):
    """A piece that stands aside, until it is ``due`` on the monotonic clock or others are accepted.

    While none are, a lone record is left until ``lonely`` at least. ``until`` is `Answer.until` of
    its last refusal, ``doubted`` whether one came in contrast; ``refused`` if it is a lone record
    that was rejected, which an acceptance would disprove.
    """

    until: int
    doubted: bool
    due: float
    lonely: float
    refused: bool = False


class Refused(Struct, eq=False):
    """A refused piece of which ``left`` parts have not been accepted."""

    left: int

    def disproved(self) -> bool:
        """One more part was accepted; whether that was the last."""
        self.left -= 1
        return not self.left


class Trial(Struct, eq=False):
    """A piece to be sent. ``since`` is the newest send when it was last refused, in whole or alone.

    None before the first refusal. ``place`` counts the request's records before it. ``failing``:
    it was cut from what kept failing. ``failures``: how often it stood aside for failing.
    ``confirmed``: how often it was refused by itself after another had been accepted.
    """

    piece: Piece
    budget: Budget
    since: int | None = None
    suspicion: Suspicion | None = None
    waits: Backoff | None = None
    place: int = 0
    failing: bool = False
    failures: int = 0
    confirmed: int = 0
    part_of: Refused | None = None

    @property
    def lone(self) -> bool:
        """Whether it is a single record."""
        return self.piece.request.records == 1

    @property
    def implied(self) -> bool:
        """Whether it is what is left of a refused piece, so that it will be refused too."""
        return self.part_of is not None and self.part_of.left == 1

    @property
    def doubted(self) -> bool:
        """Whether it was refused although others were accepted."""
        return self.suspicion is not None and self.suspicion.doubted


class Trials:
    """The pieces of one request, those that stand aside after all others.

    A request is taken apart first half first, down to a lone record or to one that is accepted.
    From then on every other piece is the largest one, since bad records may be few, or all in one
    stretch. Between those go the smallest, since they may be everywhere; of these first what lies
    next to what was accepted, since a stretch has ends. A small one that is likely good is kept to
    the end: accepted after all that was refused, it is the contrast to it.

    ``descending``: on the way to a lone record, with none refused since the last acceptance.
    ``in_order``: they were too large, and go first half first. ``stuck``: something stands aside,
    and nothing has been accepted since. ``search`` bounds what is sent to a destination that has
    accepted nothing yet.
    """

    def __init__(self, whole: Piece) -> None:
        self._fresh = deque([Trial(whole, Budget())])
        self._aside: deque[Trial] = deque()
        self._edges: set[int] = set()
        self._bad_edges: set[int] = set()
        self.in_order = False
        self._searched = False
        self._largest = True
        self.descending = False
        self.stuck = False
        self.search = Budget()

    def next(self) -> Trial | None:
        """The piece that comes next, no longer among these; None when nothing is left."""
        if not self._fresh:
            return self._aside.popleft() if self._aside else None
        if self.in_order or not self._searched:
            return self._fresh.popleft()
        spare = self._spare()
        pieces = [trial for trial in self._fresh if trial is not spare] or self._fresh
        self._largest = not self._largest
        if self._largest:
            trial = max(pieces, key=_records)
        else:
            near = list(filter(self._at_an_edge, pieces))
            trial = min(near or pieces, key=_records)
        self._fresh.remove(trial)
        return trial

    def _spare(self) -> Trial | None:
        """A small piece that is likely good: not beside a bad record, nor known to hold one."""
        small = (t for t in self._fresh if _records(t) <= _SPARE and not t.implied)
        return max(small, key=lambda t: (not self._beside_bad(t), _records(t)), default=None)

    def _beside_bad(self, trial: Trial) -> bool:
        return not self._bad_edges.isdisjoint(_ends(trial))

    def _at_an_edge(self, trial: Trial) -> bool:
        return not self._edges.isdisjoint(_ends(trial))

    def taken(self, trial: Trial, *, unsent: bool = False) -> bool:
        """A trial was accepted; whether that disproves a refusal.

        It does if this very piece was refused by itself, or if it is the last part of a refused
        one and all others were accepted. Where it was ``unsent``, nothing new is known.
        """
        self._edges.update(_ends(trial))
        if unsent:
            return False
        self.descending, self.stuck, self._searched = True, False, True
        last = trial.part_of is not None and trial.part_of.disproved()
        return last or (trial.suspicion is not None and trial.suspicion.refused)

    def apart(self, trial: Trial, pieces: Sequence[Piece], answer: Answer) -> None:
        """Have these pieces sent instead of a trial.

        Of what is too large, the first is always taken down to a size that fits.
        """
        self.in_order = answer.outcome.verdict is Verdict.TOO_LARGE
        if trial.since is None or (trial.suspicion is not None and not self._searched):
            self.descending = True
        joined = len(trial.piece.request.parts) > 1
        fails = answer.outcome.verdict is Verdict.RETRY
        rejected = answer.outcome.verdict is Verdict.REJECTED  # else size or time may matter
        refused = Refused(len(pieces)) if rejected else None
        place, children = trial.place, list[Trial]()
        for piece in pieces:
            own = joined and _is_a_batch(piece)
            child = Trial(piece, Budget() if own else trial.budget, answer.since)
            child.place, child.failing, child.part_of = place, trial.failing or fails, refused
            children.append(child)
            place += piece.request.records
        self._fresh.extendleft(reversed(children))

    def aside(self, trial: Trial, suspicion: Suspicion) -> None:
        """Let a trial wait behind all others."""
        trial.suspicion, trial.since = suspicion, suspicion.until
        self.descending, self.stuck = False, True
        self._searched = self._searched or trial.lone
        if trial.lone:
            self._bad_edges.update(_ends(trial))
        self._aside.append(trial)


def _records(trial: Trial) -> int:
    return trial.piece.request.records


def _ends(trial: Trial) -> tuple[int, int]:
    return trial.place, trial.place + trial.piece.request.records


def _is_a_batch(piece: Piece) -> bool:
    return len(piece.request.parts) == 1 and isinstance(piece.request.parts[0], Batch)
