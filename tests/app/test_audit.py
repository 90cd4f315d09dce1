"""The audit as a whole: the windows it takes, what it needs, what a repair comes to."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.audited import FLOOR, NOON, Scene
from support.commands import config_of, world_of

from bridge import settings
from bridge.app.audit import Asked, Audited, as_json, run
from bridge.app.parts import build
from bridge.errors import ConfigError, JournalUnusable
from bridge.journal.ledger import Ledger
from bridge.model import SECOND, AppRecord, Gap, GapKind, Tick
from bridge.settings import StartAt, StartBack
from bridge.simulator.exchange import Request
from bridge.simulator.faults import Fault, Faults, Reply
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.source.audit import Result
from bridge.timestamps import format_tick


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A simulated API and a journal."""
    return Scene(tmp_path)


def audited(
    scene: Scene,
    floor: Tick = FLOOR,
    ceiling: Tick = NOON,
    *,
    config: settings.Settings | None = None,
    apps: tuple[str, ...] = (),
    repair: bool = False,
    otherwise: str = "",
) -> tuple[Result, ...]:
    """Run the audit."""
    asked = Asked(StartAt(floor), StartAt(ceiling), apps, repair, otherwise)
    return whole(scene, asked, config or config_of(scene)).results


def whole(scene: Scene, asked: Asked, config: settings.Settings) -> Audited:
    """Run the audit; every app that is read to its floor is told as done."""
    told: list[tuple[str, float]] = []

    async def main() -> Audited:
        return await run(config, world_of(scene), asked, lambda *done: told.append(done))

    found = scene.play(main)
    done = [result.app for result in found.results if not result.error]
    assert [name for name, share in told if share == 1.0] == done
    return found


def refused(scene: Scene, *args: Any, **options: Any) -> list[str]:
    """What the audit is refused for, one text an app."""
    scene.logs.requests.clear()
    with pytest.raises(ExceptionGroup) as caught:
        audited(scene, *args, **options)
    assert not scene.logs.requests
    assert all(isinstance(error, ConfigError) for error in caught.value.exceptions)
    return [str(error) for error in caught.value.exceptions]


def test_every_app_is_audited(scene: Scene) -> None:
    """In the configured order, or those that are named."""
    for app in ("one", "two"):
        for n in range(30):
            scene.write(f"{n}", FLOOR + n * 60 * SECOND, app)
        scene.fill(app)
    config = config_of(scene, {"app_id": "two"}, {"app_id": "one"})
    results = audited(scene, config=config)
    assert [(r.app, r.in_api, r.missing) for r in results] == [("two", 30, 0), ("one", 30, 0)]
    assert [r.app for r in audited(scene, config=config, apps=("one", "one"))] == ["one"]


def test_a_repair_leaves_the_destinations_in_use(scene: Scene) -> None:
    """Else a journal that is full would name them as no longer configured; new ones hold too."""
    scene.write("a", NOON - 9 * SECOND)
    scene.forget(*(item.uid for item in scene.fill()))
    scene.attach("gone")
    (result,) = audited(scene, repair=True)
    assert result.repaired == 1
    with Ledger.open(scene.path) as ledger:
        assert [(one.name, one.in_use) for one in ledger.destinations()] == [
            ("gone", False),
            ("out", True),
        ]
    # Beside it nobody is to wait for a bridge.
    lock = scene.path.with_name(f"{scene.path.name}.lock")
    assert lock.read_text().splitlines()[1:] == ["audit --repair"]


