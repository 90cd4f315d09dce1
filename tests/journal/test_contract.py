"""The promise of the journal, kept by every implementation alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.journal import encode_one_each, encode_plainly, item, walk

from bridge.errors import BackfillStopped, DeadLettersFull, JournalError, JournalFull
from bridge.journal import Backlog, Journal, Start, Wishes
from bridge.journal.memory import MemoryJournal
from bridge.journal.orders import Orders
from bridge.journal.rules import POSITION_STEP
from bridge.model import (
    ALL_DROPPED,
    Anchor,
    Appended,
    AppRecord,
    Backfill,
    BackfillApp,
    Batch,
    DeadLetter,
    Encode,
    Encoded,
    Gap,
    GapKind,
    Identified,
)
from bridge.simulator.manual_clock import ManualClock

Open = Callable[[], Journal]


def play(open_journal: Open, scenario: Callable[[Journal], Awaitable[None]], *apps: str) -> None:
    """Run a scenario on a journal that knows these apps, and close it."""

    async def run() -> None:
        journal = open_journal()
        try:
            for name in apps:
                await journal.begin(record(name))
            await scenario(journal)
        finally:
            await journal.aclose()

    asyncio.run(run())


def record(name: str, position: int = 0) -> AppRecord:
    """An app that begins at a position."""
    return AppRecord(name, "rest/x", "{}", position, ledger_from=position)


def letter(destination: str, uid: str, reason: str = "refused") -> DeadLetter:
    """A record that a destination refused."""
    return DeadLetter(destination, uid, seq=1, reason=reason, gzip=b"z", refused_at=5)


async def batches(journal: Journal, after: int = 0) -> Sequence[Batch]:
    """Everything after a number."""
    return await journal.read(after, max_batches=1_000, max_size=1_000_000)


async def payloads(journal: Journal, after: int = 0) -> list[bytes]:
    """The payloads after a number."""
    return [batch.gzip for batch in await batches(journal, after)]


def test_begin_keeps_the_position(open_journal: Open) -> None:
    """A known app takes a new stream and filters and keeps its position, also when reopened."""
    changed = AppRecord(name="a", stream="rest/y", filters='{"level":"INFO"}', position=99)

    async def first(journal: Journal) -> None:
        assert await journal.app("a") is None
        await journal.begin(record("a", 7))
        assert await journal.app("a") == record("a", 7)
        await journal.begin(changed)

    async def second(journal: Journal) -> None:
        assert await journal.app("a") == AppRecord(
            "a", changed.stream, changed.filters, 7, ledger_from=7
        )
        assert await journal.app("b") is None

    play(open_journal, first)
    play(open_journal, second)


def test_append_stores_what_is_unseen(open_journal: Open, clock: ManualClock) -> None:
    """An entry is encoded and stored once; identical ones inside a walk count once."""

    async def scenario(journal: Journal) -> None:
        a, b, c = item(1, "a"), item(2, "b"), item(2, "c")
        assert await journal.append(walk("app", a, b, b, position=2)) == Appended(2, 0, 1)
        clock.tick = 2_000
        assert await journal.append(walk("app", b, c, c, a, position=3)) == Appended(1, 2, 2)
        assert await journal.append(walk("app", c, b, position=9)) == Appended(0, 2, None)
        assert await journal.append(walk("app", position=9)) == Appended(0, 0, None)
        assert await batches(journal) == (
            Batch(seq=1, app="app", records=2, size=3, gzip=b"a b", journaled_at=1_000),
            Batch(seq=2, app="app", records=1, size=1, gzip=b"c", journaled_at=2_000),
        )

    play(open_journal, scenario, "app")


def test_an_entry_is_known_per_app_and_tick(open_journal: Open) -> None:
    """The same fingerprint of another app or on another tick is another entry."""

    async def scenario(journal: Journal) -> None:
        assert (await journal.append(walk("a", item(1, "x")))).added == 1
        assert (await journal.append(walk("a", item(2, "x")))).added == 1
        assert (await journal.append(walk("b", item(1, "x")))).added == 1
        assert [batch.app for batch in await batches(journal)] == ["a", "a", "b"]

    play(open_journal, scenario, "a", "b")


def test_an_undated_entry_is_known_whatever_tick_it_borrowed(open_journal: Open) -> None:
    """Trap 18's cousin: a borrowed tick differs at each reading and does not make an entry new."""

    async def scenario(journal: Journal) -> None:
        twice = walk("a", item(5, "x", dated=False), item(6, "x", dated=False))
        assert await journal.append(twice) == Appended(1, 0, 1)
        assert await journal.append(walk("a", item(9, "x", dated=False))) == Appended(0, 1, None)
        assert await journal.append(walk("a", item(5, "x"))) == Appended(1, 0, 2)
        await journal.prune("a", needed=5, kept=5)
        assert (await journal.append(walk("a", item(7, "x", dated=False)))).added == 0
        await journal.prune("a", needed=6, kept=6)
        assert (await journal.append(walk("a", item(7, "x", dated=False)))).added == 1

    play(open_journal, scenario, "a")


