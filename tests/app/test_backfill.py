"""Backfills in virtual time: beside the live stream or alone, through crashes, once each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from support.audited import KEY, NOON, Scene
from support.commands import config_of, world_of
from support.journal import Disk, copy_as_killed
from support.virtual import Crash

from bridge import settings
from bridge.app import backfill as work
from bridge.app.explain import explain
from bridge.app.parts import World, build
from bridge.app.positions import listed as positions
from bridge.errors import ConfigError, JournalError
from bridge.journal.ledger import Ledger, State
from bridge.journal.orders import Orders
from bridge.journal.sqlite import SqliteJournal
from bridge.model import SECOND, Backfill, BackfillApp, BackfillState, GapKind
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.manual_clock import ManualClock
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.transport import CoreTransport
from bridge.telemetry.service import InternalError
from bridge.timestamps import format_tick

DAY = 24 * 3600 * SECOND
FLOOR = NOON - 3 * DAY
CEILING = NOON - 2 * DAY
COUNT = 60


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """An app that logged something long before, much on the day before yesterday, and little since.

    Its entries of that day come in bursts with ties, and one has no time.
    """
    scene = Scene(tmp_path, cap=100)
    scene.write("long ago", FLOOR - DAY)
    for n in range(COUNT):
        scene.write(f"{n}", FLOOR + n // 10 * 4 * 3600 * SECOND + n % 10 // 3)
    scene.write("undated", FLOOR + 3600 * SECOND, timestamp="once upon a time")
    return scene


@pytest.fixture
def backend() -> OtlpBackend:
    """A backend that remembers."""
    return OtlpBackend(BackendConfig())


def asked(**changes: Any) -> work.Asked:
    """A backfill of that day."""
    start, end = settings.StartAt(FLOOR), settings.StartAt(CEILING)
    return replace(work.Asked(start, end), **changes)


def arrivals(backend: OtlpBackend) -> Counter[str]:
    """How often each message arrived."""
    return Counter(one.body for one in backend.records)


EXPECTED = Counter([*(f"{n}" for n in range(COUNT)), "undated"])


def config(scene: Scene, *names: str, **app: Any) -> settings.Settings:
    """Settings with an app that begins now, slow to read, and these destinations."""
    made = config_of(scene, {"app_id": "one", "start": "now", **app})
    if not names:
        return made
    document = made.model_dump(mode="json", exclude_unset=True)
    document["fal"]["key"] = KEY
    destinations = [{"name": n, "type": "otlp", "endpoint": f"http://{n}.test"} for n in names]
    return settings.Settings.model_validate({**document, "destinations": destinations})


def slow(made: settings.Settings) -> settings.Settings:
    """One request a second."""
    poll = made.poll.model_copy(update={"requests_per_second": 1.0})
    return made.model_copy(update={"poll": poll})


def alone(scene: Scene, backend: OtlpBackend, what: work.Asked | str, **options: Any) -> work.Ended:
    """Run the command while no bridge runs."""
    world = options.pop("world", None) or world_of(scene, backend)
    made = options.pop("config", None) or config(scene)
    sights: list[work.Sight] = []

    async def main() -> work.Ended:
        return await work.run(
            *(made, world, what),
            show=sights.append,
            stop=options.pop("stop", work.Stop()),
            patience=options.pop("patience", 600),
            **options,
        )

    return scene.play(main)


def jobs(scene: Scene) -> tuple[Backfill, ...]:
    """What the journal holds."""
    with Ledger.open(scene.path) as ledger:
        return ledger.backfills()


def test_alone_all_of_it_arrives_and_no_position_is_made(
    scene: Scene, backend: OtlpBackend
) -> None:
    """In order of time; the app's start is still to be resolved by the first run."""
    ended = alone(scene, backend, asked())
    assert ended.obstacles == ()
    assert ended.sight.delivered
    assert arrivals(backend) == EXPECTED
    dated = [int(one.body) for one in backend.records if one.body != "undated"]
    assert dated == sorted(dated)
    assert positions(config(scene), ManualClock(0)).apps == ()
    told = json.loads(json.dumps(work.as_json(ended.sight)))
    assert (told["share"], told["state"], told["delivered"]) == (1, "done", True)
    assert told["apps"] == [
        {
            "app": "one",
            "position": format_tick(CEILING),
            "added": COUNT + 1,
            "known": told["apps"][0]["known"],
            "gaps": 0,
            "note": None,
        }
    ]


