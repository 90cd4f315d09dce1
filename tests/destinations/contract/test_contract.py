"""What every destination keeps: the forwarder's fake, those with fake peers, those with real ones.

See `destinations.contract.harness` for how one joins.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from destinations.contract.harness import SECRET, Case, Met, Rig, script
from destinations.contract.peers import HEADERS, TIMEOUT, console, fake, otlp_grpc, otlp_http
from destinations.contract.syslog_peers import file, real_syslog, syslog
from destinations.requests import joined, request
from destinations.rotel import Rotel, rotel
from msgspec.structs import replace

from bridge.destinations import Destination
from bridge.destinations.otlp_body import Compression
from bridge.destinations.otlp_grpc import GrpcCompression, OtlpGrpc
from bridge.destinations.otlp_http import OtlpHttp, Protocol
from bridge.destinations.tls import Tls
from bridge.model import Outcome, Verdict
from bridge.payload import Request, halves

DELIVERED = Outcome(Verdict.DELIVERED)
TRIES = 200
VERDICTS = {
    Met.TROUBLED: Verdict.RETRY,
    Met.TOO_LARGE: Verdict.TOO_LARGE,
    Met.REJECTED: Verdict.REJECTED,
    Met.BLOCKED: Verdict.BLOCKED,
    Met.UNANSWERED: Verdict.RETRY,
}


def rotel_http(peer: Rotel, *, protocol: Protocol, compression: Compression) -> Destination:
    """OTLP/HTTP to a real receiver."""
    url = f"http://127.0.0.1:{peer.http}/v1/logs"
    return OtlpHttp(
        *("backend", url, HEADERS),
        compression=compression,
        timeout=TIMEOUT,
        tls=Tls(),
        protocol=protocol,
    )


def rotel_grpc(peer: Rotel, *, compression: GrpcCompression) -> Destination:
    """OTLP/gRPC to a real receiver."""
    url = f"http://127.0.0.1:{peer.grpc}"
    return OtlpGrpc(*("backend", url, HEADERS), compression=compression, timeout=TIMEOUT, tls=Tls())


def real(build: Callable[[Rotel], Destination]) -> Case:
    """A destination with the real receiver behind it."""
    return Case(partial(rotel, build=build), frozenset(), (pytest.mark.server("rotel"),))


_OF_RELP = frozenset({Met.TROUBLED, Met.BLOCKED, Met.UNANSWERED, Met.SILENT})

CASES: dict[str, Case] = {
    "fake": Case(fake, frozenset(VERDICTS)),
    "console": Case(console, frozenset(), acknowledged=False, notices=False),
    "file": Case(file, frozenset(), away=Verdict.BLOCKED),
    "http protobuf gzip": Case(partial(otlp_http, protocol="http/protobuf", compression="gzip")),
    "http protobuf none": Case(partial(otlp_http, protocol="http/protobuf", compression="none")),
    "http protobuf zstd": Case(partial(otlp_http, protocol="http/protobuf", compression="zstd")),
    "http json gzip": Case(partial(otlp_http, protocol="http/json", compression="gzip")),
    "http json none": Case(partial(otlp_http, protocol="http/json", compression="none")),
    "grpc gzip": Case(partial(otlp_grpc, compression="gzip")),
    "grpc none": Case(partial(otlp_grpc, compression="none")),
    "rotel protobuf gzip": real(partial(rotel_http, protocol="http/protobuf", compression="gzip")),
    "rotel protobuf none": real(partial(rotel_http, protocol="http/protobuf", compression="none")),
    "rotel json gzip": real(partial(rotel_http, protocol="http/json", compression="gzip")),
    "rotel json none": real(partial(rotel_http, protocol="http/json", compression="none")),
    "rotel grpc gzip": real(partial(rotel_grpc, compression="gzip")),
    "rotel grpc none": real(partial(rotel_grpc, compression="none")),
    **{
        f"{name} {scheme}": Case(
            partial(build, scheme=scheme),
            _OF_RELP if build is syslog and scheme.startswith("relp") else frozenset(),
            (pytest.mark.server(*programs, "openssl"),),
            acknowledged=scheme.startswith("relp"),
            notices=scheme != "udp",
            takes_turns=True,
            rewrites=True,
        )
        for name, build, programs in (
            ("syslog", syslog, ()),
            ("rsyslog", real_syslog, ("rsyslogd",)),
        )
        for scheme in ("udp", "tcp", "tls", "relp", "relps")
    },
}

every = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name, marks=case.marks) for name, case in CASES.items()]
)
"""A test that holds for every destination."""


def meeting(*mets: Met) -> pytest.MarkDecorator:
    """A test that holds for every destination whose peer can meet a request like this."""
    return pytest.mark.parametrize(
        ("case", "met"),
        [
            pytest.param(case, met, id=f"{name} {met.name}", marks=case.marks)
            for name, case in CASES.items()
            for met in mets
            if met in case.meets
        ],
    )


Scene = Callable[[Rig], Coroutine[Any, Any, None]]


def play(case: Case, folder: Path, scene: Scene) -> None:
    """Run a scene with a destination; nothing of it may be left running."""

    async def main() -> None:
        async with case.open(folder) as rig:
            await scene(rig)
        # A server's tasks may have a step to go; what nobody ends would wait for ever.
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            _, running = await asyncio.wait(left, timeout=10)
            assert not running

    asyncio.run(main())


async def delivered(destination: Destination, sent: Request) -> list[Outcome]:
    """Send until it is delivered, as the forwarder does; what came before that."""
    before: list[Outcome] = []
    while (outcome := await destination.send(sent)).verdict is not Verdict.DELIVERED:
        before.append(outcome)
        assert len(before) < TRIES, outcome
        await asyncio.sleep(0.02)
    assert outcome == DELIVERED
    return before


def held(outcome: Outcome, verdict: Verdict | None = None) -> None:
    """Not delivered, for a reason that can be shown."""
    assert outcome.verdict is not Verdict.DELIVERED
    assert verdict in {None, outcome.verdict}, outcome
    assert outcome.reason.isprintable()
    assert outcome.reason
    assert SECRET not in outcome.reason


@every
def test_it_has_its_configured_name(case: Case, tmp_path: Path) -> None:
    """The name labels metrics and names the cursor; closing twice is closing."""

    async def scene(rig: Rig) -> None:
        assert rig.destination.name == "backend"
        for _ in range(2):
            await rig.destination.aclose()

    play(case, tmp_path, scene)


@every
def test_what_is_delivered_has_arrived_once(case: Case, tmp_path: Path) -> None:
    """Every record of a joined request, and no word about it (trap 27)."""

    async def scene(rig: Rig) -> None:
        groups = [[f"{n}-{m}" for m in range(1 + n % 3)] for n in range(40)]
        uids = sorted(uid for group in groups for uid in group)
        assert await rig.destination.send(joined(*groups)) == DELIVERED
        assert sorted(await rig.peer.arrived(len(uids))) == uids

    play(case, tmp_path, scene)


@every
def test_a_request_can_be_sent_again(case: Case, tmp_path: Path) -> None:
    """Sending changes nothing about a request: the same bytes, the same uids."""

    async def scene(rig: Rig) -> None:
        sent = joined(["a"], ["b"])
        before = (sent.raw, sent.gzip, sent.json)
        assert [await rig.destination.send(sent) for _ in range(2)] == [DELIVERED] * 2
        assert (sent.raw, sent.gzip, sent.json) == before
        assert sorted(await rig.peer.arrived(4)) == ["a", "a", "b", "b"]

    play(case, tmp_path, scene)


@every
def test_sends_may_overlap(case: Case, tmp_path: Path) -> None:
    """Several requests in flight do not mix."""

    async def scene(rig: Rig) -> None:
        uids = [[f"{n}-{m}" for m in range(3)] for n in range(8)]
        outcomes = await asyncio.gather(*(rig.destination.send(joined(u)) for u in uids))
        assert outcomes == [DELIVERED] * 8
        assert sorted(await rig.peer.arrived(24)) == sorted(uid for group in uids for uid in group)

    play(case, tmp_path, scene)


@every
def test_odd_records_arrive(case: Case, tmp_path: Path) -> None:
    """A megabyte, control characters, every plane of Unicode."""

    async def scene(rig: Rig) -> None:
        for uid, body in (("big", "x" * 1_048_576), ("odd", "\x00\x1b[31m\r\n\u2028\U0010ffff")):
            assert await rig.destination.send(request(uid, body=body)) == DELIVERED
        assert await rig.peer.arrived(2) == ["big", "odd"]

    play(case, tmp_path, scene)


@meeting(*VERDICTS)
def test_an_answer_is_an_outcome_and_trouble_passes(case: Case, met: Met, tmp_path: Path) -> None:
    """Each has its verdict and a reason, and no restart is needed (trap 9)."""

    async def scene(rig: Rig) -> None:
        rig.peer.decide = script([met])
        held(await rig.destination.send(request("a")), VERDICTS[met])
        await delivered(rig.destination, request("b"))
        arrived = await rig.peer.arrived(1)
        assert arrived == (["a", "b"] if met is Met.UNANSWERED else ["b"])

    play(case, tmp_path, scene)


@meeting(Met.TOO_LARGE, Met.REJECTED)
def test_taken_in_halves_all_but_the_refused_arrive(case: Case, met: Met, tmp_path: Path) -> None:
    """A limit of two records, or one that is not valid: the others arrive, each once."""

    def decide(uids: Sequence[str]) -> Met:
        refused = len(uids) > 2 if met is Met.TOO_LARGE else "poison" in uids
        return met if refused else Met.TAKEN

    async def scene(rig: Rig) -> None:
        rig.peer.decide = decide
        pieces, refused = deque([joined(["a", "b", "poison"], ["c", "d", "e", "f"], ["g"])]), []
        while pieces:
            piece = pieces.popleft()
            outcome = await rig.destination.send(piece)
            if outcome == DELIVERED:
                continue
            held(outcome, VERDICTS[met])
            if piece.records == 1:
                refused.append(piece)
            else:
                pieces.extendleft(reversed(halves(piece)))
        whole = sorted([*"abcdefg", "poison"])
        expected = whole if met is Met.TOO_LARGE else whole[:-1]
        assert sorted(await rig.peer.arrived(len(expected))) == expected
        assert len(refused) == len(whole) - len(expected)

    play(case, tmp_path, scene)


@every
def test_it_reaches_a_peer_that_came_back(case: Case, tmp_path: Path) -> None:
    """While the peer is away nothing is delivered; then it is, by itself, twice over."""

    async def scene(rig: Rig) -> None:
        assert await rig.destination.send(request("0")) == DELIVERED
        assert await rig.peer.arrived(1) == ["0"]
        for number in (1, 2):
            await rig.peer.stop()
            for _ in range(3):
                held(await rig.destination.send(request(str(number))), case.away)
            await rig.peer.start()
            for outcome in await delivered(rig.destination, request(str(number))):
                held(outcome, case.away)
            assert len(await rig.peer.arrived(number + 1)) == number + 1
        assert await rig.peer.arrived(3) == ["0", "1", "2"]

    play(case, tmp_path, scene)


@meeting(Met.SILENT)
def test_a_send_can_be_cancelled(case: Case, met: Met, tmp_path: Path) -> None:
    """In the middle, while others are on their way; what comes next is as if nothing had been."""

    async def scene(rig: Rig) -> None:
        rig.peer.decide = lambda uids: met if "lost" in uids else Met.TAKEN
        sending = asyncio.create_task(rig.destination.send(request("lost")))
        await rig.peer.reached()
        following = asyncio.create_task(rig.destination.send(request("a")))
        if not case.takes_turns:
            assert await following == DELIVERED
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await following == DELIVERED
        assert await rig.destination.send(request("b")) == DELIVERED
        assert await rig.peer.arrived(2) == ["a", "b"]

    play(case, tmp_path, scene)


@meeting(Met.SILENT)
def test_silence_is_no_delivery(case: Case, met: Met, tmp_path: Path) -> None:
    """No answer in time is a failure that may be the request's own; patience scales the time."""

    async def scene(rig: Rig) -> None:
        rig.peer.decide = script([met])
        outcome = await rig.destination.send(replace(request("a"), patience=0.2 / TIMEOUT))
        held(outcome, Verdict.RETRY)
        assert outcome.own_fault
        await delivered(rig.destination, request("b"))
        assert await rig.peer.arrived(1) == ["b"]

    play(case, tmp_path, scene)


@every
def test_it_says_what_its_word_is_worth(case: Case, tmp_path: Path) -> None:
    """Best effort is told from the backend's own word, and a small request is never too large."""

    async def scene(rig: Rig) -> None:
        assert rig.destination.acknowledged is case.acknowledged
        assert rig.destination.too_large(request("a")) is None

    play(case, tmp_path, scene)


@every
def test_a_probe_reaches_the_peer_without_a_record(case: Case, tmp_path: Path) -> None:
    """Before the first send and between two; while the peer is away it is not taken for there."""

    async def scene(rig: Rig) -> None:
        assert (await rig.destination.probe()).verdict is Verdict.DELIVERED
        assert await rig.destination.send(request("a")) == DELIVERED
        assert (await rig.destination.probe()).verdict is Verdict.DELIVERED
        assert await rig.destination.send(request("b")) == DELIVERED
        assert await rig.peer.arrived(2) == ["a", "b"]
        if case.notices:
            await rig.peer.stop()
            held(await rig.destination.probe(), case.away)
            await rig.peer.start()

    play(case, tmp_path, scene)
