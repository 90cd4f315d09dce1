"""The walk loses nothing and repeats nothing, whatever pages the server makes of a window."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reading import T0, Server, walked
from support.reading import make_entry as build
from support.reading import read as walk_to_end

from bridge.errors import ApiContractBroken, ApiUnavailable
from bridge.model import Anchor, Entry, Identified, Page
from bridge.source.fingerprint import content_hash
from bridge.source.walk import Bounds, Walk


def bag(found: list[Identified]) -> Counter[bytes]:
    """What was found, by content."""
    return Counter(content_hash(i.entry) for i in found)


def expected(entries: list[Entry], floor: int, ceiling: int | None) -> Counter[bytes]:
    """What stands in the window, by content."""
    return Counter(
        content_hash(e)
        for e in entries
        if e.tick is not None and e.tick >= floor and (ceiling is None or e.tick < ceiling)
    )


ticks = st.integers(0, 12_000) | st.integers(0, 30).map(lambda n: n * 400)
contents = st.lists(st.tuples(ticks, st.sampled_from("abc")), max_size=60)


@settings(max_examples=400, deadline=None)
@given(
    made=contents,
    # Caps are taken to be round numbers, see `Walk`: on a crowded tick it is all there is to go by.
    caps=st.lists(st.sampled_from([1, 2, 5, 10, 15, 20, 25]), min_size=1, max_size=6),
    cut=st.sampled_from([1, 1, 1_000]),
    floor=st.integers(0, 6_000),
    ceiling=st.none() | st.integers(6_001, 14_000),
    limit=st.sampled_from([3, 10, 50, 1000]),
)
def test_a_walk_finds_all_of_its_window_or_names_the_gap(  # noqa: PLR0917 - Hypothesis
    made: list[tuple[int, str]],
    caps: list[int],
    cut: int,
    floor: int,
    ceiling: int | None,
    limit: int,
) -> None:
    """Complete under changing caps, cut bounds, ties and repeats, or the gap is named."""
    entries = [build(T0 + t, m) for t, m in made]
    top = None if ceiling is None else T0 + ceiling
    # The last cap stays: with caps this small nothing smaller is documented.
    fake = Server(entries, caps=caps, cut=cut)
    walk = walked(fake, T0 + floor, top, limit=limit, documented_page=1)
    found, wanted = walk.found(), expected(entries, T0 + floor, top)
    assert bag(found) <= wanted
    crowded = [e for e in entries if any(c.floor <= (e.tick or 0) < c.ceiling for c in walk.crowds)]
    assert wanted - expected(crowded, T0 + floor, top) <= bag(found)
    assert len({i.uid for i in found}) == len(found)
    assert [i.tick for i in found] == sorted(i.tick for i in found)


def test_ties_across_pages_arrive_once() -> None:
    """Groups of ties straddle every page border (traps 5 and 18)."""
    entries = [build(T0 + n // 7, f"m{n}") for n in range(5_000)]
    found = walk_to_end(Server(entries, caps=[100]), T0, limit=1000)
    assert bag(found) == expected(entries, T0, None)


def test_genuine_repeats_keep_an_identity_each() -> None:
    """300 lines, three times each, on one tick: 900 entries with 900 uids (trap 7)."""
    entries = [build(T0, f"m{n % 300}") for n in range(900)]
    found = walk_to_end(Server(entries), T0 - 5_000)
    assert len({i.uid for i in found}) == 900


def test_a_reread_gives_the_same_identities() -> None:
    """Identity does not depend on how the pages fell."""
    entries = [build(T0 + n // 5, f"m{n % 3}") for n in range(400)]
    by_cap = [
        {i.uid for i in walk_to_end(Server(entries, caps=[cap]), T0, limit=1000)}
        for cap in (7, 100, 1000)
    ]
    assert by_cap[0] == by_cap[1] == by_cap[2]


def test_an_anchor_makes_the_steady_state_one_request() -> None:
    """The journaled entry on the floor shows that the page reached it."""
    entries = [build(T0 + n * 1_000_000, f"m{n}") for n in range(5)]
    anchor = walk_to_end(Server(entries), T0 + 3_000_000, T0 + 3_000_001)
    fake = Server(entries)
    found = walk_to_end(
        fake,
        T0 + 3_000_000,
        anchor=Anchor(T0 + 3_000_000, frozenset(i.uid for i in anchor)),
    )
    assert [i.tick for i in found] == [T0 + 3_000_000, T0 + 4_000_000]
    assert len(fake.requests) == 1


def test_one_of_several_anchors_is_enough() -> None:
    """Of three journaled ties the page shows one: all above it is shown, and they are known."""
    known = [build(T0, m) for m in "abc"]
    anchor = walk_to_end(Server(known), T0, T0 + 1)
    entries = [*known, build(T0 + 9_000_000, "top")]
    fake = Server(entries, caps=[2])
    found = walk_to_end(fake, T0, anchor=Anchor(T0, frozenset(i.uid for i in anchor)))
    assert len(fake.requests) == 1
    assert {i.uid for i in found} - {i.uid for i in anchor} == {found[-1].uid}


def test_another_entry_on_the_anchor_s_tick_is_no_anchor() -> None:
    """It may be new, and hide what is known below it."""
    entries = [build(T0, m) for m in "abc"]
    anchor = walk_to_end(Server(entries[:1]), T0, T0 + 1)
    fake = Server([entries[2], entries[1], entries[0]], caps=[2, 2, 1000])
    known = Anchor(T0, frozenset(i.uid for i in anchor))
    found = walk_to_end(fake, T0, anchor=known, documented_page=1)
    assert bag(found) == expected(entries, T0, None)


def test_a_falling_cap_is_no_end() -> None:
    """A page of exactly the overlap, because the cap just fell to it, proves nothing (trap 26)."""
    entries = [build(T0 + n // 100 * 5_000, f"m{n}") for n in range(5_000)]
    found = walk_to_end(Server(entries, caps=[1000, 1000, 100, 1000]), T0, limit=1000)
    assert bag(found) == expected(entries, T0, None)


def test_a_dense_millisecond_is_read_by_exact_bounds() -> None:
    """A thousand entries inside one millisecond, a hundred a page: one request for each page."""
    entries = [build(T0 + n, f"m{n}") for n in range(1_000)]
    fake = Server(entries, caps=[100])
    found = walk_to_end(fake, T0)
    assert bag(found) == expected(entries, T0, None)
    assert len(fake.requests) == 14


@pytest.mark.parametrize("cut", [1, 1_000, 1_000_000])
@pytest.mark.parametrize("ceiling", [250_000, 600_000, 1_000_000])
def test_less_than_a_second_is_whole_however_bounds_are_cut(ceiling: int, cut: int) -> None:
    """A first question, before anything is known of how this server cuts bounds."""
    entries = [build(T0 + n * 10_000, f"m{n}") for n in range(-50, 150)]
    found = walk_to_end(Server(entries, cut=cut), T0 + 100_000, T0 + ceiling)
    assert bag(found) == expected(entries, T0 + 100_000, T0 + ceiling)


@pytest.mark.parametrize("limit", [7, 30, 1_000])
@pytest.mark.parametrize("ceiling", [12_000, 12_300, None])
def test_a_server_that_compares_by_the_millisecond_hides_nothing(
    ceiling: int | None, limit: int
) -> None:
    """Its own millisecond would hide what follows on the floor there: a sweep's late entries."""
    entries = [build(T0 + n * 100, f"m{n}") for n in range(300)]
    top = None if ceiling is None else T0 + ceiling
    for floor in range(T0 + 5_000, T0 + 7_000, 100):
        fake = Server(entries, cut=1_000, coarse=True)
        assert bag(walk_to_end(fake, floor, top, limit=limit)) == expected(entries, floor, top)


