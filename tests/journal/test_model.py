"""The SQLite journal and the one in memory in lockstep, through crashes and full disks.

Each step hands several calls to both at one moment. The model is told only of those that the
real one reported as done or, when the process died, of all or none, by whether COMMIT was carried
out. After every step both must show the same in everything that can be seen.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import astuple, replace
from support.journal import Disk, copy_as_killed, encode_one_each, encode_plainly, item, walk
from support.virtual import Crash

from bridge.errors import JournalError
from bridge.journal import DROPPED, Journal, Start, Stats, rules
from bridge.journal.ledger import Ledger
from bridge.journal.memory import Contents, MemoryJournal
from bridge.journal.orders import Orders
from bridge.journal.sqlite import SqliteJournal
from bridge.model import (
    ALL_DROPPED,
    AppRecord,
    Backfill,
    BackfillApp,
    BackfillState,
    DeadLetter,
    Encode,
    Encoded,
    Gap,
    GapKind,
    Identified,
    Read,
    ReadKind,
)
from bridge.simulator.manual_clock import ManualClock

Call: TypeAlias = Callable[[Journal], Awaitable[Any]]

MAX_BYTES = 90
LETTER_BYTES = 40
LEDGER_BYTES = 9 * rules.FINGERPRINT_BYTES
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Thousands of commits are tried; a killed process leaves the same files there as on a disk."""
TICKS = range(8)
APPS = ("a", "b")
DESTINATIONS = ("one", "two", "three")
UIDS = ("u", "v", "w")
JOBS = ("first", "second")


class BrokenEncoder(Exception):
    """What an encoder raises."""


def _broken(_: Any, __: Any) -> Any:
    raise BrokenEncoder


def _beginning(record: AppRecord) -> Call:
    return lambda journal: journal.begin(record)


apps = st.sampled_from(APPS)
ticks = st.sampled_from(TICKS)
items = st.builds(
    item, ticks, st.sampled_from("pqrst"), dated=st.sampled_from([True] * 4 + [False])
)
positions = st.one_of(
    ticks, st.sampled_from([rules.POSITION_STEP - 1, rules.POSITION_STEP, 3 * rules.POSITION_STEP])
)
gaps = st.builds(
    lambda kind, floor, at_least: Gap(kind, floor, floor + 1, at_least),
    st.sampled_from(GapKind),
    st.integers(0, 3),
    st.integers(0, 5),
)


def _shaping(dropped: str, joined: str) -> Encode:
    """An encoder of an app whose rules drop some entries and join others to one record."""

    def encode(items: Sequence[Identified], found: Sequence[Gap]) -> list[Encoded]:
        kept = [one for one in items if one.uid.decode() not in dropped]
        together = [one.uid for one in kept if one.uid.decode() in joined]
        apart = [one.uid for one in kept if one.uid.decode() not in joined]
        batches = [
            Encoded(min(1, len(together)) + len(apart), 9, b" ".join(together + apart), uids=uids)
            for uids in [(*together, *apart)]
            if uids
        ]
        batches += [replace(batch, uids=()) for batch in encode_one_each((), found)]
        return batches or [ALL_DROPPED]

    return encode


encoders: list[Encode] = [
    *[encode_plainly] * 4,
    encode_one_each,
    _broken,
    _shaping("p", ""),
    _shaping("pqr", "st"),
    _shaping("pqrst", ""),
]


@st.composite
def appends(draw: st.DrawFn) -> Call:
    """A walk, now and then with an encoder that makes many batches or breaks."""
    found: list[Identified] = draw(st.lists(items, max_size=6))
    append = walk(
        draw(apps),
        *found,
        position=draw(positions),
        encode=draw(st.sampled_from(encoders)),
        read=Read(draw(st.sampled_from(ReadKind)), 0, 8, draw(ticks), draw(st.integers(1, 3))),
        swept=draw(st.dictionaries(st.sampled_from([15, 120]), positions)),
        gaps=draw(st.lists(gaps, max_size=2)),
        closed=draw(st.lists(gaps, max_size=2)),
    )
    return lambda journal: journal.append(append)


@st.composite
def begins(draw: st.DrawFn) -> Call:
    """A start, or a changed stream."""
    return _beginning(AppRecord(draw(apps), draw(st.sampled_from("xy")), "{}", draw(ticks)))


@st.composite
def prunes(draw: st.DrawFn) -> Call:
    """Forgetting."""
    app, needed, kept = draw(apps), draw(ticks), draw(ticks)
    return lambda journal: journal.prune(app, needed=needed, kept=kept)


