"""RELP: frames, and a session with a receiver that acknowledges, refuses, closes and lies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from destinations.requests import joined, request
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.relp_receiver import OPENED, Receiver, Reply, receiving
from support.syslog_parser import parse

from bridge.destinations import relp
from bridge.destinations.relp_frame import (
    LAST_NUMBER,
    Answer,
    Decoder,
    Frame,
    NotRelp,
    following,
    offers,
)
from bridge.destinations.rfc5424 import Layout
from bridge.destinations.syslog import Syslog
from bridge.destinations.tls import Tls
from bridge.model import Outcome, Verdict
from bridge.payload import Request, halves

DELIVERED = Outcome(Verdict.DELIVERED)
UNSENT = Outcome(Verdict.DELIVERED, unsent=True)
FRAMES = st.builds(
    Frame,
    st.integers(0, LAST_NUMBER),
    st.sampled_from(["rsp", "syslog", "open", "serverclose"]),
    st.binary(max_size=50),
)


def uids(messages: list[bytes]) -> list[str]:
    """Which records messages are of."""
    return [parse(message).uid for message in messages]


async def until(holds: Callable[[], bool]) -> None:
    """Let the others run until something holds."""
    while not holds():  # noqa: ASYNC110 - what is waited for is the other side's plain state
        await asyncio.sleep(0)


def has_taken(receiver: Receiver, messages: int) -> bool:
    """Whether so many have been acknowledged."""
    return len(receiver.taken) >= messages


def play(
    receiver: Receiver,
    scene: Callable[[Syslog], Awaitable[Any]],
    *,
    timeout: float = 10,
    window: int = 8,
) -> None:
    """A scene between a destination and a receiver."""

    async def main() -> None:
        async with receiving(receiver):
            to = Syslog(
                "relp",
                f"relp://127.0.0.1:{receiver.port}",
                layout=Layout(),
                timeout=timeout,
                tls=Tls(),
                window=window,
            )
            await scene(to)
            await to.aclose()

    asyncio.run(main())


HUNDRED = [f"u{n:02}" for n in range(100)]


@given(st.lists(FRAMES, max_size=8), st.randoms())
def test_frames_come_through_however_they_are_cut(frames: list[Frame], random: Any) -> None:
    """Byte by byte, together, anything between."""
    data = b"".join(frame.encoded() for frame in frames)
    decoder = Decoder()
    found: list[Frame] = []
    while data:
        size = random.randint(1, len(data))
        found += decoder.feed(data[:size])
        data = data[size:]
    assert found == frames


def test_frames_as_the_specification_has_them() -> None:
    """With and without data; some put a space before none."""
    assert Frame(1, "close").encoded() == b"1 close 0\n"
    assert Frame(12, "syslog", b"a b").encoded() == b"12 syslog 3 a b\n"
    assert list(Decoder().feed(b"1 rsp 0 \n")) == [Frame(1, "rsp")]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"1 rsp 6 200 OKX",
        b"1 rsp 99999999 ",
        b"1234567890 rsp 1 x\n",
        b"1 rsp x\n",
        b"\x15\x03\x03",
    ],
)
def test_what_is_no_frame(data: bytes) -> None:
    """It is told, at once."""
    with pytest.raises(NotRelp):
        list(Decoder().feed(data))


def test_answers_and_offers() -> None:
    """A code, a text, and more."""
    answer = Answer.of(Frame(1, "rsp", OPENED))
    assert (answer.code, answer.text) == (200, "OK")
    assert offers(answer.more)["commands"] == "syslog"
    assert Answer.of(Frame(1, "rsp", b"500")) == Answer(500, "", b"")
    with pytest.raises(NotRelp):
        Answer.of(Frame(1, "rsp", b"fine"))


def test_numbers_begin_again() -> None:
    """After 999,999,999 comes 1."""
    assert [following(n) for n in (0, 1, LAST_NUMBER - 1, LAST_NUMBER)] == [1, 2, LAST_NUMBER, 1]


@pytest.mark.parametrize("dribbles", [False, True])
def test_every_message_is_acknowledged(dribbles: bool) -> None:
    """One session for all requests, ended in good order."""
    receiver = Receiver(dribbles=dribbles)

    async def scene(to: Syslog) -> None:
        assert to.acknowledged
        assert await to.send(joined(HUNDRED[:30], HUNDRED[30:60])) == DELIVERED
        assert await to.send(request(*HUNDRED[60:])) == DELIVERED

    play(receiver, scene)
    assert uids(receiver.taken) == HUNDRED
    assert receiver.sessions == 1
    assert receiver.commands == ["open", *["syslog"] * 100, "close"]
    assert receiver.numbers == list(range(1, 103))


def test_numbers_begin_again_in_a_session() -> None:
    """Without harm to what is outstanding."""
    receiver = Receiver()

    async def scene(to: Syslog) -> None:
        await to.send(request("first"))
        to._carrier._session.number = LAST_NUMBER - 50  # type: ignore[attr-defined] # a long session
        assert await to.send(request(*HUNDRED)) == DELIVERED

    play(receiver, scene)
    assert uids(receiver.taken) == ["first", *HUNDRED]
    assert receiver.numbers[50:53] == [LAST_NUMBER - 1, LAST_NUMBER, 1]


def test_no_more_than_a_window_is_outstanding() -> None:
    """A receiver that takes its time is not flooded; acknowledgements may come in any order."""
    receiver = Receiver(lambda _: Reply.HOLD)

    async def scene(to: Syslog) -> None:
        sending = asyncio.create_task(to.send(request(*HUNDRED)))
        while not sending.done():
            if len(receiver.held) == 8 or len(receiver.seen) == 100:
                assert len(receiver.held) <= 8
                numbers, receiver.held = receiver.held[::-1], []
                for number in numbers:
                    await receiver.say(receiver.writers[0], number, "rsp", b"200 OK")
            await asyncio.sleep(0)
        assert await sending == DELIVERED

    play(receiver, scene)
    assert uids(receiver.seen) == HUNDRED


def test_without_an_answer_nothing_is_delivered() -> None:
    """A withheld acknowledgement is no delivery, however many others came."""
    receiver = Receiver(lambda n: Reply.HOLD if n == 99 else Reply.ACK)

    async def scene(to: Syslog) -> None:
        first = await to.send(request(*HUNDRED))
        assert first.verdict is Verdict.RETRY
        assert first.reason.startswith("no acknowledgement from relp://127.0.0.1:")
        assert not first.own_fault  # it went forward
        receiver.decide = lambda _: Reply.HOLD
        second = await to.send(request(*HUNDRED))
        assert second.own_fault
        receiver.decide = lambda _: Reply.ACK
        assert await to.send(request(*HUNDRED)) == DELIVERED

    play(receiver, scene, timeout=0.2)
    assert uids(receiver.taken) == HUNDRED
    assert len(receiver.seen) == 102


def test_patience_stretches_the_wait() -> None:
    """A request that was split for being slow gets longer."""
    receiver = Receiver(lambda _: Reply.HOLD)

    async def scene(to: Syslog) -> None:
        patient = Request(request("a").parts, patience=3)
        assert (await to.send(patient)).reason.endswith("within 0.3 s")

    play(receiver, scene, timeout=0.1)


@pytest.mark.parametrize(
    "how", [Reply.CLOSE, Reply.HALF_CLOSE, Reply.RESET, Reply.SERVERCLOSE, Reply.GARBAGE, Reply.ODD]
)
def test_a_broken_session_is_taken_up_where_it_broke(how: Reply) -> None:
    """What was acknowledged is not sent again, what was not is not skipped."""
    receiver = Receiver(lambda n: how if n in {30, 70} else Reply.ACK)
    expected = Verdict.BLOCKED if how in {Reply.GARBAGE, Reply.ODD} else Verdict.RETRY

    async def scene(to: Syslog) -> None:
        sent = request(*HUNDRED)
        outcomes = [await to.send(sent) for _ in range(3)]
        assert [outcome.verdict for outcome in outcomes] == [expected, expected, Verdict.DELIVERED]
        assert all(outcome.reason.isprintable() for outcome in outcomes)

    play(receiver, scene, window=1)
    assert uids(receiver.taken) == HUNDRED
    assert receiver.sessions == 3


def test_what_is_acknowledged_ahead_of_a_farewell_counts() -> None:
    """Also where both come in the same packet."""
    receiver = Receiver(lambda _: Reply.HOLD)

    async def scene(to: Syslog) -> None:
        sending = asyncio.create_task(to.send(request("a", "b", "c")))
        await until(lambda: len(receiver.held) == 3)
        first, second, _ = receiver.held
        receiver.writers[0].write(
            b"%d rsp 6 200 OK\n0 serverclose 0\n%d rsp 6 200 OK\n" % (first, second)
        )
        assert (await sending).verdict is Verdict.RETRY
        receiver.decide = lambda _: Reply.ACK
        assert await to.send(request("a", "b", "c")) == DELIVERED

    play(receiver, scene)
    assert uids(receiver.seen) == ["a", "b", "c", "c"]


def test_an_odd_answer_to_the_last_message_is_no_delivery() -> None:
    """Nothing else is waited for then."""
    receiver = Receiver(lambda n: Reply.ODD if n == 2 else Reply.ACK)

    async def scene(to: Syslog) -> None:
        outcome = await to.send(request("a", "b", "c"))
        assert outcome.verdict is Verdict.BLOCKED
        assert outcome.reason.endswith("answers 299 hm")
        assert await to.send(request("a", "b", "c")) == DELIVERED

    play(receiver, scene)
    assert uids(receiver.seen) == ["a", "b", "c", "c"]


def test_a_refused_message_holds_no_other() -> None:
    """It may be its own fault; the others are not sent again, in halves neither."""
    receiver = Receiver(lambda n: Reply.REFUSE if n == 42 else Reply.ACK)

    async def scene(to: Syslog) -> None:
        sent = request(*HUNDRED)
        outcome = await to.send(sent)
        assert outcome.verdict is Verdict.RETRY
        assert outcome.own_fault
        assert outcome.reason.endswith("refuses a message: 500 no")
        for half, unsent in zip(halves(sent), (False, True), strict=True):
            assert await to.send(half) == replace(DELIVERED, unsent=unsent)

    play(receiver, scene)
    assert sorted(uids(receiver.taken)) == HUNDRED
    assert uids(receiver.seen)[100:] == ["u42"]
    assert receiver.sessions == 1


def test_what_had_been_acknowledged_says_nothing_of_now() -> None:
    """A request of which nothing is left to be sent is told from one that was answered."""
    receiver = Receiver(lambda n: Reply.ACK if n < 3 else Reply.REFUSE)

    async def scene(to: Syslog) -> None:
        sent = request(*HUNDRED[:6])
        assert (await to.send(sent)).verdict is Verdict.RETRY
        accepted, refused = halves(sent)
        assert await to.send(accepted) == UNSENT
        assert (await to.send(refused)).verdict is Verdict.RETRY
        receiver.decide = lambda _: Reply.ACK
        assert await to.send(accepted) == DELIVERED  # sent once more, it is an answer
        assert await to.send(refused) == DELIVERED

    play(receiver, scene)
    assert len(receiver.seen) == 6 + 3 + 3 + 3


def test_equal_messages_are_told_apart() -> None:
    """Two alike in one request are two, also when one was acknowledged."""
    receiver = Receiver(lambda n: Reply.CLOSE if n == 1 else Reply.ACK)

    async def scene(to: Syslog) -> None:
        sent = request("same", "same", "same")
        assert (await to.send(sent)).verdict is Verdict.RETRY
        assert await to.send(sent) == DELIVERED
        assert await to.send(sent) == DELIVERED

    play(receiver, scene, window=1)
    assert len(receiver.taken) == 6


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it messages are sent twice rather than kept."""
    monkeypatch.setattr(relp, "_REMEMBERED", 10)
    receiver = Receiver(lambda n: Reply.CLOSE if n == 50 else Reply.ACK)

    async def scene(to: Syslog) -> None:
        sent = request(*HUNDRED)
        assert (await to.send(sent)).verdict is Verdict.RETRY
        assert len(to._carrier._acknowledged) == 10  # type: ignore[attr-defined] # looked at
        assert await to.send(sent) == DELIVERED
        assert not to._carrier._acknowledged  # type: ignore[attr-defined] # looked at

    play(receiver, scene, window=1)
    assert set(uids(receiver.taken)) == set(HUNDRED)
    assert len(receiver.taken) == 50 + 100


