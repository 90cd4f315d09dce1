"""The contiguous acknowledged prefix."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.inflight import InFlight


@given(
    st.integers(0, 100),
    st.lists(st.integers(1, 5), max_size=30),
    st.randoms(use_true_random=False),
)
def test_prefix_is_the_end_of_the_answered_run(
    cursor: int, steps: list[int], random: Random
) -> None:
    """Answered in any order, with holes in the numbers, it is what counting by hand gives."""
    line = InFlight(cursor)
    lasts = [cursor + sum(steps[: n + 1]) for n in range(len(steps))]
    for last in lasts:
        line.started(last)
    shuffled = random.sample(lasts, len(lasts))
    for done, last in enumerate(shuffled, start=1):
        line.answered(last)
        unanswered = set(shuffled[done:])
        run = [seq for seq in lasts if not any(other <= seq for other in unanswered)]
        assert line.prefix == (run[-1] if run else cursor)
        assert line.span == len(lasts) - len(run)


def test_order_is_kept() -> None:
    """A request that does not come after the others is refused."""
    line = InFlight(5)
    with pytest.raises(ValueError, match="batch 5 does not come after 5"):
        line.started(5)
    line.started(7)
    with pytest.raises(ValueError, match="batch 6 does not come after 7"):
        line.started(6)


def test_only_what_is_on_its_way_can_be_answered() -> None:
    """Neither an unknown request nor one twice."""
    line = InFlight(0)
    line.started(1)
    line.started(2)
    line.answered(2)
    for last in (2, 3):
        with pytest.raises(ValueError, match=f"ends with batch {last}"):
            line.answered(last)
