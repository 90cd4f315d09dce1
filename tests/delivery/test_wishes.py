"""What a person asks for: pauses, replays, and room for more dead letters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection

import pytest
from delivery.fakes import (
    DELIVERED,
    DOWN,
    FAULT,
    REJECTED,
    Answer,
    Backend,
    Store,
    refusing,
    uids_of,
)
from delivery.rig import Rig, play
from delivery.virtual import run
from msgspec.structs import replace

from bridge.model import DeadLetter, Outcome, Verdict
from bridge.payload import Request, singles
from bridge.telemetry.delivering import (
    CursorNotStored,
    DeadLetterDelivered,
    DestinationBlocked,
    DestinationPaused,
    DestinationRecovered,
    DestinationResumed,
    JournalRecovered,
    RecordDeadLettered,
    WishesNotRead,
)

PARTLY = Outcome(Verdict.DELIVERED, "too old", refused=1)


def poisoned(bad: Collection[int], until: float = 1e9) -> Callable[[Request], Answer]:
    """A backend that refuses whatever contains one of these, until it is mended."""

    def decide(request: Request) -> Answer:
        hit = any(int(uid, 16) in bad for uid in uids_of(request.raw))
        mended = asyncio.get_running_loop().time() >= until
        return refusing(REJECTED) if hit and not mended else Answer()

    return decide


def uid(number: int) -> str:
    """The uid of a record by its number."""
    return f"{number:032x}"


def test_full_dead_letters_block_until_there_is_room() -> None:
    """Told plainly; nothing new is sent, the cursor waits, and it goes on by itself."""

    async def scene(rig: Rig) -> None:
        rig.store.letters_fit = 1
        await asyncio.sleep(100)
        trouble = rig.forwarder.state.trouble
        assert trouble is not None
        assert trouble.verdict is Verdict.BLOCKED
        assert trouble.reason == "the dead letters are full (replay or drop some)"
        assert rig.store.dead == {uid(2)}
        await rig.store.fill(5)
        sends = len(rig.backend.sends)
        await asyncio.sleep(3600)
        assert len(rig.backend.sends) == sends
        rig.store.letters_fit = 2
        await rig.all_through()

    rig = play([4, 4, 4], poisoned({2, 6}), scene, in_flight=1)
    assert rig.store.dead == {uid(2), uid(6)}
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead
    held = [event for event in rig.events if isinstance(event, DestinationBlocked)]
    assert held[-1].reason == "the dead letters are full (replay or drop some)"
    assert len([event for event in held if "full" in event.reason]) == 1
    assert isinstance(rig.events[-1], DestinationRecovered)
    assert not rig.of(CursorNotStored)
    assert rig.forwarder.state.trouble is None


def test_full_dead_letters_do_not_hold_up_a_stop() -> None:
    """What could not be stored is sent again by the next run."""

    async def main() -> float:
        backend = Backend(poisoned({2}))
        store = Store(backend)
        store.letters_fit = 0
        await store.fill(4)
        rig = Rig.of_parts(backend, store)
        running = asyncio.create_task(rig.forwarder.run(rig.stop))
        await asyncio.sleep(50)
        rig.stop.set()
        await running
        assert store.contents.cursors == {"backend": 0}
        assert store.dead == set()
        return asyncio.get_running_loop().time()

    assert run(main()) == 50


def test_a_replay_makes_room_for_a_full_store() -> None:
    """A full store holds what is new, not what leaves it."""

    async def scene(rig: Rig) -> None:
        rig.store.letters_fit = 1
        await asyncio.sleep(100)
        assert rig.store.dead == {uid(2)}
        rig.store.wished = {uid(2)}
        await rig.all_through()

    rig = play([4, 4], poisoned({2, 6}, until=100), scene, in_flight=1)
    assert rig.store.dead == {uid(6)}
    assert rig.backend.kept.keys() == rig.store.uids - rig.store.dead


def test_a_paused_destination_is_sent_nothing() -> None:
    """Not even the first request; it says so, and goes on when it is resumed."""

    async def scene(rig: Rig) -> None:
        rig.store.paused = True
        await asyncio.sleep(600)
        trouble = rig.forwarder.state.trouble
        assert trouble is not None
        assert trouble.reason == "paused as asked"
        assert rig.backend.sends == []
        rig.store.paused = False
        await rig.all_through()

    rig = play([1, 1, 1], scene=scene)
    assert rig.events == [DestinationPaused("backend"), DestinationResumed("backend")]
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    assert rig.forwarder.state.trouble is None


def test_a_pause_holds_also_what_was_to_be_tried_again() -> None:
    """What is being sent finishes; retries and pieces wait."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(100)
        rig.store.paused = True
        await asyncio.sleep(100)
        sends = len(rig.backend.sends)
        await asyncio.sleep(1_000)
        assert len(rig.backend.sends) == sends
        rig.store.paused = False
        await asyncio.sleep(100)
        assert len(rig.backend.sends) > sends

    rig = play([1, 1, 1], lambda _: refusing(DOWN), scene)
    assert rig.store.contents.cursors == {"backend": 0}