@pytest.mark.parametrize("how", ["serverclose", "close", "reset"])
def test_a_session_that_ended_meanwhile_is_opened_again(how: str) -> None:
    """Without a failed send."""
    receiver = Receiver()

    async def scene(to: Syslog) -> None:
        assert await to.send(request("a")) == DELIVERED
        (writer,) = receiver.writers
        if how == "serverclose":
            await receiver.say(writer, 0, "serverclose", b"")
        elif how == "close":
            writer.close()
        else:
            writer.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await to.send(request("b")) == DELIVERED

    play(receiver, scene)
    assert uids(receiver.taken) == ["a", "b"]
    assert receiver.sessions == 2


@pytest.mark.parametrize(
    ("opened", "why"),
    [
        (b"500 required command not supported", "refuses a session: 500 required"),
        (b"200 OK\nrelp_version=7\ncommands=syslog", "speaks version 7 of RELP"),
        (b"200 OK\nrelp_version=0\ncommands=eventlog", "takes no syslog over RELP, only eventlog"),
        (b"fine", "does not speak RELP"),
    ],
)
def test_a_session_that_cannot_be_held_blocks(opened: bytes, why: str) -> None:
    """Nothing is sent."""
    receiver = Receiver(opened=opened)

    async def scene(to: Syslog) -> None:
        outcome = await to.send(request("a"))
        assert outcome.verdict is Verdict.BLOCKED
        assert why in outcome.reason
        receiver.opened = OPENED
        assert await to.send(request("a")) == DELIVERED

    play(receiver, scene)
    assert uids(receiver.seen) == ["a"]


def test_a_given_up_send_is_taken_up_by_the_next() -> None:
    """Cancelled at any acknowledgement: nothing is lost, at most a window comes twice."""
    for place in range(0, 20, 3):
        receiver = Receiver()

        async def scene(to: Syslog, receiver: Receiver = receiver, place: int = place) -> None:
            sending = asyncio.create_task(to.send(request(*HUNDRED[:20])))
            await until(partial(has_taken, receiver, place))
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert await to.send(request(*HUNDRED[:20])) == DELIVERED

        play(receiver, scene, window=4)
        assert set(uids(receiver.taken)) == set(HUNDRED[:20])
        assert len(receiver.seen) <= 24


def test_sends_take_turns() -> None:
    """Each request stands together, on one connection."""
    receiver = Receiver()

    async def scene(to: Syslog) -> None:
        groups = [HUNDRED[n : n + 10] for n in range(0, 100, 10)]
        outcomes = await asyncio.gather(*(to.send(request(*group)) for group in groups))
        assert outcomes == [DELIVERED] * 10

    play(receiver, scene)
    assert uids(receiver.taken) == HUNDRED
    assert receiver.sessions == 1
