"""The journal in memory: for tests that want the promise without the disk."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import chain
from typing import TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

from bridge.clock import Clock
from bridge.errors import JournalError
from bridge.journal import DROPPED, Backlog, Start, Stats, Wishes, rules
from bridge.model import (
    ALL_DROPPED,
    Anchor,
    Append,
    Appended,
    AppRecord,
    Backfill,
    BackfillState,
    Batch,
    DeadLetter,
    Encoded,
    Gap,
    GapKey,
    Identified,
    Read,
    Tick,
)


class Fingerprint(Struct, frozen=True):
    """Where a journaled entry lies in time, borrowed or not, and the batch it went into."""

    tick: Tick
    seq: int


class Noted(Struct, frozen=True):
    """A read that filled batches; ``late_by`` is how late the latest and the median find was."""

    app: str
    read: Read
    journaled_at: Tick
    added: int
    first_seq: int
    last_seq: int
    late_by: tuple[Tick | None, Tick | None]


class Acknowledged(Struct, frozen=True):
    """A destination passed the batches after ``after``, up to and including ``cursor``."""

    destination: str
    after: int
    cursor: int
    at: Tick


class KeptGap(Struct, frozen=True):
    """A gap with the batch of its record."""

    gap: Gap
    seq: int
    found_at: Tick
    closed_at: Tick | None = None


Backfilled: TypeAlias = tuple[str, str, rules.Key]
"""An app, the audience of one or none, and an entry's key; kept with the job that brought it."""


