"""The ring of samples of the last hour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.app.history import History
from bridge.model import SECOND
from bridge.simulator.manual_clock import ManualClock

KEY = ("lag", "app")
OTHER = ("lag", "other")


def pass_by(clock: ManualClock, seconds: float) -> None:
    """Let so much time pass."""
    clock.tick += round(seconds * SECOND)


def test_it_grows_to_its_length() -> None:
    """The oldest samples go; the newest is the last."""
    clock = ManualClock(0)
    history = History(clock, every=10, length=3)
    assert history.series(KEY) == []
    for n in range(5):
        due = [history.due]
        history.note({KEY: n})
        assert [*due, history.due] == [True, False]
        assert history.series(KEY) == [float(m) for m in range(max(0, n - 2), n + 1)]
        pass_by(clock, 10)


def test_the_last_word_of_a_slot_counts() -> None:
    """Two notes of ten seconds are one sample."""
    clock = ManualClock(0)
    history = History(clock)
    history.note({KEY: 1})
    pass_by(clock, 9.9)
    history.note({KEY: 2})
    assert history.series(KEY) == [2.0]


def test_what_nobody_noted_is_a_hole() -> None:
    """A machine that slept does not draw a line through its sleep."""
    clock = ManualClock(0)
    history = History(clock, every=10, length=4)
    history.note({KEY: 1})
    pass_by(clock, 20)
    history.note({KEY: 3})
    assert history.series(KEY) == [1.0, None, 3.0]
    pass_by(clock, 10_000)
    history.note({KEY: 4})
    assert history.series(KEY) == [None, None, None, 4.0]


def test_series_come_and_go() -> None:
    """One that begins later has holes before; one that is gone is forgotten."""
    clock = ManualClock(0)
    history = History(clock, every=10, length=4)
    history.note({KEY: 1})
    pass_by(clock, 10)
    history.note({KEY: None, OTHER: 2})
    assert (history.series(KEY), history.series(OTHER)) == ([1.0, None], [None, 2.0])
    pass_by(clock, 10)
    history.note({OTHER: 3})
    assert (history.series(KEY), history.series(OTHER)) == ([], [None, 2.0, 3.0])


def test_means() -> None:
    """Of what is known among the newest."""
    clock = ManualClock(0)
    history = History(clock, every=10, length=9)
    for value in (100, 2, None, 4):
        history.note({KEY: value})
        pass_by(clock, 10)
    assert history.mean(KEY, 3) == 3
    assert history.mean(KEY, 1) == 4
    assert history.mean(OTHER, 3) is None


def test_three_digits() -> None:
    """No chart shows more."""
    history = History(ManualClock(0))
    history.note({KEY: 1234.5678, OTHER: 0.00123456})
    assert (history.series(KEY), history.series(OTHER)) == ([1230.0], [0.00123])


@given(
    st.lists(st.tuples(st.integers(0, 7), st.one_of(st.none(), st.integers(0, 999))), max_size=40)
)
def test_it_is_a_list_with_holes(steps: list[tuple[int, int | None]]) -> None:
    """Against a plain list of slots."""
    clock = ManualClock(0)
    history = History(clock, every=1, length=5)
    slots: list[float | None] = []
    for skip, value in steps:
        pass_by(clock, skip)
        if skip == 0 and slots:
            slots[-1] = value
        else:
            slots += [None] * (skip if not slots else skip - 1)
            slots.append(value)
        history.note({KEY: value})
        assert history.series(KEY) == slots[-5:]