def test_what_a_server_cuts_is_known_from_the_overlap() -> None:
    """Then a narrow window is asked for by its own end, to the millisecond."""
    entries = [build(T0 + n * 1_000, f"m{n}") for n in range(900)]
    for cut, fine in ((1_000, True), (1_000_000, False)):
        assert walked(Server(entries, cut=cut, caps=[500]), T0, T0 + 400_000).fine is fine
    narrow = Walk(floor=T0, ceiling=T0 + 400_000, anchor=None, limit=10, fine=True)
    assert narrow.bounds.until == T0 + 400_000


def test_a_crowded_tick_is_read_by_a_larger_limit() -> None:
    """2,500 entries on one tick, where the server allows a larger page (trap 6)."""
    entries = [build(T0, f"m{n}") for n in range(2_499)]
    found = walk_to_end(Server(entries), T0 - 1_000_000, limit=1000)
    assert len(found) == 2_499


@pytest.mark.parametrize("elsewhere", [-3_600, 3_600])
def test_a_round_number_of_ties_is_whole_if_larger_pages_are_shown(elsewhere: int) -> None:
    """1,000 entries on one tick: no cap, since a page of 1,001 comes right after."""
    entries = [build(T0, f"m{n}") for n in range(1_000)]
    entries.append(build(T0 + elsewhere * 1_000_000, "elsewhere"))
    found = walk_to_end(Server(entries), T0 - 1_000_000, T0 + 1_000_000)
    assert bag(found) == expected(entries, T0 - 1_000_000, T0 + 1_000_000)