def test_the_document(scene: Scene) -> None:
    """Everything there is to know, for scripts."""
    scene.write("a" * 500, NOON - 9 * SECOND)
    scene.write("b", NOON - 8 * SECOND)
    found = scene.fill()
    scene.forget(found[0].uid)
    document = json.loads(json.dumps(as_json(Audited(audited(scene)))))
    assert document == {
        "complete": False,
        "apps": [
            {
                "app": "one",
                "since": format_tick(FLOOR),
                "until": format_tick(NOON),
                "error": None,
                "audited_from": format_tick(FLOOR),
                "in_api": 2,
                "journaled": 1,
                "dropped_by_rule": 0,
                "missing": 1,
                "repaired": 0,
                "surplus": 0,
                "unproved": 0,
                "destinations": {
                    "out": {
                        "delivered": 0,
                        "waiting": 1,
                        "dead_lettered": 0,
                        "lost": 0,
                        "unknown": 0,
                    }
                },
                "first_missing": [
                    {
                        "uid": found[0].uid.hex(),
                        "time": format_tick(NOON - 9 * SECOND),
                        "level": "INFO",
                        "message": "a" * 120,
                    }
                ],
                "gaps": [],
            }
        ],
    }


def test_gaps_stand_in_the_document(scene: Scene) -> None:
    """With their kind and their stretch."""
    scene.fill(gaps=[Gap(GapKind.RETENTION, FLOOR, FLOOR + SECOND, 5)])
    document = as_json(Audited(audited(scene)))
    assert document["complete"] is False
    (app,) = document["apps"]
    assert app["gaps"] == [
        {
            "kind": "retention",
            "since": format_tick(FLOOR),
            "until": format_tick(FLOOR + SECOND),
            "at_least": 5,
        }
    ]


def test_a_window_above_the_position_is_open(scene: Scene) -> None:
    """Refused with the window that would do."""
    scene.fill()
    (text,) = refused(scene, FLOOR, NOON + SECOND)
    assert "audit of one" in text
    assert f"from {format_tick(NOON)} on" in text
    assert f"--since {format_tick(FLOOR)} --until {format_tick(NOON)} is accepted" in text


def test_a_window_above_a_sweep_is_open(scene: Scene) -> None:
    """The sweep that is furthest behind counts."""
    lowest = NOON - 900 * SECOND
    scene.fill(swept={15 * SECOND: NOON - 15 * SECOND, 900 * SECOND: lowest})
    (text,) = refused(scene, NOON - 600 * SECOND)
    assert f"from {format_tick(lowest)} on" in text
    assert f"--since {format_tick(FLOOR)} --until {format_tick(lowest)}" in text
    assert audited(scene, FLOOR, lowest)[0].complete


def test_a_window_below_the_ledger_is_refused(scene: Scene) -> None:
    """Nothing is known of what was journaled there."""
    scene.fill()
    (text,) = refused(scene, FLOOR - SECOND, NOON + SECOND)
    assert f"the ledger goes back to {format_tick(FLOOR)} only" in text
    assert f"from {format_tick(NOON)} on" in text


def test_every_refused_app_is_named(scene: Scene) -> None:
    """One that was never read too."""
    scene.fill("one")
    config = config_of(scene, {"app_id": "one"}, {"app_id": "two"})
    texts = refused(scene, FLOOR - SECOND, config=config)
    assert ["audit of one" in texts[0], "audit of two" in texts[1]] == [True, True]
    assert "knows nothing of this app" in texts[1]


def test_a_window_for_all_apps(scene: Scene) -> None:
    """Several refusals end with one line to copy."""
    scene.fill("one", swept={SECOND: NOON - 120 * SECOND})
    scene.fill("two", floor=FLOOR + 60 * SECOND)
    config = config_of(scene, {"app_id": "one"}, {"app_id": "two"}, {"app_id": "new"})
    texts = refused(scene, config=config, otherwise="--json")
    assert ["audit of one" in texts[0], "audit of two" in texts[1]] == [True, True]
    assert "knows nothing of this app" in texts[2]
    assert texts[3] == (
        "audit: a window that all accept (fal-log-bridge audit "
        f"--since {format_tick(FLOOR + 60 * SECOND)} --until {format_tick(NOON - 120 * SECOND)} "
        "--app one --app two --json)"
    )
    scene.fill("late", floor=NOON - 90 * SECOND)
    config = config_of(scene, {"app_id": "one"}, {"app_id": "late"})
    assert "no window is accepted by all" in refused(scene, config=config)[-1]