@st.composite
def attachments(draw: st.DrawFn) -> Call:
    """A destination put in use."""
    name, first = draw(st.sampled_from(DESTINATIONS)), draw(st.sampled_from(Start))
    return lambda journal: journal.attach(name, first)


@st.composite
def advances(draw: st.DrawFn) -> Call:
    """A cursor, relative to nothing: backwards, forwards and beyond; with dead letters."""
    name = draw(st.sampled_from(DESTINATIONS))
    cursor = draw(st.integers(0, 12))
    letters = [
        DeadLetter(name, uid, cursor, f"refused at {cursor}", gzip, cursor, answer)
        for uid, gzip, answer in draw(st.lists(refusals, max_size=2))
    ]
    replayed = draw(st.lists(st.sampled_from(UIDS), max_size=1))
    return lambda journal: journal.advance(name, cursor, letters, replayed)


@st.composite
def backfilling(draw: st.DrawFn) -> Call:
    """A walk of a backfill, perhaps one that is not active, or nothing it knows."""
    found: list[Identified] = draw(st.lists(items, max_size=6))
    position = draw(st.sampled_from([3, 6, 8]))
    append = walk(
        draw(apps),
        *found,
        position=position,
        encode=draw(st.sampled_from(encoders)),
        read=Read(ReadKind.BACKFILL, 0, position, draw(ticks), draw(st.integers(1, 3))),
        gaps=draw(st.lists(gaps, max_size=2)),
        closed=draw(st.lists(gaps, max_size=2)),
    )
    name = draw(st.sampled_from(JOBS))
    return lambda journal: journal.backfill(append, name)


refusals = st.tuples(
    st.sampled_from(UIDS), st.sampled_from([b"z", b"zzzz"]), st.sampled_from(["", "no", "\ud800"])
)


calls = st.one_of(
    appends(),
    appends(),
    advances(),
    advances(),
    prunes(),
    attachments(),
    begins(),
    backfilling(),
    backfilling(),
)
moments = st.lists(calls, min_size=1, max_size=4)


