"""The forwarder: everything arrives, in its own time, whatever the backend does."""

from __future__ import annotations

import asyncio
import gzip
from itertools import pairwise
from random import Random

import pytest
from delivery.fakes import (
    BLOCKED,
    DOWN,
    FAULT,
    REJECTED,
    TOO_LARGE,
    Answer,
    Backend,
    Store,
    refusing,
    scripted,
    uids_of,
)
from delivery.rig import Rig, play
from delivery.virtual import NOON, clock, run
from msgspec.structs import replace

from bridge.delivery.forwarder import Forwarder
from bridge.delivery.gate import Trouble
from bridge.model import SECOND, Outcome, Verdict
from bridge.payload import Request
from bridge.telemetry import Event
from bridge.telemetry.delivering import (
    BatchesNotRead,
    CursorNotStored,
    DestinationBlocked,
    DestinationRecovered,
    DestinationRetrying,
    JournalRecovered,
    OddAnswer,
    PartialSuccess,
    RecordDeadLettered,
    RequestSplit,
)


def test_everything_arrives_once_and_the_cursor_is_stored() -> None:
    """The plain case."""
    rig = play([2, 3, 1])
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    assert rig.store.contents.cursors == {"backend": 3}
    assert rig.forwarder.state.delivered == 6
    assert rig.forwarder.state.outstanding == 0
    assert rig.events == []


def test_batches_that_come_later_are_delivered() -> None:
    """An idle forwarder wakes for a new batch."""

    async def scene(rig: Rig) -> None:
        await rig.all_through()
        await asyncio.sleep(3600)
        await rig.store.fill(1)
        await rig.all_through()

    rig = play([1], scene=scene)
    assert [round(sent.at) for sent in rig.backend.sends] == [0, 3600]


def test_small_batches_are_joined_into_one_request_and_one_gzip_member() -> None:
    """What is ready together goes together, up to the bounds (trap 27 for the member)."""
    rig = play([1, 1, 1, 1, 1], max_batches=3)
    sizes = [len(sent.request.parts) for sent in rig.backend.sends]
    assert sum(sizes) == 5
    assert max(sizes) == 3
    joined = next(sent.request for sent in rig.backend.sends if len(sent.request.parts) == 3)
    assert joined.gzip.count(b"\x1f\x8b\x08") == 1


def test_a_bounded_number_is_in_flight() -> None:
    """No more than ``in_flight`` at a time, and as many as that."""
    assert play([1] * 30, in_flight=3).backend.busiest == 3


def test_the_cursor_waits_for_the_oldest() -> None:
    """Later answers do not move the cursor past an unanswered batch (trap 9)."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(5)
        assert rig.backend.kept.total() == 2
        assert rig.forwarder.state.cursor == 0
        assert rig.forwarder.state.outstanding == 1
        await rig.all_through()
        assert rig.forwarder.state.cursor == 3

    play([1, 1, 1], scripted([Answer(seconds=20)]), scene)


def test_it_runs_ahead_of_a_stuck_request_only_so_far() -> None:
    """What a restart would send again stays bounded."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(5_000)
        assert rig.backend.kept.total() == 2 * 16 - 1
        await rig.all_through()

    play([1] * 100, scripted([Answer(seconds=10_000)]), scene, in_flight=2)


def test_an_outage_has_no_limit_on_tries() -> None:
    """A day of 503 costs nothing but time (trap 10), and one line each way."""
    up_at = 86_400.0

    def decide(_: Request) -> Answer:
        up = asyncio.get_running_loop().time() >= up_at
        return Answer() if up else refusing(DOWN)

    async def scene(rig: Rig) -> None:
        await rig.all_through()
        assert asyncio.get_running_loop().time() < up_at + 61

    rig = play([1] * 10, decide, scene)
    assert rig.backend.kept.keys() == rig.store.uids
    assert [type(event) for event in rig.events] == [DestinationRetrying, DestinationRecovered]
    assert len(rig.backend.sends) > 86_400 / 60


def test_a_hiccup_is_not_worth_a_line() -> None:
    """One failure and a success at the next try are not reported."""
    assert play([1], scripted([refusing(DOWN)])).events == []


