"""Learning in passing: each change of behaviour is told once, and nothing that is none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import httpx
import pytest
from support.reading import Server
from support.virtual import VirtualClock, run_virtually

from bridge.errors import ApiLimitRefused
from bridge.model import MILLISECOND, SECOND, Entry, Filter, Page, Query, Tick
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.logs_query import BodyForm
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.simulator.times import naive
from bridge.simulator.transport import CoreTransport
from bridge.source.account import Account
from bridge.source.limiter import Limiter
from bridge.source.rest import RestApi
from bridge.source.traits import Trait, Traits
from bridge.source.walk import Walk
from bridge.telemetry import Event
from bridge.telemetry.reading import BehaviourChanged

WANTED = Filter(app_id="one")


class Watch:
    """Traits under test, and what they told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.traits = Traits(self.clock, self.events.append)

    @property
    def told(self) -> list[str]:
        """The texts so far; they are forgotten."""
        texts = [event.text for event in self.events]
        self.events.clear()
        return texts

    def see(
        self,
        *ticks: Tick | None,
        since: Tick = NOON - 3_600 * SECOND,
        until: Tick | None = None,
        limit: int = 1_000,
        served_at: Tick | None = NOON,
        form: str = "",
    ) -> list[str]:
        """Show a page, and return what is told of it."""
        page = Page(tuple(Entry({}, tick) for tick in ticks), served_at)
        self.traits.observe(Query(WANTED, since, until, limit), page, form)
        return self.told

    def walk(self, server: Server, floor: Tick, *, limit: int = 1_000) -> list[str]:
        """Let a walk read to its end, and return what is told of it."""
        walk = Walk(floor=floor, ceiling=NOON + SECOND, anchor=None, limit=limit)
        while not walk.done:
            bounds = walk.bounds
            page = server.page(bounds)
            page = Page(page.entries, NOON)
            query = Query(WANTED, bounds.since, bounds.until, bounds.limit)
            self.traits.observe(query, page)
            walk.take(page)
        return self.told


def spread(count: int, step: Tick = 7_001) -> list[Entry]:
    """Entries before noon, all on ticks of their own."""
    return [Entry({"message": n}, NOON - 333 - n * step) for n in range(count)]


@pytest.fixture
def watch() -> Watch:
    """A fresh one."""
    return Watch()


def test_as_expected_nothing_is_told(watch: Watch) -> None:
    """A server that keeps to the document is not worth a word, however it is walked."""
    for count, limit in ((0, 1_000), (1, 1_000), (3_000, 1_000), (3_000, 100), (300, 7)):
        assert watch.walk(Server(spread(count)), NOON - 60 * SECOND, limit=limit) == []


def test_order(watch: Watch) -> None:
    """The order is seen on the first and last entry; equal ones tell nothing."""
    assert watch.see(NOON, NOON) == []
    (told,) = watch.see(NOON - 1, NOON)
    assert told == (
        "the API now shows the oldest first (expected: shows the newest entry first); "
        "only pages that are newest first can be read on"
    )
    assert watch.see(NOON - 5, NOON) == []
    assert watch.see(None, NOON) == []
    assert watch.see(NOON, NOON - 1)[0].startswith("the API now shows the newest entry first")


def test_a_cap_is_told_once(watch: Watch) -> None:
    """A cap is believed at its second page, and told once, however often it is met."""
    entries = spread(450)
    (told,) = watch.walk(Server(entries, caps=[100]), NOON - 60 * SECOND)
    assert told == (
        "the API now shows at most 100 entries a page (expected: as many as asked for); "
        "the number of requests changes with it"
    )
    for _ in range(5):
        assert watch.walk(Server(entries, caps=[100]), NOON - 60 * SECOND) == []


