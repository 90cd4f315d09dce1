"""Waking apps: one look at the account brings forward what would have waited for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest
from msgspec.structs import replace
from support.reading import T0, Server, make_entry
from support.virtual import VirtualClock, run_virtually

from bridge.errors import ApiError, ApiRefused, ApiUnauthorized, ApiUnavailable
from bridge.journal.memory import MemoryJournal
from bridge.model import SECOND, Encoded, Entry, Filter, Gap, Identified, Page, Query, Tick
from bridge.source.account import Account
from bridge.source.limiter import Limiter
from bridge.source.scout import SCOUT, Scout, Tidings
from bridge.source.tailer import AppSpec, Tailer
from bridge.source.walk import Bounds

INTERVAL, LONGEST = 1.0, 15.0
FILTERLESS = Filter()


@dataclass
class Crowd:
    """Many apps of one account, each with one old entry, on virtual time.

    ``trouble`` answers the scout's requests with an error.
    """

    apps: int
    rate: float = 50.0
    scouting: bool = True
    page_size: int = 1_000
    trouble: ApiError | None = None
    asked: list[tuple[float, Query]] = field(default_factory=list)
    arrived: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(T0)
        self.shown = {name: [entry(T0 - 300 * SECOND, name, "old")] for name in self.names}

    @property
    def names(self) -> list[str]:
        """The apps'."""
        return [f"app-{number}" for number in range(self.apps)]

    def write(self, app: str, message: str) -> None:
        """The app logs a line now."""
        self.shown[app].append(entry(self.clock.now(), app, message))

    async def page(self, query: Query) -> Page:
        """The API, which takes a twentieth of a second."""
        self.asked.append((self.clock.monotonic(), query))
        await self.clock.sleep(0.05)
        if query.filter == FILTERLESS and self.trouble is not None:
            raise self.trouble
        app = query.filter.app_id
        entries = (
            [one for lines in self.shown.values() for one in lines]
            if app is None
            else self.shown[app]
        )
        page = Server(entries).page(Bounds(query.since, query.until, query.limit))
        return replace(page, served_at=self.clock.now() // SECOND * SECOND)

    def encode(self, found: Sequence[Identified], _: Tick, gaps: Sequence[Gap]) -> list[Encoded]:
        """Note when each line was journaled."""
        for one in found:
            self.arrived[one.entry.raw["message"]] = self.clock.monotonic()
        records = len(found) + len(gaps)
        return [Encoded(records, 10 * records, b"x" * records)]

    def start(self) -> list[asyncio.Task[None]]:
        """Begin to read all of them, and to scout."""
        limiter = Limiter(self.clock, requests_per_second=self.rate, concurrency=8)
        account = Account(self, limiter, self.clock)
        journal = MemoryJournal(max_bytes=10**9, clock=self.clock)
        tailers = [
            Tailer(
                AppSpec(
                    name=name,
                    named=False,
                    stream="s",
                    filters="f",
                    filter=Filter(app_id=name),
                    start=lambda now: now - 600 * SECOND,
                    interval=INTERVAL,
                    max_interval=LONGEST,
                    page_size=1_000,
                    late_sweeps=(15 * SECOND, 120 * SECOND, 900 * SECOND),
                ),
                account=account,
                journal=journal,
                encode=self.encode,
                clock=self.clock,
                random=Random(1),
                emit=lambda _: None,
            )
            for name in self.names
        ]
        scout = Scout(
            [(tailer.name, tailer) for tailer in tailers],
            account=account,
            interval=INTERVAL,
            max_interval=LONGEST,
            page_size=self.page_size,
            clock=self.clock,
            random=Random(1),
        )
        loops = [asyncio.create_task(tailer.run()) for tailer in tailers]
        return [*loops, asyncio.create_task(scout.run())] if self.scouting else loops

    def play(self, wakes: int, *, before: float = 120.0) -> list[float]:
        """Let one app after another wake; how long each new line took, sorted."""

        async def main() -> list[float]:
            loops, random, written = self.start(), Random(5), {}
            await self.clock.sleep(before)
            self.asked.clear()
            for number in range(wakes):
                await self.clock.sleep(3)
                self.write(random.choice(self.names), f"new {number}")
                written[f"new {number}"] = self.clock.monotonic()
            await self.clock.sleep(60)
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            return sorted(self.arrived[line] - at for line, at in written.items())

        return run_virtually(main())

    @property
    def scouted(self) -> list[float]:
        """When the scout asked."""
        return [at for at, query in self.asked if query.filter == FILTERLESS]


def entry(tick: Tick, app: str, message: str) -> Entry:
    """A line of an app."""
    return make_entry(tick, message if message != "old" else f"{app} old", app=app)


def test_a_waking_app_is_read_within_moments() -> None:
    """Of a hundred that sleep for 15 s at a time; without the scout it takes most of that."""
    scouted = Crowd(100).play(20)
    assert scouted[-1] < 1.5 * INTERVAL
    alone = Crowd(100, scouting=False).play(20)
    assert alone[len(alone) // 2] > 5


@pytest.mark.parametrize("before", [3, 20, 60, 90, 300])
def test_a_hint_goes_ahead_where_the_budget_is_too_small_for_all(before: float) -> None:
    """Twenty looks a second would be wanted, and fifteen are allowed.

    So it takes a minute and a half until each app was looked at once, and the hint counts from the
    beginning.
    """
    crowd = Crowd(300, rate=15)
    assert crowd.play(15, before=before)[-1] < 2.5
    first, last = crowd.asked[0][0], crowd.asked[-1][0]
    assert 14 < len(crowd.asked) / (last - first) < 15.5


def test_a_few_apps_are_not_worth_scouting() -> None:
    """Its requests never outnumber those that the sleepers make themselves."""
    crowd = Crowd(14)
    crowd.play(3)
    assert crowd.scouted == []
    crowd = Crowd(15)
    crowd.play(0)
    own = len(crowd.asked) - len(crowd.scouted)
    assert 0 < len(crowd.scouted) <= own * 1.1


@pytest.mark.parametrize(
    ("error", "most"),
    [(ApiRefused("no"), 0), (ApiUnauthorized("no", status=401), 0), (ApiUnavailable("later"), 9)],
)
def test_an_api_that_does_not_show_the_account_is_asked_seldom(error: ApiError, most: int) -> None:
    """Every app is still read when it is due, as without a scout; a refusal is not tried again."""
    crowd = Crowd(100, trouble=error)
    assert crowd.play(20)[-1] < LONGEST + 5
    asked = crowd.scouted
    assert len(asked) <= most
    assert all(later - sooner >= LONGEST for sooner, later in pairwise(asked))


def test_a_busy_account_is_looked_at_seldom() -> None:
    """A full page may hide any app, and reading it costs as much as reading the account."""
    crowd = Crowd(100, page_size=1)
    crowd.play(20)
    busy = [later - sooner for sooner, later in pairwise(crowd.scouted)]
    assert max(busy) >= LONGEST


def test_tidings_are_what_is_newer_than_before() -> None:
    """Apps that are not followed, entries without a time or a name, and odd values tell nothing."""
    tidings = Tidings(["a", "b"])
    odd = [Entry(raw, T0) for raw in ("text", None, 3, {}, {"app": 7}, {"app": "other"})]
    timeless = Entry({"app": "b"}, None)
    assert tidings.take([*odd, timeless, entry(T0, "a", "m")]) == {"a"}
    assert tidings.take([entry(T0, "a", "m"), entry(T0 - 1, "a", "m")]) == set()
    assert tidings.take([entry(T0 + 1, "a", "m"), entry(T0, "b", "m")]) == {"a", "b"}


def test_its_requests_have_a_name_of_their_own() -> None:
    """One that no configured app is likely to have."""
    assert SCOUT == "(scout)"