def test_a_blocked_backend_sees_one_request_a_step() -> None:
    """From 1 s doubling to 60 s, one request each, however many wait (trap 21)."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(300)
        assert rig.forwarder.state.trouble == Trouble(
            Verdict.BLOCKED, BLOCKED.reason, NOON + SECOND // 10
        )

    rig = play([1] * 10, lambda _: refusing(BLOCKED), scene)
    waits = [round(after.at - before.at) for before, after in pairwise(rig.backend.sends[3:])]
    assert [sent.at for sent in rig.backend.sends[:4]] == [0] * 4
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len({sent.uids for sent in rig.backend.sends}) == 4
    assert rig.events == [DestinationBlocked("backend", BLOCKED.reason)]


def test_a_blocked_destination_recovers_by_itself() -> None:
    """A wrong password does not cost a log; the line says how long it was held."""
    rig = play([1] * 10, scripted([refusing(BLOCKED)] * 6))
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    assert rig.events[0] == DestinationBlocked("backend", BLOCKED.reason)
    assert isinstance(rig.events[1], DestinationRecovered)
    assert rig.events[1].held == pytest.approx(1 + 2 + 4, abs=0.5)
    assert rig.forwarder.state.trouble is None


def test_a_new_reason_for_being_blocked_is_said() -> None:
    """Mending the password only to find the path wrong gives a second line, not a third."""
    other = Outcome(Verdict.BLOCKED, "404 Not Found")
    script = [refusing(BLOCKED)] * 3 + [refusing(other)] * 3

    rig = play([1], scripted(script))
    assert [event.reason for event in rig.events if isinstance(event, DestinationBlocked)] == [
        BLOCKED.reason,
        other.reason,
    ]


def test_retry_after_is_obeyed() -> None:
    """The wait that a destination asks for is the least it gets, and is said at once."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(1)
        assert rig.of(DestinationRetrying)
        await rig.all_through()

    rig = play([1], scripted([refusing(replace(DOWN, retry_after=90), seconds=0)]), scene)
    assert [sent.at for sent in rig.backend.sends] == pytest.approx([0, 90], abs=0.01)


def test_retry_after_is_obeyed_within_reason() -> None:
    """A year is not obeyed; ten minutes are."""
    rig = play([1], scripted([refusing(replace(DOWN, retry_after=3e7), seconds=0)]))
    assert rig.backend.sends[1].at == pytest.approx(600, abs=0.01)


def test_a_success_elsewhere_opens_the_gate_at_once() -> None:
    """One request that must wait ten minutes does not hold up the others."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(60)
        assert rig.backend.kept.total() == 19
        await rig.all_through()

    play([1] * 20, scripted([refusing(replace(DOWN, retry_after=600))]), scene)


def test_no_new_request_starts_while_one_is_in_trouble() -> None:
    """A destination in trouble is asked with what is already on its way, one at a time."""
    script = [Answer(seconds=0.2)] + [refusing(DOWN, seconds=0.3)] * 8

    rig = play([1] * 20, scripted(script), in_flight=4)
    in_trouble = rig.backend.sends[5:9]
    assert {sent.uids for sent in in_trouble} <= {sent.uids for sent in rig.backend.sends[:5]}
    for before, after in pairwise(in_trouble):
        assert before.ended is not None
        assert after.at >= before.ended


def test_a_batch_that_comes_during_trouble_waits() -> None:
    """Also one for which the forwarder was already waiting when the trouble began."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(2)
        await rig.store.fill(1)
        await asyncio.sleep(300)
        assert {sent.uids for sent in rig.backend.sends} == {rig.store.promised[1]}

    play([1], lambda _: refusing(DOWN, seconds=1), scene)


