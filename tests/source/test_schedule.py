"""Pace, page size, slices, server time and trouble: the small decisions of reading."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.virtual import VirtualClock, run_virtually

from bridge.clock import Clock
from bridge.errors import ApiUnauthorized, ApiUnavailable, BridgeError
from bridge.model import MILLISECOND, SECOND, Tick
from bridge.source.schedule import Pace, PageLimit, Slice, Slicer
from bridge.source.server_clock import ServerClock
from bridge.source.trouble import Patience, Trouble
from bridge.telemetry import Event
from bridge.telemetry.reading import AppRecovered, AppTroubled


class HandClock:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.wall: Tick = 0
        self.mono = 100.0

    def now(self) -> Tick:
        """The wall clock."""
        return self.wall

    def monotonic(self) -> float:
        """The monotonic clock."""
        return self.mono

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.mono += seconds


def test_polling_is_quick_while_entries_flow_and_slows_when_idle() -> None:
    """From interval towards max_interval, and back at once; not for a pause of ten intervals."""
    pace = Pace(interval=1, max_interval=15)
    idle = [pace.after(0, flowed=False) for _ in range(22)]
    assert idle[:10] == [1] * 10
    assert pace.after(0, flowed=True) == 1
    assert [pace.after(0, flowed=False) for _ in range(11)] == [*[1] * 9, 1.5, 2.25]
    assert idle == sorted(idle)
    assert idle[-1] == 15
    assert pace.after(0, flowed=True) == 1
    assert pace.after(0.2, flowed=True) == 0.8
    assert pace.after(30, flowed=True) == 0.5


def test_a_refused_limit_is_never_asked_again_an_oversized_answer_only_for_a_while() -> None:
    """Both halve; only the second grows back."""
    limit = PageLimit(1000)
    limit.too_large(1000)
    assert limit.value == 500
    limit.too_large(1000)  # an answer to what was asked before
    assert limit.value == 500
    for _ in range(16):
        assert limit.value == 500
        limit.completed()
    assert limit.value == 1000
    limit.refused(1000)
    limit.completed()
    assert limit.value == 500


@given(
    floor=st.integers(0, 10**7),
    length=st.integers(1, 10**7),
    density=st.floats(0, 1),
    seed=st.integers(),
)
def test_slices_cover_a_backlog_without_gap_or_overlap(
    floor: int, length: int, density: float, seed: int
) -> None:
    """Oldest first, each above the last, to the very end, whatever their density."""
    random = Random(seed)
    slicer = Slicer(Slice(floor, floor + length), density=density, target=3000)
    reached = floor
    for _ in range(200_000):
        piece = slicer.next()
        if piece is None:
            break
        assert piece.floor == reached < piece.ceiling <= floor + length
        reached = piece.ceiling
        if not piece.narrowest(MILLISECOND) and random.random() < 0.4:
            slicer.too_dense(piece)
            parts = piece.parts(MILLISECOND)
            assert [p.floor for p in parts] == [piece.floor, *(p.ceiling for p in parts[:-1])]
            assert parts[-1].ceiling == piece.ceiling
            continue
        slicer.completed(piece, random.choice([0, 0, 0, 0, 100, 3000, 9000]))
    else:
        raise AssertionError("the backlog does not end")
    assert reached == floor + length


@given(
    offset=st.integers(-(10**12), 10**12),
    trips=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 2), st.floats(0, 2)), min_size=1),
)
def test_server_time_is_never_ahead_of_the_server(
    offset: int, trips: list[tuple[float, float, float]]
) -> None:
    """Whatever the trips take, the estimate stays behind the truth, by at most trip and second."""
    clock = HandClock()
    time = ServerClock(clock)

    def truth(at: float) -> Tick:
        return offset + int(at * SECOND)

    for pause, there, back in trips:
        clock.mono += pause
        sent = clock.mono
        clock.mono += there
        date = truth(clock.mono) // SECOND * SECOND
        clock.mono += back
        time.observe(date, sent)
        assert time.now() <= truth(clock.mono) + 1
        assert time.now() >= truth(clock.mono) - int((back + 1) * SECOND) - 1


def test_a_server_clock_set_back_is_followed() -> None:
    """An estimate that the server contradicts is dropped (trap 17)."""
    clock = HandClock()
    time = ServerClock(clock)
    time.observe(5_000 * SECOND, clock.mono)
    clock.mono += 10
    time.observe(1_000 * SECOND, clock.mono)
    assert time.now() == 1_000 * SECOND


def test_a_leap_forward_counts_only_once_it_is_agreed_on() -> None:
    """A ``Date`` an hour ahead for some seconds closes no stretch of time that is still open."""
    clock = HandClock()
    time = ServerClock(clock)
    for second in range(200):
        wrong = 3_600 if 10 <= second < 14 or second >= 100 else 0
        time.observe((1_000 + second + wrong) * SECOND, clock.mono)
        believed = 3_600 if second >= 160 else 0
        assert time.now() == (1_000 + second + believed) * SECOND
        clock.mono += 1


def test_answers_that_disagree_confirm_no_leap() -> None:
    """Nor do such that each tell another time ahead."""
    clock = HandClock()
    time = ServerClock(clock)
    for second in range(300):
        wrong = 600 * second if second % 2 else 0
        time.observe((1_000 + second + wrong) * SECOND, clock.mono)
        assert time.now() == (1_000 + second) * SECOND
        clock.mono += 1


def test_a_slow_first_answer_is_corrected_at_once() -> None:
    """Its lower bound is far too low, but so is known; the next answer contradicts nothing."""
    clock = HandClock()
    time = ServerClock(clock)
    sent = clock.mono
    clock.mono += 30
    time.observe(1_000 * SECOND, sent)
    time.observe(1_029 * SECOND, clock.mono)
    assert time.now() == 1_029 * SECOND


def test_a_leap_of_the_local_clock_counts_as_little() -> None:
    """Where no ``Date`` is told, the wall clock is believed as it was until it stays elsewhere."""
    clock = HandClock()
    clock.wall = 1_000 * SECOND
    time = ServerClock(clock)
    for second in range(200):
        wrong = 3_600 if 10 <= second < 14 or second >= 100 else 0
        clock.wall = (1_000 + second + wrong) * SECOND
        believed = 3_600 if second >= 160 else 0
        assert time.now() == (1_000 + second + believed) * SECOND
        clock.mono += 1


def test_without_a_date_the_local_clock_stands_in() -> None:
    """A server that tells no time is read by ours."""
    clock = HandClock()
    clock.wall = 7 * SECOND
    time = ServerClock(clock)
    time.observe(None, clock.mono)
    assert not time.known
    assert time.now() == 7 * SECOND


def troubled(errors: list[BridgeError], clock: Clock) -> tuple[list[float], list[Event]]:
    """The pauses and events of a row of failures, then success."""
    events: list[Event] = []
    trouble, patience, pauses = (
        Trouble("app", clock=clock, emit=events.append),
        Patience(Random(1)),
        [],
    )
    for error in errors:
        trouble.note(error)
        pauses.append(patience.after(error))
    trouble.over()
    trouble.over()
    return pauses, events


def test_what_needs_a_person_is_told_at_once_and_once() -> None:
    """A refused key: one line, pauses from 1 s doubling to 60 s, one line when it is over."""
    pauses, events = troubled([ApiUnauthorized("answered 401")] * 8, HandClock())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [type(e) for e in events] == [AppTroubled, AppRecovered]
    assert "401" in events[0].text


@pytest.mark.parametrize(("tries", "told"), [(2, 0), (3, 2), (9, 2)])
def test_what_passes_is_retried_soon_and_told_only_if_it_lasts(tries: int, told: int) -> None:
    """A lost connection is not worth a line."""
    pauses, events = troubled([ApiUnavailable("no answer")] * tries, HandClock())
    assert len(events) == told
    assert all(pause <= 0.25 * 2**n for n, pause in enumerate(pauses))


def test_virtual_time_passes_without_waiting() -> None:
    """An hour of sleep takes no time (the tests' own loop)."""

    async def main() -> float:
        clock = VirtualClock(0)
        await clock.sleep(3_600)
        return clock.monotonic()

    assert run_virtually(main()) == 3_600
