"""The audit: another way of reading, the same fingerprints, and what differs is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.audited import FLOOR, NOON, Scene

from bridge.errors import ApiUnavailable, JournalError
from bridge.journal.ledger import Ledger
from bridge.model import MILLISECOND, SECOND, DeadLetter, Gap, GapKind, Identified, Read, Tick
from bridge.simulator.faults import Faults, Reply, api_faults, script
from bridge.source.audit import Backwards, Comparison, Result, audit, newest_first, other_limit


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A simulated API and a journal."""
    return Scene(tmp_path)


def audited(
    scene: Scene,
    floor: Tick = FLOOR,
    ceiling: Tick = NOON,
    *,
    app: str = "one",
    repaired: list[Identified] | None = None,
    page_size: int = 700,
) -> Result:
    """Audit one window; a repair only takes note in ``repaired``."""
    shares: list[float] = []

    async def note(read: Read, missing: Sequence[Identified]) -> int:
        assert read.floor < read.ceiling
        assert repaired is not None
        repaired.extend(missing)
        return len(missing)

    async def main() -> Result:
        with Ledger.open(scene.path) as ledger:
            async with scene.reading(app, page_size) as (reader, account):
                return await audit(
                    Comparison(app, floor, ceiling, ledger),
                    reader=reader,
                    account=account,
                    repair=None if repaired is None else note,
                    progress=shares.append,
                )

    result = scene.play(main)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    return result