def test_a_batch_that_is_being_read_when_trouble_begins_waits() -> None:
    """The destination is looked at again before the request starts."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(300)
        assert {sent.uids for sent in rig.backend.sends} == {rig.store.promised[1]}

    play([1, 1], lambda _: refusing(DOWN, seconds=1), scene, failures=["", "slow"])


def test_a_late_answer_may_lengthen_the_wait() -> None:
    """A request that was on its way when the trouble began brings a Retry-After for all."""
    script = [refusing(DOWN, seconds=0.1), refusing(replace(DOWN, retry_after=100), seconds=0.1)]
    rig = play([1, 1], scripted(script))
    assert [sent.at > 100 for sent in rig.backend.sends] == [False, False, True, True]


def test_a_lost_acknowledgement_is_sent_again_byte_for_byte() -> None:
    """The records were kept but the answer was lost: the same bytes go again."""
    rig = play([2, 2], scripted([Answer(DOWN), Answer(DOWN)]), max_batches=2)
    first, *others = rig.backend.sends
    assert [other.request.gzip for other in others] == [first.request.gzip] * len(others)
    assert set(rig.backend.kept.values()) == {3}


def test_too_large_is_split_until_it_fits() -> None:
    """Joined requests come apart at batch borders first, then batches (trap 22)."""

    def decide(request: Request) -> Answer:
        return refusing(TOO_LARGE) if request.records > 3 else Answer()

    rig = play([2, 2, 10], decide, max_batches=3, in_flight=1)
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    carried = [len(sent.uids) for sent in rig.backend.sends]
    assert carried == [14, 2, 12, 2, 10, 5, 2, 3, 5, 2, 3]
    assert rig.of(RequestSplit)
    assert rig.store.contents.cursors == {"backend": 3}


def test_later_requests_are_joined_to_fit() -> None:
    """A limit that was met once is not run into with every request."""

    def decide(request: Request) -> Answer:
        return refusing(TOO_LARGE) if request.records > 10 else Answer()

    rig = play([1] * 200, decide, max_batches=64, in_flight=1)
    refused = [sent for sent in rig.backend.sends if sent.answer.outcome == TOO_LARGE]
    assert len(refused) < 10
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)


def test_a_request_that_alone_keeps_failing_is_taken_apart() -> None:
    """Five 500s while others succeed: its records go on, with more time for the answer."""

    def decide(request: Request) -> Answer:
        poisoned = any(uid.endswith("2") for uid in uids_of(request.raw))
        return refusing(FAULT) if poisoned and request.records > 1 else Answer()

    rig = play([8, 1, 1, 1], decide, max_batches=1)
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    whole = [sent for sent in rig.backend.sends if len(sent.uids) == 8]
    assert len(whole) == 5
    assert {sent.request.patience for sent in rig.backend.sends if len(sent.uids) == 4} == {2}
    assert rig.of(RequestSplit)


def test_a_request_that_fails_with_nothing_else_in_flight_is_shown_up_by_the_next() -> None:
    """The others that wait in the journal are the contrast."""

    def decide(request: Request) -> Answer:
        poisoned = any(uid.endswith("2") for uid in uids_of(request.raw))
        return refusing(FAULT) if poisoned and request.records > 1 else Answer()

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(30)
        await rig.store.fill(1)
        await rig.all_through()

    rig = play([8], decide, scene=scene)
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    assert rig.of(RequestSplit)


def test_a_lone_record_that_alone_keeps_failing_becomes_a_dead_letter() -> None:
    """As if it were rejected, once it failed five times while the others in flight arrived."""

    def decide(request: Request) -> Answer:
        poisoned = any(uid.endswith("2") for uid in uids_of(request.raw))
        return refusing(FAULT) if poisoned else Answer()

    rig = play([1, 1, 1, 1], decide)
    assert len(rig.backend.kept) == 3
    assert {uid[-1] for uid in rig.store.dead} == {"2"}
    assert len([sent for sent in rig.backend.sends if sent.answer.outcome == FAULT]) == 6
    assert rig.forwarder.state.trouble is None


def test_a_request_is_not_suspected_while_another_may_show_whose_fault_it_is() -> None:
    """It is split once it is the only one there is, and nobody is blamed."""
    rig = play([8], scripted([refusing(FAULT)] * 40))
    assert [len(sent.uids) for sent in rig.backend.sends[:8]] == [8] * 7 + [4]
    assert rig.store.dead == set()
    assert rig.backend.kept.keys() == rig.store.uids


def test_progress_lets_the_back_off_begin_anew() -> None:
    """A destination that takes some of a request at every try is tried again soon."""
    script = [refusing(replace(DOWN, progress=True))] * 100
    rig = play([1], scripted(script))
    waits = [after.at - before.at for before, after in pairwise(rig.backend.sends)]
    assert len(waits) == 100
    assert max(waits) < 0.1 + 0.5 + 0.01


def test_the_cursor_waits_for_every_piece() -> None:
    """A split batch counts once its last piece is answered for."""

    def decide(request: Request) -> Answer:
        if request.records > 1:
            return refusing(TOO_LARGE)
        last = uids_of(request.raw)[0].endswith("4")
        return Answer(seconds=100 if last else 0.1)

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(60)
        assert rig.forwarder.state.cursor == 0
        assert rig.forwarder.state.delivered == 3
        await rig.all_through()

    play([4], decide, scene)


def test_a_lone_record_that_is_too_large_becomes_a_dead_letter() -> None:
    """It is kept with the reason, the others arrive, and the cursor goes on."""

    def decide(request: Request) -> Answer:
        giant = any(uid.endswith("2") for uid in uids_of(request.raw))
        return refusing(TOO_LARGE) if giant else Answer()

    rig = play([1, 3], decide)
    (letter,) = rig.store.contents.dead_letters.values()
    assert letter.uid.endswith("2")
    assert (letter.destination, letter.seq, letter.reason) == ("backend", 2, TOO_LARGE.reason)
    assert uids_of(gzip.decompress(letter.gzip)) == (letter.uid,)
    assert rig.backend.kept.keys() == rig.store.uids - {letter.uid}
    assert rig.of(RecordDeadLettered) == [
        RecordDeadLettered("backend", letter.uid, TOO_LARGE.reason)
    ]
    assert rig.forwarder.state.dead_lettered == 1


def test_a_dead_letter_is_stored_without_waiting_for_the_cursor() -> None:
    """It shows while the rest of its request is still held."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(60)
        assert {uid[-1] for uid in rig.store.dead} == {"1"}
        assert rig.forwarder.state.cursor == 0

    play([2], lambda _: refusing(BLOCKED), scene, limit=1_000, huge=[1])