class Contents(Struct):
    """What a disk would hold; readable by tests."""

    apps: dict[str, AppRecord] = field(default_factory=dict)
    seen: defaultdict[str, dict[rules.Key, Fingerprint]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    gaps: defaultdict[str, dict[GapKey, KeptGap]] = field(default_factory=lambda: defaultdict(dict))
    reads: list[Noted] = field(default_factory=list)
    acks: list[Acknowledged] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    last_seq: int = 0
    cursors: dict[str, int] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    dead_letters: dict[tuple[str, str], DeadLetter] = field(default_factory=dict)
    replay: set[tuple[str, str]] = field(default_factory=set)
    began: dict[str, int] = field(default_factory=dict)
    backfills: dict[str, Backfill] = field(default_factory=dict)
    backfilled: dict[Backfilled, tuple[str, Fingerprint]] = field(default_factory=dict)


class MemoryJournal:
    """A `Journal` that forgets everything with the process."""

    def __init__(
        self,
        *,
        max_bytes: int,
        clock: Clock,
        ledger_bytes: int = rules.LEDGER_BYTES,
        dead_letters_max_bytes: int = rules.DEAD_LETTER_BYTES,
        contents: Contents | None = None,
    ) -> None:
        """``contents`` are another one's, to stand for a file opened again."""
        self.contents = contents or Contents()
        self._max_bytes = max_bytes
        self._ledger_bytes = ledger_bytes
        self._dead_letters_max_bytes = dead_letters_max_bytes
        self._clock = clock
        self._in_use: set[str] = set()
        self._closed = False
        self._changed = asyncio.Event()

    def copy(self) -> MemoryJournal:
        """An independent one with the same contents and the same destinations in use."""
        twin = MemoryJournal(
            max_bytes=self._max_bytes,
            clock=self._clock,
            ledger_bytes=self._ledger_bytes,
            dead_letters_max_bytes=self._dead_letters_max_bytes,
            contents=deepcopy(self.contents),
        )
        twin._in_use = set(self._in_use)
        return twin

    async def app(self, name: str) -> AppRecord | None:
        """See `Journal.app`."""
        await self._turn()
        return self.contents.apps.get(name)

    async def begin(self, record: AppRecord) -> None:
        """See `Journal.begin`."""
        await self._turn()
        known = self.contents.apps.get(record.name, record)
        start = known.whole_from
        if (known.stream, known.filters) != (record.stream, record.filters):
            start = max(start, known.position)
        self.contents.apps[record.name] = replace(
            record, position=known.position, swept=known.swept, ledger_from=start
        )

    async def anchor(self, app: str, at_or_below: Tick) -> Anchor | None:
        """See `Journal.anchor`."""
        await self._turn()
        dated = [key for key in self.contents.seen[app] if key[0] is not None]
        newest = max((t for t, _ in dated if t is not None and t <= at_or_below), default=None)
        if newest is None:
            return None
        return Anchor(newest, frozenset(uid for tick, uid in dated if tick == newest))

    async def append(self, append: Append) -> Appended:
        """See `Journal.append`."""
        await self._turn()
        record = self._app(append.app)
        if not self._has_room():
            raise rules.full(self._max_bytes, self._holder(), where=append.app)
        seen = self.contents.seen[append.app]
        entries = rules.distinct(append.found)
        missing = self._unknown(append.app, entries)
        made = self._gap_changes(append)
        before = self.contents.last_seq
        places = self._store(append, list(missing.values()), made.new)
        for (key, item), seq in zip(missing.items(), places, strict=False):
            seen[key] = Fingerprint(item.tick, seq)
        self._keep_gaps(append.app, made, places[len(missing) :])
        standing = rules.standing_after(record, append, added=len(missing), gaps=made)
        if standing is not None:
            self.contents.apps[append.app] = standing
        self._remove_passed()
        self._announce()
        return Appended(
            added=len(missing),
            known=len(entries) - len(missing),
            last_seq=None if self.contents.last_seq == before else self.contents.last_seq,
            dropped=places.count(DROPPED),
        )

    async def backfills(self) -> Sequence[Backfill]:
        """See `Journal.backfills`."""
        await self._turn()
        jobs = self.contents.backfills.values()
        return tuple(job for job in jobs if job.state is BackfillState.ACTIVE)

    async def backfill(self, append: Append, job: str) -> Appended:
        """See `Journal.backfill`."""
        await self._turn()
        known = self.contents.backfills.get(job)
        if known is None or known.state is not BackfillState.ACTIVE:
            raise rules.stopped(job)
        most = self._max_bytes // rules.BACKFILL_SHARE
        if self._live_bytes() >= most:
            raise rules.full(most, self._holder(), where=append.app)
        for destination in known.audience:
            self._check_in_use(destination)
        entries, made = rules.distinct(append.found), self._gap_changes(append)
        before, seqs, dropped = self.contents.last_seq, list[int](), 0
        added: set[rules.Key] = set()
        for destination in known.audience or ("",):
            missing = self._unknown(append.app, entries, destination)
            places = self._store(append, list(missing.values()), made.new, destination or None)
            for (key, item), seq in zip(missing.items(), places, strict=False):
                place = (append.app, destination, key)
                self.contents.backfilled[place] = job, Fingerprint(item.tick, seq)
            added |= missing.keys()
            dropped += places.count(DROPPED)
            seqs = places[len(missing) :]
        self._keep_gaps(append.app, made, seqs)
        last = None if self.contents.last_seq == before else self.contents.last_seq
        done = Appended(len(added), len(entries) - len(added), last, dropped)
        self._move(known, append, done, made)
        self._remove_passed()
        self._announce()
        return done

    async def note_backfill(self, job: str, app: str, note: str) -> None:
        """See `Journal.note_backfill`."""
        await self._turn()
        known = self.contents.backfills[job]
        self.contents.backfills[job] = replace(
            known,
            apps=tuple(replace(one, note=note) if one.name == app else one for one in known.apps),
        )

    async def gaps(self, app: str) -> Sequence[Gap]:
        """See `Journal.gaps`."""
        await self._turn()
        kept = self.contents.gaps[app].values()
        still = (one.gap for one in kept if one.closed_at is None)
        return tuple(sorted(still, key=lambda gap: (gap.floor, gap.ceiling, gap.kind)))

    async def prune(self, app: str, *, needed: Tick, kept: Tick) -> None:
        """See `Journal.prune`."""
        await self._turn()
        self._app(app)
        self._forget(app, self._forgettable(app, min(kept, needed)))
        self._give_up_backfilled()
        oldest = self._forgettable(app, needed)
        excess = self._excess()
        if excess and oldest:
            last = oldest[:excess][-1][0]
            self._forget(app, [one for one in oldest if one[0] <= last])
        start = self._app(app).whole_from
        self.contents.gaps[app] = {
            key: one
            for key, one in self.contents.gaps[app].items()
            if one.closed_at is None or one.gap.ceiling > start
        }
        self._drop_spent_reads()

    async def attach(self, destination: str, start: Start = Start.OLDEST) -> int:
        """See `Journal.attach`."""
        await self._turn()
        self._in_use.add(destination)
        batches = self.contents.batches
        oldest = batches[0].seq - 1 if batches else self.contents.last_seq
        first = self.contents.last_seq if start is Start.NOW else oldest
        self.contents.began.setdefault(destination, first)
        return self.contents.cursors.setdefault(destination, first)

    async def read(self, after: int, *, max_batches: int, max_size: int) -> Sequence[Batch]:
        """See `Journal.read`."""
        await self._turn()
        taken: list[Batch] = []
        size = 0
        for batch in self._after(after)[: max(1, max_batches)]:
            size += batch.size
            if taken and size > max_size:
                break
            taken.append(batch)
        return tuple(taken)

    async def advance(
        self,
        destination: str,
        cursor: int,
        dead_letters: Sequence[DeadLetter] = (),
        replayed: Sequence[str] = (),
    ) -> None:
        """See `Journal.advance`."""
        await self._turn()
        self._check_in_use(destination)
        rules.check_cursor(destination, cursor, self.contents.last_seq)
        self._keep_letters(destination, dead_letters, replayed)
        before = self.contents.cursors[destination]
        if cursor > before:
            self.contents.cursors[destination] = cursor
            self.contents.acks.append(
                Acknowledged(destination, before, cursor, at=self._clock.now())
            )
        self._remove_passed()
        self._announce()

    async def wishes(self, destination: str, *, max_size: int) -> Wishes:
        """See `Journal.wishes`."""
        await self._turn()
        self._check_in_use(destination)
        wished: list[DeadLetter] = []
        size = 0
        for key, letter in self.contents.dead_letters.items():
            if letter.destination == destination and key in self.contents.replay:
                size += len(letter.gzip)
                if wished and size > max_size:
                    break
                wished.append(letter)
        return Wishes(destination in self.contents.paused, tuple(wished))

    async def wait_for_batch(self, after: int) -> None:
        """See `Journal.wait_for_batch`."""
        await self._until(lambda: bool(self._after(after)))

    async def wait_for_room(self) -> None:
        """See `Journal.wait_for_room`."""
        await self._until(self._has_room)

    async def stats(self) -> Stats:
        """See `Journal.stats`."""
        await self._turn()
        unused = self.contents.cursors.keys() - self._in_use
        return Stats(
            live_bytes=self._live_bytes(),
            max_bytes=self._max_bytes,
            last_seq=self.contents.last_seq,
            dead_letters=len(self.contents.dead_letters),
            backlogs=tuple(self._backlog(name) for name in sorted(self._in_use)),
            dead_letter_bytes=sum(map(rules.letter_size, self.contents.dead_letters.values())),
            dead_letters_max_bytes=self._dead_letters_max_bytes,
            unused=tuple(self._backlog(name) for name in sorted(unused)),
        )

    async def aclose(self) -> None:
        """See `Journal.aclose`."""
        self._closed = True
        self._announce()

    async def _turn(self) -> None:
        """Let others run first, as a journal on disk does."""
        await asyncio.sleep(0)
        if self._closed:
            raise JournalError("the journal is closed")

    async def _until(self, holds: Callable[[], bool]) -> None:
        while True:
            changed = self._changed
            await self._turn()
            if holds():
                return
            await changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _app(self, name: str) -> AppRecord:
        record = self.contents.apps.get(name)
        if record is None:
            raise rules.unknown_app(name)
        return record

    def _unknown(
        self, app: str, entries: Mapping[rules.Key, Identified], audience: str = ""
    ) -> dict[rules.Key, Identified]:
        """Those that were never stored: for a destination, that is since its cursor began."""
        began = self.contents.began[audience] if audience else -1
        seen, backfilled = self.contents.seen[app], self.contents.backfilled

        def reached(known: Fingerprint) -> bool:
            return known.seq <= 0 or known.seq > began

        def is_known(key: rules.Key) -> bool:
            brought = (backfilled.get((app, whose, key)) for whose in ("", audience))
            known = (seen.get(key), *(one[1] for one in brought if one is not None))
            return any(one is not None and reached(one) for one in known)

        return {key: item for key, item in entries.items() if not is_known(key)}

    def _gap_changes(self, append: Append) -> rules.GapChanges:
        known = self.contents.gaps[append.app]
        return rules.gap_changes(
            append, {key: (kept.gap, kept.closed_at is None) for key, kept in known.items()}
        )

    def _move(self, job: Backfill, append: Append, done: Appended, made: rules.GapChanges) -> None:
        """Take note of how far a backfill has come."""
        apps = tuple(
            replace(
                one,
                position=max(one.position, append.position),
                added=one.added + done.added,
                known=one.known + done.known,
                gaps=one.gaps + len(made.new) + len(made.raised),
                last_seq=(self.contents.last_seq if done.known else done.last_seq) or one.last_seq,
                note="",
            )
            if one.name == append.app
            else one
            for one in job.apps
        )
        job = replace(job, apps=apps)
        if all(one.position >= job.ceiling for one in apps):
            job = replace(job, state=BackfillState.DONE, finished_at=self._clock.now())
        self.contents.backfills[job.name] = job

    def _excess(self) -> int:
        held = sum(map(len, self.contents.seen.values())) + len(self.contents.backfilled)
        return rules.excess(held, self._ledger_bytes)

    def _give_up_backfilled(self) -> None:
        """While the ledger is over its bound, what finished jobs journaled goes first."""
        for job in self.contents.backfills.values():
            if job.state is BackfillState.DONE:
                mine = sorted(
                    (
                        key
                        for key, (name, _) in self.contents.backfilled.items()
                        if name == job.name
                    ),
                    key=lambda key: (key[0], key[2][0] or -1, key[2][1], key[1]),
                )
                for key in mine[: self._excess()]:
                    del self.contents.backfilled[key]

    def _store(
        self,
        append: Append,
        missing: Sequence[Identified],
        gaps: Sequence[Gap],
        audience: str | None = None,
    ) -> list[int]:
        """Store what is new as batches; returns the places of entries, then of gaps."""
        if not missing and not gaps:
            return []
        encoded = append.encode(missing, gaps)
        rules.check_encoded(append.app, missing, gaps, encoded)
        first = self.contents.last_seq + 1
        stored = list(enumerate((one for one in encoded if one != ALL_DROPPED), start=first))
        places = rules.places(missing, gaps, stored)
        if stored:
            self._note(append, missing, places, stored, audience)
        return places

    def _note(
        self,
        append: Append,
        missing: Sequence[Identified],
        places: Sequence[int],
        stored: Sequence[tuple[int, Encoded]],
        audience: str | None,
    ) -> None:
        for _, batch in stored:
            self._add(append.app, batch, audience)
        kept = [item for item, seq in zip(missing, places, strict=False) if seq != DROPPED]
        self.contents.reads.append(
            Noted(
                app=append.app,
                read=append.read,
                journaled_at=self._clock.now(),
                added=len(kept),
                first_seq=stored[0][0],
                last_seq=stored[-1][0],
                late_by=rules.lateness(append.read, kept),
            )
        )

    def _add(self, app: str, encoded: Encoded, audience: str | None) -> None:
        self.contents.last_seq += 1
        self.contents.batches.append(
            Batch(
                seq=self.contents.last_seq,
                app=app,
                records=encoded.records,
                size=encoded.size,
                gzip=encoded.gzip,
                journaled_at=self._clock.now(),
                audience=audience,
            )
        )

    def _keep_gaps(self, app: str, made: rules.GapChanges, seqs: Sequence[int]) -> None:
        kept = self.contents.gaps[app]
        now = self._clock.now()
        for gap, seq in zip(made.new, seqs, strict=True):
            kept[gap.key] = KeptGap(gap, seq, found_at=now)
        for gap in made.raised:
            key = gap.key
            kept[key] = replace(kept[key], gap=gap, closed_at=None)
        for gap in made.closed:
            key = gap.key
            kept[key] = replace(kept[key], closed_at=now)

    def _forgettable(self, app: str, below: Tick) -> list[tuple[Tick, rules.Key]]:
        """What may be forgotten below a tick, oldest first; the newest tick stays."""
        seen = self.contents.seen[app]
        newest = max((tick for tick, _ in seen if tick is not None), default=None)
        keys = (
            key
            for key, one in seen.items()
            if one.tick < below and (key[0] is None or key[0] != newest)
        )
        return sorted(((seen[key].tick, key) for key in keys), key=lambda one: one[0])

    def _forget(self, app: str, oldest: Sequence[tuple[Tick, rules.Key]]) -> None:
        if not oldest:
            return
        for _, key in oldest:
            del self.contents.seen[app][key]
        record = self._app(app)
        start = max(record.whole_from, oldest[-1][0] + 1)
        self.contents.apps[app] = replace(record, ledger_from=start)

    def _drop_spent_reads(self) -> None:
        """Forget walks that no fingerprint and no batch refers to, then what passed only such."""
        contents = self.contents
        known = {one.seq for seen in contents.seen.values() for one in seen.values()}
        known |= {one.seq for _, one in contents.backfilled.values()}
        oldest = contents.batches[0].seq if contents.batches else contents.last_seq + 1
        contents.reads = [
            one
            for one in contents.reads
            if one.last_seq >= oldest or known.intersection(range(one.first_seq, one.last_seq + 1))
        ]
        kept = set(
            chain.from_iterable(range(one.first_seq, one.last_seq + 1) for one in contents.reads)
        )
        contents.acks = [
            one
            for one in contents.acks
            if one.cursor >= oldest or kept.intersection(range(one.after + 1, one.cursor + 1))
        ]

    def _after(self, seq: int) -> list[Batch]:
        return [batch for batch in self.contents.batches if batch.seq > seq]

    def _passed(self) -> int:
        return min(self.contents.cursors.values(), default=0)

    def _remove_passed(self) -> None:
        self.contents.batches = self._after(self._passed())

    def _live_bytes(self) -> int:
        return sum(len(batch.gzip) for batch in self._after(self._passed()))

    def _has_room(self) -> bool:
        return self._live_bytes() < self._max_bytes

    def _holder(self) -> rules.Holder | None:
        cursors = self.contents.cursors
        if not cursors:
            return None
        name = min(cursors, key=lambda name: (cursors[name], name))
        return rules.Holder(name, name in self._in_use, name in self.contents.paused)

    def _check_in_use(self, destination: str) -> None:
        if destination not in self._in_use:
            raise rules.not_attached(destination)

    def _keep_letters(
        self, destination: str, letters: Sequence[DeadLetter], replayed: Sequence[str]
    ) -> None:
        kept = dict(self.contents.dead_letters)
        for uid in replayed:
            kept.pop((destination, uid), None)
        before = len(kept)
        fresh = set()
        for letter in rules.storable(destination, letters):
            key = (destination, letter.uid)
            fresh.add(key)
            known = kept.get(key, letter)
            kept[key] = replace(letter, seq=known.seq, gzip=known.gzip)
        size = sum(map(rules.letter_size, kept.values()))
        if before and len(kept) > before and size > self._dead_letters_max_bytes:
            raise rules.dead_letters_full(
                destination, len(kept) - before, self._dead_letters_max_bytes
            )
        self.contents.dead_letters = kept
        self.contents.replay = (self.contents.replay & kept.keys()) - fresh

    def _backlog(self, destination: str) -> Backlog:
        cursor = self.contents.cursors[destination]
        ahead = self._after(cursor)
        letters = [
            one for one in self.contents.dead_letters.values() if one.destination == destination
        ]
        return Backlog(
            destination=destination,
            cursor=cursor,
            batches=len(ahead),
            records=sum(batch.records for batch in ahead),
            oldest=ahead[0].journaled_at if ahead else None,
            dead_letters=len(letters),
            bytes=sum(len(batch.gzip) for batch in ahead),
            dead_letter_bytes=sum(map(rules.letter_size, letters)),
            paused=destination in self.contents.paused,
        )