@pytest.mark.parametrize("cut", [1, 1_000])
def test_a_crowded_tick_behind_a_cap_is_a_gap_and_hides_nothing_else(cut: int) -> None:
    """What no page shows is named, with how many there are at least; the walk goes on (trap 6)."""
    crowd = [build(T0, f"m{n}") for n in range(150)]
    others = [build(T0 + n * 7_000, f"other {n}") for n in range(-400, 400) if n]
    walk = walked(Server([*crowd, *others], caps=[100], cut=cut), T0 - 10_000_000)
    assert [(c.floor, c.ceiling) for c in walk.crowds] == [
        (T0 if cut == 1 else T0 - T0 % cut, T0 + 1)
    ]
    assert len(walk.shown(T0, T0 + 1)) == 100
    found = bag(walk.found())
    assert bag(walk.found()) <= expected([*crowd, *others], T0 - 10_000_000, None)
    assert all(found[content_hash(other)] == 1 for other in others)


def test_below_a_crowd_at_the_live_edge_an_empty_answer_is_not_believed_either() -> None:
    """From there on the walk is over a closed window; its newest tick stays what it was."""
    crowd = [build(T0, f"m{n}") for n in range(150)]
    below = [build(T0 - n * 7_000, f"below {n}") for n in range(1, 50)]
    ahead = build(T0 + 3_600_000_000, "ahead")
    fake = Server([*crowd, *below, ahead], caps=[100])
    walk = Walk(floor=T0 - 1_000_000, ceiling=None, anchor=None, limit=1000)
    doubtful = True
    while not walk.done:
        blank = bool(walk.crowds) and doubtful
        doubtful = doubtful and not blank
        walk.take(Page((), None) if blank else fake.page(walk.bounds))
    assert expected([*below, ahead], T0 - 1_000_000, None) <= bag(walk.found())
    assert walk.top == ahead.tick


@pytest.mark.parametrize("ties", [100, 500, 1_000])
def test_a_round_number_of_ties_and_nothing_else_arrives(ties: int) -> None:
    """It may have been cut for all that can be seen, so a gap is named; but all are there."""
    walk = walked(Server([build(T0, f"m{n}") for n in range(ties)]), T0 - 1_000_000)
    assert len(walk.found()) == ties
    assert [crowd.floor for crowd in walk.crowds] == [T0]


@pytest.mark.parametrize("ties", [330, 1_001])
def test_more_than_a_page_in_a_cut_millisecond_is_read_by_a_larger_limit(ties: int) -> None:
    """A server that cuts bounds, but not pages."""
    entries = [build(T0, f"m{n}") for n in range(ties)]
    found = walk_to_end(Server(entries, cut=1_000), T0 - 1_000_000, limit=100)
    assert len(found) == ties


def test_a_page_full_of_entries_without_a_time_hides_nothing() -> None:
    """A larger page shows what lies behind them."""
    odd = [Entry({"message": f"odd {n}"}, None) for n in range(30)]
    timed = [build(T0 + n * 1_000_000, f"m{n}") for n in range(20)]

    def page(bounds: Bounds) -> Page:
        until = bounds.until or T0 + 10**9
        shown = [e for e in reversed(timed) if e.tick and bounds.since < e.tick < until]
        # They stand just below the tenth entry in the server's order.
        at = next((i for i, e in enumerate(shown) if (e.tick or 0) <= T0 + 10_000_000), len(shown))
        inside = odd if until > T0 + 10_000_000 else []
        return Page(tuple([*shown[: at + 1], *inside, *shown[at + 1 :]][: bounds.limit]), None)

    walk = Walk(floor=T0, ceiling=None, anchor=None, limit=12)
    for _ in range(100):
        if walk.done:
            break
        walk.take(page(walk.bounds))
    assert len(walk.found()) == 50
    assert walk.crowds == []