def test_a_position_rises_with_entries_or_by_a_minute(open_journal: Open) -> None:
    """An idle app commits its position once a minute; a position never goes back."""

    async def scenario(journal: Journal) -> None:
        async def position() -> int:
            known = await journal.app("a")
            assert known is not None
            return known.position

        await journal.append(walk("a", item(1, "x"), position=10))
        assert await position() == 10
        await journal.append(walk("a", item(1, "x"), position=9 + POSITION_STEP))
        assert await position() == 10
        await journal.append(walk("a", position=10 + POSITION_STEP))
        assert await position() == 10 + POSITION_STEP
        await journal.append(walk("a", item(2, "late"), position=20))
        assert await position() == 10 + POSITION_STEP

    play(open_journal, scenario, "a")


def test_sweep_cursors_move_as_positions_do(open_journal: Open) -> None:
    """With entries, by a minute, or when an age is new; never back; other ages are forgotten."""

    async def first(journal: Journal) -> None:
        async def swept() -> Mapping[int, int]:
            known = await journal.app("a")
            assert known is not None
            return known.swept

        await journal.begin(AppRecord("b", "rest/x", "{}", 5, swept={3: 4}))
        assert await swept() == {}
        await journal.append(walk("a", swept={15: 1, 90: 2}))
        assert await swept() == {15: 1, 90: 2}
        await journal.append(walk("a", swept={15: POSITION_STEP, 90: 3}))
        assert await swept() == {15: 1, 90: 2}
        await journal.append(walk("a", swept={15: 1 + POSITION_STEP, 90: 1}))
        assert await swept() == {15: 1 + POSITION_STEP, 90: 2}
        await journal.append(walk("a", item(1, "x"), swept={90: 7}))
        assert await swept() == {90: 7}
        await journal.append(walk("a", swept={90: 7, 360: 0}))
        await journal.begin(AppRecord("a", "rest/y", "{}", 9, swept={1: 1}))
        assert await swept() == {90: 7, 360: 0}

    async def second(journal: Journal) -> None:
        assert await journal.app("a") == AppRecord(
            "a", "rest/y", "{}", 0, swept={90: 7, 360: 0}, ledger_from=0
        )
        assert await journal.app("b") == AppRecord(
            "b", "rest/x", "{}", 5, swept={3: 4}, ledger_from=5
        )

    play(open_journal, first, "a")
    play(open_journal, second)


def test_a_failed_encoding_stores_nothing(open_journal: Open) -> None:
    """Neither an error nor an encoding that lost an entry hides the entry from the next read."""

    def broken(_: Sequence[Identified], __: Sequence[Gap]) -> Sequence[Encoded]:
        raise ValueError("no")

    def lossy(items: Sequence[Identified], _: Sequence[Gap]) -> Sequence[Encoded]:
        return encode_plainly(items[1:])

    async def scenario(journal: Journal) -> None:
        found = (item(1, "x"), item(2, "y"))
        with pytest.raises(ValueError, match="no"):
            await journal.append(walk("a", *found, position=10, encode=broken))
        with pytest.raises(JournalError, match="2 entries and 0 gaps were encoded as 1 records"):
            await journal.append(walk("a", *found, position=10, encode=lossy))
        assert await journal.app("a") == record("a")
        assert await journal.append(walk("a", *found)) == Appended(2, 0, 1)
        assert await payloads(journal) == [b"x y"]

    play(open_journal, scenario, "a")


def test_one_append_may_make_several_batches(open_journal: Open) -> None:
    """Every batch of an append has a number of its own; the newest is reported."""

    async def scenario(journal: Journal) -> None:
        found = (item(1, "x"), item(2, "y"), item(3, "z"))
        three = walk("a", *found, encode=encode_one_each)
        assert await journal.append(three) == Appended(3, 0, 3)
        assert await payloads(journal, 1) == [b"y", b"z"]

    play(open_journal, scenario, "a")


def test_an_app_that_was_never_begun_is_an_error(open_journal: Open) -> None:
    """An append or prune for an unknown name is a mistake that is told."""

    async def scenario(journal: Journal) -> None:
        with pytest.raises(JournalError, match="ghost: the app was never begun"):
            await journal.append(walk("ghost", item(1, "x")))
        with pytest.raises(JournalError, match="ghost: the app was never begun"):
            await journal.prune("ghost", needed=5, kept=5)
        assert await journal.anchor("ghost", 5) is None
        assert not await batches(journal)

    play(open_journal, scenario)


