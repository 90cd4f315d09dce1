"""The loop that reads an app: what it keeps when answers, journal and time misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from support.reading import T0, Server, make_entry
from support.virtual import VirtualClock, run_virtually

from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiUnauthorized,
    ApiUnavailable,
    ConfigError,
    JournalError,
)
from bridge.journal.memory import MemoryJournal
from bridge.model import (
    SECOND,
    Append,
    Appended,
    Encoded,
    Entry,
    Filter,
    Gap,
    GapKind,
    Identified,
    Page,
    Query,
)
from bridge.source.account import Account
from bridge.source.limiter import Limiter
from bridge.source.tailer import AppSpec, Tailer
from bridge.source.walk import Bounds
from bridge.telemetry import Event
from bridge.telemetry.reading import (
    AppRecovered,
    AppStarted,
    AppTroubled,
    BacklogFound,
    BacklogRead,
    FiltersChanged,
    LateEntriesFound,
    NothingShown,
    ReadingPaused,
    ReadingResumed,
)

NOW = T0
SPEC = AppSpec(
    name="app",
    named=False,
    stream="s",
    filters="f",
    filter=Filter(app_id="app"),
    start=lambda now: now - 600 * SECOND,
    interval=1.0,
    max_interval=15.0,
    page_size=1000,
    late_sweeps=(),
)


class Batches(MemoryJournal):
    """The in-memory journal, with what was appended in order, and failures on demand."""

    def __init__(self, clock: VirtualClock, max_bytes: int = 10**9) -> None:
        super().__init__(max_bytes=max_bytes, clock=clock)
        self.positions: list[int] = []
        self.failures: list[JournalError] = []

    async def append(self, append: Append) -> Appended:
        """See `Journal.append`."""
        if self.failures:
            raise self.failures.pop()
        appended = await super().append(append)
        self.positions.append(append.position)
        return appended


@dataclass
class Scene:
    """One app, its API and its journal on virtual time."""

    entries: list[Entry] = field(default_factory=list)
    caps: Sequence[int] = (1_000_000,)
    spec: AppSpec = SPEC
    max_bytes: int = 10**9
    latency: float = 0.0
    concurrency: int = 4
    served: int = 0
    seconds: float = 0.0
    events: list[Event] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    obstacle: Callable[[Query], ApiError | None] = lambda _: None

    def __post_init__(self) -> None:
        self.clock = VirtualClock(NOW)
        self._grown = asyncio.Event()
        self.journal = Batches(self.clock, self.max_bytes)

    async def page(self, query: Query) -> Page:
        """The API: what is visible now (entries stamped ahead of time are)."""
        self.queries.append(query)
        error = self.obstacle(query)
        if error is not None:
            raise error
        if self.latency:
            await self.clock.sleep(self.latency)
        server = Server(self.entries, caps=self.caps)
        page = server.page(Bounds(query.since, query.until, query.limit))
        self.served += len(page.entries)
        return replace(page, served_at=self.clock.now() // SECOND * SECOND)

    def tailer(self) -> Tailer:
        """A new tailer on the same journal, as after a restart."""
        limiter = Limiter(self.clock, requests_per_second=1_000, concurrency=self.concurrency)
        return Tailer(
            self.spec,
            account=Account(self, limiter, self.clock),
            journal=self.journal,
            encode=self._encode,
            clock=self.clock,
            random=Random(1),
            emit=self.events.append,
        )

    def _encode(self, found: Sequence[Identified], _: int, gaps: Sequence[Gap]) -> list[Encoded]:
        self.messages += [i.entry.raw["message"] for i in found]
        self._grown.set()
        records = len(found) + len(gaps)
        return [Encoded(records, 10 * records, b"x" * records)]

    async def until(self, count: int) -> None:
        """Wait until so many entries are journaled."""
        while len(self.messages) < count:
            self._grown.clear()
            await self._grown.wait()

    def told(self, *kinds: type[Event]) -> list[type[Event]]:
        """The events of these kinds, in order."""
        return [type(e) for e in self.events if isinstance(e, kinds)]


def play(body: Callable[[Scene], Any], **options: Any) -> Scene:
    """Play a scene on virtual time."""
    scene = Scene(**options)

    async def timed() -> None:
        began = scene.clock.monotonic()
        await body(scene)
        scene.seconds = scene.clock.monotonic() - began

    run_virtually(timed())
    return scene


async def poll(tailer: Tailer) -> None:
    """One round of what `Tailer.run` does at a time: what is new, then what is due."""
    if await tailer.look():
        await tailer.sweep()


def ago(seconds: float, message: str) -> Entry:
    """An entry so long before the scene begins."""
    return make_entry(NOW - int(seconds * SECOND), message)


def test_an_empty_poll_moves_nothing() -> None:
    """What becomes visible late, after many empty polls, is still read (trap 2)."""

    async def body(scene: Scene) -> None:
        tailer = scene.tailer()
        for _ in range(5):
            await poll(tailer)
            await scene.clock.sleep(15)
        scene.entries.append(ago(60, "late"))
        await poll(tailer)

    assert play(body).messages == ["late"]
    assert play(body, entries=[ago(300, "known")]).messages == ["known", "late"]


def test_the_start_is_committed_before_the_first_read() -> None:
    """A crash before anything was found does not resolve "10 minutes back" anew (trap 30)."""

    async def body(scene: Scene) -> None:
        await poll(scene.tailer())
        record = await scene.journal.app("app")
        assert record is not None
        assert record.position == NOW - 600 * SECOND
        await scene.clock.sleep(3_600)
        scene.entries.append(ago(599, "from the beginning"))
        again = scene.tailer()
        await again.resume()
        await poll(again)

    scene = play(body)
    assert scene.messages == ["from the beginning"]
    assert scene.told(AppStarted) == [AppStarted]


def test_an_entry_stamped_in_the_future_hides_nothing() -> None:
    """Neither now nor after an outage (trap 17)."""

    async def body(scene: Scene) -> None:
        scene.entries += [ago(5, "before"), ago(-3_600, "an hour ahead")]
        tailer = scene.tailer()
        await poll(tailer)
        assert tailer.position == NOW
        scene.entries.append(ago(-1, "after"))
        await scene.clock.sleep(2)
        await poll(tailer)
        assert tailer.position == NOW + 2 * SECOND
        scene.entries.append(ago(-900, "during the outage"))
        await scene.clock.sleep(1_800)
        again = scene.tailer()
        await again.resume()
        assert again.position == NOW + 2 * SECOND
        await poll(again)
        assert again.position == NOW + 1_802 * SECOND

    assert play(body).messages == ["before", "an hour ahead", "after", "during the outage"]


def test_a_backlog_is_journaled_oldest_first_and_resumes_in_the_middle() -> None:
    """Slices in order, positions that only grow, no entry twice across a restart."""
    many = [ago(500 - n / 100, f"{n}") for n in range(20_000)]

    async def body(scene: Scene) -> None:
        reading = asyncio.ensure_future(scene.tailer().run_once())
        await scene.until(5_000)
        reading.cancel()
        again = scene.tailer()
        await again.resume()
        await again.run_once()

    scene = play(body, entries=many)
    assert scene.messages == [f"{n}" for n in range(20_000)]
    assert scene.journal.positions == sorted(scene.journal.positions)
    assert BacklogFound in scene.told(BacklogFound)


def test_a_backlog_is_read_once_and_many_slices_at_a_time() -> None:
    """A hundred pages at 200 ms an answer: six times faster than one by one, read 1.1 times."""
    many = [ago(600 - n / 20, f"{n}") for n in range(12_000)]
    spec = replace(SPEC, backlog_width=8)

    async def body(scene: Scene) -> None:
        await scene.tailer().run_once()

    scene = play(body, entries=many, spec=spec, caps=(120,), latency=0.2, concurrency=8)
    assert scene.messages == [f"{n}" for n in range(12_000)]
    assert scene.served < 1.15 * len(many)
    assert scene.seconds < 0.2 * len(scene.queries) / 6


def test_a_burst_after_hours_of_nothing_is_no_backlog() -> None:
    """The hours look long from the burst: one small page from halfway tells that they are not."""
    entries = [ago(18_000, "before"), *(ago(2 - n / 2_000, f"{n}") for n in range(3_500))]
    spec = replace(SPEC, start=lambda now: now - 20_000 * SECOND)

    async def body(scene: Scene) -> None:
        await scene.tailer().run_once()

    scene = play(body, entries=entries, spec=spec, caps=(1_000,))
    assert len(scene.messages) == len(entries)
    assert scene.told(BacklogFound) == []
    assert scene.served < 1.1 * len(entries)


def test_a_lone_old_entry_is_proved_in_four_requests() -> None:
    """It says nothing of how dense the rest is, so nothing is asked from halfway.

    The page that shows it, one that shows it again, and two that show nothing below.
    """

    async def body(scene: Scene) -> None:
        tailer = scene.tailer()
        await poll(tailer)
        scene.queries.clear()
        await poll(tailer)

    spec = replace(SPEC, start=lambda now: now - 900 * SECOND)
    first: list[int] = []

    async def count(scene: Scene) -> None:
        await poll(scene.tailer())
        first.append(len(scene.queries))

    scene = play(count, entries=[ago(400, "old")], spec=spec)
    assert scene.messages == ["old"]
    assert first == [5]  # with the one that learns the time
    assert len(play(body, entries=[ago(400, "old")], spec=spec).queries) == 1


def test_a_cap_that_falls_in_the_middle_of_a_backlog_loses_nothing() -> None:
    """From 1,000 to 100 entries a page (trap 26)."""
    many = [ago(300 - n / 50, f"{n}") for n in range(12_000)]

    async def body(scene: Scene) -> None:
        reading = asyncio.ensure_future(scene.tailer().run_once())
        await scene.until(1_000)
        scene.caps = (100,)
        await reading

    scene = play(body, entries=many)
    assert scene.messages == [f"{n}" for n in range(12_000)]
    assert scene.told(BacklogFound, BacklogRead)[:2] == [BacklogFound, BacklogRead]


def test_a_failed_request_does_not_spoil_its_walk() -> None:
    """Every other answer fails: a walk of many pages still ends."""
    many = [ago(300 - n / 20, f"{n}") for n in range(3_000)]

    async def body(scene: Scene) -> None:
        scene.obstacle = lambda _: (
            ApiUnavailable("answered 502", status=502) if len(scene.queries) % 2 else None
        )
        await scene.tailer().run_once()

    scene = play(body, entries=many, caps=(100,))
    assert len(scene.messages) == 3_000
    assert scene.told(AppTroubled) == []


def test_a_refused_key_is_told_once_and_recovers_without_restart() -> None:
    """One line, ever longer pauses, then everything (trap 21)."""

    async def body(scene: Scene) -> None:
        scene.obstacle = lambda _: ApiUnauthorized("answered 401 Unauthorized", status=401)
        reading = asyncio.ensure_future(scene.tailer().run_once())
        await scene.clock.sleep(8)
        assert len(scene.queries) <= 5
        scene.obstacle = lambda _: None
        await reading

    scene = play(body, entries=[ago(60, "kept")])
    assert scene.messages == ["kept"]
    assert scene.told(AppTroubled, AppRecovered) == [AppTroubled, AppRecovered]


@pytest.mark.parametrize("kind", [ApiLimitRefused, ApiAnswerTooLarge])
def test_a_page_too_large_for_either_side_is_asked_smaller(kind: type[ApiError]) -> None:
    """A limit that the server refuses, or an answer over the cap, only makes pages smaller."""

    async def body(scene: Scene) -> None:
        scene.obstacle = lambda q: kind("too much") if q.limit > 60 else None
        await scene.tailer().run_once()

    many = [ago(300 - n / 10, f"{n}") for n in range(1_000)]
    assert play(body, entries=many).messages == [f"{n}" for n in range(1_000)]


def test_a_full_journal_pauses_reading_and_names_the_destination() -> None:
    """Nothing moves until there is room, then everything does."""

    async def body(scene: Scene) -> None:
        await scene.journal.attach("slow")
        reading = asyncio.ensure_future(scene.tailer().run_once())
        await scene.clock.sleep(60)
        assert scene.told(ReadingPaused, ReadingResumed) == [ReadingPaused]
        while not reading.done():
            last = (await scene.journal.stats()).last_seq
            await scene.journal.advance("slow", last)
            await scene.clock.sleep(1)

    many = [ago(300 - n / 100, f"{n}") for n in range(20_000)]
    scene = play(body, entries=many, max_bytes=3_000)
    assert len(scene.messages) == 20_000
    assert "slow" in next(e.text for e in scene.events if isinstance(e, ReadingPaused))


def test_a_failing_disk_only_delays() -> None:
    """The walk is kept until it can be stored."""

    async def body(scene: Scene) -> None:
        scene.journal.failures = [JournalError("disk full") for _ in range(3)]
        await scene.tailer().run_once()

    scene = play(body, entries=[ago(60, "kept")])
    assert scene.messages == ["kept"]
    assert scene.told(AppTroubled, AppRecovered) == [AppTroubled, AppRecovered]


def test_changed_filters_are_told_and_keep_the_position() -> None:
    """A config edit neither resets nor silently reuses a position (trap 13)."""

    async def body(scene: Scene) -> None:
        await poll(scene.tailer())
        await scene.clock.sleep(3_000)  # the configured start would lie elsewhere now
        scene.spec = replace(SPEC, filters="other")
        again = scene.tailer()
        await again.resume()
        assert again.position == NOW
        third = scene.tailer()
        await third.resume()
        assert third.position == NOW

    scene = play(body, entries=[ago(60, "one")])
    assert scene.told(FiltersChanged) == [FiltersChanged]


def test_another_stream_under_a_derived_name_is_refused() -> None:
    """The position belongs to what it was reached on (trap 13)."""

    async def body(scene: Scene) -> None:
        await poll(scene.tailer())
        scene.spec = replace(SPEC, stream="other")
        with pytest.raises(ConfigError, match="name"):
            await scene.tailer().resume()
        scene.spec = replace(SPEC, stream="other", named=True)
        await scene.tailer().resume()

    assert play(body).told(FiltersChanged) == [FiltersChanged]


def test_the_steady_state_costs_one_request_a_poll() -> None:
    """The anchor proves each walk on its first page."""

    async def body(scene: Scene) -> None:
        tailer = scene.tailer()
        scene.entries.append(ago(3, "first"))
        await poll(tailer)
        before = len(scene.queries)
        for n in range(20):
            await scene.clock.sleep(1)
            scene.entries.append(ago(-n - 0.9, f"{n}"))
            await poll(tailer)
        assert len(scene.queries) - before == 20

    assert len(play(body).messages) == 21


def test_late_entries_are_fetched_when_their_windows_are_swept() -> None:
    """They arrive behind newer ones, once, and their lateness is told (trap 1)."""

    async def body(scene: Scene) -> None:
        scene.spec = replace(SPEC, late_sweeps=(3 * SECOND, 8 * SECOND))
        tailer = scene.tailer()
        for n in range(40):
            scene.entries.append(ago(-n - 0.5, f"{n}"))
            if n % 5 == 0:
                scene.entries.append(ago(6.4 - n, f"late {n}"))
            await scene.clock.sleep(1)
            await poll(tailer)
        await scene.clock.sleep(8)
        await tailer.run_once()

    scene = play(body)
    wanted = {f"{n}" for n in range(40)} | {f"late {n}" for n in range(0, 40, 5)}
    assert sorted(scene.messages) == sorted(wanted)
    assert LateEntriesFound in scene.told(LateEntriesFound)


def test_an_entry_later_than_the_last_age_extends_the_ages() -> None:
    """What still comes at the last age may come later yet: read once more at four times it."""

    async def body(scene: Scene) -> None:
        scene.spec = replace(SPEC, late_sweeps=(3 * SECOND,))
        tailer = scene.tailer()
        for n in range(60):
            scene.entries.append(ago(-n - 0.5, f"{n}"))
            if n == 20:
                scene.entries.append(ago(-18.2, "late"))
            if n == 30:
                scene.entries.append(ago(-19.1, "later"))
            await scene.clock.sleep(1)
            await poll(tailer)

    assert {"late", "later"} <= set(play(body).messages)


def test_sweep_cursors_survive_a_restart() -> None:
    """What was late during the downtime is fetched after it."""

    async def body(scene: Scene) -> None:
        scene.spec = replace(SPEC, late_sweeps=(30 * SECOND,))
        tailer = scene.tailer()
        for n in range(10):
            scene.entries.append(ago(-n - 0.5, f"{n}"))
            await scene.clock.sleep(1)
            await poll(tailer)
        scene.entries.append(ago(-2, "late"))
        await scene.clock.sleep(600)
        scene.entries.append(ago(-605, "new"))
        again = scene.tailer()
        await again.resume()
        await again.run_once()

    assert {"late", "new"} <= set(play(body).messages)


def test_an_idle_app_needs_next_to_no_requests_for_its_sweeps() -> None:
    """Its live walk goes back to its last entry, and so covers all that comes after."""

    async def body(scene: Scene) -> None:
        scene.spec = replace(SPEC, late_sweeps=(15 * SECOND, 120 * SECOND, 900 * SECOND))
        tailer = scene.tailer()
        scene.entries.append(ago(30, "last"))
        await poll(tailer)
        before = len(scene.queries)
        for _ in range(100):
            await scene.clock.sleep(15)
            await poll(tailer)
        assert len(scene.queries) - before <= 160

    play(body)


def test_sweeps_read_each_entry_about_once_an_age() -> None:
    """200 entries a second, three ages: under five entries served for each delivered."""
    served = 0

    async def body(scene: Scene) -> None:
        nonlocal served
        scene.spec = replace(SPEC, late_sweeps=(15 * SECOND, 30 * SECOND, 60 * SECOND))
        tailer = scene.tailer()
        for n in range(240):
            scene.entries += [ago(-n - i / 200, f"{n}.{i}") for i in range(200)]
            await scene.clock.sleep(1)
            await poll(tailer)

    class Counting(Scene):
        async def page(self, query: Query) -> Page:
            nonlocal served
            page = await super().page(query)
            served += len(page.entries)
            return page

    scene = Counting()
    run_virtually(body(scene))
    assert len(scene.messages) == 48_000
    assert served < 5 * 48_000


@pytest.mark.parametrize("ahead", [5, 3_600])
def test_many_entries_stamped_ahead_of_time_all_arrive(ahead: float) -> None:
    """More pages of them than a look at the live edge takes (trap 17)."""
    many = [ago(-ahead + n / 1_000, f"{n}") for n in range(3_000)]

    async def body(scene: Scene) -> None:
        await scene.tailer().run_once()

    scene = play(body, entries=many, caps=(100,))
    assert sorted(scene.messages) == sorted(f"{n}" for n in range(3_000))
    assert all(position <= NOW + 2 * SECOND for position in scene.journal.positions)


def test_a_false_empty_answer_in_a_backlog_loses_nothing() -> None:
    """Every slice is told once that it is empty (trap 25)."""
    many = [ago(500 - n / 100, f"{n}") for n in range(20_000)]

    class Blank(Scene):
        async def page(self, query: Query) -> Page:
            new = query not in self.queries
            page = await super().page(query)
            closed = query.until is not None
            return Page((), page.served_at) if new and closed else page

    async def body(scene: Scene) -> None:
        await scene.tailer().run_once()

    scene = Blank(entries=many)
    run_virtually(body(scene))
    assert scene.messages == [f"{n}" for n in range(20_000)]


def test_memory_is_bounded_by_bytes_too() -> None:
    """Pages of ten megabytes: each slice is narrowed until it holds little more than one."""
    largest = 0

    class Heavy(Scene):
        async def page(self, query: Query) -> Page:
            page = await super().page(query)
            return replace(page, size=10_000 * len(page.entries))

        def _encode(
            self, found: Sequence[Identified], at: int, gaps: Sequence[Gap]
        ) -> list[Encoded]:
            nonlocal largest
            largest = max(largest, len(found))
            return super()._encode(found, at, gaps)

    async def body(scene: Scene) -> None:
        await scene.tailer().run_once()

    scene = Heavy(entries=[ago(500 - n / 100, f"{n}") for n in range(20_000)])
    run_virtually(body(scene))
    assert scene.messages == [f"{n}" for n in range(20_000)]
    assert largest < 2_500


def test_an_api_that_failed_for_hours_from_the_start_is_doubted() -> None:
    """What left it before the first read ever is told of, wherever the start lies."""

    async def main() -> None:
        scene = Scene(
            [make_entry(NOW - 5 * SECOND, "early"), make_entry(NOW + 7_000 * SECOND, "late")],
            spec=replace(SPEC, start=lambda _: NOW - 10 * SECOND),
        )
        scene.obstacle = lambda _: (
            ApiUnavailable("answered 503", where="api") if len(scene.queries) > 1 else None
        )
        reading = asyncio.create_task(scene.tailer().run())
        await scene.clock.sleep(7_200.0)
        del scene.entries[0]  # retention
        scene.obstacle = lambda _: None
        await scene.until(1)
        await scene.clock.sleep(1.0)
        reading.cancel()
        (gap,) = await scene.journal.gaps("app")
        assert (gap.kind, gap.floor) == (GapKind.RETENTION, NOW - 10 * SECOND)
        assert gap.ceiling == NOW + 7_000 * SECOND

    run_virtually(main())


def test_an_app_that_shows_nothing_is_swept_durably_and_begins_where_it_began() -> None:
    """Its sweeps are stored, so that it can be audited; its position is one answer, no more."""

    async def main() -> None:
        scene = Scene(spec=replace(SPEC, late_sweeps=(3 * SECOND,)))
        reading = asyncio.create_task(scene.tailer().run())
        await scene.clock.sleep(300.0)
        reading.cancel()
        record = await scene.journal.app("app")
        assert record is not None
        assert record.position == NOW - 600 * SECOND
        assert record.swept[3 * SECOND] > NOW + 200 * SECOND
        scene.entries.append(make_entry(NOW - 60 * SECOND, "stamped behind"))
        tailer = scene.tailer()
        await tailer.resume()
        await poll(tailer)
        assert scene.messages == ["stamped behind"]

    run_virtually(main())


def test_an_app_that_never_showed_anything_is_told_once_a_start() -> None:
    """A misspelt app id looks just like a quiet app, also to whoever starts it anew."""

    async def body(scene: Scene) -> None:
        tailer = scene.tailer()
        for _ in range(3):
            await poll(tailer)
        again = scene.tailer()
        await again.resume()
        await poll(again)

    assert play(body).told(NothingShown) == [NothingShown] * 2
    assert play(body, entries=[ago(60, "one")]).told(NothingShown) == []


def test_sweeps_that_hang_do_not_hold_up_what_is_new() -> None:
    """Each of their requests takes half a minute; new lines come as they do without sweeps."""

    async def body(scene: Scene) -> None:
        scene.spec = replace(SPEC, start=lambda now: now, late_sweeps=(15 * SECOND,))
        real = scene.page

        async def page(query: Query) -> Page:
            if query.until is not None and query.until < scene.clock.now() - 10 * SECOND:
                await scene.clock.sleep(30)
                raise ApiUnavailable("no answer within 30 s")
            return await real(query)

        scene.page = page  # type: ignore[method-assign]
        reading = asyncio.create_task(scene.tailer().run())
        for number in range(60):
            scene.entries.append(make_entry(scene.clock.now(), f"{number}"))
            written = scene.clock.monotonic()
            await scene.until(number + 1)
            assert number == 0 or scene.clock.monotonic() - written < 2 * SPEC.interval
            await scene.clock.sleep(1.7)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert len(play(body).messages) == 60


def test_sweeps_beside_the_live_edge_find_what_came_late() -> None:
    """Both store in turn: neither takes back what the other has come to, nothing comes twice."""

    async def body(scene: Scene) -> None:
        scene.spec = replace(SPEC, late_sweeps=(3 * SECOND, 9 * SECOND))
        scene.latency = 0.4
        reading = asyncio.create_task(scene.tailer().run())
        for number in range(60):
            now = scene.clock.monotonic()
            scene.entries.append(ago(-now, f"{number}"))
            if number % 3 == 0:
                scene.entries.append(ago(2.5 - now, f"late {number}"))
            await scene.clock.sleep(0.9)
        await scene.until(80)
        await scene.clock.sleep(30)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    scene = play(body)
    assert len(scene.messages) == len(set(scene.messages)) == 80
    assert scene.journal.positions == sorted(scene.journal.positions)
