"""The simulation has teeth: each of these readers loses or repeats, and is caught.

They are the mistakes that pull-based forwarders make. A mutant that survived all seeds would mean
that the simulation no longer tries what it guards against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from support.simulation.draw import plan
from support.simulation.plan import Plan
from support.simulation.universe import simulate

from bridge.journal.sqlite import SqliteJournal
from bridge.mapping import gap as gap_records
from bridge.model import (
    MILLISECOND,
    SECOND,
    Anchor,
    Gap,
    GapKind,
    Identified,
    Page,
    ReadKind,
    Tick,
)
from bridge.source import tailer as tailers
from bridge.source import walk as walks
from bridge.source.backlog import Backlog, Piece, Store
from bridge.source.crowds import Crowds
from bridge.source.progress import Progress, Stored
from bridge.source.reader import Reader
from bridge.source.schedule import Slice
from bridge.source.sweeper import Sweeper
from bridge.source.sweeps import Sweeps
from bridge.source.tailer import Tailer
from bridge.source.walk import Walk

SEEDS = range(240)
Patch = pytest.MonkeyPatch


def without_the_overlap(patch: Patch) -> None:
    """Goes on strictly below the page's oldest tick, as with a plain cursor."""
    real = Walk._next

    def below(self: Walk, ask: walks._Ask) -> None:
        real(self, walks._Ask.BELOW)
        self._ask, self._bottom = ask, None

    patch.setattr(Walk, "_next", below)


def trusting_the_page_size(patch: Patch) -> None:
    """Takes a page shorter than asked for as the end."""
    real = Walk.take

    def take(self: Walk, page: Page) -> None:
        short = len(page.entries) < self.bounds.limit
        real(self, page)
        self.done = self.done or short

    patch.setattr(Walk, "take", take)


def committing_before_the_floor(patch: Patch) -> None:
    """Moves the position with the first page of a walk."""
    real = Walk.take

    def take(self: Walk, page: Page) -> None:
        real(self, page)
        self.done = True

    patch.setattr(Walk, "take", take)


def jumping_to_now(patch: Patch) -> None:
    """Starts the next walk at the time of the last one, whatever that one showed."""

    async def floor(self: Tailer, _: Anchor | None) -> tuple[Tick, Anchor | None]:
        return self.position or self._start, None

    patch.setattr(Tailer, "_floor", floor)


def with_set_dedupe(patch: Patch) -> None:
    """Gives equal entries one identity."""

    def one_each(alike: Sequence[Identified]) -> list[Identified]:
        return list({item.uid: item for item in alike}.values())

    patch.setattr(walks, "identify", one_each)


def with_an_epsilon(patch: Patch) -> None:
    """Steps a millisecond past what it has seen."""
    real = Tailer._floor

    async def floor(self: Tailer, newest: Anchor | None) -> tuple[Tick, Anchor | None]:
        tick, anchor = await real(self, newest)
        return (tick, None) if anchor is None else (tick + MILLISECOND, None)

    patch.setattr(Tailer, "_floor", floor)
    patch.setattr(tailers, "OVERLAP", 0)


def pruning_by_age(patch: Patch) -> None:
    """Forgets fingerprints that reads still return."""
    real, longer = SqliteJournal.prune, 3600 * SECOND

    async def prune(self: SqliteJournal, app: str, *, needed: Tick, kept: Tick) -> None:
        above = max(needed, kept) + longer
        await real(self, app, needed=above, kept=above)

    patch.setattr(SqliteJournal, "prune", prune)


def without_sweeps(patch: Patch) -> None:
    """Never comes back for late entries."""
    patch.setattr(Sweeps, "due", lambda *_, **__: None)


def ignoring_partitions(patch: Patch) -> None:
    """Takes what one page shows of a crowd for all of it."""

    async def whole(*_: object) -> bool:
        return True

    patch.setattr(Crowds, "resolve", whole)


def forgetting_gaps(patch: Patch) -> None:
    """Knows of no gap once it was started again."""
    real = SqliteJournal.open.__func__  # type: ignore[attr-defined]  # of whatever class is opened

    def without_gaps(cls: type[SqliteJournal], *args: Any, **kwargs: Any) -> SqliteJournal:
        journal: SqliteJournal = real(cls, *args, **kwargs)
        journal._db.execute("DELETE FROM gaps")
        return journal

    patch.setattr(SqliteJournal, "open", classmethod(without_gaps))


def journaling_backlogs_newest_first(patch: Patch) -> None:
    """Reads a backlog as it should, and then journals its last slice first."""
    real = Backlog.read

    async def read(self: Backlog, window: Slice, *, store: Store, **others: Any) -> None:
        pieces: list[Piece] = []

        async def keep(piece: Piece) -> int:
            pieces.append(piece)
            return 0 if piece.walk is None else len(piece.walk.found())

        await real(self, window, store=keep, **others)
        for piece in reversed(pieces):
            await store(piece)

    patch.setattr(Backlog, "read", read)


def sweeping_before_reading(patch: Patch) -> None:
    """Counts a window as swept before it was read again."""
    real = Sweeper._read

    async def sweep(self: Sweeper, window: Slice, **others: Any) -> None:
        progress = self._progress
        now = self._time.now()
        progress.sweeps = progress.sweeps.covered(window.floor, window.ceiling, now)
        await real(self, window, **others)

    patch.setattr(Sweeper, "_read", sweep)