def test_the_anchor_is_the_newest_tick_at_or_below(open_journal: Open) -> None:
    """All entries of that tick, of that app alone; a borrowed tick is never a bound."""

    async def scenario(journal: Journal) -> None:
        await journal.append(walk("a", item(3, "p"), item(5, "q"), item(5, "r")))
        await journal.append(walk("a", item(7, "u", dated=False)))
        await journal.append(walk("b", item(6, "s")))
        assert await journal.anchor("a", 2) is None
        assert await journal.anchor("a", 3) == Anchor(3, frozenset({b"p"}))
        assert await journal.anchor("a", 4) == Anchor(3, frozenset({b"p"}))
        assert await journal.anchor("a", 99) == Anchor(5, frozenset({b"q", b"r"}))
        assert await journal.anchor("b", 99) == Anchor(6, frozenset({b"s"}))

    play(open_journal, scenario, "a", "b")


def test_prune_forgets_below_and_keeps_the_newest_tick(open_journal: Open) -> None:
    """Without its newest tick an app would have no anchor left."""

    async def scenario(journal: Journal) -> None:
        await journal.append(walk("a", item(1, "p"), item(2, "q"), item(3, "r"), item(3, "s")))
        await journal.append(walk("b", item(1, "p")))
        await journal.prune("a", needed=2, kept=2)
        assert await journal.anchor("a", 1) is None
        assert await journal.anchor("a", 2) == Anchor(2, frozenset({b"q"}))
        await journal.prune("a", needed=99, kept=99)
        assert await journal.anchor("a", 2) is None
        assert await journal.anchor("a", 99) == Anchor(3, frozenset({b"r", b"s"}))
        assert await journal.anchor("b", 99) == Anchor(1, frozenset({b"p"}))
        assert await journal.append(walk("a", item(1, "p"), item(3, "r"))) == Appended(1, 1, 2 + 1)

    play(open_journal, scenario, "a", "b")


def test_a_new_destination_starts_at_the_oldest_batch(open_journal: Open) -> None:
    """It gets what is there; a known one goes on where it was."""

    async def first(journal: Journal) -> None:
        await journal.append(walk("a", item(1, "x")))
        await journal.append(walk("a", item(2, "y")))
        assert await journal.attach("one") == 0
        await journal.advance("one", 1)
        assert await journal.attach("two") == 1
        assert await payloads(journal, 1) == [b"y"]

    async def second(journal: Journal) -> None:
        assert await journal.attach("two") == 1
        await journal.advance("two", 2)
        assert await journal.attach("three", Start.OLDEST) == 1
        assert await journal.attach("one", Start.NOW) == 1  # what it missed while unused is there

    play(open_journal, first, "a")
    play(open_journal, second)


def test_a_number_is_never_used_again(open_journal: Open) -> None:
    """Trap 28: not after every batch is gone, nor after a restart, nor after a failed append."""

    def broken(_: Sequence[Identified], __: Sequence[Gap]) -> Sequence[Encoded]:
        raise ValueError("no")

    async def first(journal: Journal) -> None:
        await journal.attach("one")
        for tick in range(1, 4):
            await journal.append(walk("a", item(tick, "x")))
        await journal.advance("one", 3)
        assert not await batches(journal)

    async def second(journal: Journal) -> None:
        assert await journal.attach("one") == 3
        assert await journal.attach("two") == 3
        assert (await journal.stats()).last_seq == 3
        with pytest.raises(ValueError, match="no"):
            await journal.append(walk("a", item(9, "x"), position=0, encode=broken))
        assert (await journal.append(walk("a", item(9, "x")))).last_seq == 4

    play(open_journal, first, "a")
    play(open_journal, second)


def test_a_cursor_moves_only_forward_and_not_beyond(open_journal: Open) -> None:
    """An old acknowledgement changes nothing; one for a batch that is not there is an error."""

    async def scenario(journal: Journal) -> None:
        await journal.append(walk("a", item(1, "x")))
        await journal.append(walk("a", item(2, "y")))
        with pytest.raises(JournalError, match="one: the destination is not attached"):
            await journal.advance("one", 1)
        await journal.attach("one")
        await journal.advance("one", 2)
        await journal.advance("one", 1)
        assert await journal.attach("one") == 2
        with pytest.raises(JournalError, match="cannot go to 3"):
            await journal.advance("one", 3, [letter("one", "u")])
        stats = await journal.stats()
        assert stats.backlogs == (Backlog("one", 2, 0, 0, None),)
        assert stats.dead_letters == 0

    play(open_journal, scenario, "a")


