"""From the journal to a backend by its rules: what goes, what is kept, what is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from delivery.fakes import DOWN, Answer, Backend, Store, refusing
from delivery.virtual import NOON, clock, run
from support.journal import LIVE

from bridge.delivery.forwarder import Forwarder
from bridge.delivery.selection import EVERYTHING, Selection, TooOld
from bridge.mapping import Mapper
from bridge.model import SECOND, Append, AppRecord, Encoded, Entry, Gap, Identified, Tick
from bridge.payload import Request, records_of
from bridge.telemetry import Event
from bridge.telemetry.delivering import RecordsTooOld
from bridge.timestamps import format_tick

HOUR: Final = 3_600
AGE: Final = HOUR * SECOND
"""The ``max_age`` of these tests."""


@dataclass
class Scene:
    """A forwarder between a journal and a backend."""

    backend: Backend
    store: Store
    forwarder: Forwarder
    events: list[Event] = field(default_factory=list)
    written: int = 0

    async def write(self, *levels: str, app: str = "app", age: Tick = 0) -> int:
        """Append one batch with an entry of each level, of that age at noon."""
        if await self.store.app(app) is None:
            await self.store.begin(AppRecord(app, "stream", "{}", NOON))
        at = NOON - age
        found = []
        for number, level in enumerate(levels, self.written):
            raw = {"message": f"line {number}", "level": level, "timestamp": format_tick(at)}
            found.append(Identified(Entry(raw, at), at, number.to_bytes(16)))
        self.written += len(levels)
        done = await self.store.append(Append(app, found, NOON, _encoder(app, at), LIVE))
        assert done.last_seq is not None
        return done.last_seq

    async def drained(self) -> None:
        """Wait until the cursor has passed everything."""
        await self.forwarder.drained((await self.store.stats()).last_seq)

    @property
    def arrived(self) -> list[int]:
        """The numbers of the entries that the backend has, each as often as it came."""
        return sorted(int(uid, 16) for uid in self.backend.kept.elements())

    @property
    def dead(self) -> list[int]:
        """The numbers of those that are dead letters."""
        return sorted(int(uid, 16) for uid in self.store.dead)

    @property
    def told(self) -> list[tuple[int, str]]:
        """What was reported of old records."""
        return [(e.records, e.fate) for e in self.events if isinstance(e, RecordsTooOld)]


def _encoder(app: str, at: Tick) -> Callable[[Sequence[Identified], Sequence[Gap]], list[Encoded]]:
    mapper = Mapper(app=app, service=None, fallback_service=app, resource={})
    return lambda found, gaps: mapper.encode(found, at, gaps)


def play(
    selection: Selection,
    script: Callable[[Scene], Coroutine[Any, Any, None]],
    *,
    up_from: float = 0,
    in_flight: int = 1,
) -> Scene:
    """Run a script beside a forwarder; the backend is down until ``up_from`` seconds."""

    def decide(_: Request) -> Answer:
        return Answer() if asyncio.get_running_loop().time() >= up_from else refusing(DOWN)

    async def both() -> Scene:
        backend = Backend(decide)
        store = Store(backend)
        events: list[Event] = []
        forwarder = Forwarder(
            backend,
            store,
            clock(),
            events.append,
            Random(1),
            in_flight=in_flight,
            max_batches=1,
            selection=selection,
        )
        scene = Scene(backend, store, forwarder, events)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(forwarder.run(stop))
            await script(scene)
            stop.set()
        return scene

    return run(both())


async def _mixed(scene: Scene) -> None:
    await scene.write("INFO", "ERROR", app="vision-1")
    await scene.write("ERROR", app="other")
    await scene.write("DEBUG", "INFO", app="vision-2")
    await scene.write("WARNING", "odd", app="vision-2")
    await scene.drained()


def test_a_destination_gets_what_it_selects() -> None:
    """By app and level, with its attributes; the rest is passed over, neither sent nor dead."""
    selection = Selection(apps=["vision-*"], min_severity=13, resource={"team": "x"})
    scene = play(selection, _mixed)
    assert (scene.arrived, scene.dead) == ([1, 5, 6], [])
    assert scene.forwarder.state.skipped == 4
    assert scene.forwarder.state.outstanding == 0
    for sent in scene.backend.sends:
        for group, _, _ in records_of(sent.request.raw):
            said = {a.key: a.value.string_value for a in group.resource.attributes}
            assert said["team"] == "x"
            assert said["service.name"].startswith("vision-")


def test_what_selects_nothing_sends_nothing() -> None:
    """The cursor goes on all the same, so that the journal empties."""
    scene = play(Selection(apps=["none"]), _mixed)
    assert (scene.backend.sends, scene.forwarder.state.skipped) == ([], 7)
    assert scene.forwarder.state.cursor == 4


def test_the_stored_bytes_are_sent_where_nothing_applies() -> None:
    """Without rules, and with rules that change nothing."""
    kept: list[bytes] = []

    async def script(scene: Scene) -> None:
        await scene.store.attach("watcher")
        await _mixed(scene)
        kept[:] = [b.gzip for b in await scene.store.read(0, max_batches=9, max_size=1 << 20)]

    for selection in (EVERYTHING, Selection(apps=["*"], min_severity=5, max_age=AGE)):
        scene = play(selection, script)
        assert [sent.request.gzip for sent in scene.backend.sends] == kept


async def _old_and_new(scene: Scene) -> None:
    await scene.write("INFO", "INFO", age=2 * AGE)
    await scene.write("INFO", age=0)
    await scene.drained()


def test_too_old_is_a_dead_letter_at_once() -> None:
    """It is never sent, and what is young enough is."""
    scene = play(Selection(max_age=AGE), _old_and_new)
    assert (scene.arrived, scene.dead) == ([2], [0, 1])
    assert len(scene.backend.sends) == 1
    assert scene.told == [(2, "dead_letter")]
    assert scene.forwarder.state.dead_lettered == 2


def test_all_that_waits_grows_too_old_during_an_outage() -> None:
    """It is kept, the next ones are tried in turn, and what comes later arrives."""

    async def script(scene: Scene) -> None:
        for _ in range(5):
            await scene.write("INFO")
        await scene.drained()
        assert HOUR < asyncio.get_running_loop().time() < 2 * HOUR
        assert scene.forwarder.state.trouble is not None
        await scene.write("INFO", age=-3 * AGE)
        await scene.drained()

    scene = play(Selection(max_age=AGE), script, up_from=2 * HOUR)
    assert (scene.arrived, scene.dead) == ([5], [0, 1, 2, 3, 4])
    assert all(sent.at <= HOUR for sent in scene.backend.sends if 5 not in map(_number, sent.uids))
    assert scene.forwarder.state.trouble is None


def _number(uid: str) -> int:
    return int(uid, 16)


def test_several_in_flight_grow_too_old_during_an_outage() -> None:
    """None of them stays behind for ever, in whatever turn they stand."""

    async def script(scene: Scene) -> None:
        for _ in range(30):
            await scene.write("INFO")
        await scene.drained()

    scene = play(Selection(max_age=AGE), script, up_from=2 * HOUR, in_flight=4)
    assert (scene.arrived, scene.dead) == ([], list(range(30)))


def test_restamped_during_an_outage() -> None:
    """All arrive once the backend is up, with a time that it takes; tries between are alike."""

    async def script(scene: Scene) -> None:
        await scene.write("INFO", "INFO")
        await scene.drained()

    scene = play(Selection(max_age=AGE, too_old=TooOld.RESTAMP), script, up_from=1.5 * HOUR)
    assert (scene.arrived, scene.dead) == ([0, 1], [])
    late = [sent for sent in scene.backend.sends if sent.at > HOUR]
    assert len(late) > 2
    assert len({sent.request.gzip for sent in late}) == 1
    for _, _, record in records_of(late[-1].request.raw):
        age = (NOON + round(late[-1].at * SECOND)) - record.time_unix_nano // 1_000
        assert 0 <= age <= AGE
        [own] = [a.value.string_value for a in record.attributes if a.key == "fal.timestamp"]
        assert own == format_tick(NOON)
    assert scene.told == [(2, "restamp")]


def test_sent_all_the_same() -> None:
    """As it is stored, and counted once it has arrived."""
    scene = play(Selection(max_age=AGE, too_old=TooOld.SEND), _old_and_new, up_from=60)
    assert (scene.arrived, scene.dead) == ([0, 1, 2], [])
    assert scene.told == [(2, "send")]


def _replaying(selection: Selection) -> Scene:
    """Two dead letters of age, then wished for under another selection."""

    async def script(scene: Scene) -> None:
        await _old_and_new(scene)
        stop = asyncio.Event()
        scene.store.wished = set(scene.store.dead)
        again = Forwarder(
            scene.backend, scene.store, clock(), scene.events.append, Random(1), selection=selection
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(again.run(stop))
            while scene.store.wished:  # noqa: ASYNC110 - a wish has no event of its own
                await asyncio.sleep(1)
            stop.set()

    return play(Selection(max_age=AGE), script)


def test_replayed_it_is_as_old_as_before() -> None:
    """Under the same rule it stays a dead letter, told anew."""
    scene = _replaying(Selection(max_age=AGE))
    assert (scene.arrived, scene.dead) == ([2], [0, 1])
    assert scene.told == [(2, "dead_letter"), (1, "dead_letter"), (1, "dead_letter")]


def test_replayed_under_another_rule_it_arrives() -> None:
    """With the present as its time, and is a dead letter no more."""
    scene = _replaying(Selection(max_age=AGE, too_old=TooOld.RESTAMP))
    assert (scene.arrived, scene.dead) == ([0, 1, 2], [])