def test_a_dead_letter_made_while_another_is_stored_is_kept_too() -> None:
    """A slow journal loses none of them."""
    partly = Outcome(Verdict.DELIVERED, "too old", refused=1)

    def decide(request: Request) -> Answer:
        return Answer(partly, seconds=0.1 * len(request.raw) / 100)

    rig = play([1, 1, 1], decide, failures=["", "", "", "", "slow"], huge=[2])
    assert rig.store.dead == rig.store.uids


def test_partial_success_is_never_sent_again_and_never_swallowed() -> None:
    """A copy of the request's records is kept, as nobody knows which were refused (trap 22)."""
    partly = Outcome(Verdict.DELIVERED, "200 OK: too old", refused=1)

    rig = play([3], scripted([Answer(partly)]))
    assert len(rig.backend.sends) == 1
    assert rig.store.dead == rig.store.uids
    (reason,) = {letter.reason for letter in rig.store.contents.dead_letters.values()}
    assert reason == "1 of 3 in one request refused, not said which: 200 OK: too old"
    assert rig.events == [PartialSuccess("backend", 1, 3, partly.reason)]
    assert rig.forwarder.state.delivered == 2


def test_a_rejected_record_does_not_hold_up_the_others() -> None:
    """It is a dead letter as soon as others are accepted, and no trouble of the destination's."""

    def decide(request: Request) -> Answer:
        poison = any(uid.endswith("3") for uid in uids_of(request.raw))
        return refusing(REJECTED) if poison else Answer()

    rig = play([1] * 10, decide)
    assert {uid[-1] for uid in rig.store.dead} == {"3"}
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    assert [type(event) for event in rig.events] == [RecordDeadLettered]


def test_others_in_flight_get_their_turn_beside_a_rejected_request() -> None:
    """What was on its way when one was rejected is delivered, and shows that one up."""

    def decide(request: Request) -> Answer:
        now = asyncio.get_running_loop().time()
        if any(uid.endswith("1") for uid in uids_of(request.raw)):
            return refusing(REJECTED)
        return refusing(DOWN) if now < 10 else Answer()

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(10)
        trouble = rig.forwarder.state.trouble
        assert trouble is not None
        assert rig.store.dead == set()
        await rig.all_through()

    rig = play([1, 1, 1, 1], decide, scene)
    assert rig.backend.kept.total() == 3
    assert {uid[-1] for uid in rig.store.dead} == {"1"}


def test_an_odd_answer_is_said_once() -> None:
    """A body that does not parse is taken as delivered, with one warning."""
    odd = Outcome(Verdict.DELIVERED, "200 OK with a body that is no OTLP response")

    rig = play([1, 1, 1], lambda _: Answer(odd))
    assert rig.events == [OddAnswer("backend", odd.reason)]