def test_a_batch_goes_when_all_in_use_have_passed(open_journal: Open) -> None:
    """One that is no longer configured keeps its cursor and holds what it has not passed."""

    async def first(journal: Journal) -> None:
        await journal.append(walk("a", item(1, "x")))
        await journal.append(walk("a", item(2, "y")))
        assert await payloads(journal) == [b"x", b"y"]
        await journal.attach("one")
        await journal.attach("gone")
        await journal.advance("one", 2)
        assert await payloads(journal) == [b"x", b"y"]
        await journal.advance("gone", 1)
        assert await payloads(journal) == [b"y"]

    async def second(journal: Journal) -> None:
        assert await journal.attach("one") == 2
        await journal.append(walk("a", item(3, "z")))
        await journal.advance("one", 3)
        assert await payloads(journal) == [b"y", b"z"]
        stats = await journal.stats()
        assert stats.backlogs == (Backlog("one", 3, 0, 0, None),)
        assert stats.unused == (Backlog("gone", 1, 2, 2, 1_000, bytes=2),)
        assert stats.live_bytes == 2

    async def third(journal: Journal) -> None:
        assert await journal.attach("one") == 3
        assert await journal.attach("gone") == 1
        assert (await journal.stats()).unused == ()
        await journal.advance("gone", 3)
        assert await payloads(journal) == []

    play(open_journal, first, "a")
    play(open_journal, second)
    play(open_journal, third)


def test_a_full_journal_refuses_appends_alone(open_journal: Open) -> None:
    """At the bound nothing is stored or moved and the one furthest behind is named."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("slow")
        await journal.attach("quick")
        await journal.append(walk("a", item(1, "x" * 99)))
        await journal.append(walk("a", item(2, "y" * 50)))  # one may go over
        await journal.advance("quick", 2)
        with pytest.raises(JournalFull, match="furthest behind") as caught:
            await journal.append(walk("a", item(3, "z"), position=POSITION_STEP))
        assert caught.value.held_by == "slow"
        known = await journal.app("a")
        assert known is not None
        assert known.position == 0
        stats = await journal.stats()
        assert (stats.live_bytes, stats.max_bytes) == (149, 100)
        await journal.advance("slow", 1, [letter("slow", "u")])
        assert (await journal.stats()).live_bytes == 50
        assert await journal.append(walk("a", item(3, "z"))) == Appended(1, 0, 3)

    play(open_journal, scenario, "a")


def test_a_full_journal_without_destination_says_so(open_journal: Open) -> None:
    """Nothing is removed that nobody read."""

    async def scenario(journal: Journal) -> None:
        await journal.append(walk("a", item(1, "x" * 100)))
        with pytest.raises(JournalFull, match="no destination is in use") as caught:
            await journal.append(walk("a", item(2, "y")))
        assert caught.value.held_by == ""

    play(open_journal, scenario, "a")


def test_a_destination_out_of_use_fills_the_journal_and_is_named(open_journal: Open) -> None:
    """With both ways out; put back, it gets all of it."""

    async def first(journal: Journal) -> None:
        await journal.attach("old one")
        await journal.attach("one")
        await journal.append(walk("a", item(1, "x" * 100)))
        await journal.advance("one", 1)

    async def second(journal: Journal) -> None:
        await journal.attach("one")
        with pytest.raises(JournalFull) as caught:
            await journal.append(walk("a", item(2, "y")))
        assert caught.value.held_by == "old one"
        assert caught.value.hint == (
            "destination old one is no longer configured: put it back or run "
            "`fal-log-bridge destinations forget 'old one'`"
        )
        assert await journal.attach("old one") == 0
        await journal.advance("old one", 1)
        assert (await journal.append(walk("a", item(2, "y")))).last_seq == 2

    play(open_journal, first, "a")
    play(open_journal, second)


def test_waiting_for_room_ends_when_a_destination_moves(open_journal: Open) -> None:
    """It does not end for a destination that moves without making room."""

    async def scenario(journal: Journal) -> None:
        await journal.wait_for_room()
        await journal.attach("slow")
        await journal.attach("quick")
        await journal.append(walk("a", item(1, "x" * 100)))
        waiter = asyncio.create_task(journal.wait_for_room())
        await journal.advance("quick", 1)
        with pytest.raises(JournalFull):
            await journal.append(walk("a", item(2, "y")))
        assert not waiter.done()
        await journal.advance("slow", 1)
        await waiter
        assert (await journal.append(walk("a", item(2, "y")))).added == 1

    play(open_journal, scenario, "a")


def test_waiting_for_a_batch_ends_with_the_append(open_journal: Open) -> None:
    """A number that was used and is gone does not count as a batch."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        waiter = asyncio.create_task(journal.wait_for_batch(0))
        await journal.append(walk("a", position=POSITION_STEP))
        assert not waiter.done()
        await journal.append(walk("a", item(1, "x")))
        await waiter
        await journal.wait_for_batch(0)
        await journal.advance("one", 1)
        waiter = asyncio.create_task(journal.wait_for_batch(0))
        await journal.begin(record("b"))
        assert not waiter.done()
        await journal.append(walk("a", item(2, "y")))
        await waiter

    play(open_journal, scenario, "a")