def test_a_cap_that_falls_and_goes(watch: Watch) -> None:
    """The text says what it was before; a larger page ends a cap."""
    entries = spread(2_500)
    assert watch.walk(Server(entries), NOON - 60 * SECOND) == []
    fallen = watch.walk(Server(entries, caps=[100]), NOON - 60 * SECOND)
    assert [text.partition(";")[0] for text in fallen] == [
        "the API now shows at most 100 entries a page (before: 1,000)"
    ]
    risen = watch.walk(Server(entries), NOON - 60 * SECOND)
    assert [text.partition(";")[0] for text in risen] == [
        "the API now shows 1,000 entries a page (before: shows at most 100 entries a page)"
    ]


def test_a_late_entry_is_no_cap(watch: Watch) -> None:
    """An entry that shows up below a page that ended by itself is not taken for a cap."""
    for n in (*range(2, 12), *range(110, 120), 7, 7, 7, 150, 180, 150):
        since, bottom = NOON - 20 * SECOND - n, NOON - SECOND // 2
        page = [bottom + k for k in reversed(range(n))]
        assert watch.see(*page, since=since) == []
        late = [bottom, bottom - 10]
        assert watch.see(*late, since=since, until=bottom + 1) == []


def test_refused_limit(watch: Watch) -> None:
    """A refusal is told when a smaller limit is taken, with the smallest that was refused."""
    watch.traits.refused(1_000)
    watch.traits.refused(500)
    assert watch.see(NOON, limit=1_000) == []
    assert [text.partition(";")[0] for text in watch.see(NOON, limit=250)] == [
        "the API now refuses to show 500 entries a page (expected: as many as asked for)"
    ]
    assert watch.see(NOON, limit=250) == []


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ((NOON, NOON - 10 * SECOND), "shows entries on its bounds"),
        ((NOON + 10, NOON - SECOND), "shows entries outside of its bounds"),
        ((NOON - SECOND, NOON - 12 * SECOND), "shows entries outside of its bounds"),
    ],
)
def test_bounds(watch: Watch, seen: Sequence[Tick], words: str) -> None:
    """What stands on a bound or beyond it is seen, and told once."""
    since = NOON - 10 * SECOND
    told = watch.see(*seen, since=since, until=NOON)
    assert [text.partition(" (")[0] for text in told] == [f"the API now {words}"]
    assert watch.see(*seen, since=since, until=NOON) == []
    assert watch.see(NOON - 1, NOON - 2, since=since, until=NOON) == []


@pytest.mark.parametrize(
    ("since", "oldest", "step"),
    [
        (NOON + 500, NOON + 200, "millisecond"),
        (NOON + 500 * MILLISECOND, NOON + 200 * MILLISECOND, "second"),
    ],
)
def test_a_cut_since(watch: Watch, since: Tick, oldest: Tick, step: str) -> None:
    """Entries just below ``since`` show to which step it was cut."""
    told = watch.see(since + SECOND, oldest, since=since)
    assert [text.partition(" (")[0] for text in told] == [f"the API now keeps bounds to the {step}"]


@pytest.mark.parametrize(("cut", "step"), [(MILLISECOND, "millisecond"), (SECOND, "second")])
def test_a_cut_until(watch: Watch, cut: Tick, step: str) -> None:
    """An overlap that is not shown again shows it too; one that is takes it back."""
    bottom = NOON - SECOND // 2 - 333
    until = bottom + 1 if cut == MILLISECOND else bottom + 333
    assert watch.see(NOON - 1, bottom) == []
    told = watch.see(bottom - bottom % cut - 1, bottom - 2 * SECOND, until=until)
    assert [text.partition(" (")[0] for text in told] == [f"the API now keeps bounds to the {step}"]
    assert watch.see(NOON - 1, bottom) == []
    kept = watch.see(bottom, bottom - 1, until=bottom + 1)
    assert [text.partition(" (")[0] for text in kept] == [
        "the API now keeps bounds to the microsecond"
    ]