def test_a_full_page_without_any_time_is_an_error() -> None:
    """Nothing says where to go on, so the app is held."""
    odd = tuple(Entry({"message": f"odd {n}"}, None) for n in range(100))

    class Timeless(Server):
        def page(self, _: Bounds) -> Page:
            return Page(odd, None)

    with pytest.raises(ApiContractBroken, match="readable time"):
        walked(Timeless([]), T0, limit=100)


def test_one_empty_answer_for_a_closed_window_is_not_believed() -> None:
    """It is asked for again; with an anchor that should have been shown, once more."""
    entries = [build(T0 + n * 1_000_000, f"m{n}") for n in range(5)]
    for anchor, blanks in ((None, 1), (Anchor(T0, frozenset([content_hash(entries[0])])), 2)):
        walk = Walk(floor=T0, ceiling=T0 + 5_000_000, anchor=anchor, limit=10)
        for _ in range(blanks):
            assert not walk.done
            walk.take(Page((), None))
        while not walk.done:
            walk.take(Server(entries).page(walk.bounds))
        assert len(walk.found()) == 5


def test_an_oldest_first_page_is_an_error() -> None:
    """Reading on from it would lose what lies between."""
    walk = Walk(floor=T0, ceiling=None, anchor=None, limit=10)
    with pytest.raises(ApiContractBroken, match="newest first"):
        walk.take(Page((build(T0 + 1), build(T0 + 2)), None))


@pytest.mark.parametrize("offset", [-5_000_000, 5_000_000])
def test_a_page_outside_its_bounds_is_an_error(offset: int) -> None:
    """A server that ignores the bounds is not walked (trap 25)."""
    walk = Walk(floor=T0, ceiling=T0 + 1_000_000, anchor=None, limit=10)
    with pytest.raises(ApiContractBroken, match="shows"):
        walk.take(Page((build(T0 + offset),), None))


def test_a_page_that_forgets_the_overlap_starts_the_walk_again() -> None:
    """Pages that contradict each other prove nothing together."""
    walk = Walk(floor=T0, ceiling=None, anchor=None, limit=10)
    walk.take(Page((build(T0 + 5_000_000),), None))
    walk.take(Page((build(T0 + 1_000_000),), None))  # bounds cut to seconds would show the same
    with pytest.raises(ApiUnavailable, match="no longer shows"):
        walk.take(Page((build(T0 + 1_000_000),), None))


def test_an_empty_window_needs_two_requests() -> None:
    """And the live edge, where emptiness claims nothing, needs one."""
    fake = Server([build(T0 - 10_000)])
    assert walk_to_end(fake, T0, T0 + 5_000) == []
    assert len(fake.requests) == 2
    assert walk_to_end(fake, T0) == []
    assert len(fake.requests) == 3


def test_entries_without_a_readable_time_are_taken_with_their_neighbours() -> None:
    """They arrive once, borrow a tick for order, and never bound a request."""
    odd = Entry({"timestamp": "yesterday", "message": "odd"}, None)
    pages = [
        Page((odd, build(T0 + 9_000), odd), None),
        Page((build(T0 + 9_000), odd, build(T0 + 3_000)), None),
        Page((build(T0 + 3_000),), None),
    ]
    walk = Walk(floor=T0, ceiling=None, anchor=None, limit=10)
    for page in pages:
        assert not walk.done
        walk.take(page)
    assert walk.done
    assert [i.entry.tick for i in walk.found()] == [T0 + 3_000, None, T0 + 9_000, None]


def test_only_entries_without_a_readable_time_still_arrive() -> None:
    """Nothing bounds them, so a larger page must show no more."""
    odd = tuple(Entry({"message": str(n)}, None) for n in range(3))
    walk = Walk(floor=T0, ceiling=None, anchor=None, limit=10)
    while not walk.done:
        walk.take(Page(odd, None))
    assert len(walk.found()) == 3
