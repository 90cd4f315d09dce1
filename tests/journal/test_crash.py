"""Trap 12: a process that dies at any point leaves every transaction whole or absent."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.journal import Disk, copy_as_killed, encode_plainly, item, walk
from support.virtual import Crash

from bridge.errors import JournalError
from bridge.journal.ledger import Ledger
from bridge.journal.sqlite import SqliteJournal
from bridge.model import Appended, AppRecord, DeadLetter, Encoded, Gap, GapKind, Identified
from bridge.simulator.manual_clock import ManualClock


def start(path: Path, disk: Disk, *, inline: bool = True) -> SqliteJournal:
    """Open the journal."""
    return SqliteJournal.open(
        path, max_bytes=1_000_000, clock=ManualClock(), inline=inline, connect=disk.connect
    )


GAP = Gap(GapKind.CROWDED, 2, 3, at_least=1)


def seqs(journal: SqliteJournal) -> list[tuple[int, int]]:
    """The ledger: each fingerprint's tick and batch."""
    return journal._db.execute("SELECT tick, seq FROM seen ORDER BY tick").fetchall()


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("late", [False, True])
def test_a_crash_at_any_statement_leaves_all_or_nothing(
    tmp_path: Path, inline: bool, late: bool
) -> None:
    """Batch, fingerprints, gap, position, cursor, dead letters of a group stand or fall together.

    Trap 4: the position is never there without the batch. Every statement is tried in turn.
    """

    async def die(path: Path, disk: Disk, skip: int) -> bool:
        journal = start(path, disk, inline=inline)
        await journal.begin(AppRecord("a", "rest/x", "{}", 0))
        await journal.attach("one")
        await journal.append(walk("a", item(1, "x"), position=1))
        letter = DeadLetter("one", "u", 1, "refused", b"z", 5)
        older = replace(letter, uid="older")
        await journal.advance("one", 0, [older, replace(letter, uid="replayed")])
        again = replace(older, reason="again")
        commits = disk.commits
        disk.plan(Crash(), skip=skip, late=late)
        results = await asyncio.gather(
            journal.append(walk("a", item(2, "y"), item(3, "z"), position=9, gaps=[GAP])),
            journal.advance("one", 1, [letter, again], ["replayed"]),
            return_exceptions=True,
        )
        copy_as_killed(path, path.parent / "killed")
        crashed = not disk.armed
        assert [type(result) for result in results] == (
            [Crash, Crash] if crashed else [Appended, type(None)]
        )
        if crashed:
            with pytest.raises(JournalError, match="closed"):
                await journal.app("a")
        await journal.aclose()
        await look(path.parent / "killed" / path.name, held=disk.commits > commits)
        return crashed

    async def look(path: Path, *, held: bool) -> None:
        journal = start(path, Disk())
        try:
            known = await journal.app("a")
            assert known is not None
            anchor = await journal.anchor("a", 99)
            assert anchor is not None
            stats = await journal.stats()
            found = [b.gzip for b in await journal.read(0, max_batches=9, max_size=999)]
            gaps = list(await journal.gaps("a"))
            with Ledger.open(path) as ledger:
                kept = [(x.letter.uid, x.letter.reason) for x in ledger.dead_letters(limit=9)]
            state = (known.position, anchor.tick, kept, gaps, found)
            assert stats.dead_letters == 2
            told = [b"y z crowded:2-3"]
            after = [("older", "again"), ("u", "refused")]
            before = [("older", "refused"), ("replayed", "refused")]
            assert state == ((9, 3, after, [GAP], told) if held else (1, 1, before, [], [b"x"]))
            assert seqs(journal) == ([(1, 1), (2, 2), (3, 2)] if held else [(1, 1)])
            assert await journal.attach("one") == (1 if held else 0)
        finally:
            journal.abandon()

    for skip in range(99):
        if not asyncio.run(die(tmp_path / str(skip) / "journal.db", Disk(), skip)):
            assert skip > 10
            return
    pytest.fail("the group never ended")