def _storing(patch: Patch, spoil: Callable[[Walk | None, Slice, ReadKind], list[Gap]]) -> None:
    """Journals walks that ``spoil`` takes from, and the gaps that it makes of that."""
    real = Progress.store

    async def store(
        self: Progress,
        walk: Walk | None,
        window: Slice,
        kind: ReadKind,
        *,
        gaps: Sequence[Gap],
        began: float,
    ) -> Stored:
        more = spoil(walk, window, kind)
        gone = any(gap.kind is GapKind.RETENTION for gap in more)
        return await real(
            self, None if gone else walk, window, kind, gaps=[*gaps, *more], began=began
        )

    patch.setattr(Progress, "store", store)


def calling_every_read_expired(patch: Patch) -> None:
    """Drops whatever it reads, and tells that it may have left the API."""

    def spoil(_: Walk | None, window: Slice, __: ReadKind) -> list[Gap]:
        empty = window.ceiling <= window.floor
        return [] if empty else [Gap(GapKind.RETENTION, window.floor, window.ceiling, 0)]

    _storing(patch, spoil)


def calling_every_backlog_expired(patch: Patch) -> None:
    """The same with every slice of a backlog only."""

    def spoil(_: Walk | None, window: Slice, kind: ReadKind) -> list[Gap]:
        if kind is not ReadKind.BACKLOG:
            return []
        return [Gap(GapKind.RETENTION, window.floor, window.ceiling, 0)]

    _storing(patch, spoil)


def calling_every_walk_a_crowd(patch: Patch) -> None:
    """Keeps the first and the last entry of a walk, and tells of a crowd all the way between."""

    def spoil(walk: Walk | None, _: Slice, __: ReadKind) -> list[Gap]:
        found = [] if walk is None else walk.found()
        if walk is None or len(found) < 3:
            return []
        kept = [found[0], found[-1]]
        patch.setattr(walk, "found", lambda: kept)
        return [Gap(GapKind.CROWDED, found[0].tick, found[-1].tick + 1, len(kept))]

    _storing(patch, spoil)


def exaggerating_crowds(patch: Patch) -> None:
    """Tells of more entries in a crowd than there are."""
    real = Reader.read

    async def read(self: Reader, walk: Walk, **others: Any) -> list[Gap] | None:
        gaps = await real(self, walk, **others)
        return gaps and [replace(gap, at_least=10**9) for gap in gaps]

    patch.setattr(Reader, "read", read)


def halving_crowds(patch: Patch) -> None:
    """Drops half of what it found of a crowd, and still tells of all of it."""
    real = Reader.read

    async def read(self: Reader, walk: Walk, **others: Any) -> list[Gap] | None:
        gaps = await real(self, walk, **others)
        if gaps:
            crowded = [i for i in walk.found() if gaps[0].floor <= i.tick < gaps[0].ceiling]
            gone = {i.uid for i in crowded[: len(crowded) // 2]}
            kept = [i for i in walk.found() if i.uid not in gone]
            patch.setattr(walk, "found", lambda: kept)
        return gaps

    patch.setattr(Reader, "read", read)


def telling_of_no_gap(patch: Patch) -> None:
    """Records gaps, with a record downstream that tells of something else."""
    patch.setattr(gap_records, "gap_uid", lambda *_: b"anything")


@pytest.mark.parametrize(
    "mutate",
    [
        calling_every_read_expired,
        calling_every_backlog_expired,
        calling_every_walk_a_crowd,
        exaggerating_crowds,
        halving_crowds,
        telling_of_no_gap,
        without_the_overlap,
        trusting_the_page_size,
        committing_before_the_floor,
        with_set_dedupe,
        pruning_by_age,
        without_sweeps,
        ignoring_partitions,
        forgetting_gaps,
    ],
    ids=lambda mutate: mutate.__name__,
)
def test_a_wrong_reader_is_caught(mutate: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Some seed of the suite's own fails with it."""
    mutate(monkeypatch)
    assert any(not _passes(plan(seed)) for seed in SEEDS)


def test_a_sweep_counted_too_early_is_caught(monkeypatch: Patch) -> None:
    """By one of the seeds in which the API begins to fail at some sweep."""
    sweeping_before_reading(monkeypatch)
    failing = [p for p in map(plan, SEEDS) if any(life.outage for life in p.lives)]
    assert any(not _passes(drawn) for drawn in failing)


@pytest.mark.parametrize(
    "mutate",
    [jumping_to_now, with_an_epsilon, journaling_backlogs_newest_first],
    ids=lambda mutate: mutate.__name__,
)
def test_a_wrong_position_is_caught(mutate: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Sweeps would mend what it loses: without them, the right one loses nothing, this one does."""
    without_sweeps(monkeypatch)
    assert all(_passes(_punctual(plan(seed))) for seed in SEEDS[:30])
    mutate(monkeypatch)
    assert any(not _passes(_punctual(plan(seed))) for seed in SEEDS)


def _punctual(drawn: Plan) -> Plan:
    """The same plan with entries late by less than the live edge's overlap."""
    most = 200 * MILLISECOND
    return replace(
        drawn,
        entries=tuple(
            replace(w, visible_at=min(w.visible_at, w.tick + most)) for w in drawn.entries
        ),
    )


def _passes(drawn: Plan) -> bool:
    try:
        simulate(drawn)
    except AssertionError:
        return False
    return True
