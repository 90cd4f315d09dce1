"""Destinations under the real forwarder: a backend that is killed, and odd messages as mapped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import pytest
from delivery.fakes import encode
from destinations.contract.harness import Case, Rig
from destinations.contract.syslog_peers import real_syslog
from destinations.contract.test_contract import CASES, every, play
from support.journal import LIVE

from bridge.clock import SystemClock
from bridge.delivery.forwarder import Forwarder
from bridge.journal.memory import MemoryJournal
from bridge.mapping import Mapper
from bridge.model import Append, AppRecord, Encoded, Entry, Gap, Identified, Tick, Verdict
from bridge.payload import Request
from bridge.telemetry import Event
from bridge.telemetry.delivering import RecordDeadLettered

NOON = 1_758_283_200_000_000
ENTRIES = 10_000
A_BATCH = 100
BEFORE_THE_CRASH = 1_000

KILLED = {
    **{
        name: CASES[name]
        for name in (
            *("console", "file", "http protobuf gzip", "http protobuf zstd", "http json gzip"),
            *("grpc gzip", "syslog relp", "rotel protobuf gzip", "rotel json gzip"),
            "rotel grpc gzip",
        )
    },
    **{
        name: Case(
            partial(real_syslog, scheme=name.removeprefix("rsyslog "), crashes=True),
            marks=CASES[name].marks,
            acknowledged=CASES[name].acknowledged,
            takes_turns=True,
        )
        for name in ("rsyslog udp", "rsyslog tcp", "rsyslog tls", "rsyslog relp")
    },
}


def _encode(found: Sequence[Identified], _: Sequence[Gap]) -> Sequence[Encoded]:
    return encode(found)


async def filled(clock: SystemClock, *, entries: int = ENTRIES) -> tuple[MemoryJournal, set[str]]:
    """A journal that has entries for the destination ``backend``, and their uids."""
    journal = MemoryJournal(max_bytes=1 << 40, clock=clock)
    await journal.attach("backend")
    await journal.begin(AppRecord("app", "stream", "{}", NOON))
    found = [
        Identified(Entry({"message": f"line {n}"}, NOON + n), NOON + n, n.to_bytes(16))
        for n in range(entries)
    ]
    for at in range(0, entries, A_BATCH):
        batch = found[at : at + A_BATCH]
        await journal.append(Append("app", batch, batch[-1].tick, _encode, LIVE))
    return journal, {entry.uid.hex() for entry in found}


async def different(rig: Rig, records: int) -> set[str]:
    """What arrived, once so many have; ones that came twice must not stand for others."""
    repeats, arrived = 0, await rig.peer.arrived(records)
    while records and (more := len(arrived) - len(set(arrived))) > repeats:
        repeats, arrived = more, await rig.peer.arrived(records + more)
    return set(arrived)


async def gone_and_back(rig: Rig) -> None:
    """The backend is killed once it has some of it, and comes back."""
    while len(await rig.peer.arrived(0)) < BEFORE_THE_CRASH:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)
    await rig.peer.stop()
    await asyncio.sleep(0.1)
    await rig.peer.start()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=case.marks) for name, case in KILLED.items()]
)
def test_a_restart_of_the_backend_loses_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten thousand entries; what nothing confirms may be lost, and how many is printed."""
    case, events = KILLED[name], list[Event]()

    async def scene(rig: Rig) -> None:
        clock = SystemClock()
        journal, uids = await filled(clock)
        forwarder = Forwarder(
            *(rig.destination, journal, clock, events.append, Random(1)),
            in_flight=1 if case.takes_turns else 4,
            max_batches=1,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(forwarder.run(stop))
        await gone_and_back(rig)
        await forwarder.drained((await journal.stats()).last_seq)
        stop.set()
        await running
        missing = uids - await different(rig, ENTRIES if case.acknowledged else 0)
        if not case.acknowledged:
            await rig.peer.stop()
            missing = uids - set(await rig.peer.arrived(0))
            await rig.peer.start()
        with capsys.disabled():
            said = f"{name}: {len(missing)} of {ENTRIES} lost"
            print(f"\n{said}")  # noqa: T201 - a measurement
        assert not (missing and case.acknowledged)
        assert len(missing) < ENTRIES
        assert forwarder.state.dead_lettered == 0

    play(case, tmp_path, scene)
    assert not [event for event in events if isinstance(event, RecordDeadLettered)]


HOSTILE = 'first\nsecond\r\n\x00 "quoted" [in brackets] \\ \x1b[31mred\x1b[0m \ud800 é漢🦀'
LONG = "é" * 100_000
"""200 KB."""


def mapped(message: str, uid: bytes) -> Request:
    """An entry of that message as the mapping has it."""
    mapper = Mapper(app="app", service="app", fallback_service="app", resource={})
    tick: Tick = NOON
    entry = Entry({"message": message, "level": "INFO", "timestamp": "2025-09-19T12:00:00Z"}, tick)
    return Request(tuple(mapper.encode([Identified(entry, tick, uid)], NOON)))


@every
def test_odd_messages_can_be_read(case: Case, tmp_path: Path) -> None:
    """A hostile and a long one: as they were written, but for what UTF-8 and syslog cannot say."""

    async def scene(rig: Rig) -> None:
        for uid, message in ((b"\1" * 16, HOSTILE), (b"\2" * 16, LONG)):
            assert (await rig.destination.send(mapped(message, uid))).verdict is Verdict.DELIVERED
        assert len(await rig.peer.arrived(2)) == 2
        hostile, long = [await rig.peer.shown((bytes([n]) * 16).hex()) for n in (1, 2)]
        if not case.rewrites:
            assert hostile == HOSTILE.replace("\ud800", "\ufffd")
            assert long == LONG
            return
        assert hostile.replace("#012", "\n") == (  # rsyslog's own way to write a line feed
            'first\nsecond\n\\x00 "quoted" [in brackets] \\ \\x1b[31mred\\x1b[0m \ufffd é漢🦀'
        )
        kept, mark, rest = long.partition("… [cut: ")
        assert mark
        assert kept == "é" * len(kept)
        left_out = int(rest.removesuffix(" bytes left out]"))
        assert len(kept.encode()) + left_out == len(LONG.encode())
        assert len(kept) > 3_000

    play(case, tmp_path, scene)