def test_again_nothing_is_new_however_old_it_is(scene: Scene, backend: OtlpBackend) -> None:
    """Far below what any ledger keeps, a job of another name recognises what one brought.

    Forgotten, it is delivered again, under the same uids.
    """
    alone(scene, backend, asked(name="first"))
    ended = alone(scene, backend, asked(name="second"))
    assert [(app.added, app.known >= COUNT) for app in ended.sight.job.apps] == [(0, True)]
    assert arrivals(backend) == EXPECTED
    with pytest.raises(JournalError, match="of that name already"):
        alone(scene, backend, asked(name="second"))
    for name in ("first", "second"):
        work.forget(config(scene), name)
    alone(scene, backend, asked())
    assert arrivals(backend) == EXPECTED + EXPECTED
    assert len(backend.uids) == COUNT + 1


def test_a_crash_at_every_statement(tmp_path: Path) -> None:
    """Whatever statement the process dies at: the same command again completes it, once each."""
    crashes = 0
    for skip in range(0, 2_000, 3):
        folder = tmp_path / str(skip)
        folder.mkdir()
        scene = Scene(folder, cap=100)
        scene.write("long ago", FLOOR - DAY)
        for n in range(24):
            scene.write(f"{n}", FLOOR + n // 4 * 4 * 3600 * SECOND + n % 4 // 3)
        backend, disk = OtlpBackend(BackendConfig()), Disk()

        def opened(place: settings.Journal, clock: Any, disk: Disk = disk) -> SqliteJournal:
            return SqliteJournal.open(
                place.path,
                max_bytes=place.max_bytes,
                clock=clock,
                inline=True,
                connect=disk.connect,
            )

        world = replace(world_of(scene, backend), open_journal=opened)
        disk.plan(Crash(), skip=skip, late=bool(skip % 2))
        with suppress(Crash, BaseExceptionGroup, JournalError):
            alone(scene, backend, asked(), world=world)
        scene.path = copy_as_killed(scene.path, folder / "killed")
        crashed = not disk.armed
        disk.calm()
        crashes += crashed
        ended = alone(scene, backend, asked(), world=world)
        assert ended.obstacles == ()
        bodies = arrivals(backend)
        assert set(bodies) == {f"{n}" for n in range(24)}
        assert len(backend.uids) == 24
        with Ledger.open(scene.path) as ledger:
            added = [sum(app.added for app in job.apps) for job in ledger.backfills()]
        assert sum(added) == 24
        if not crashed:
            assert crashes > 20
            return
    pytest.fail("it never ended")


def beside(
    scene: Scene,
    world: World,
    made: settings.Settings,
    what: work.Asked,
    *,
    seconds: float = 0.0,
    patience: float = 600,
) -> work.Ended:
    """Run the command beside a live bridge, which goes on for some seconds after it."""

    async def main() -> work.Ended:
        halt = asyncio.Event()
        async with AsyncExitStack() as stack:
            bridge = await build(made, world, stack)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(bridge.run(halt))
                await asyncio.sleep(5)
                ended = await work.run(
                    *(made, world, what),
                    show=lambda _: None,
                    stop=work.Stop(),
                    patience=patience,
                )
                await asyncio.sleep(seconds)
                halt.set()
                await running
        return ended

    return scene.play(main)


def test_beside_a_bridge_what_is_known_and_still_on_its_way_is_waited_for(
    scene: Scene, backend: OtlpBackend
) -> None:
    """A job that finds all of it journaled is not delivered before that is."""
    backend.config = BackendConfig(status=503)
    made = config(scene)
    ended = beside(scene, world_of(scene, backend), made, asked(name="first"), patience=60)
    assert ended.sight.job.state is BackfillState.DONE
    ended = beside(scene, world_of(scene, backend), made, asked(name="second"), patience=60)
    assert [app.added for app in ended.sight.job.apps] == [0]
    assert not ended.sight.delivered
    assert ended.obstacles == (f"out has {COUNT + 1:,} still to take",)


def test_beside_another_command_it_is_refused_at_once(scene: Scene, backend: OtlpBackend) -> None:
    """That one works on its own job only, which may be watched; the next run would do others."""
    made, world = slow(config(scene)), world_of(scene, backend)

    async def command(what: work.Asked | str, *, detach: bool = False) -> work.Ended:
        return await work.run(
            *(made, world, what),
            show=lambda _: None,
            stop=work.Stop(),
            patience=600,
            detach=detach,
        )

    async def main() -> None:
        first = asyncio.create_task(command(asked(name="first")))
        await asyncio.sleep(0.1)
        assert not first.done()
        for what in (asked(destinations=("out",)), asked(name="second"), "another"):
            with pytest.raises(JournalError, match="takes no orders: backfill first"):
                await command(what)
        assert [job.name for job in jobs(scene)] == ["first"]
        plan = work.planned(made, asked(destinations=("out",)), NOON)
        assert (plan.held, plan.busy) == (False, "backfill first")
        plan = work.planned(made, asked(), NOON)
        assert (plan.held, plan.busy, plan.resumed) == (True, "", True)
        left = await command(asked(name="left"), detach=True)
        assert (left.sight.held, left.sight.busy) == (False, "backfill first")
        same = await command("first")
        assert (same.obstacles, same.sight.delivered) == ((), True)
        assert (await first).obstacles == ()

    scene.play(main)
    assert arrivals(backend) == EXPECTED


def write_live(scene: Scene, seconds: Sequence[int]) -> None:
    """The app logs at these seconds after noon."""
    for second in seconds:
        tick = NOON + second * SECOND
        raw = {"timestamp": format_tick(tick), "message": f"live {second}", "app": "one"}
        scene.logs.write({"level": "INFO", **raw}, tick, visible_at=tick)


def test_beside_a_bridge(scene: Scene, backend: OtlpBackend) -> None:
    """Handed over, done, and live entries come as before; the position knows nothing of it."""
    write_live(scene, range(1, 60, 2))
    ended = beside(scene, world_of(scene, backend), config(scene), asked(), seconds=70)
    assert ended.obstacles == ()
    live = Counter(f"live {second}" for second in range(1, 60, 2))
    assert arrivals(backend) == EXPECTED + live
    (standing,) = positions(config(scene), ManualClock(0)).apps
    assert standing.record.position > NOON + 58 * SECOND
    assert standing.record.whole_from >= NOON
    instances = Counter(
        attribute.value.string_value
        for one in backend.records
        for attribute in one.resource.attributes
        if attribute.key == "service.instance.id"
    )
    assert instances == {f"backfill-{ended.sight.job.name}": COUNT + 1}


def test_the_same_stream_is_as_live_ones_and_a_name_of_its_own_is_kept(
    scene: Scene, backend: OtlpBackend
) -> None:
    """Without an own stream no attribute is added; with one, it adds to the app's."""

    def instances() -> set[str]:
        return {
            attribute.value.string_value
            for one in backend.records
            for attribute in one.resource.attributes
            if attribute.key == "service.instance.id"
        }

    alone(scene, backend, asked(own_stream=False, name="plain"))
    assert instances() == set()
    work.forget(config(scene), "plain")
    backend.records.clear()
    mine = config(scene, resource={"service.instance.id": "mine"})
    alone(scene, backend, asked(name="marked"), config=mine)
    assert instances() == {"mine-backfill-marked"}


def test_a_window_that_the_live_stream_reads_too(scene: Scene, backend: OtlpBackend) -> None:
    """Whoever comes first journals an entry; the other one knows it."""
    write_live(scene, range(-500, -10, 10))
    until_now = asked(since=settings.StartAt(NOON - 600 * SECOND), until=settings.StartBack(0))
    made = config(scene, start="400s")
    beside(scene, world_of(scene, backend), made, until_now, seconds=30)
    assert arrivals(backend) == Counter(f"live {second}" for second in range(-500, -10, 10))


def test_a_job_left_behind_is_taken_up_by_the_next_run(scene: Scene, backend: OtlpBackend) -> None:
    """Whoever gave the order is gone; a stopped one is not taken up."""
    world, made = world_of(scene, backend), config(scene)
    alone(scene, backend, asked(name="done"))
    work.forget(made, "done")
    backend.records.clear()
    for name in ("left", "stopped"):
        alone(scene, backend, asked(name=name), detach=True)
    work.cancel(made, "stopped")

    async def main() -> None:
        halt = asyncio.Event()
        async with AsyncExitStack() as stack:
            bridge = await build(made, world, stack)
            running = asyncio.create_task(bridge.run(halt))
            await asyncio.sleep(120)
            halt.set()
            await running
            assert bridge.backfills.read["one"] == COUNT + 1
            assert bridge.backfills.left == {}

    scene.play(main)
    assert [job.state for job in jobs(scene)] == [BackfillState.DONE, BackfillState.STOPPED]
    assert arrivals(backend) == EXPECTED


def test_ctrl_c_stops_the_job_and_the_same_command_goes_on(
    scene: Scene, backend: OtlpBackend
) -> None:
    """Where it was; SIGTERM leaves it to the next run."""
    for by_person, state in ((True, BackfillState.STOPPED), (False, BackfillState.ACTIVE)):
        stop = work.Stop()
        stop.ask(job=by_person)
        ended = alone(scene, backend, asked(), stop=stop, config=slow(config(scene)))
        assert ended.interrupted is by_person
        assert ended.obstacles
        (job,) = jobs(scene)
        assert job.state is state
    ended = alone(scene, backend, asked())
    assert ended.sight.job.name == job.name
    assert ended.obstacles == ()
    assert arrivals(backend) == EXPECTED


def test_only_for_some_destinations(scene: Scene) -> None:
    """Each gets what it has not; those not named get nothing, and explain says so."""
    sides = {name: OtlpBackend(BackendConfig()) for name in ("a", "b", "c")}
    world = replace(
        world_of(scene),
        otlp_transport=lambda name: CoreTransport(sides[name], scene.clock),
    )
    made = config(scene, "a", "b", "c")
    alone(scene, sides["a"], asked(destinations=("a",)), world=world, config=made)
    assert [len(side.records) for side in sides.values()] == [COUNT + 1, 0, 0]
    both = asked(destinations=("a", "b"))
    ended = alone(scene, sides["a"], both, world=world, config=made)
    assert ended.sight.delivered
    assert [arrivals(side) for side in sides.values()] == [EXPECTED, EXPECTED, Counter()]
    with Ledger.open(scene.path) as ledger:
        uid = bytes.fromhex(sides["a"].records[0].uid)
        assert sorted(place.audience for place in ledger.find(uid)) == ["a", "b"]
    told = scene.play(lambda: explain(made, world, sides["a"].records[0].uid))
    fates = [one.journaled.fates for one in told.entries if one.journaled]
    assert [[(fate.destination, fate.state) for fate in some] for some in fates] == [
        [("a", State.ACKNOWLEDGED)],
        [("b", State.ACKNOWLEDGED)],
    ]
    told = scene.play(lambda: explain(made, world, "long", since=settings.StartAt(FLOOR)))
    assert not told.found
    told = scene.play(lambda: explain(made, world, "59", since=settings.StartAt(FLOOR)))
    (journaled,) = [one.journaled for one in told.entries]
    assert journaled is not None
    assert journaled.place.audience == "a"


def test_alone_only_its_own_destinations_are_waited_for(scene: Scene) -> None:
    """Not others, nor one that rests: what is for that one is kept."""
    sides = {name: OtlpBackend(BackendConfig()) for name in ("a", "b", "c")}
    sides["b"].config = BackendConfig(status=503)
    world = replace(
        world_of(scene),
        otlp_transport=lambda name: CoreTransport(sides[name], scene.clock),
    )
    made = config(scene, "a", "b", "c")
    alone(scene, sides["a"], asked(name="before"), world=world, config=made, patience=60)
    with Orders.open(scene.path) as orders:
        orders.pause("c", paused=True)
    sides["a"].records.clear()
    some = asked(name="job", destinations=("a", "c"), since=settings.StartAt(FLOOR - 2 * DAY))
    ended = alone(scene, sides["a"], some, world=world, config=made, patience=60)
    assert ended.obstacles == ()
    assert ended.sight.delivered
    assert ended.sight.resting == ("c",)
    assert arrivals(sides["a"])["long ago"] == 1
    sides["a"].config = BackendConfig(status=503)
    scene.write("older", FLOOR - 3 * DAY)
    more = asked(name="more", destinations=("a", "c"), since=settings.StartAt(FLOOR - 4 * DAY))
    ended = alone(scene, sides["a"], more, world=world, config=made, patience=60)
    assert [obstacle.partition(":")[0] for obstacle in ended.obstacles] == ["a"]


def test_a_destination_that_is_down_holds_it_at_half_of_the_journal(
    scene: Scene, backend: OtlpBackend
) -> None:
    """Live reading goes on; the job says for whom it waits, and the wait ends by the patience."""
    backend.config = BackendConfig(status=503)
    noise = Random(1)
    for n in range(15 * COUNT):
        scene.write(noise.randbytes(200).hex(), FLOOR + n * 90 * SECOND)
    write_live(scene, range(1, 70, 2))
    made = config(scene)
    journal = made.journal.model_copy(update={"max_bytes": 150_000})
    made = made.model_copy(update={"journal": journal})
    ended = beside(scene, world_of(scene, backend), made, asked(), patience=120)
    assert ended.obstacles == ("one: the journal is half full; waits for out",)
    with Ledger.open(scene.path) as ledger:
        (standing,) = ledger.apps()
        assert standing.record.position > NOON + 60 * SECOND
        assert 75_000 < ledger.live_bytes() < 150_000
    backend.config = BackendConfig()
    backend.records.clear()
    ended = beside(scene, world_of(scene, backend), made, asked(), seconds=30)
    assert ended.obstacles == ()
    assert not {body: times for body, times in arrivals(backend).items() if times > 1}
    assert len(backend.records) == 16 * COUNT + 1 + 35


def test_what_has_left_the_api_is_a_gap(tmp_path: Path, backend: OtlpBackend) -> None:
    """Nothing as old as the window's beginning is shown: also if nothing is shown at all."""
    scene = Scene(tmp_path)
    alone(scene, backend, asked(name="empty"))
    scene.write("first", FLOOR + 3600 * SECOND)
    alone(scene, backend, asked(name="young"))
    with Ledger.open(scene.path) as ledger:
        found = [(one.gap.kind, one.gap.floor, one.gap.ceiling) for one in ledger.gaps("one")]
    assert found == [
        (GapKind.RETENTION, FLOOR, FLOOR + 3600 * SECOND),
        (GapKind.RETENTION, FLOOR, CEILING),
    ]
    assert [sum(app.gaps for app in job.apps) for job in jobs(scene)] == [1, 1]


def test_a_changed_selection_is_not_mixed_in(scene: Scene, backend: OtlpBackend) -> None:
    """The job waits and says why; so does one of an app that is not configured any more."""
    alone(scene, backend, asked(name="before"))
    work.forget(config(scene), "before")
    alone(scene, backend, asked(name="job"), detach=True)
    other = config(scene, level="ERROR")
    with_gone = Backfill(
        "gone", "", FLOOR, CEILING, (), own_stream=True, created_at=0,
        apps=(BackfillApp("gone", "", "", FLOOR),),
    )  # fmt: skip
    with Orders.open(scene.path) as orders:
        orders.begin_backfill(with_gone, resume=False)
    ended = alone(scene, backend, "job", config=other)
    assert ended.obstacles == (
        "one: its settings select other entries than when the backfill began; cancel it",
    )
    ended = alone(scene, backend, "gone")
    assert ended.obstacles == ("gone: it is not configured; put it back, or cancel the backfill",)


def test_refusals(scene: Scene) -> None:
    """Each names the option and the mend."""
    made, now = config(scene), NOON
    for changes, words in (
        ({"until": settings.StartAt(NOON + SECOND)}, "is in the future"),
        ({"until": settings.StartAt(FLOOR)}, "is empty"),
        ({"apps": ("ome",)}, "did you mean 'one'"),
        ({"apps": ("x*",)}, "there is no app"),
        ({"destinations": ("otu",)}, "did you mean 'out'"),
        ({"name": "../x"}, "cannot be a name"),
    ):
        with pytest.raises(ConfigError, match=words):
            work.planned(made, asked(**changes), now)


def test_a_plan_changes_nothing(scene: Scene, backend: OtlpBackend) -> None:
    """It tells what is known, and finds the job that would go on."""
    made = config(scene)
    plan = work.planned(made, asked(apps=("o*",)), NOON)
    assert [(app.name, app.known, app.whole_from) for app in plan.apps] == [("one", 0, None)]
    assert (plan.destinations, plan.resumed, plan.held) == (("out",), False, False)
    assert not scene.path.exists()
    stop = work.Stop()
    stop.ask(job=True)
    alone(scene, backend, asked(), stop=stop, config=slow(made))
    assert work.planned(made, asked(), NOON).resumed
    assert not work.planned(made, asked(destinations=("out",)), NOON).resumed


def test_an_outage_amid_the_question_of_what_is_older_is_waited_out(
    scene: Scene, backend: OtlpBackend
) -> None:
    """It is no defect: the job says why it waits, and goes on."""

    class Failing:
        """The API, which fails for a while for what lies before the window."""

        def answer(self, request: Request) -> Answer:
            """See `Core.answer`."""
            until = request.parameter("until")
            old = until is not None and until <= format_tick(FLOOR)
            return (
                Answer(503)
                if old and scene.clock.monotonic() < 200
                else scene.front.answer(request)
            )

    world = replace(world_of(scene, backend), api_transport=CoreTransport(Failing(), scene.clock))
    earlier = asked(since=settings.StartAt(FLOOR - 3600 * SECOND))
    ended = alone(scene, backend, earlier, world=world)
    assert ended.obstacles == ()
    assert scene.now > 200
    assert arrivals(backend) == EXPECTED
    assert not [event for event in scene.events if isinstance(event, InternalError)]


def test_what_is_too_old_for_a_destination_is_told_before(scene: Scene) -> None:
    """It would become dead letters, which hold a destination once they are full."""
    made = config(scene)
    document = made.model_dump(mode="json", exclude_unset=True)
    document["fal"]["key"] = KEY
    document["destinations"][0]["max_age"] = "1d"
    aged = settings.Settings.model_validate(document)
    (caution,) = work.planned(aged, asked(), NOON).cautions
    assert caution.startswith("out: records older than 1d become dead letters")
    recent = asked(since=settings.StartBack(3600), until=settings.StartBack(0))
    assert work.planned(aged, recent, NOON).cautions == ()