def test_an_app_without_any_window_yet_stops_no_other(scene: Scene) -> None:
    """It is left out, and said so: not everything that was asked for is proved."""
    scene.write("x", NOON - 60 * SECOND)
    scene.fill("one")
    scene.fill("quiet", swept={900 * SECOND: FLOOR})
    config = config_of(scene, {"app_id": "quiet"}, {"app_id": "one"}, {"app_id": "new"})
    quiet, one, new = audited(scene, config=config)
    assert "no window of it can be audited yet" in quiet.error
    assert "knows nothing of this app" in new.error
    assert (one.error, one.in_api, one.complete) == ("", 1, True)
    assert not quiet.complete
    assert (quiet.in_api, quiet.reached) == (0, quiet.ceiling)


def test_nothing_is_closed_yet(scene: Scene) -> None:
    """Said so, without a window that is none."""
    scene.fill(swept={900 * SECOND: FLOOR})
    (text,) = refused(scene)
    assert "no window of it can be audited yet" in text


def test_other_filters_than_those_that_were_read_with(scene: Scene) -> None:
    """They would select other entries."""
    scene.fill()
    config = config_of(scene, {"app_id": "one", "level": "ERROR"})
    (text,) = refused(scene, config=config)
    assert "select other entries" in text


def test_an_empty_window_and_an_unknown_app(scene: Scene) -> None:
    """Usage errors, told before anything is asked."""
    scene.fill()
    with pytest.raises(ConfigError, match="is empty"):
        audited(scene, NOON, NOON)
    with pytest.raises(ConfigError, match=r"no app 'tow'.*there are: one"):
        audited(scene, apps=("tow",))


def test_durations_count_back_from_now(scene: Scene) -> None:
    """From the wall clock."""
    scene.write("x", NOON - 30 * SECOND)
    scene.fill()
    (result,) = whole(scene, Asked(StartBack(60), StartBack(1)), config_of(scene)).results
    assert (result.ceiling - result.floor, result.in_api) == (59 * SECOND, 1)


def test_without_a_journal_there_is_nothing_to_audit(scene: Scene) -> None:
    """And none is made."""
    with pytest.raises(JournalUnusable, match="no journal"):
        audited(scene, repair=True)
    assert not scene.path.exists()


def test_beside_a_running_bridge(scene: Scene) -> None:
    """It reads along, and tells it; a repair would need the journal for itself."""
    scene.write("x", NOON - SECOND)
    found = scene.fill()
    scene.forget(found[0].uid)
    asked = Asked(StartAt(FLOOR), StartAt(NOON))
    assert not whole(scene, asked, config_of(scene)).held
    assert not whole(scene, replace(asked, repair=True), config_of(scene)).held
    scene.forget(found[0].uid)
    journal = scene.open()
    try:
        assert audited(scene)[0].missing == 1
        assert whole(scene, asked, config_of(scene)).held
        with pytest.raises(JournalUnusable, match="stop the bridge") as caught:
            audited(scene, repair=True)
        assert "while a bridge runs on it" in str(caught.value)
    finally:
        journal.abandon()
    assert audited(scene)[0].missing == 1


def two_apps(scene: Scene) -> settings.Settings:
    """Two apps with an entry each, both journaled."""
    for app in ("one", "two"):
        scene.write("x", NOON - 60 * SECOND, app)
        scene.fill(app)
    return config_of(scene, {"app_id": "one"}, {"app_id": "two"})


def refusing(scene: Scene, fault: Fault, app: str | None = None) -> None:
    """The API answers so, for all or for one app."""

    def strike(_: int, request: Request) -> Fault | None:
        return fault if app in (None, request.parameter("app_id")) else None

    scene.front.faults = Faults(schedule=strike)
    scene.logs.requests.clear()


def test_a_refused_key_is_told_at_once(scene: Scene) -> None:
    """As ``check`` does: asked once, for all apps, and never shown."""
    config = two_apps(scene)
    refusing(scene, Reply(401, json.dumps({"detail": "key revoked"}).encode()))
    began, asked = scene.now, scene.front._number
    one, two = audited(scene, config=config)
    assert (scene.now - began, scene.front._number - asked) == (0.0, 1)
    assert "key revoked" in one.error
    assert two.error == one.error
    assert "the-secret" not in one.error
    assert not one.complete