def many(scene: Scene, count: int, app: str = "one") -> None:
    """Entries all over the hour, several on a tick."""
    for n in range(count):
        at = FLOOR + (n * 7_919 % (count // 3 + 1)) * (3_600 * SECOND // (count // 3 + 1))
        scene.write(f"entry {n}", at, app)


def test_what_was_read_is_complete(scene: Scene) -> None:
    """Every entry is in the API and in the journal, none is anything else."""
    many(scene, 500)
    scene.fill()
    result = audited(scene)
    assert (result.in_api, result.journaled, result.missing, result.surplus) == (500, 500, 0, 0)
    assert result.complete
    assert (result.dropped_by_rule, result.unproved, result.gaps) == (0, 0, [])


def test_what_the_reader_missed_is_named(scene: Scene) -> None:
    """By time and content, the oldest first; each one once."""
    many(scene, 500)
    found = scene.fill()
    gone = [found[7], found[300], found[499]]
    scene.forget(*(item.uid for item in gone))
    result = audited(scene)
    assert (result.in_api, result.journaled, result.missing, result.surplus) == (500, 497, 3, 0)
    assert result.first_missing == gone
    assert not result.complete


def test_what_is_missing_is_given_to_the_repair(scene: Scene) -> None:
    """All of it and nothing else."""
    many(scene, 200)
    found = scene.fill()
    scene.forget(*(item.uid for item in found[50:90]))
    repaired: list[Identified] = []
    result = audited(scene, repaired=repaired)
    assert result.missing == result.repaired == 40
    assert result.complete
    assert len(result.first_missing) == 20
    assert {item.uid for item in repaired} == {item.uid for item in found[50:90]}


def test_genuine_repeats_count_one_by_one(scene: Scene) -> None:
    """Three identical lines on one tick, of which one was lost."""
    for _ in range(3):
        scene.write("the same", NOON - 10 * SECOND)
    found = scene.fill()
    assert audited(scene).in_api == 3
    scene.forget(found[2].uid)
    result = audited(scene)
    assert (result.journaled, result.missing) == (2, 1)
    assert result.first_missing[0].uid == found[2].uid


def test_five_thousand_entries_by_pages_of_a_hundred(tmp_path: Path) -> None:
    """A server's cap changes how much is asked, not what is found."""
    scene = Scene(tmp_path, cap=100)
    many(scene, 5_000)
    found = scene.fill()
    assert len(found) == 5_000
    scene.forget(found[1_234].uid)
    result = audited(scene)
    assert (result.in_api, result.journaled, result.missing) == (5_000, 4_999, 1)
    assert result.unproved == 0


def test_repeats_across_the_borders_of_slices(tmp_path: Path) -> None:
    """Ties wherever slices end: dense milliseconds, repeats on their first and last ticks."""
    scene = Scene(tmp_path, cap=100)
    base = NOON - 60 * SECOND
    for ms in range(60):
        for tick in (base + ms * MILLISECOND, base + ms * MILLISECOND + 999):
            for _ in range(20):
                scene.write("tie", tick)
    assert len(scene.fill()) == 2_400
    result = audited(scene, page_size=37)
    assert (result.in_api, result.journaled, result.missing, result.surplus) == (2_400, 2_400, 0, 0)


def test_what_the_api_keeps_no_longer_is_surplus(scene: Scene) -> None:
    """Journaled, not shown: retention, and nothing is missing."""
    many(scene, 300)
    scene.fill()
    scene.logs._store.forget(NOON - 1_800 * SECOND)
    result = audited(scene)
    assert result.missing == 0
    assert result.surplus == 300 - result.in_api > 100


def test_the_window_is_half_open(scene: Scene) -> None:
    """An entry on the floor counts, one on the ceiling does not."""
    at = NOON - 60 * SECOND
    for n in range(4):
        scene.write(f"{n}", at + n)
    scene.fill()
    result = audited(scene, at + 1, at + 3)
    assert (result.in_api, result.journaled, result.missing, result.surplus) == (2, 2, 0, 0)


def test_entries_without_a_time_are_told_by_content(scene: Scene) -> None:
    """Their borrowed tick depends on the slicing: neither missing nor surplus."""
    many(scene, 300)
    for n in range(0, 3_600, 40):
        scene.write(f"undated {n}", FLOOR + n * SECOND + 500_000, timestamp="soon")
    found = scene.fill()
    lost = next(item for item in found if item.entry.tick is None)
    result = audited(scene, page_size=20)
    assert (result.in_api, result.journaled, result.missing, result.surplus) == (390, 390, 0, 0)
    scene.forget(lost.uid)
    result = audited(scene, page_size=20)
    assert (result.missing, result.surplus) == (1, 0)
    assert result.first_missing[0].uid == lost.uid


def test_an_undated_entry_that_borrowed_a_far_tick_counts_once(scene: Scene) -> None:
    """Whichever side of the slice that shows it the reader's tick lies on, or outside."""
    for n in range(20):
        scene.write(f"{n}", FLOOR + n * 180 * SECOND)
    scene.write("undated", NOON - 1_700 * SECOND, timestamp=None)
    (undated,) = (item for item in scene.fill() if item.entry.tick is None)
    for lent in (NOON - 20 * SECOND, FLOOR + 100 * SECOND, FLOOR - SECOND):
        with closing(sqlite3.connect(scene.path)) as db, db:
            db.execute("UPDATE undated SET tick = ?", (lent,))
        result = audited(scene)
        assert (result.in_api, result.journaled) == (21, 21), lent
        assert (result.missing, result.surplus) == (0, 0), lent
    assert undated.uid


def test_destinations_have_their_shares(scene: Scene) -> None:
    """Delivered, waiting, dead-lettered; nothing counts twice."""
    many(scene, 2_500)
    found = scene.fill()
    assert {vars_of(audited(scene))} == {(0, 2_500, 0, 0)}
    letter = DeadLetter("out", found[0].uid.hex(), 1, "too long", b"", NOON)
    scene.acknowledge(1, [letter])
    delivered, waiting, dead, unknown = vars_of(audited(scene))
    assert (dead, unknown) == (1, 0)
    assert delivered + waiting == 2_499
    assert 0 < delivered < 2_499


def test_what_left_the_journal_undelivered_is_lost(scene: Scene) -> None:
    """A batch that is gone is not waiting, and never counts as delivered without an answer."""
    many(scene, 2_500)
    scene.fill()
    with closing(sqlite3.connect(scene.path)) as db, db:
        (records,) = db.execute("SELECT records FROM batches WHERE seq = 1").fetchone()
        db.execute("DELETE FROM batches WHERE seq = 1")
    (share,) = audited(scene).shares
    assert (share.lost, share.waiting, share.delivered) == (records, 2_500 - records, 0)
    result = audited(scene)
    assert (result.missing, result.lost, result.complete) == (0, records, False)


def test_what_a_destination_that_is_away_has_still_to_get_waits(scene: Scene) -> None:
    """Another one has it, but this one keeps its place."""
    many(scene, 50)
    scene.fill()
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("INSERT INTO cursors (destination, cursor, in_use) VALUES ('away', 0, 0)")
    scene.acknowledge(1)
    (away, out) = audited(scene).shares
    assert (out.delivered, out.lost) == (50, 0)
    assert (away.unknown, away.lost, away.waiting) == (0, 0, 50)


def vars_of(result: Result) -> tuple[int, int, int, int]:
    """The figures of the one destination."""
    (share,) = result.shares
    return share.delivered, share.waiting, share.dead_lettered, share.unknown


def test_what_passed_before_a_destination_came_is_not_claimed(scene: Scene) -> None:
    """Nor counted as waiting."""
    many(scene, 50)
    scene.fill()
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("INSERT INTO cursors (destination, cursor, in_use) VALUES ('younger', 1, 1)")
    (_, younger) = audited(scene).shares
    assert (younger.delivered, younger.waiting, younger.unknown) == (0, 0, 50)


def test_a_crowd_that_cannot_be_shown_whole_is_told(tmp_path: Path) -> None:
    """What no page shows of it is no surplus, and what is missing outside of it still counts."""
    scene = Scene(tmp_path)
    crowd = NOON - 300 * SECOND
    for n in range(250):
        scene.write(f"crowd {n}", crowd)
    many(scene, 90)
    found = scene.fill()
    scene.logs.config = type(scene.logs.config)(key=scene.logs.config.key, cap=100)
    scene.forget(found[3].uid)
    result = audited(scene)
    assert (result.missing, result.surplus, result.unproved) == (1, 0, 1)
    assert not result.complete
    (gap,) = result.gaps
    assert (gap.kind, gap.floor, gap.ceiling) == (GapKind.CROWDED, crowd, crowd + 1)
    assert 100 <= gap.at_least < 250


def test_the_journal_s_own_gaps_are_told(scene: Scene) -> None:
    """Those that touch the window."""
    inside = Gap(GapKind.RETENTION, FLOOR, FLOOR + SECOND, 0)
    outside = Gap(GapKind.RETENTION, FLOOR - SECOND, FLOOR, 0)
    scene.fill(gaps=[inside, outside])
    result = audited(scene)
    assert (result.unproved, result.gaps) == (1, [inside])
    assert (result.missing, result.complete) == (0, False)


def test_what_is_journaled_beside_a_crowd_is_surplus_and_in_it_is_not(tmp_path: Path) -> None:
    """Counted once, entries without a time included, wherever they were lent a tick."""
    scene = Scene(tmp_path)
    crowd = NOON - 300 * SECOND
    for n in range(250):
        scene.write(f"crowd {n}", crowd)
    many(scene, 90)
    scene.write("undated", FLOOR + 900 * SECOND, timestamp=None)
    scene.fill()
    scene.logs.config = type(scene.logs.config)(key=scene.logs.config.key, cap=100)
    for lent in (crowd, crowd + 1, NOON - SECOND, FLOOR + 1):
        with closing(sqlite3.connect(scene.path)) as db, db:
            db.execute("UPDATE undated SET tick = ?", (lent,))
        result = audited(scene)
        assert (result.missing, result.surplus, result.unproved) == (0, 0, 1), lent
    scene.logs._store.forget(FLOOR + 1_800 * SECOND)
    after = audited(scene)
    assert after.surplus == result.in_api - after.in_api > 10


def test_passing_errors_change_nothing(scene: Scene) -> None:
    """Refusals, broken answers and dropped connections in the middle are asked again."""
    many(scene, 400)
    found = scene.fill()
    scene.forget(found[0].uid)
    scene.front.faults = api_faults(0.4)
    result = audited(scene, page_size=20)
    assert scene.front.struck > 10
    assert (result.in_api, result.missing, result.surplus) == (400, 1, 0)


def test_an_api_that_stays_away_ends_it(scene: Scene) -> None:
    """After a while, with the API's own words."""
    many(scene, 400)
    scene.fill()
    healthy = 3
    away = Reply(503, b"closed")
    scene.front.faults = Faults(schedule=lambda n, _: away if n > healthy else None)
    scene.front._number = 0
    began = scene.now
    with pytest.raises(ApiUnavailable, match="503"):
        audited(scene, page_size=20)
    assert 60 <= scene.now - began < 200


def test_one_error_at_the_start(scene: Scene) -> None:
    """Asked again at once."""
    scene.write("only", NOON - SECOND)
    scene.fill()
    scene.front.faults = Faults(schedule=script(Reply(500)))
    assert audited(scene).in_api == 1


def test_a_ledger_pruned_meanwhile_is_no_proof(scene: Scene) -> None:
    """What was forgotten would look missing."""
    many(scene, 100)
    found = scene.fill()
    scene.forget(found[0].uid)
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("UPDATE apps SET ledger_from = ?", (found[50].tick,))
    with pytest.raises(JournalError, match="pruned while the audit ran"):
        audited(scene)


def test_another_limit() -> None:
    """Never the reader's, never none."""
    assert all(other_limit(n) not in {n, 0} for n in range(1, 2_000))


@given(
    st.integers(0, 10**13),
    st.integers(1, 10**11),
    st.lists(st.tuples(st.booleans(), st.integers(0, 100_000)), max_size=300),
)
def test_slices_cover_the_window_once(
    floor: Tick, length: Tick, answers: list[tuple[bool, int]]
) -> None:
    """From the top down without a hole, each border on a whole millisecond, whatever they hold."""
    slicer = Backwards(floor, floor + length, target=1_000)
    borders = [floor + length]
    for too_dense, entries in answers:
        piece = slicer.next()
        if piece is None:
            break
        assert piece[1] == borders[-1]
        assert floor <= piece[0] < piece[1]
        if too_dense and not slicer.narrowest:
            slicer.too_dense(entries / (piece[1] - piece[0]))
        else:
            slicer.completed(piece[0], entries)
            borders.append(piece[0])
    assert all(low < high for high, low in pairwise(borders))
    assert all(border % MILLISECOND == 0 for border in borders[1:] if border != floor)


def test_dense_windows_are_cut_smaller(tmp_path: Path) -> None:
    """So that memory holds a few pages, however long the window."""
    scene = Scene(tmp_path, cap=100)
    for n in range(6_000):
        scene.write(f"{n}", NOON - 10 * SECOND + n * 1_000)

    async def main() -> list[int]:
        async with scene.reading(page_size=70) as (reader, account):
            pieces = newest_first(reader, account, FLOOR, NOON)
            return [len(piece.found) async for piece in pieces]

    sizes = scene.play(main)
    assert sum(sizes) == 6_000
    assert max(sizes) <= 16 * 70
    assert len(sizes) < 60
