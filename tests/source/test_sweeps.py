"""Which windows are read again: each entry once at each age, however reading goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.model import SECOND, Tick
from bridge.source.sweeps import LONGEST_AGE, Sweeps

AGES = (15 * SECOND, 120 * SECOND, 900 * SECOND)


def test_without_ages_nothing_is_due() -> None:
    """`late_sweeps: []` switches them off."""
    sweeps = Sweeps.resumed([], start=0, cursors={})
    assert sweeps.due(10**12, at_once=True) is None
    assert sweeps.lowest is None
    assert sweeps.extended(0, 10**12) is sweeps


def test_a_window_is_due_once_it_has_the_age_and_is_worth_a_request() -> None:
    """For 15 s: when 3.75 s of it have gathered, or at once if asked."""
    sweeps = Sweeps.resumed([15 * SECOND], start=0, cursors={})
    assert sweeps.due(15 * SECOND) is None
    assert sweeps.due(18 * SECOND) is None
    assert sweeps.due(18 * SECOND, at_once=True) == (0, 3 * SECOND)
    assert sweeps.due(19 * SECOND) == (0, 4 * SECOND)
    sweeps = sweeps.covered(0, 4 * SECOND, 19 * SECOND)
    assert sweeps.due(19 * SECOND, at_once=True) is None


def test_overdue_ages_collapse_into_one_read() -> None:
    """After a pause all three are served from the oldest cursor up to the youngest age."""
    now = 10_000 * SECOND
    sweeps = Sweeps.resumed(AGES, start=1_000 * SECOND, cursors={})
    window = sweeps.due(now)
    assert window == (1_000 * SECOND, now - AGES[0])
    sweeps = sweeps.covered(*window, now)
    assert sweeps.cursors == {age: now - age for age in AGES}


def test_a_read_from_far_back_serves_every_age() -> None:
    """The live walk of an idle app is all its sweeps."""
    now = 5_000 * SECOND
    sweeps = Sweeps.resumed(AGES, start=0, cursors={age: now - age - 60 * SECOND for age in AGES})
    sweeps = sweeps.covered(0, now, now)
    assert sweeps.due(now, at_once=True) is None


def test_a_read_that_leaves_a_gap_serves_nothing() -> None:
    """What lies between cursor and floor has still to be read."""
    sweeps = Sweeps.resumed([15 * SECOND], start=0, cursors={})
    sweeps = sweeps.covered(5 * SECOND, 50 * SECOND, 100 * SECOND)
    assert sweeps.cursors == {15 * SECOND: 0}


def test_finding_something_at_the_last_age_adds_one() -> None:
    """At four times the age, from the window it was found in, up to a day."""
    now = 50_000 * SECOND
    sweeps = Sweeps.resumed(AGES, start=0, cursors=dict.fromkeys(AGES, now - 1_000 * SECOND))
    assert sweeps.extended(now - 200 * SECOND, now) is sweeps
    sweeps = sweeps.extended(now - 1_000 * SECOND, now)
    assert sweeps.cursors[3_600 * SECOND] == now - 1_000 * SECOND
    for _ in range(5):
        sweeps = sweeps.extended(0, now + 10 * LONGEST_AGE)
    assert max(sweeps.cursors) == LONGEST_AGE


def test_a_journaled_extension_is_kept() -> None:
    """A restart goes on with it."""
    kept = {AGES[0]: 5, 60 * SECOND: 3}
    assert Sweeps.resumed(AGES[:1], start=9, cursors=kept).cursors == kept


def test_an_age_that_is_no_longer_configured_is_dropped() -> None:
    """It was no extension of what is configured now."""
    resumed = Sweeps.resumed(AGES[:1], start=9, cursors={AGES[0]: 5, 3_600 * SECOND: 3})
    assert resumed.cursors == {AGES[0]: 5}


@given(
    st.lists(st.tuples(st.integers(1, 400), st.booleans(), st.booleans()), min_size=5, max_size=80)
)
def test_every_moment_is_read_at_every_age_and_no_more_than_once(
    steps: list[tuple[int, bool, bool]],
) -> None:
    """As time passes, reads at an age cover all that has reached it, without overlap."""
    sweeps = Sweeps.resumed(AGES, start=0, cursors={})
    now: Tick = 0
    read: list[tuple[Tick, Tick, Tick]] = []
    for seconds, at_once, works in steps:
        now += seconds * SECOND
        while works and (window := sweeps.due(now, at_once=at_once)):
            read.append((*window, now))
            sweeps = sweeps.covered(*window, now)
    while window := sweeps.due(now, at_once=True):
        read.append((*window, now))
        sweeps = sweeps.covered(*window, now)
    for age in AGES:
        reached = 0
        for floor, ceiling, at in sorted(read, key=lambda r: r[2]):
            if floor <= reached < min(ceiling, at - age):
                reached = min(ceiling, at - age)
        assert reached == max(0, now - age)
    for moment in range(0, max(1, now), max(1, now // 50)):
        assert sum(floor <= moment < ceiling for floor, ceiling, _ in read) <= len(AGES)


def test_nothing_is_due_beyond_the_position() -> None:
    """What was never read is no sweep's to read, or its emptiness would count for both."""
    sweeps = Sweeps({3 * SECOND: 0})
    assert sweeps.due(100 * SECOND, 40 * SECOND) == (0, 40 * SECOND)
    assert sweeps.covered(0, 40 * SECOND, 100 * SECOND).due(100 * SECOND, 40 * SECOND) is None