def test_read_takes_at_least_one_and_keeps_its_bounds(open_journal: Open) -> None:
    """The bounds are inclusive; one batch larger than the bound still comes."""

    async def scenario(journal: Journal) -> None:
        for tick, uid in enumerate(["xx", "yy", "zz"], start=1):
            await journal.append(walk("a", item(tick, uid)))

        async def numbers(after: int, max_batches: int, max_size: int) -> list[int]:
            found = await journal.read(after, max_batches=max_batches, max_size=max_size)
            return [batch.seq for batch in found]

        assert await numbers(0, 9, 9) == [1, 2, 3]
        assert await numbers(0, 2, 9) == [1, 2]
        assert await numbers(0, 9, 4) == [1, 2]
        assert await numbers(0, 9, 3) == [1]
        assert await numbers(1, 9, 1) == [2]
        assert await numbers(1, 0, 0) == [2]
        assert await numbers(3, 9, 9) == []

    play(open_journal, scenario, "a")


def test_a_new_destination_may_start_behind_the_newest_batch(open_journal: Open) -> None:
    """It gets only what comes; a known one is not moved by it."""

    async def scenario(journal: Journal) -> None:
        await journal.append(walk("a", item(1, "x")))
        assert await journal.attach("old") == 0
        assert await journal.attach("new", Start.NOW) == 1
        await journal.append(walk("a", item(2, "y")))
        assert await journal.attach("new", Start.NOW) == 1
        assert await journal.attach("old", Start.NOW) == 0
        assert await payloads(journal, 1) == [b"y"]

    play(open_journal, scenario, "a")


def test_dead_letters_come_with_the_cursor_and_stand_once(open_journal: Open) -> None:
    """Unique by destination and uid, however often they are refused (trap 23: kept)."""
    again = DeadLetter("one", "u", 9, "again", b"other", 7, "longer answer")

    async def first(journal: Journal) -> None:
        await journal.append(walk("a", item(1, "x")))
        await journal.attach("one")
        await journal.attach("two")
        await journal.advance("one", 0, [letter("one", "u"), letter("one", "v")])
        await journal.advance("one", 1, [again])
        await journal.advance("two", 1, [letter("two", "u")])

    async def second(journal: Journal) -> None:
        await journal.attach("one")
        await journal.attach("two")
        stats = await journal.stats()
        assert stats.dead_letters == 3
        one, plain = len("zagainlonger answer"), len("zrefused")
        assert [(b.destination, b.dead_letters, b.dead_letter_bytes) for b in stats.backlogs] == [
            ("one", 2, one + plain),
            ("two", 1, plain),
        ]
        assert (stats.dead_letter_bytes, stats.dead_letters_max_bytes) == (one + 2 * plain, 60)

    play(open_journal, first, "a")
    play(open_journal, second)


def test_dead_letters_that_do_not_fit_are_refused_whole(open_journal: Open) -> None:
    """With the cursor and what came with them; what replaces or leaves is always taken."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        await journal.attach("two")
        await journal.append(walk("a", item(1, "x")))
        await journal.advance("one", 0, [letter("one", "u", "x" * 40)])
        with pytest.raises(DeadLettersFull, match="two: the dead letters are full") as caught:
            await journal.advance("two", 1, [letter("two", "v", "x" * 11), letter("two", "w")])
        assert "60 bytes): 2 more do not fit" in str(caught.value)
        stats = await journal.stats()
        assert stats.dead_letter_bytes == 41
        assert [one.cursor for one in stats.backlogs] == [0, 0]
        await journal.advance("two", 1, [letter("two", "v", "x" * 18)])  # to the last byte
        with pytest.raises(DeadLettersFull):
            await journal.advance("one", 1, [letter("one", "w", "")], replayed=["missing"])
        await journal.advance("one", 0, [letter("one", "u", "x" * 90)])
        await journal.advance("one", 1, [letter("one", "w")], replayed=["u"])
        stats = await journal.stats()
        assert [one.dead_letters for one in stats.backlogs] == [1, 1]
        assert stats.dead_letter_bytes == 19 + 8

    play(open_journal, scenario, "a")


def test_one_call_may_go_over_where_there_are_no_dead_letters(open_journal: Open) -> None:
    """Else what alone is larger than the bound would hold its destination for ever."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        await journal.advance("one", 0, [letter("one", "u", "x" * 90), letter("one", "v")])
        assert (await journal.stats()).dead_letters == 2
        with pytest.raises(DeadLettersFull):
            await journal.advance("one", 0, [letter("one", "w", "")])
        await journal.advance("one", 0, [letter("one", "w", "x" * 99)], replayed=["u", "v"])
        assert (await journal.stats()).dead_letters == 1

    play(open_journal, scenario)


