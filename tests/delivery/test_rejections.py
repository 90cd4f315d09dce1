"""Bad records among good ones, and backends that refuse everything."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from random import Random

import pytest
from delivery.fakes import (
    DOWN,
    FAULT,
    OVER,
    REJECTED,
    TOO_LARGE,
    Answer,
    Backend,
    Store,
    refusing,
    uids_of,
)
from delivery.rig import Rig, Scene, play
from delivery.virtual import loop, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.delivery.rejections import Answer as Verdicts
from bridge.delivery.rejections import Step, decide
from bridge.delivery.trials import REQUESTS
from bridge.model import Outcome, Verdict
from bridge.payload import Request
from bridge.telemetry.delivering import (
    DestinationBlocked,
    DestinationRecovered,
    PartialSuccess,
    RecordDeadLettered,
    WitnessSent,
)

HOUR = 3600.0
SLOW = Outcome(Verdict.RETRY, "no answer within 10 s", own_fault=True)
KINDS = [REJECTED, FAULT, TOO_LARGE]


def now() -> float:
    """The virtual time."""
    return asyncio.get_running_loop().time()


def numbers(request: Request) -> set[int]:
    """The numbers of the records a request carries."""
    return {int(uid, 16) for uid in uids_of(request.raw)}


def poisoned(bad: Collection[int], outcome: Outcome = REJECTED) -> Callable[[Request], Answer]:
    """A backend that refuses whatever contains one of these."""
    return lambda request: Answer() if numbers(request).isdisjoint(bad) else refusing(outcome)


def buried(rig: Rig) -> set[int]:
    """The numbers of the dead letters."""
    return {int(uid, 16) for uid in rig.store.dead}


def copies(rig: Rig) -> Counter[str]:
    """The records that arrived more often than once, and how often more."""
    return rig.backend.kept - Counter(rig.backend.kept.keys())


def witnesses(rig: Rig) -> Counter[str]:
    """The records that were sent once more for comparison, and accepted."""
    sent = [event for event in rig.events if isinstance(event, WitnessSent)]
    return Counter(event.uid for event in sent if event.accepted)


def from_then_on(up_at: float, refusal: Outcome) -> Callable[[Request], Answer]:
    """A backend that refuses everything until it is mended."""
    return lambda _: Answer() if now() >= up_at else refusing(refusal)


@pytest.mark.parametrize(
    "bad", [{1, 2, 3}, {1, 1_000, 2_000}, {500, 1_001, 1_502}, {667, 668, 669}]
)
@pytest.mark.parametrize("in_flight", [1, 4])
def test_three_poison_records_among_2_000(bad: set[int], in_flight: int) -> None:
    """All others arrive once, and exactly the three are dead letters, within 64 requests."""
    rig = play([2_000], poisoned(bad), in_flight=in_flight)
    assert buried(rig) == bad
    assert len(rig.backend.kept) == 1_997
    assert not copies(rig)
    assert not rig.of(WitnessSent)
    assert len(rig.backend.sends) <= REQUESTS
    assert now_of(rig) < 60
    assert [type(event) for event in rig.events].count(RecordDeadLettered) == 3
    assert rig.forwarder.state.trouble is None


@settings(deadline=None, max_examples=25)
@given(st.sets(st.integers(1, 2_000), min_size=3, max_size=3), st.sampled_from([1, 4]))
def test_three_poison_records_cost_no_copy_if_a_good_one_comes_after_them(
    bad: set[int], in_flight: int
) -> None:
    """Of the same request; one copy at most if the last that was sent of it was bad."""
    rig = play([2_000], poisoned(bad), in_flight=in_flight)
    assert buried(rig) == bad
    first = {sent.uids: sent.at for sent in reversed(rig.backend.sends)}
    last = max(first[(f"{number:032x}",)] for number in bad)
    spoke = witnesses(rig)
    good = [sent.uids for sent in rig.backend.sends if sent.at > last and sent.answer.keeps]
    assert copies(rig) == spoke
    assert spoke.total() == (not [uids for uids in good if not spoke.keys() & {*uids}])


@pytest.mark.parametrize("pause", [2.0, 6.0])
def test_a_lone_bad_record_waits_a_while_for_the_next_one(pause: float) -> None:
    """What comes meanwhile spares a copy, and a destination that accepts is in no trouble."""

    async def scene(rig: Rig) -> None:
        await rig.all_through()
        await rig.store.fill(1)
        await asyncio.sleep(pause)
        assert rig.forwarder.state.trouble is None
        await rig.store.fill(1)
        await asyncio.sleep(2)
        assert rig.forwarder.state.cursor == 3

    rig = play([5], poisoned({6}), scene)
    assert buried(rig) == {6}
    assert not copies(rig)
    assert [type(event) for event in rig.events] == [RecordDeadLettered]


def test_a_lone_bad_record_ends_with_nothing_behind_it() -> None:
    """Some seconds, one copy: so that a run that is to catch up only comes to its end."""
    rig = play([5, 1], poisoned({6}), in_flight=1)
    assert buried(rig) == {6}
    assert copies(rig) == witnesses(rig)
    assert copies(rig).total() == 1
    assert 5 < now_of(rig) < 10
    assert not rig.of(DestinationBlocked)
    assert rig.forwarder.state.delivered == 5, "the copy is no delivered record"


def now_of(rig: Rig) -> float:
    """When the last request went out."""
    return max(sent.at for sent in rig.backend.sends)


def test_what_is_bad_in_a_working_destination_is_no_trouble_of_it() -> None:
    """Once it has accepted something, a bad record takes no time and no line but its own."""
    rig = play([50, 500], poisoned({444}), in_flight=1)
    assert buried(rig) == {444}
    assert now_of(rig) < 10
    told = {type(event) for event in rig.events if event.level > logging.DEBUG}
    assert told == {RecordDeadLettered}


def test_joined_batches_come_apart_at_their_borders_first() -> None:
    """Only the batch with the bad record is taken apart."""
    rig = play([8] * 16, poisoned({30}), max_batches=16, in_flight=1)
    assert buried(rig) == {30}
    whole = [sent for sent in rig.backend.sends if len(sent.uids) < 8]
    assert set().union(*(sent.uids for sent in whole)) == set(rig.store.promised[4])


@pytest.mark.parametrize("refusal", [REJECTED, TOO_LARGE, FAULT])
@pytest.mark.parametrize("sizes", [[2_000], [1] * 40, [7] * 60])
def test_a_backend_that_refuses_everything_is_not_full_of_bad_records(
    refusal: Outcome, sizes: Sequence[int]
) -> None:
    """For an hour it is blocked and probed at a step of its own; mended, it gets everything."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(HOUR - 1)
        trouble = rig.forwarder.state.trouble
        assert trouble is not None
        assert trouble.reason == refusal.reason
        assert rig.store.contents.cursors == {"backend": 0}
        await rig.all_through()

    rig = play(sizes, from_then_on(HOUR, refusal), scene, max_batches=4)
    assert rig.store.dead == set()
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    early = [sent.at for sent in rig.backend.sends if sent.at < HOUR]
    if refusal is FAULT or len(sizes) > 1:
        assert len(early) < HOUR / 60 * 2 + 64 + 2 * 11  # one request is gone through
    settled = [at for at in early if at > 300]
    pace = [len([at for at in settled if at // 60 == minute]) for minute in range(60)]
    assert max(pace) <= REQUESTS + 2  # a round of the oldest request's
    if refusal is not FAULT and len(sizes) > 1:  # whose waits are jittered
        assert all(after - before > 59 for before, after in pairwise(settled))
        assert len([event for event in rig.events if isinstance(event, DestinationBlocked)]) == 1


def test_a_backend_that_begins_to_refuse_everything_is_blocked() -> None:
    """What it accepted before does not count; some requests show it, then one a step."""

    def decide(_: Request) -> Answer:
        return refusing(REJECTED) if 10 <= now() < HOUR else Answer()

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(10)
        await rig.store.fill(*[100] * 10)
        await asyncio.sleep(20)
        assert rig.of(DestinationBlocked) == [DestinationBlocked("backend", REJECTED.reason)]
        assert len(rig.backend.sends) < 1 + 16 + 6
        await rig.all_through()

    rig = play([1], decide, scene)
    assert rig.store.dead == set()
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    assert isinstance(rig.events[-1], DestinationRecovered)


@pytest.mark.parametrize("begins", [0.25, 0.45, 0.85, 1.25, 1.45])
def test_an_incident_in_the_middle_of_a_bisect_costs_no_good_record(begins: float) -> None:
    """What is refused beside many others waits, whatever was accepted shortly before."""

    def decide(request: Request) -> Answer:
        down = begins <= now() < HOUR
        return refusing(REJECTED) if down or 77 in numbers(request) else Answer()

    rig = play([400] * 80, decide)
    assert buried(rig) == {77}
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    more, told = copies(rig), witnesses(rig)
    assert more == told
    assert more.total() <= 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_lone_bad_record_waits_until_a_good_one_comes(kind: Outcome, in_flight: int) -> None:
    """Nothing shows whose fault it is before; then the good one is delivered and it is buried."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(HOUR)
        trouble = rig.forwarder.state.trouble
        assert trouble is not None
        assert trouble.reason == kind.reason
        assert rig.store.dead == set()
        assert len(rig.backend.sends) < 200
        await rig.store.fill(1)
        await asyncio.sleep(200)
        assert rig.forwarder.state.cursor == 2

    rig = play([1], poisoned({1}, kind), scene, in_flight=in_flight)
    assert buried(rig) == {1}
    assert rig.backend.kept == Counter({f"{2:032x}": 1})


@pytest.mark.parametrize("begins", [0.25, 0.85, 1.25, 1.45, 1.65, 2.0, 3.0])
def test_an_incident_at_the_end_of_a_bisect_costs_no_good_record(begins: float) -> None:
    """With nothing else to be sent, what was accepted before shows that it is not any more."""

    def decide(request: Request) -> Answer:
        down = begins <= now() < HOUR
        return refusing(REJECTED) if down or 77 in numbers(request) else Answer()

    rig = play([400], decide)
    assert buried(rig) == {77}
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    assert copies(rig) == witnesses(rig)


def test_a_record_that_was_refused_in_an_outage_is_delivered_after_it() -> None:
    """The first to be accepted after it condemns nothing that was refused during it."""
    rig = play([1] * 30, from_then_on(100, REJECTED), in_flight=4)
    assert rig.store.dead == set()
    assert len(rig.backend.kept) == 30


def test_mostly_bad_records_come_to_an_end_at_a_pace_that_can_be_borne() -> None:
    """Beyond 64 requests a batch waits between every 64, and others are delivered meanwhile."""
    bad = set(range(1, 200))

    async def scene(rig: Rig) -> None:
        for _ in range(200):
            await asyncio.sleep(30)
            await rig.store.fill(1)
        await rig.all_through()

    rig = play([200], poisoned(bad), scene)
    assert buried(rig) == bad
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    assert len(rig.backend.sends) < 4 * 200 + 200


@pytest.mark.parametrize("good", [1, 200, 400])
@pytest.mark.parametrize("before", [0, 1])
def test_a_request_of_almost_only_bad_records_ends_with_nothing_behind_it(
    good: int, before: int
) -> None:
    """What was accepted speaks again for the destination; at first, the good one is searched."""
    good += before
    bad = set(range(1 + before, 401 + before)) - {good}

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(200 if before or good == 1 else 1_000)
        assert rig.forwarder.state.cursor == max(rig.store.promised)

    rig = play([1] * before + [400], poisoned(bad), scene, in_flight=1)
    more, told = copies(rig), witnesses(rig)
    assert buried(rig) == bad
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    assert more == told
    assert more.total() <= 400 / 12
    minutes = Counter(sent.at // 1 for sent in rig.backend.sends)
    assert max(minutes.values()) <= 12  # one after another, at the backend's own pace


@pytest.mark.parametrize("every", [2, 5])
def test_dense_bad_records_are_through_within_minutes(every: int) -> None:
    """Rounds of 64 requests follow each other while something is accepted in each."""
    bad = set(range(1, 1_501, every))
    rig = play([1_500], poisoned(bad))
    assert buried(rig) == bad
    assert now_of(rig) < 600  # 0.1 s for each answer


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_quarter_of_bad_records_does_not_hold_a_stream(in_flight: int) -> None:
    """What comes meanwhile waits for seconds, and the request is through within two minutes."""
    bad = set(range(4, 401, 4))

    async def scene(rig: Rig) -> None:
        for _ in range(120):
            await asyncio.sleep(1)
            await rig.store.fill(1)
        await rig.all_through()

    rig = play([400], poisoned(bad), scene, in_flight=in_flight, max_batches=64)
    assert buried(rig) == bad
    sends = [sent for sent in reversed(rig.backend.sends) if sent.answer.keeps]
    arrived = {int(uid, 16): sent.at for sent in sends for uid in sent.uids}
    assert max(arrived[400 + second] - second for second in range(1, 121)) < 25
    assert max(arrived[number] for number in range(1, 401) if number not in bad) < 90
    assert copies(rig).total() <= 20


def test_only_bad_records_after_good_ones_do_not_hold_a_destination() -> None:
    """They need no later good one; the destination shows that it accepts what it accepted."""
    rig = play([5, 40], poisoned(set(range(6, 46))))
    assert buried(rig) == set(range(6, 46))
    assert now_of(rig) < 60
    assert rig.of(DestinationBlocked) == []


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=10)
@given(
    st.sampled_from([(1, 1), (5, 5), (20, 20), (3, 10), (120, 120)]),
    st.integers(0, 3),
    st.sampled_from([[1] * 60, [20] * 10]),
)
def test_an_intermittent_backend_costs_no_good_record(
    spell: tuple[int, int], phase: int, sizes: list[int]
) -> None:
    """It refuses everything for some seconds again and again; nobody's record is at fault."""
    ill, well = spell

    def decide(_: Request) -> Answer:
        return refusing(REJECTED) if (now() + phase) % (ill + well) < ill else Answer()

    rig = play(sizes, decide)
    assert rig.store.dead == set()
    assert rig.backend.kept.keys() == rig.store.uids


@pytest.mark.parametrize("seed", range(5))
def test_a_backend_with_one_ill_node_of_three_costs_hardly_a_good_record(seed: int) -> None:
    """Once it took a refusal back, more of them are asked for."""
    node = Random(seed)

    def decide(_: Request) -> Answer:
        return refusing(REJECTED) if node.random() < 1 / 3 else Answer()

    rig = play([1] * 100 + [20] * 10, decide)
    assert len(rig.store.dead) <= 6  # of 300, a third of which are refused at first
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead


def test_the_memory_of_what_waits_is_bounded() -> None:
    """However much is refused, only so much is read."""
    most: list[int] = []

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(24 * HOUR)
        most.append(rig.forwarder.state.outstanding)

    rig = play([10] * 400, lambda _: refusing(REJECTED), scene, max_size=2_000, in_flight=2)
    size = sum(batch.size for batch in rig.store.contents.batches)
    assert most[0] / 4_000 * size <= 4 * 2 * 2_000 + 2_000


@pytest.mark.parametrize("kind", [FAULT, SLOW])
def test_a_record_that_makes_a_batch_fail_is_singled_out(kind: Outcome) -> None:
    """Five failures of the batch while others succeed, and so on down to the record."""

    def decide(request: Request) -> Answer:
        seconds = 10 * request.patience if kind is SLOW else 0.1
        return refusing(kind, seconds) if 5 in numbers(request) else Answer()

    rig = play([16, 1, 1, 1], decide)
    assert buried(rig) == {5}
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    assert max(sent.request.patience for sent in rig.backend.sends) == 4


def test_one_huge_record_among_small_ones_is_a_dead_letter() -> None:
    """A 413 for it alone, while the others are accepted."""

    def decide(request: Request) -> Answer:
        return refusing(TOO_LARGE) if request.size > 1_000 else Answer()

    rig = play([100], decide, huge=[50])
    assert buried(rig) == {50}
    assert len(rig.backend.kept) == 99


def test_records_over_the_destinations_own_limit_are_dead_letters_at_once() -> None:
    """That verdict is certain: nobody is asked, and nobody else need be accepted."""
    rig = play([3, 1], lambda _: refusing(DOWN), _stored(2), limit=1_000, huge=[1, 4])
    assert buried(rig) == {1, 4}
    assert {letter.reason for letter in rig.store.contents.dead_letters.values()} == {OVER.reason}
    assert all(sent.request.size <= 1_000 for sent in rig.backend.sends)


def test_the_destinations_own_limit_is_no_answer_of_the_backend() -> None:
    """What it splits is neither contrast nor refusal: a lone bad record beside it still waits."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(HOUR)
        assert buried(rig) == {1}

    play([2], poisoned({2}), scene, limit=1_000, huge=[1])


def test_a_limit_of_300_kb_with_larger_requests() -> None:
    """Requests of a megabyte go in pieces that fit, and only a larger record is left behind."""

    def decide(request: Request) -> Answer:
        return refusing(TOO_LARGE) if request.size > 300_000 else Answer()

    rig = play([400] * 3, decide, huge=range(1, 1_201))
    assert rig.store.dead == set()
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)


def test_after_a_partial_success_a_copy_is_no_more_than_a_batch() -> None:
    """For a while batches go one by one, since nobody says which records were refused."""
    partly = Outcome(Verdict.DELIVERED, "too old", refused=1, answer="entry too far behind")

    def decide(request: Request) -> Answer:
        return Answer(partly) if numbers(request) & {3, 111} else Answer()

    async def scene(rig: Rig) -> None:
        await rig.all_through()
        await rig.store.fill(*[10] * 10)
        await rig.all_through()
        await asyncio.sleep(HOUR)
        await rig.store.fill(*[10] * 10)
        await rig.all_through()

    rig = play([10] * 10, decide, scene, max_batches=10, in_flight=1)
    assert buried(rig) == {*range(1, 101), *range(111, 121)}
    letter = rig.store.contents.dead_letters["backend", f"{111:032x}"]
    assert letter.reason == "1 of 10 in one request refused, not said which: too old"
    assert letter.answer == "entry too far behind"
    assert [event.records for event in rig.events if isinstance(event, PartialSuccess)] == [100, 10]
    assert len(rig.backend.sends[-1].request.parts) > 1
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)


@pytest.mark.parametrize("every", [2, 5, 20])
def test_many_bad_records_in_one_idle_request_do_not_hold_the_good_ones(every: int) -> None:
    """The first good one is a dozen requests away, and the others need no back-off."""
    bad = set(range(1, 1_501, every))

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(2 * HOUR)
        assert rig.forwarder.state.delivered == 1_500 - len(bad)

    rig = play([1_500], poisoned(bad), scene)
    accepted = [sent.at for sent in rig.backend.sends if sent.answer.keeps]
    assert accepted[0] < 5
    assert buried(rig) <= bad


@pytest.mark.parametrize("first", [1, 500, 677, 1_351])
def test_the_good_records_beside_a_long_stretch_of_bad_ones_do_not_wait(first: int) -> None:
    """What lies next to accepted records goes before what lies among refused ones."""
    bad = set(range(first, first + 150))

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(20)
        assert len(rig.backend.kept) == 1_350

    rig = play([1_500], poisoned(bad), scene)
    assert buried(rig) <= bad


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_record_that_fails_its_only_request_is_singled_out(in_flight: int) -> None:
    """With nothing else to be sent, the good ones within the request are the contrast."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(300)
        assert rig.forwarder.state.cursor == 1

    rig = play([1_500], poisoned({700}, FAULT), scene, in_flight=in_flight)
    assert buried(rig) == {700}
    assert len(rig.backend.kept) == 1_499


def test_bad_records_in_all_requests_there_are_do_not_hold_each_other() -> None:
    """Where every request stands aside for failing, one of them comes apart."""
    bad = {5, 25, 45, 65}

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(900)
        assert rig.forwarder.state.cursor == 4

    rig = play([20] * 4, poisoned(bad, FAULT), scene)
    assert buried(rig) == bad
    assert len(rig.backend.kept) == 76


def test_others_are_delivered_while_a_failing_request_is_dissected() -> None:
    """Once it is known to be at fault, its pieces close no gate."""

    async def scene(rig: Rig) -> None:
        for _ in range(200):
            await asyncio.sleep(1)
            await rig.store.fill(1)
        await asyncio.sleep(5)
        assert rig.forwarder.state.cursor == 201

    rig = play([1_500], poisoned({700}, SLOW), scene)
    assert buried(rig) == {700}
    apart = next(sent.at for sent in rig.backend.sends if 1 < len(sent.uids) < 1_500)
    new = [(sent.at, int(sent.uids[0], 16) - 1_500) for sent in rig.backend.sends]
    lags = [at - second for at, second in new if second > apart + 1]
    assert 0 <= max(lags) < 1


def test_a_failing_destination_is_not_flooded_by_the_dissection_of_a_request() -> None:
    """An outage that begins meanwhile closes the gate, and costs no good record but a few."""

    def decide(request: Request) -> Answer:
        down = 14 <= now() < HOUR
        return refusing(FAULT) if down or 700 in numbers(request) else Answer()

    async def scene(rig: Rig) -> None:
        for _ in range(20):
            await asyncio.sleep(1)
            await rig.store.fill(1)
        await asyncio.sleep(HOUR - 30)
        assert len(rig.backend.sends) < HOUR / 60 * 2 + 150
        await rig.all_through()

    rig = play([1_500], decide, scene)
    assert len(buried(rig) - {700}) <= 8
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead


def test_a_dead_letter_keeps_what_the_backend_said() -> None:
    """Reason and answer stand beside the record."""
    refusal = Outcome(Verdict.REJECTED, "400 Bad Request", answer='{"message": "no such tenant"}')
    rig = play([3], poisoned({2}, refusal))
    (letter,) = rig.store.contents.dead_letters.values()
    assert (letter.reason, letter.answer) == (refusal.reason, refusal.answer)


def _stored(count: int) -> Scene:
    async def scene(rig: Rig) -> None:
        while len(rig.store.dead) < count:  # noqa: ASYNC110 - the store has no event for it
            await asyncio.sleep(1)

    return scene


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.sets(st.integers(1, 200), max_size=12),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from(KINDS),
)
def test_good_records_arrive_and_only_bad_ones_are_dead_letters(
    sizes: list[int], bad: set[int], in_flight: int, max_batches: int, kind: Outcome
) -> None:
    """Wherever they stand, whatever they come with; one more good record ends the last doubt."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(600)
        for _ in range(20):
            if rig.forwarder.state.cursor == max(rig.store.promised):
                return
            await rig.store.fill(1)
            await asyncio.sleep(600)
        await rig.all_through()

    total = sum(sizes)
    bad = {number for number in bad if number <= total}
    rig = play(sizes, poisoned(bad, kind), scene, in_flight=in_flight, max_batches=max_batches)
    assert buried(rig) == bad
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    more, told = copies(rig), witnesses(rig)
    assert more == told
    assert more.total() <= len(bad)
    assert rig.forwarder.state.delivered == len(rig.backend.kept)
    depth = max(sizes).bit_length() + len(sizes).bit_length() + 2
    tries = 6 if kind is FAULT else 2
    most = len(rig.store.promised) + tries * len(bad) * (2 * depth + 12)
    assert len(rig.backend.sends) <= most
    assert rig.backend.busiest <= in_flight


def test_killed_at_every_await_of_a_bisect() -> None:
    """Nothing is lost, no good record is a dead letter, and no bad one is two."""
    bad = {3, 8}

    async def main(step: int) -> tuple[Backend, Store]:
        backend = Backend(poisoned(bad))
        store = Store(backend)
        await store.fill(6, 1, 4)
        for crash in (step, None):
            rig = Rig.of_parts(backend, store, in_flight=2, max_batches=2)
            running = asyncio.create_task(rig.forwarder.run(rig.stop))
            if crash is None:
                await rig.all_through()
                rig.stop.set()
                await running
            else:
                loop().cancel_after(crash, running)
                await asyncio.wait([running], timeout=30)
                running.cancel()
                await asyncio.wait([running])
        return backend, store

    lengths = set()
    for step in range(1, 150):
        backend, store = run(main(step))
        assert {int(uid, 16) for uid in store.dead} == bad
        assert backend.kept.keys() == store.uids - store.dead
        lengths.add(len(backend.sends))
    assert len(lengths) > 5, "the crashes made no difference"


@pytest.mark.parametrize("verdict", [REJECTED, TOO_LARGE, FAULT])
def test_the_decision(verdict: Outcome) -> None:
    """Lone records are buried only when that is proved; what fails comes apart in contrast."""

    def step(*, lone: bool, proved: bool = False, only: bool = False, **known: bool) -> Step:
        return decide(Verdicts(verdict, **known), lone=lone, proved=proved, only=only)

    assert step(lone=True, proved=True) is Step.BURIED
    assert step(lone=True, contrast=True, quiet=True) is Step.ASIDE
    assert step(lone=True, certain=True) is Step.BURIED
    assert step(lone=False, contrast=True) is Step.APART
    assert step(lone=False, only=True) is Step.APART
    apart = Step.ASIDE if verdict is FAULT else Step.APART
    assert step(lone=False) is apart