def test_a_crash_inside_the_encoder_stores_nothing(path: Path) -> None:
    """Whatever code runs inside the transaction: if the process dies there, nothing was stored."""

    def dies(_: Sequence[Identified], __: Sequence[Gap]) -> list[Encoded]:
        raise Crash

    async def run() -> None:
        journal = start(path, Disk())
        await journal.begin(AppRecord("a", "rest/x", "{}", 0))
        crash, bystander, later = await asyncio.gather(
            journal.append(walk("a", item(1, "x"), position=9, encode=dies)),
            journal.append(walk("a", item(2, "y"), position=9, encode=encode_plainly)),
            journal.prune("a", needed=0, kept=0),
            return_exceptions=True,
        )
        assert [type(result) for result in (crash, bystander, later)] == [Crash] * 3
        journal.abandon()
        journal = start(path, Disk())
        assert await journal.app("a") == AppRecord("a", "rest/x", "{}", 0, ledger_from=0)
        assert await journal.append(walk("a", item(1, "x"))) == Appended(1, 0, 1)
        journal.abandon()

    asyncio.run(run())


_WRITER = """
import asyncio, json, sys
from pathlib import Path
from bridge.clock import SystemClock
from bridge.journal.sqlite import SqliteJournal
from bridge.model import Append, AppRecord, Encoded, Entry, Identified, Read, ReadKind

LIVE = Read(ReadKind.LIVE, 0, 1, 1, 1)

def encode(items, gaps):
    payload = json.dumps([item.uid.decode() for item in items]).encode()
    return [Encoded(len(items), len(payload), payload)]

async def write(journal, app):
    await journal.begin(AppRecord(app, "rest/x", "{}", 0))
    known = await journal.app(app)
    for tick in range(known.position, 10**9):
        found = [Identified(Entry({}, tick), tick, f"{app}.{tick}.{n}".encode()) for n in range(3)]
        done = await journal.append(Append(app, found, tick + 1, encode, LIVE))
        print(json.dumps([app, tick, done.added, done.last_seq]), flush=True)

async def main():
    journal = SqliteJournal.open(Path(sys.argv[1]), max_bytes=10**9, clock=SystemClock())
    async with asyncio.TaskGroup() as group:
        for app in ("a", "b", "c"):
            group.create_task(write(journal, app))

asyncio.run(main())
"""


def test_sigkill_amid_writing_loses_nothing_that_was_told(path: Path) -> None:
    """Three writers, killed after a number of reports, again and again over one file.

    What the process told as stored is found, once; what it had not told is there whole or not.
    """
    told: dict[tuple[str, int], int] = {}
    for reports in (1, 2, 37, 150):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(reports)]
            writer.send_signal(signal.SIGKILL)
            lines += [line for line in writer.stdout if line.endswith(b"\n")]
        for app, tick, added, seq in map(json.loads, lines):
            assert added == 3
            assert (app, tick) not in told
            told[app, tick] = seq
    found = asyncio.run(_contents(path))
    assert {key: found.get(key) for key in told} == told
    assert sorted(found.values()) == list(range(1, len(found) + 1))
    assert len(told) >= 190


async def _contents(path: Path) -> dict[tuple[str, int], int]:
    """Which (app, tick) stands in which batch; each batch whole, each only once."""
    journal = start(path, Disk())
    found: dict[tuple[str, int], int] = {}
    try:
        for batch in await journal.read(0, max_batches=10**6, max_size=10**9):
            uids = json.loads(batch.gzip)
            tick = int(uids[0].split(".")[1])
            assert uids == [f"{batch.app}.{tick}.{n}" for n in range(3)]
            assert (batch.app, tick) not in found
            found[batch.app, tick] = batch.seq
        for app in ("a", "b", "c"):
            known = await journal.app(app)
            assert known is not None
            assert known.position == 1 + max(t for name, t in found if name == app)
    finally:
        journal.abandon()
    return found