def test_a_dead_letter_belongs_to_its_destination(open_journal: Open) -> None:
    """Another one's is a mistake that is told; any text can be stored."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        with pytest.raises(JournalError, match="one: a dead letter of two"):
            await journal.advance("one", 0, [letter("two", "u")])
        odd = DeadLetter("one", "u", 1, "\ud800 \0", b"z", 5, "\udfff\n")
        await journal.advance("one", 0, [odd])
        (backlog,) = (await journal.stats()).backlogs
        assert backlog.dead_letter_bytes == len(b"z") + len("\\ud800 \0") + len("\\udfff\n")

    play(open_journal, scenario)


def test_nothing_is_wished_for_by_itself(open_journal: Open) -> None:
    """A new destination is not paused and has nothing to replay; one not attached has no wishes."""

    async def scenario(journal: Journal) -> None:
        with pytest.raises(JournalError, match="one: the destination is not attached"):
            await journal.wishes("one", max_size=99)
        await journal.attach("one")
        await journal.advance("one", 0, [letter("one", "u")])
        assert await journal.wishes("one", max_size=99) == Wishes()

    play(open_journal, scenario)


def naming(*batches: tuple[int, str | None]) -> Encode:
    """An encoder of batches of so many records that name these entries, a letter each."""
    encoded = [
        Encoded(
            records,
            size=records,
            gzip=b"z",
            uids=None if uids is None else tuple(uid.encode() for uid in uids),
        )
        for records, uids in batches
    ]
    return lambda _, __: encoded


def test_what_no_batch_names_was_dropped_by_rule(open_journal: Open) -> None:
    """It is known from then on, is an anchor, and is in no batch; entries may share a record."""

    async def scenario(journal: Journal) -> None:
        found = [item(tick, uid) for tick, uid in enumerate("abcde", start=1)]
        encode = naming((1, "db"), (1, "a"))
        assert await journal.append(walk("a", *found, encode=encode)) == Appended(5, 0, 2, 2)
        assert await journal.append(walk("a", *found, encode=encode)) == Appended(0, 5, None)
        assert [batch.records for batch in await batches(journal)] == [1, 1]
        assert await journal.anchor("a", 3) == Anchor(3, frozenset({b"c"}))
        all_of_it = walk("a", item(9, "x"), position=9, encode=lambda _, __: [ALL_DROPPED])
        assert await journal.append(all_of_it) == Appended(1, 0, None, 1)
        assert await journal.append(walk("a", item(9, "x"))) == Appended(0, 1, None)
        known = await journal.app("a")
        assert known is not None
        assert known.position == 9
        await journal.prune("a", needed=99, kept=99)
        assert await journal.anchor("a", 99) == Anchor(9, frozenset({b"x"}))

    play(open_journal, scenario, "a")


def test_gaps_have_records_beside_named_entries(open_journal: Open) -> None:
    """The last ones, in a batch with entries or in one of their own."""

    async def scenario(journal: Journal) -> None:
        gaps = [Gap(GapKind.CROWDED, tick, tick + 1, 5) for tick in (1, 2)]
        found = (item(1, "a"), item(2, "b"))
        encode = naming((2, "b"), (1, ""))
        done = await journal.append(walk("a", *found, gaps=gaps, encode=encode))
        assert done == Appended(2, 0, 2, 1)
        more = [Gap(GapKind.CROWDED, 7, 8, 5)]
        encode = naming((1, ""))
        done = await journal.append(walk("a", item(7, "c"), gaps=more, encode=encode))
        assert done == Appended(1, 0, 3, 1)
        assert await journal.gaps("a") == (*gaps, *more)

    play(open_journal, scenario, "a")


@pytest.mark.parametrize(
    ("encode", "words"),
    [
        (naming(), "as 0 records"),
        (naming((0, ""), (2, "a")), "as 0 records that name 0 entries"),
        (naming((1, None), (1, "b")), "in batches of which only some name"),
        (naming((2, "ab"), (1, None)), "in batches of which only some name"),
        (naming((1, "ax")), "as others, or as some of them twice"),
        (naming((1, "a"), (1, "ba")), "as others, or as some of them twice"),
        (naming((2, "a"), (2, "b")), "as 2 records that name 1 entries"),
        (naming((1, "a")), "as 0 records that name 1 entries"),
        (naming((1, "a"), (1, "b")), "as 0 records that name 1 entries"),
        (naming((3, "ab"), (0, "")), "as 0 records that name 0 entries"),
        (naming((4, "ab")), "as 3 records that name 2 entries"),
        (lambda _, __: [ALL_DROPPED], "as dropped by rule"),
        (lambda _, __: [ALL_DROPPED, *encode_plainly([item(1, "a")])], "only some name"),
    ],
)
def test_an_encoding_that_hides_a_loss_is_refused(
    open_journal: Open, encode: Encode, words: str
) -> None:
    """Two entries and a gap: what is named must be there, and nothing else."""

    async def scenario(journal: Journal) -> None:
        gap = Gap(GapKind.CROWDED, 1, 2, 5)
        lossy = walk("a", item(1, "a"), item(2, "b"), gaps=[gap], position=9, encode=encode)
        with pytest.raises(JournalError, match=f"2 entries and 1 gaps were encoded .*{words}"):
            await journal.append(lossy)
        assert await journal.app("a") == record("a")
        assert not await batches(journal)

    play(open_journal, scenario, "a")


def test_stats_show_each_destination_in_use(open_journal: Open, clock: ManualClock) -> None:
    """How many batches and records wait, and since when the oldest does."""

    async def scenario(journal: Journal) -> None:
        for tick in range(1, 4):
            clock.tick = tick * 100
            found = [item(tick, f"{tick}{n}") for n in range(tick)]
            await journal.append(walk("a", *found))
        await journal.attach("two")
        await journal.attach("one")
        await journal.advance("two", 1)
        await journal.advance("one", 2)
        stats = await journal.stats()
        assert stats.backlogs == (
            Backlog("one", 2, 1, 3, 300, bytes=8),
            Backlog("two", 1, 2, 5, 200, bytes=13),
        )
        assert stats.last_seq == 3
        assert stats.live_bytes == len(b"20 21") + len(b"30 31 32")

    play(open_journal, scenario, "a")


def test_apps_append_side_by_side(open_journal: Open) -> None:
    """Fifty apps at once, one of them broken: each other batch gets one number, in order."""

    def broken(_: Sequence[Identified], __: Sequence[Gap]) -> Sequence[Encoded]:
        raise ValueError("no")

    names = [f"app-{n}" for n in range(50)]

    async def scenario(journal: Journal) -> None:
        results = await asyncio.gather(
            journal.append(walk("app-0", item(1, "x"), position=0, encode=broken)),
            *(journal.append(walk(name, item(1, "x"))) for name in names),
            return_exceptions=True,
        )
        assert isinstance(results[0], ValueError)
        assert results[1:] == [Appended(1, 0, seq) for seq in range(1, 51)]
        assert [(batch.seq, batch.app) for batch in await batches(journal)] == list(
            enumerate(names, start=1)
        )

    play(open_journal, scenario, *names)


def test_a_cancelled_caller_harms_nobody(open_journal: Open) -> None:
    """Its append is stored or not, whole; the others' are, and the journal goes on."""

    async def scenario(journal: Journal) -> None:
        leaver = asyncio.create_task(journal.append(walk("a", item(1, "leaver"))))
        stayer = asyncio.create_task(journal.append(walk("b", item(1, "stayer"))))
        await asyncio.sleep(0)
        leaver.cancel()
        assert (await stayer).added == 1
        assert leaver.cancelled()
        again = await journal.append(walk("a", item(1, "leaver")))
        assert (again.added, again.known) in {(0, 1), (1, 0)}
        assert sorted(await payloads(journal)) == [b"leaver", b"stayer"]

    play(open_journal, scenario, "a", "b")