def test_a_server_that_cuts_is_told_while_walking(watch: Watch) -> None:
    """A millisecond denser than a page makes the walk ask exactly, and the cut shows."""
    dense = [Entry({"message": n}, NOON - SECOND + 900 - n) for n in range(300)]
    below = [Entry({"message": -n}, NOON - 2 * SECOND - n) for n in range(1, 5)]
    server = Server([*dense, *below], caps=[100], cut=MILLISECOND)
    told = watch.walk(server, NOON - 60 * SECOND, limit=100)
    assert "the API now keeps bounds to the millisecond" in {t.partition(" (")[0] for t in told}


def test_date(watch: Watch) -> None:
    """One answer without a Date may be a proxy's; three in a row are told."""
    assert watch.see(served_at=None) == watch.see(served_at=None) == watch.see() == []
    assert watch.see(served_at=None) == watch.see(served_at=None) == []
    assert watch.see(served_at=None)[0].startswith("the API now sends no Date (before: sends the")
    assert watch.see()[0].startswith("the API now sends the Date (before: sends no Date)")


@pytest.mark.parametrize(("skew", "side"), [(400, "ahead of"), (-400, "behind")])
def test_skew(watch: Watch, skew: int, side: str) -> None:
    """Clocks that differ by minutes are told of, whichever is wrong."""
    assert watch.see(served_at=NOON + 200 * SECOND) == []
    told = watch.see(served_at=NOON + skew * SECOND)
    assert [text.partition(" (")[0] for text in told] == [
        f"the API now is more than 5 minutes {side} this machine's clock"
    ]
    assert watch.see(served_at=NOON + (skew + 1) * SECOND) == []


def test_the_form_of_requests(watch: Watch) -> None:
    """The first form is no change, another one is."""
    assert watch.see(form="filters in an object") == []
    (told,) = watch.see(form="filters as a bare array")
    assert told == (
        "the API now takes filters as a bare array (before: takes filters in an object); "
        "requests follow it"
    )


def test_servers_that_take_turns_are_not_told_at_every_poll(watch: Watch) -> None:
    """What goes to and fro is told once an hour in each direction."""
    told = []
    for _ in range(100):
        told += watch.see(NOON, NOON - 1)
        told += watch.see(NOON - 1, NOON)
    assert len(told) == 2
    watch.clock.tick += 3_600 * SECOND
    assert len(watch.see(NOON, NOON - 1, served_at=watch.clock.tick)) == 1


def test_memory_is_bounded(watch: Watch) -> None:
    """However many walks are begun and left, a few are remembered."""
    for n in range(1_000):
        watch.see(NOON, since=NOON - n * SECOND)
    assert len(watch.traits._walks) <= 64


def test_the_account_tells() -> None:
    """Through the account: body form, refused limit and order, each once, in the event's fields."""
    clock = VirtualClock(NOON)
    config = LogsApiConfig(key="k:s", max_limit=500, body=BodyForm.OBJECT)
    logs = LogsApiFake(clock, config)
    for n in range(10):
        logs.write({"timestamp": naive(NOON - n)}, NOON - n, visible_at=0)
    events: list[Event] = []

    async def main() -> None:
        async with httpx.AsyncClient(transport=CoreTransport(logs, clock)) as client:
            api = RestApi(client, base_url="http://api.test", key=lambda: "k:s")
            limiter = Limiter(clock, requests_per_second=5, concurrency=1)
            account = Account(api, limiter, clock, Traits(clock, events.append))
            for limit in (1_000, 500, 500):
                query = Query(Filter(), NOON - SECOND, None, limit)
                refused: AbstractContextManager[object]
                refused = pytest.raises(ApiLimitRefused) if limit > 500 else nullcontext()
                with refused:
                    await account.page("one", query, troubled=False)
            logs.config = LogsApiConfig(key="k:s", max_limit=500, body=BodyForm.ARRAY)
            for _ in range(2):
                await account.page("one", query, troubled=False)
            assert account.form == "filters as a bare array"

    run_virtually(main())
    changes = [(e.trait, e.now) for e in events if isinstance(e, BehaviourChanged)]
    assert changes == [
        (Trait.PAGE, "refuses to show 1,000 entries a page"),
        (Trait.BODY, "takes filters as a bare array"),
    ]
