"""How long to wait before a destination is tried again. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from bridge.model import Outcome, Verdict

START: Final = 0.5
"""The bound of the first jittered wait, in seconds."""
LONGEST: Final = 60.0
"""No wait of our own is longer, in seconds."""
LONGEST_ASKED: Final = 600.0
"""A destination's Retry-After is obeyed up to this many seconds."""


def jittered(random: Random, *, longest: float = LONGEST) -> Iterator[float]:
    """Exponential waits with full jitter: anywhere from 0 up to 0.5 s, 1 s, 2 s ... ``longest``.

    Full jitter spreads the clients of a backend that comes back evenly (AWS Architecture Blog,
    "Exponential Backoff And Jitter").
    """
    bound = START
    while True:
        yield random.uniform(0.0, bound)
        bound = min(bound * 2, longest)


def doubling() -> Iterator[float]:
    """Plain waits of 1 s, 2 s, 4 s ... 60 s, for what only a person can mend."""
    wait = 1.0
    while True:
        yield wait
        wait = min(wait * 2, LONGEST)


def asked(outcome: Outcome) -> float:
    """The seconds a destination asked for, 0 if it did not, and no more than is sensible."""
    return min(outcome.retry_after or 0.0, LONGEST_ASKED)


class Backoff:
    """The waits of one run of failures; both schedules step together as kinds alternate."""

    def __init__(self, random: Random) -> None:
        self._waits = zip(jittered(random), doubling(), strict=True)

    def after(self, outcome: Outcome) -> float:
        """The seconds to wait after a failure, no less than the destination asked for."""
        retry, blocked = next(self._waits)
        own = retry if outcome.verdict is Verdict.RETRY else blocked
        return max(own, asked(outcome))
