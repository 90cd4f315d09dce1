"""What becomes of a request that was answered: the design's outcome table as one decision. Pure.

RETRY and BLOCKED are about the destination, and the gate sees to them. What reaches this module is
about the request: it was delivered, refused (REJECTED, TOO_LARGE), or it alone keeps failing.

A refusal proves nothing by itself, since a destination that is set up wrongly refuses everything.
It is held against a record only in *contrast*: the destination has refused it by itself, accepted
another one that was sent after that, and then refused it again.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from bridge.model import Outcome, Verdict

REFUSALS: Final = frozenset({Verdict.REJECTED, Verdict.TOO_LARGE})
"""A request's own verdicts: whatever else is sent may fare better."""


class Answer(Struct, frozen=True):
    """What sending a request came to, and what else is known of the destination by then.

    A destination's sends are numbered. ``since`` is the newest of them when a request with these
    records was refused before, ``until`` the newest when this answer came. ``contrast``: of what
    was begun after ``since``, something had been accepted before this was sent. ``quiet``: since
    the destination last accepted anything, few requests were refused. ``certain``: the verdict is
    no opinion of the backend's that might change, but a limit that is known.
    """

    outcome: Outcome
    since: int | None = None
    until: int = 0
    contrast: bool = False
    quiet: bool = False
    certain: bool = False


class Step(Enum):
    """What to do with an answered request."""

    TAKEN = auto()
    APART = auto()
    """Send it in two."""
    ASIDE = auto()
    """Let others show whether the destination works, then try again."""
    BURIED = auto()
    """Keep it as a dead letter."""


def decide(answer: Answer, *, lone: bool, proved: bool, only: bool = False) -> Step:
    """What an answer asks for.

    Args:
        answer: DELIVERED, a refusal, or the RETRY that a request came to by its own fault.
        lone: whether the request is a single record.
        proved: whether it was refused by itself in contrast, often enough for this destination.
        only: whether nothing else is left to be sent that could be the contrast, so that it has
            to come from within the request.
    """
    verdict = answer.outcome.verdict
    if verdict is Verdict.DELIVERED:
        return Step.TAKEN
    if not lone:
        ailing = verdict not in REFUSALS and not answer.contrast and not only
        return Step.ASIDE if ailing else Step.APART
    # Refused by itself just once, it may be the first to meet an outage that has begun meanwhile.
    return Step.BURIED if proved or answer.certain else Step.ASIDE