def test_an_app_that_fails_leaves_the_others_their_audit(scene: Scene) -> None:
    """Its own result says why; what was repaired before it is told."""
    config = two_apps(scene)
    with Ledger.open(scene.path) as ledger:
        (lost,) = ledger.fingerprints("two", FLOOR, NOON)
    scene.forget(lost)
    refusing(scene, Reply(403, b'{"detail": "not yours"}'), "one")
    one, two = audited(scene, config=config, repair=True)
    assert "not yours" in one.error
    assert (one.reached, one.in_api, one.complete) == (NOON, 0, False)
    assert (two.error, two.missing, two.repaired, two.complete) == ("", 1, 1, True)


def test_a_failure_on_the_way_keeps_what_was_found(scene: Scene) -> None:
    """The figures are of the part that was read."""
    for n in range(3_600):
        scene.write(f"{n}", FLOOR + n * SECOND)
    scene.fill()
    scene.front.faults = Faults(schedule=lambda n, _: Reply(503) if n > 6 else None)
    scene.front._number = 0
    (result,) = audited(scene)
    assert "503" in result.error
    assert FLOOR < result.reached < NOON
    assert result.in_api == result.journaled == (NOON - result.reached) // SECOND
    assert not result.complete


def test_a_repair_journals_what_is_missing(scene: Scene) -> None:
    """By the app's own mapper, without moving the position or the sweeps."""
    for n in range(40):
        scene.write(f"{n}", FLOOR + n * SECOND)
    found = scene.fill(swept={SECOND: NOON})
    before = _record(scene)
    scene.forget(found[3].uid, found[30].uid)
    (result,) = audited(scene, repair=True)
    assert (result.missing, result.repaired, result.complete) == (2, 2, True)
    (again,) = audited(scene)
    assert (again.in_api, again.journaled, again.missing) == (40, 40, 0)
    assert _record(scene) == before
    with Ledger.open(scene.path) as ledger:
        (place,) = ledger.find(found[3].uid)
        read = ledger.read_of("one", place.seq)
    assert read is not None
    assert (read.read.kind, read.added) == ("repair", 2)


def _record(scene: Scene) -> AppRecord:
    with Ledger.open(scene.path) as ledger:
        (standing,) = ledger.apps()
    return standing.record


def bridged(scene: Scene, backend: OtlpBackend) -> None:
    """The bridge catches up once."""

    async def main() -> list[str]:
        async with AsyncExitStack() as stack:
            bridge = await build(config_of(scene), world_of(scene, backend), stack)
            return await bridge.run_once(300, asyncio.Event())

    assert scene.play(main) == []


def test_what_the_sweeps_were_too_early_for_is_found_repaired_and_delivered_once(
    scene: Scene,
) -> None:
    """And only once, also where identical lines were delivered before."""
    backend = OtlpBackend(BackendConfig())
    for n in range(60):
        scene.write("line", NOON - (100 + n % 30) * SECOND)
    bridged(scene, backend)
    scene.now += 60
    bridged(scene, backend)
    assert len(backend.records) == 60
    scene.write("line", NOON - 100 * SECOND)
    window = (NOON - 300 * SECOND, NOON - 10 * SECOND)
    (result,) = audited(scene, *window)
    assert (result.in_api, result.journaled, result.missing) == (61, 60, 1)
    assert [(s.delivered, s.waiting, s.unknown) for s in result.shares] == [(60, 0, 0)]
    assert audited(scene, *window, repair=True)[0].repaired == 1
    (repaired,) = audited(scene, *window)
    assert [(s.delivered, s.waiting) for s in repaired.shares] == [(60, 1)]
    for _ in range(2):
        bridged(scene, backend)
        assert len(backend.records) == 61
    assert len({record.uid for record in backend.records}) == 61
    (after,) = audited(scene, *window)
    assert (after.complete, after.surplus) == (True, 0)
    assert [(s.delivered, s.waiting) for s in after.shares] == [(61, 0)]
