"""What becomes of a request that was answered: the design's outcome table as one decision. Pure.

RETRY and BLOCKED are about the destination, and the gate sees to them. What reaches this module is
about the request: it was delivered, refused (REJECTED, TOO_LARGE), or it alone keeps failing.

A refusal proves nothing by itself, since a destination that is set up wrongly refuses everything.
It is held against a record only in *contrast*: since a request with the record in it was first
refused, the destination has accepted another one, and then refused the record by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from bridge.model import Outcome, Verdict

REFUSALS: Final = frozenset({Verdict.REJECTED, Verdict.TOO_LARGE})
"""A request's own verdicts: whatever else is sent may fare better."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What sending a request came to, and what else is known of the destination by then.

    A destination's sends are numbered. ``since`` is the newest of them when a request with these
    records was first refused, ``until`` the newest when this answer came. ``contrast``: of what
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


def decide(answer: Answer, *, lone: bool, doubted: bool) -> Step:
    """What an answer asks for.

    Args:
        answer: DELIVERED, a refusal, or the RETRY that a request came to by its own fault.
        lone: whether the request is a single record.
        doubted: whether it had already been refused in contrast, and stood aside since.
    """
    verdict = answer.outcome.verdict
    if verdict is Verdict.DELIVERED:
        return Step.TAKEN
    if not lone:
        ailing = verdict not in REFUSALS and not answer.contrast
        return Step.ASIDE if ailing else Step.APART
    # Refused in contrast once, it may still be the first to meet an outage that has just begun.
    guilty = answer.contrast and doubted and answer.quiet
    return Step.BURIED if guilty or answer.certain else Step.ASIDE
