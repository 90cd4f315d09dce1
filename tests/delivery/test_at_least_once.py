"""The promise under fire: any answers, lost ones too, disk trouble, a crash at any await."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from delivery.fakes import (
    BLOCKED,
    DELIVERED,
    DOWN,
    REJECTED,
    TOO_LARGE,
    Answer,
    Backend,
    Store,
    refusing,
    scripted,
)
from delivery.virtual import clock, loop, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from bridge.delivery.forwarder import Forwarder
from bridge.delivery.rejections import REFUSALS
from bridge.model import Outcome, Verdict
from bridge.telemetry import Event

PARTLY = Outcome(Verdict.DELIVERED, "some are too old", refused=1)
SECONDS = st.sampled_from([0.0, 0.1, 3.0, 30.0])
ANSWERS = st.one_of(
    st.builds(Answer, st.sampled_from([DELIVERED, PARTLY]), st.just(value=True), SECONDS),
    st.builds(Answer, st.sampled_from([DOWN, BLOCKED]), st.just(value=True), SECONDS),
    st.builds(
        refusing,
        st.sampled_from([DOWN, BLOCKED, REJECTED, TOO_LARGE, replace(DOWN, retry_after=40)]),
        SECONDS,
    ),
)
FAILURES = st.lists(st.sampled_from(["", "", "slow", "before", "after"]), max_size=20)


class Plan(Struct, frozen=True):
    """One story: what is delivered, how the backend and the journal behave, when it crashes."""

    batches: Sequence[int]
    answers: Sequence[Answer]
    failures: Sequence[str]
    crashes: Sequence[int]
    in_flight: int
    max_batches: int


PLANS = st.builds(
    Plan,
    st.lists(st.integers(1, 5), min_size=1, max_size=8),
    st.lists(ANSWERS, max_size=25),
    FAILURES,
    st.lists(st.integers(1, 120), max_size=4),
    st.integers(1, 4),
    st.integers(1, 4),
)


def live(plan: Plan) -> tuple[Backend, Store]:
    """Play a plan: lives that end in a crash at some step of the loop, then one to the end."""

    async def main() -> tuple[Backend, Store]:
        backend = Backend(scripted(plan.answers))
        store = Store(backend, failures=plan.failures)
        await store.fill(*plan.batches)
        for number, crash in enumerate([*plan.crashes, None]):
            events: list[Event] = []
            forwarder = Forwarder(
                backend,
                store,
                clock(),
                events.append,
                Random(number),
                in_flight=plan.in_flight,
                max_batches=plan.max_batches,
            )
            stop = asyncio.Event()
            running = asyncio.create_task(forwarder.run(stop))
            if crash is None:
                await forwarder.drained(len(plan.batches))
                stop.set()
                await running
            else:
                loop().cancel_after(crash, running)
                await asyncio.wait([running], timeout=300)
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
            assert backend.busy == 0
        return backend, store

    return run(main())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(PLANS)
def test_everything_is_accepted_or_kept(plan: Plan) -> None:
    """Nothing is lost; re-sends are byte-equal; the cursor keeps behind what is answered for.

    `Store.advance` checks at every step that the cursor passes no unanswered batch and never
    moves back.
    """
    backend, store = live(plan)
    assert backend.kept.keys() | store.dead == store.uids
    assert store.contents.cursors == {"backend": len(plan.batches)}
    assert store.advances == sorted(store.advances)
    assert store.contents.batches == []
    carried: dict[tuple[str, ...], bytes] = {}
    for sent in backend.sends:
        assert sent.request.gzip == carried.setdefault(sent.uids, sent.request.gzip)
    assert backend.busiest <= plan.in_flight


@settings(deadline=None, max_examples=50)
@given(PLANS)
def test_only_refused_records_become_dead_letters(plan: Plan) -> None:
    """Trouble that is not about the records makes none, whatever else happens (trap 29)."""
    passing = [
        answer
        for answer in plan.answers
        if answer.outcome.verdict not in REFUSALS and not answer.outcome.refused
    ]
    backend, store = live(replace(plan, answers=passing))
    assert store.dead == set()
    assert backend.kept.keys() == store.uids


@settings(deadline=None, max_examples=20)
@given(PLANS)
def test_a_story_replays_exactly(plan: Plan) -> None:
    """The same plan gives the same sends at the same moments."""
    first, second = (live(plan)[0].sends for _ in range(2))
    assert [(sent.at, sent.uids) for sent in first] == [(sent.at, sent.uids) for sent in second]
    assert first


def test_a_crash_at_every_await() -> None:
    """One story with every kind of trouble, crashed at each step in turn."""
    plan = Plan(
        batches=[3, 1, 2],
        answers=[
            refusing(DOWN),
            Answer(DOWN),
            refusing(TOO_LARGE),
            Answer(),
            refusing(TOO_LARGE),
            refusing(TOO_LARGE),
            refusing(BLOCKED),
            Answer(PARTLY),
        ],
        failures=["", "before", "after"],
        crashes=[],
        in_flight=2,
        max_batches=2,
    )
    lengths = set()
    for step in range(1, 200):
        backend, store = live(replace(plan, crashes=[step]))
        assert backend.kept.keys() | store.dead == store.uids
        lengths.add(len(backend.sends))
    assert len(lengths) > 2, "the crashes made no difference"