def test_a_stop_ends_a_pause() -> None:
    """Nothing is sent, and nothing waits for the person."""

    async def scene(rig: Rig) -> None:
        rig.store.paused = True
        await asyncio.sleep(30)

    assert play([1], scene=scene).backend.sends == []


def with_letters(rig: Rig, numbers: Collection[int]) -> None:
    """Make these records of the first batch dead letters, and wish for them all."""
    request = Request((rig.store.contents.batches[0],))
    for found, record in singles(request):
        if int(found, 16) in numbers:
            letter = DeadLetter("backend", found, 1, "an older reason", record.gzip, 0)
            rig.store.contents.dead_letters["backend", found] = letter
            rig.store.wished.add(found)


def test_wishes_that_cannot_be_read_are_asked_for_again() -> None:
    """Told once; nothing is sent before it is known whether it may be."""

    async def scene(rig: Rig) -> None:
        rig.store.wishes_fail = True
        await asyncio.sleep(60)
        assert rig.backend.sends == []
        rig.store.wishes_fail = False
        await rig.all_through()

    rig = play([1], scene=scene)
    assert [type(event) for event in rig.events] == [WishesNotRead, JournalRecovered]


@pytest.mark.parametrize("in_flight", [1, 4])
def test_replayed_dead_letters_are_delivered_and_gone(in_flight: int) -> None:
    """One request each with the bytes that were refused; each just once, and no batch waits."""

    async def scene(rig: Rig) -> None:
        with_letters(rig, range(1, 8))
        await asyncio.sleep(60)
        assert rig.store.dead == set()
        await rig.all_through()

    rig = play([10, 1], lambda _: Answer(seconds=3), scene, in_flight=in_flight)
    alone = [sent.uids for sent in rig.backend.sends if sent.request.parts[0].records == 1]
    assert sorted(alone) == [(uid(n),) for n in (*range(1, 8), 11)]
    told = {event.uid for event in rig.events if isinstance(event, DeadLetterDelivered)}
    assert told == {uid(n) for n in range(1, 8)}
    assert rig.store.contents.cursors == {"backend": 2}
    assert rig.backend.busiest <= in_flight


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(REJECTED, REJECTED.reason), (FAULT, FAULT.reason), (PARTLY, "too old")],
)
def test_replayed_dead_letters_that_are_refused_again_stay(outcome: Outcome, reason: str) -> None:
    """With the new reason and answer, without contrast, and no trouble of the destination's."""
    outcome = replace(outcome, answer="not this one")

    def decide(request: Request) -> Answer:
        if request.records > 1 or uids_of(request.raw) != (uid(3),):
            return Answer()
        return Answer(outcome, keeps=False)

    async def scene(rig: Rig) -> None:
        with_letters(rig, {3, 4})
        await rig.all_through()
        await asyncio.sleep(120)
        await rig.store.fill(1)
        await asyncio.sleep(120)

    rig = play([10], decide, scene)
    (letter,) = rig.store.contents.dead_letters.values()
    assert (letter.uid, letter.reason, letter.answer) == (uid(3), reason, "not this one")
    assert letter.refused_at > 0
    assert rig.of(RecordDeadLettered) == [RecordDeadLettered("backend", uid(3), reason)]
    assert rig.forwarder.state.trouble is None
    assert rig.store.wished == set()


def test_a_replay_waits_out_an_outage() -> None:
    """Trouble that is not about the record is no answer to the wish; and it is sent once at a time.

    The wish is looked at many times meanwhile.
    """

    def decide(_: Request) -> Answer:
        return Answer() if asyncio.get_running_loop().time() > 1_000 else refusing(DOWN)

    async def scene(rig: Rig) -> None:
        with_letters(rig, {1, 2})
        await rig.all_through()
        await asyncio.sleep(10)

    rig = play([3], decide, scene)
    assert rig.store.dead == set()
    assert dict(rig.backend.kept) == {uid(1): 2, uid(2): 2, uid(3): 1}