def test_a_closed_journal_says_so(open_journal: Open) -> None:
    """Who waits when it closes is told too, and closing twice is fine."""

    async def run() -> None:
        journal = open_journal()
        waiter = asyncio.create_task(journal.wait_for_batch(0))
        pending = asyncio.create_task(journal.begin(record("a")))
        await asyncio.sleep(0)
        await asyncio.gather(pending, return_exceptions=True)
        await journal.aclose()
        with pytest.raises(JournalError, match="closed"):
            await waiter
        with pytest.raises(JournalError, match="closed"):
            await journal.app("a")
        with pytest.raises(JournalError, match="closed"):
            await journal.begin(record("a"))
        await journal.aclose()

    asyncio.run(run())


def order(journal: Journal, path: Path, *audience: str, apps: Sequence[str] = ("app",)) -> None:
    """A person asks for a backfill ``job`` of the first ten ticks."""
    job = Backfill(
        name="job",
        asked="",
        floor=0,
        ceiling=10,
        audience=audience,
        own_stream=True,
        apps=tuple(BackfillApp(app, "x", "{}", 0) for app in apps),
        created_at=0,
    )
    if isinstance(journal, MemoryJournal):
        journal.contents.backfills["job"] = job
    else:
        with Orders.open(path) as orders:
            assert orders.begin_backfill(job, resume=False) == job