class Lockstep(RuleBasedStateMachine):
    """One real journal through many lives, and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp(prefix="journal-", dir=MEMORY))
        self.clock = ManualClock(0)
        self.disk = Disk()
        self.lives = 0
        self.path = self.root / "0" / "journal.db"
        self.real = self._open()
        self.model = self._modelled(Contents())
        self.ledger_from: dict[str, int] = {}

    def _open(self) -> SqliteJournal:
        return SqliteJournal.open(
            self.path,
            max_bytes=MAX_BYTES,
            ledger_bytes=LEDGER_BYTES,
            dead_letters_max_bytes=LETTER_BYTES,
            clock=self.clock,
            inline=True,
            connect=self.disk.connect,
        )

    def _restart(self) -> None:
        self.real = self._open()
        self.model = self._modelled(self.model.contents)

    def _modelled(self, contents: Contents) -> MemoryJournal:
        return MemoryJournal(
            max_bytes=MAX_BYTES,
            ledger_bytes=LEDGER_BYTES,
            dead_letters_max_bytes=LETTER_BYTES,
            clock=self.clock,
            contents=contents,
        )

    def _kill(self) -> None:
        """Go on with the files as they are at this moment, however the old one ends."""
        self.lives += 1
        self.path = copy_as_killed(self.path, self.root / str(self.lives))
        self.real.abandon()
        self._restart()

    def _both(self, moment: list[Call]) -> None:
        """Make the calls of one moment on the real one, then on the model what came of them."""
        self.clock.tick += 1
        before = self.disk.commits

        async def at_once() -> list[Any]:
            waiting = (call(self.real) for call in moment)
            return await asyncio.gather(*waiting, return_exceptions=True)

        async def one_by_one() -> None:
            for call, result in zip(moment, results, strict=True):
                if crashed:
                    await _result(call, self.model)
                elif not isinstance(getattr(result, "__cause__", None), sqlite3.Error):
                    assert _shown(await _result(call, self.model)) == _shown(result)

        results = self.runner.run(at_once())
        crashed = any(isinstance(result, Crash) for result in results)
        committed = self.disk.commits - before
        assert committed <= 1
        if committed or not crashed:
            self.runner.run(one_by_one())
        if crashed:
            self._kill()

    @initialize()
    def begin(self) -> None:
        """The apps are known, so that most walks find their app."""
        for app in APPS:
            record = AppRecord(app, "x", "{}", 0)
            self._both([_beginning(record)])
        self.order_backfill(JOBS[0], set(), resume=False)

    @rule(moment=moments)
    def work(self, moment: list[Call]) -> None:
        """Calls of one moment."""
        self._both(moment)

    @rule(moment=moments, skip=st.integers(0, 40), late=st.booleans())
    def work_and_die(self, moment: list[Call], skip: int, late: bool) -> None:
        """The process dies before or after a chosen statement."""
        self.disk.plan(Crash(), skip=skip, late=late)
        self._both(moment)
        self.disk.calm()

    @rule(
        moment=moments,
        skip=st.integers(0, 40),
        on=st.sampled_from(["", "INSERT", "DELETE"]),
        error=st.sampled_from(["database or disk is full", "disk I/O error"]),
    )
    def work_in_trouble(self, moment: list[Call], skip: int, on: str, error: str) -> None:
        """A chosen statement fails."""
        self.disk.plan(sqlite3.OperationalError(error), skip=skip, on=on)
        self._both(moment)
        self.disk.calm()

    @rule(moment=moments)
    def work_and_fail_to_commit(self, moment: list[Call]) -> None:
        """COMMIT fails."""
        self.disk.plan(sqlite3.OperationalError("database or disk is full"), on="COMMIT")
        self._both(moment)
        self.disk.calm()

    @precondition(lambda self: self.model._in_use)
    @rule(share=st.floats(0, 1), data=st.data())
    def deliver(self, share: float, data: st.DataObject) -> None:
        """A destination in use delivers part of what waits for it."""
        name = data.draw(st.sampled_from(sorted(self.model._in_use)))
        start, end = self.model.contents.cursors[name], self.model.contents.last_seq
        cursor = start + round(share * (end - start))
        self._both([lambda journal: journal.advance(name, cursor)])

    @rule(
        name=st.none() | st.sampled_from(DESTINATIONS),
        uids=st.none() | st.sets(st.sampled_from(UIDS)),
        drop=st.booleans(),
    )
    def order_letters(self, name: str | None, uids: set[str] | None, drop: bool) -> None:
        """A person wants dead letters sent again, or gives them up."""
        contents = self.model.contents
        chosen = {
            (destination, uid)
            for destination, uid in contents.dead_letters
            if name in {None, destination} and (uids is None or uid in uids)
        }
        with Orders.open(self.path) as word:
            order = word.drop if drop else word.replay
            assert order(destination=name, uids=uids) == len(chosen)
        if drop:
            for key in chosen:
                del contents.dead_letters[key]
        contents.replay = contents.replay - chosen if drop else contents.replay | chosen

    @precondition(lambda self: self.model._in_use)
    @rule(share=st.floats(0, 1), data=st.data())
    def replay(self, share: float, data: st.DataObject) -> None:
        """A destination in use takes part of what it is to be sent again, and refuses the rest."""
        name = data.draw(st.sampled_from(sorted(self.model._in_use)))
        with Orders.open(self.path) as word:
            word.replay(destination=name, uids=None)
        contents = self.model.contents
        letters = [one for key, one in contents.dead_letters.items() if key[0] == name]
        contents.replay |= {(name, one.uid) for one in letters}
        taken = round(share * len(letters))
        again = [replace(one, reason="again", seq=99, gzip=b"other") for one in letters[taken:]]
        uids = [one.uid for one in letters[:taken]]
        self._both([lambda journal: journal.advance(name, 0, again, uids)])

    @rule(name=st.sampled_from(DESTINATIONS), paused=st.booleans())
    def pause_or_resume(self, name: str, paused: bool) -> None:
        """A person lets a destination rest, or go on."""
        contents = self.model.contents
        with Orders.open(self.path) as word:
            if name not in contents.cursors:
                with pytest.raises(JournalError, match="no such destination"):
                    word.pause(name, paused=paused)
                return
            assert word.pause(name, paused=paused) is ((name in contents.paused) is not paused)
        (contents.paused.add if paused else contents.paused.discard)(name)

    @rule(name=st.sampled_from(DESTINATIONS))
    def forget(self, name: str) -> None:
        """A person has a destination forgotten; refused while it is in use or has dead letters."""
        contents = self.model.contents
        known = {one.destination: one for one in self._stats().unused}
        with Orders.open(self.path) as word:
            if name not in known or known[name].dead_letters:
                with pytest.raises(JournalError, match=r"running bridge|dead letters|no such"):
                    word.forget(name)
                return
            assert word.forget(name) == known[name]
        contents.paused.discard(name)
        contents.acks = [one for one in contents.acks if one.destination != name]
        del contents.cursors[name], contents.began[name]

    @rule(
        name=st.sampled_from(JOBS),
        audience=st.sets(st.sampled_from(DESTINATIONS), max_size=2),
        resume=st.booleans(),
    )
    def order_backfill(self, name: str, audience: set[str], resume: bool) -> None:
        """A person asks for a backfill of both apps; one that is not done may go on instead."""
        jobs = self.model.contents.backfills
        job = Backfill(
            name=name,
            asked="",
            floor=0,
            ceiling=8,
            audience=tuple(sorted(audience)),
            own_stream=True,
            apps=tuple(BackfillApp(app, "x", "{}", 0) for app in APPS),
            created_at=self.clock.tick,
        )
        with Orders.open(self.path) as word:
            if name not in jobs:
                assert word.begin_backfill(job, resume=resume) == job
                jobs[name] = job
            elif resume and jobs[name].state is not BackfillState.DONE:
                jobs[name] = replace(jobs[name], state=BackfillState.ACTIVE)
                assert word.begin_backfill(job, resume=True) == jobs[name]
            else:
                with pytest.raises(JournalError, match="of that name already"):
                    word.begin_backfill(job, resume=resume)

    @rule(name=st.sampled_from(JOBS), stopped=st.booleans())
    def stop_or_resume_backfill(self, name: str, stopped: bool) -> None:
        """A person stops one, or lets it go on."""
        jobs = self.model.contents.backfills
        with Orders.open(self.path) as word:
            turn = word.stop_backfill if stopped else word.resume_backfill
            if name not in jobs:
                with pytest.raises(JournalError, match="no such backfill"):
                    turn(name)
                return
            if jobs[name].state is not BackfillState.DONE:
                state = BackfillState.STOPPED if stopped else BackfillState.ACTIVE
                jobs[name] = replace(jobs[name], state=state)
            assert turn(name) == jobs[name]

    @rule(name=st.sampled_from(JOBS))
    def forget_backfill(self, name: str) -> None:
        """A person has one forgotten; refused while it is active."""
        contents = self.model.contents
        with Orders.open(self.path) as word:
            job = contents.backfills.get(name)
            if job is None or job.state is BackfillState.ACTIVE:
                with pytest.raises(JournalError, match=r"not done|no such"):
                    word.forget_backfill(name)
                return
            word.forget_backfill(name)
        del contents.backfills[name]
        for key in [key for key, one in contents.backfilled.items() if one[0] == name]:
            del contents.backfilled[key]

    def _stats(self) -> Stats:
        return self.runner.run(self.model.stats())

    @rule()
    def close_and_open(self) -> None:
        """An orderly restart; no destination is in use after it."""
        self.runner.run(self.real.aclose())
        self._restart()

    @rule()
    def die_between(self) -> None:
        """The process is killed while nothing is written."""
        self._kill()

    @invariant()
    def they_show_the_same(self) -> None:
        """Apps, anchors, batches, room, figures, fingerprints without a time, dead letters."""
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        for app in APPS:
            assert await self.real.app(app) == await self.model.app(app)
            for tick in TICKS:
                assert await self.real.anchor(app, tick) == await self.model.anchor(app, tick)
        for bounds in ({"max_batches": 99, "max_size": 9_999}, {"max_batches": 3, "max_size": 7}):
            assert await self.real.read(0, **bounds) == await self.model.read(0, **bounds)
        assert await self.real.stats() == await self.model.stats()
        for name in self.model._in_use:
            for size in (3, 99):
                wishes = await self.real.wishes(name, max_size=size)
                assert wishes == await self.model.wishes(name, max_size=size)
        for app in APPS:
            assert await self.real.gaps(app) == await self.model.gaps(app)
        assert await self.real.backfills() == await self.model.backfills()
        contents = self.model.contents
        with Ledger.open(self.path) as ledger:
            jobs = {job.name: job for job in ledger.backfills()}
        assert jobs == contents.backfills
        assert self._rows(
            """
            SELECT apps.name, audience, iif(tick = -1, NULL, tick), uid, jobs.name, around, seq
            FROM backfilled JOIN apps ON apps.id = app
            JOIN (SELECT id, name FROM backfills) AS jobs ON jobs.id = job
            """
        ) == {
            (app, audience, *key, job, one.tick, one.seq)
            for (app, audience, key), (job, one) in contents.backfilled.items()
        }
        assert self._rows(
            "SELECT sum(fingerprints) FROM backfill_apps HAVING sum(fingerprints)"
        ) == ({(len(contents.backfilled),)} if contents.backfilled else set())
        assert self._rows(
            """
            SELECT name, tick, uid, tick, seq FROM seen JOIN apps ON id = app
            UNION ALL SELECT name, NULL, uid, tick, seq FROM undated JOIN apps ON id = app
            """
        ) == {
            (app, *key, one.tick, one.seq)
            for app, seen in contents.seen.items()
            for key, one in seen.items()
        }
        assert self._rows(
            """
            SELECT name, kind, floor, ceiling, at_least, seq, found_at, closed_at
            FROM gaps JOIN apps ON id = app
            """
        ) == {
            (app, *key, one.gap.at_least, one.seq, one.found_at, one.closed_at)
            for app, kept in contents.gaps.items()
            for key, one in kept.items()
        }
        assert self._rows(
            """
            SELECT name, kind, floor, ceiling, at, pages, journaled_at, added, first_seq, last_seq,
                   latest_by, median_late_by
            FROM reads JOIN apps ON id = app
            """
        ) == {
            (
                *(one.app, *astuple(one.read), one.journaled_at, one.added),
                *(one.first_seq, one.last_seq, *one.late_by),
            )
            for one in contents.reads
        }
        assert self._rows("SELECT destination, after, cursor, at FROM acks") == {
            astuple(one) for one in contents.acks
        }
        rows = self.real._db.execute(
            """
            SELECT destination, uid, seq, reason, gzip, refused_at, answer, replay, size
            FROM dead_letters ORDER BY id
            """
        ).fetchall()
        assert rows == [
            (*astuple(letter), key in contents.replay, rules.letter_size(letter))
            for key, letter in contents.dead_letters.items()
        ]
        assert self._rows("SELECT destination, cursor, paused FROM cursors") == {
            (name, cursor, name in contents.paused) for name, cursor in contents.cursors.items()
        }

    def _rows(self, sql: str) -> set[Any]:
        return set(self.real._db.execute(sql).fetchall())

    @invariant()
    def the_ledger_counts_right(self) -> None:
        """The running counts are what counting would give."""
        assert not self._rows(
            """
            SELECT * FROM apps WHERE fingerprints != (SELECT count(*) FROM seen WHERE app = id)
                                                   + (SELECT count(*) FROM undated WHERE app = id)
            """
        )
        assert not self._rows(
            """
            SELECT * FROM reads WHERE known !=
                (SELECT count(*) FROM seen WHERE seq BETWEEN first_seq AND last_seq)
                + (SELECT count(*) FROM undated WHERE seq BETWEEN first_seq AND last_seq)
                + (SELECT count(*) FROM backfilled WHERE seq BETWEEN first_seq AND last_seq)
            """
        )

    @invariant()
    def what_is_known_is_where_it_is_said_to_be(self) -> None:
        """No fingerprint and no gap without its record in the batch that it names."""
        payloads = dict(self._rows("SELECT seq, gzip FROM batches"))
        last = self.model.contents.last_seq
        for name, seq in self._rows(
            """
            SELECT uid, seq FROM seen UNION SELECT uid, seq FROM undated
            UNION SELECT uid, seq FROM backfilled
            UNION SELECT CAST(kind || ':' || floor || '-' || ceiling AS BLOB), seq FROM gaps
            """
        ):
            if seq == DROPPED:
                continue
            assert 0 < seq <= last
            assert name in payloads.get(seq, name).split(b" ")

    @invariant()
    def dead_letters_count_right(self) -> None:
        """Their running counts are what counting would give."""
        assert not self._rows(
            """
            SELECT * FROM cursors WHERE (dead_letters, dead_bytes) IS NOT
                (SELECT count(*), coalesce(sum(size), 0) FROM dead_letters AS letters
                 WHERE letters.destination = cursors.destination)
            """
        )

    @invariant()
    def no_batch_goes_before_all_have_passed_it(self) -> None:
        """Not even one that a destination out of use waits for."""
        first = self.model.contents.last_seq + 1
        first = min([first, *(batch.seq for batch in self.model.contents.batches)])
        assert all(cursor >= first - 1 for cursor in self.model.contents.cursors.values())

    @invariant()
    def a_ledger_never_claims_more(self) -> None:
        """Where it begins only rises, and everything in it was taken since."""
        for app, start in self._rows("SELECT name, ledger_from FROM apps"):
            assert start >= self.ledger_from.get(app, start)
            self.ledger_from[app] = start

    def teardown(self) -> None:
        """Release the files."""
        self.real.abandon()
        self.runner.close()
        shutil.rmtree(self.root)


async def _result(call: Call, journal: Journal) -> Any:
    try:
        return await call(journal)
    except (JournalError, BrokenEncoder) as error:
        return error


def _shown(result: Any) -> Any:
    """Errors are equal when they say the same."""
    return (type(result), str(result)) if isinstance(result, Exception) else result


TestLockstep = Lockstep.TestCase
TestLockstep.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