def failing(outcome: Outcome, seconds: float, until: float = 1e9) -> Callable[[Request], Answer]:
    """A backend that fails for each of the first seven records alone, until it is mended."""

    def decide(request: Request) -> Answer:
        numbers = [int(uid, 16) for uid in uids_of(request.raw)]
        hit = len(numbers) == 1 and numbers[0] < 8
        mended = asyncio.get_running_loop().time() >= until
        return refusing(outcome, seconds) if hit and not mended else Answer()

    return decide


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("seconds", [0.1, 10])
def test_letters_that_keep_failing_do_not_hold_the_destination(
    in_flight: int, seconds: float
) -> None:
    """They lend their slots; what comes meanwhile is delivered, and they end as letters again."""

    async def scene(rig: Rig) -> None:
        with_letters(rig, range(1, 8))
        for _ in range(300):
            await asyncio.sleep(1)
            await rig.store.fill(1)
            behind = max(rig.store.promised) - rig.forwarder.state.cursor
            assert behind <= 5 + 5 * seconds
        assert rig.store.wished == set()
        await asyncio.sleep(60)
        assert rig.forwarder.state.cursor == max(rig.store.promised)

    rig = play([8, 2], failing(FAULT, seconds), scene, in_flight=in_flight, max_batches=64)
    assert rig.store.dead == {uid(n) for n in range(1, 8)}
    assert {letter.reason for letter in rig.store.contents.dead_letters.values()} == {FAULT.reason}
    assert rig.forwarder.state.trouble is None
    assert dict(rig.backend.kept) == dict.fromkeys(rig.store.uids, 1)
    assert sum(len(sent.uids) == 1 for sent in rig.backend.sends) < 300 + 7 * 4


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_letter_that_keeps_failing_ends_with_nothing_else_to_be_sent(in_flight: int) -> None:
    """After about a minute, without a copy of anything, and the destination is not in trouble."""

    async def scene(rig: Rig) -> None:
        with_letters(rig, {1, 8})
        rig.store.wished = {uid(1)}
        await asyncio.sleep(120)
        assert rig.store.wished == set()
        assert rig.forwarder.state.trouble is None
        rig.store.wished = {uid(8)}
        await asyncio.sleep(10)
        assert rig.store.dead == {uid(1)}

    rig = play([8, 2], failing(FAULT, 0.1), scene, in_flight=in_flight)
    assert rig.of(RecordDeadLettered) == [RecordDeadLettered("backend", uid(1), FAULT.reason)]
    assert rig.backend.kept == Counter([*rig.store.uids, uid(8)])


def test_a_replay_waits_out_half_a_minute_of_failures() -> None:
    """A gateway without its backend answers 502: that need not be the letter's own."""

    async def scene(rig: Rig) -> None:
        with_letters(rig, range(1, 8))
        wished, rig.store.wished = rig.store.wished, set()
        await rig.all_through()
        rig.store.wished = wished
        await asyncio.sleep(200)
        assert rig.store.dead == set()

    rig = play([8, 2], failing(FAULT, 0.1, until=35), scene)
    assert not rig.of(RecordDeadLettered)
    assert rig.forwarder.state.trouble is None


def test_a_replay_that_is_not_stored_yet_is_not_sent_again() -> None:
    """A slow journal still shows the wish after the delivery."""

    async def scene(rig: Rig) -> None:
        with_letters(rig, {1})
        await asyncio.sleep(60)
        assert rig.store.dead == set()

    rig = play([3], scene=scene, failures=["", *["slow"] * 6])
    assert rig.backend.kept[uid(1)] == 2


def test_a_stop_in_the_middle_of_replays_leaves_the_rest() -> None:
    """They stay dead letters, and wished for."""

    async def scene(rig: Rig) -> None:
        with_letters(rig, range(1, 10))
        await asyncio.sleep(5)

    rig = play([10], lambda _: Answer(seconds=2), scene, in_flight=1)
    assert 0 < len(rig.store.dead) < 9
    assert rig.store.wished == rig.store.dead
    assert DELIVERED in {sent.answer.outcome for sent in rig.backend.sends}