def test_a_backfill_moves_itself_and_nothing_else(open_journal: Open, path: Path) -> None:
    """Entries are known to both sides; with the last walk it is done, and takes no more."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        await journal.append(walk("app", item(3, "a"), position=50))
        order(journal, path)
        found = walk("app", item(3, "a"), item(4, "b"), item(5, "c", dated=False), position=5)
        assert await journal.backfill(found, "job") == Appended(2, 1, 2)
        (job,) = await journal.backfills()
        assert job.share == 0.5
        assert (job.apps[0].added, job.apps[0].known, job.apps[0].last_seq) == (2, 1, 2)
        again = walk("app", item(4, "b"), item(5, "c", dated=False), item(6, "d"), position=50)
        assert await journal.append(again) == Appended(1, 2, 3)
        await journal.prune("app", needed=99, kept=99)
        assert await journal.backfill(replace(found, position=9), "job") == Appended(1, 2, 4)
        known = await journal.app("app")
        assert known is not None
        assert known.position == 50
        await journal.note_backfill("job", "app", "waits")
        (job,) = await journal.backfills()
        assert job.apps[0].note == "waits"
        assert await journal.backfill(walk("app", position=10), "job") == Appended(0, 0, None)
        assert await journal.backfills() == ()
        with pytest.raises(BackfillStopped, match="stopped by command"):
            await journal.backfill(found, "job")

    play(open_journal, scenario, "app")


def test_a_backfill_ends_behind_what_it_knew(open_journal: Open, path: Path) -> None:
    """What was journaled before it may still be on its way: its last batch is not before that."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        await journal.append(walk("app", item(3, "a"), position=50))
        order(journal, path)
        assert (await journal.backfill(walk("app", position=4), "job")).last_seq is None
        (job,) = await journal.backfills()
        assert job.apps[0].last_seq == 0
        found = walk("app", item(3, "a"), position=5)
        assert await journal.backfill(found, "job") == Appended(0, 1, None)
        (job,) = await journal.backfills()
        assert job.apps[0].last_seq == 1

    play(open_journal, scenario, "app")


def test_a_backfill_for_some_gives_each_what_it_has_not(open_journal: Open, path: Path) -> None:
    """A destination has what came since its cursor began, or what a backfill brought for it."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("old")
        await journal.append(walk("app", item(1, "a")))
        await journal.attach("new", Start.NOW)
        await journal.append(walk("app", item(2, "b")))
        order(journal, path, "new", "old")
        found = walk("app", item(1, "a"), item(2, "b"), item(3, "c"), position=5)
        assert await journal.backfill(found, "job") == Appended(2, 1, 4)
        assert [(batch.gzip, batch.audience) for batch in await batches(journal, 2)] == [
            (b"a c", "new"),
            (b"c", "old"),
        ]
        assert await journal.backfill(replace(found, position=6), "job") == Appended(0, 3, None)
        assert (await journal.append(walk("app", item(3, "c")))).added == 1

    play(open_journal, scenario, "app")


def test_a_destination_that_was_forgotten_gets_what_backfills_brought_before(
    open_journal: Open, path: Path
) -> None:
    """What one brought for it before its cursor began anew is not had any more."""

    async def before(journal: Journal) -> None:
        await journal.attach("old")
        await journal.attach("new")
        order(journal, path, "new", apps=("app", "other"))
        await journal.append(walk("app", item(9, "z")))
        found = walk("app", item(1, "a"), item(2, "b", dated=False), position=5)
        assert await journal.backfill(found, "job") == Appended(2, 0, 2)
        for name in ("old", "new"):
            await journal.advance(name, 2)
        if isinstance(journal, MemoryJournal):
            del journal.contents.cursors["new"], journal.contents.began["new"]

    async def after(journal: Journal) -> None:
        await journal.attach("old")
        await journal.attach("new", Start.NOW)
        found = walk("app", item(1, "a"), item(2, "b", dated=False), position=6)
        assert await journal.backfill(found, "job") == Appended(2, 0, 3)
        assert await journal.backfill(found, "job") == Appended(0, 2, None)

    play(open_journal, before, "app")
    if path.exists():
        with Orders.open(path) as orders:
            orders.forget("new")
    play(open_journal, after)


def test_a_backfill_for_a_destination_that_is_not_there_stores_nothing(
    open_journal: Open, path: Path
) -> None:
    """Nothing would hold its batches."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        order(journal, path, "one", "two")
        with pytest.raises(JournalError, match="not attached"):
            await journal.backfill(walk("app", item(1, "a"), position=5), "job")
        assert await batches(journal) == ()

    play(open_journal, scenario, "app")


def test_a_backfill_pauses_at_half_of_the_room(open_journal: Open, path: Path) -> None:
    """Live reading goes on to the whole of it."""

    async def scenario(journal: Journal) -> None:
        await journal.attach("one")
        order(journal, path)
        await journal.append(walk("app", item(1, "x" * 50)))
        with pytest.raises(JournalFull):
            await journal.backfill(walk("app", item(2, "b"), position=5), "job")
        assert (await journal.append(walk("app", item(3, "c")))).added == 1
        await journal.advance("one", 1)
        assert (await journal.backfill(walk("app", item(2, "b"), position=5), "job")).added == 1

    play(open_journal, scenario, "app")