def test_a_journal_that_cannot_store_the_cursor_is_asked_again() -> None:
    """The trouble is reported once, delivery goes on, and the cursor follows (disk full)."""
    failures = ["", "", "", *["before"] * 6]
    rig = play([1, 1], failures=failures)
    assert len(rig.of(CursorNotStored)) == 1
    assert len(rig.of(JournalRecovered)) >= 1
    assert rig.store.contents.cursors == {"backend": 2}
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)


def test_a_journal_that_cannot_be_read_is_asked_again() -> None:
    """The trouble is reported once."""
    rig = play([1, 1], failures=["before"] * 5)
    assert [type(event) for event in rig.events] == [BatchesNotRead, JournalRecovered]


def test_one_destination_down_does_not_hold_up_another() -> None:
    """Each has its own cursor and pace (trap 20)."""

    async def both() -> None:
        up, down = Backend(name="up"), Backend(lambda _: refusing(DOWN), name="down")
        store = Store(up)
        stop = asyncio.Event()
        events: list[Event] = []
        forwarders = [
            Forwarder(backend, store, clock(), events.append, Random(seed))
            for seed, backend in enumerate((up, down))
        ]
        async with asyncio.TaskGroup() as group:
            for forwarder in forwarders:
                group.create_task(forwarder.run(stop))
            await store.fill(*[1] * 10)
            await forwarders[0].drained(10)
            assert asyncio.get_running_loop().time() < 5
            assert store.contents.cursors == {"up": 10, "down": 0}
            down.decide = lambda _: Answer()
            await forwarders[1].drained(10)
            stop.set()
        assert up.kept.keys() == down.kept.keys() == store.uids
        assert store.contents.batches == []

    run(both())


def test_stop_lets_a_send_finish_and_stores_its_cursor() -> None:
    """What is being sent may finish; nothing new starts."""

    async def scene(_: Rig) -> None:
        await asyncio.sleep(1)

    rig = play([1] * 10, lambda _: Answer(seconds=8), scene)
    assert rig.store.contents.cursors == {"backend": 4}
    assert len(rig.backend.sends) == 4
    assert all(sent.ended == 8 for sent in rig.backend.sends)


def test_stop_does_not_wait_out_a_back_off() -> None:
    """Requests that wait give up at once, and stay in the journal."""
    ended: list[float] = []

    async def main() -> None:
        backend = Backend(lambda _: refusing(replace(DOWN, retry_after=600)))
        store = Store(backend)
        stop = asyncio.Event()
        events: list[Event] = []
        forwarder = Forwarder(backend, store, clock(), events.append, Random(1), max_batches=1)
        running = asyncio.create_task(forwarder.run(stop))
        await store.fill(*[1] * 10)
        await asyncio.sleep(30)
        stop.set()
        await running
        ended.append(asyncio.get_running_loop().time())
        assert len(store.contents.batches) == 10

    run(main())
    assert ended == [30]


def test_stop_in_the_middle_of_a_split_sends_no_more_pieces() -> None:
    """The rest of a split request is a new request; a restart sends the batch again."""

    def decide(request: Request) -> Answer:
        return refusing(TOO_LARGE) if request.records > 1 else Answer(seconds=10)

    async def scene(_: Rig) -> None:
        await asyncio.sleep(5)

    rig = play([4], decide, scene)
    assert rig.backend.kept.total() == 1
    assert rig.store.contents.cursors == {"backend": 0}


def test_stop_before_anything_ends_at_once() -> None:
    """An idle forwarder has nothing to wait for."""

    async def scene(rig: Rig) -> None:
        assert rig.forwarder.state.trouble is None

    assert play([], scene=scene).backend.sends == []


def test_a_defect_is_not_taken_for_a_delivery() -> None:
    """An exception that no destination may raise ends the run, and nothing it sent counts."""

    def decide(_: Request) -> Answer:
        raise LookupError

    store: list[Store] = []

    async def scene(rig: Rig) -> None:
        store.append(rig.store)
        await rig.all_through()

    with pytest.raises(ExceptionGroup):
        play([1], decide, scene)
    assert store[0].contents.cursors == {"backend": 0}
    assert len(store[0].contents.batches) == 1


def test_the_state_says_since_when() -> None:
    """Trouble carries the wall clock of its beginning, however often it is tried."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(50)
        trouble = rig.forwarder.state.trouble
        assert trouble is not None
        assert trouble.since == NOON + SECOND // 10

    play([1], lambda _: refusing(DOWN), scene)
