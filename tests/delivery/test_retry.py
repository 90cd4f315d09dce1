"""The waits between tries."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.retry import LONGEST_ASKED, Backoff, asked, doubling, jittered
from bridge.model import Outcome, Verdict

RETRY = Outcome(Verdict.RETRY)


@given(st.integers())
def test_jitter_is_full_and_bounded(seed: int) -> None:
    """Every wait lies between nothing and a bound that doubles from 0.5 s to 60 s."""
    bounds = [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    waits = list(islice(jittered(Random(seed)), len(bounds)))
    assert all(0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_jitter_uses_the_whole_range() -> None:
    """Waits fall near both ends, so that clients spread."""
    random = Random(1)
    waits = [list(islice(jittered(random), 8))[-1] for _ in range(300)]
    assert min(waits) < 3
    assert max(waits) > 57


def test_jitter_can_be_more_impatient() -> None:
    """The bound stops where it is told to."""
    assert max(islice(jittered(Random(1), longest=2.0), 100)) <= 2


def test_blocked_waits_double_without_jitter() -> None:
    """1 s doubling to 60 s (design, "Delivery")."""
    assert list(islice(doubling(), 8)) == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("verdict", [Verdict.BLOCKED, Verdict.REJECTED])
def test_both_schedules_step_together(verdict: Verdict) -> None:
    """A backend that alternates between kinds of failure does not start over each time."""
    backoff = Backoff(Random(1))
    for _ in range(3):
        backoff.after(RETRY)
    assert backoff.after(Outcome(verdict)) == 8


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(None, 0), (0.0, 0), (90.0, 90), (1e9, LONGEST_ASKED)]
)
def test_what_the_destination_asks_for(retry_after: float | None, wait: float) -> None:
    """It is obeyed, within reason."""
    outcome = Outcome(Verdict.RETRY, retry_after=retry_after)
    assert asked(outcome) == wait
    assert Backoff(Random(1)).after(outcome) >= wait
