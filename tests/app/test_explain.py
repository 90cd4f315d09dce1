"""The way of single entries, found by uid or by text."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from support.audited import FLOOR, NOON, Scene
from support.commands import config_of, world_of

from bridge import settings
from bridge.app.explain import MOST, Explanation, as_json, explain
from bridge.errors import ConfigError, JournalUnusable
from bridge.gaps import gap_uid
from bridge.journal import DROPPED
from bridge.journal.ledger import State
from bridge.model import SECOND, DeadLetter, Gap, GapKind, Tick
from bridge.settings import StartAt
from bridge.simulator.exchange import Request
from bridge.simulator.faults import Faults, Reply
from bridge.timestamps import format_tick


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A simulated API and a journal."""
    return Scene(tmp_path)


def explained(
    scene: Scene,
    text: str,
    *,
    config: settings.Settings | None = None,
    apps: tuple[str, ...] = (),
    since: Tick | None = None,
) -> Explanation:
    """Ask."""
    begin = None if since is None else StartAt(since)

    async def main() -> Explanation:
        loaded = config or config_of(scene)
        return await explain(loaded, world_of(scene), text, apps=apps, since=begin)

    return scene.play(main)


def document_of(explanation: Explanation) -> Any:
    """As a script gets it."""
    return json.loads(json.dumps(as_json(explanation)))


def reason_of(scene: Scene, text: str) -> str:
    """Why the one entry with this text is not journaled."""
    (one,) = explained(scene, text, since=FLOOR - 3_600 * SECOND).entries
    assert one.journaled is None
    return one.reason


def test_an_entry_that_a_rule_dropped(scene: Scene) -> None:
    """Is known, in no batch, and was sent nowhere; by uid and by text."""
    scene.write("noise", NOON - SECOND)
    (item,) = scene.fill()
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("UPDATE seen SET seq = ?", (DROPPED,))
    for text in (item.uid.hex(), "noise"):
        (one,) = document_of(explained(scene, text))["entries"]
        journaled = one["journaled"]
        assert (journaled["dropped_by_rule"], journaled["batch"]) == (True, None)
        assert (journaled["read"], journaled["destinations"]) == (None, [])


def test_by_uid_without_the_api(scene: Scene) -> None:
    """Read, batch and destination; the whole uid, in any case, or enough of it."""
    scene.write("x", NOON - SECOND)
    (item,) = scene.fill()
    scene.logs.requests.clear()
    for text in (item.uid.hex(), item.uid.hex().upper(), item.uid.hex()[:8], item.uid.hex()[:9]):
        assert document_of(explained(scene, text)) == {
            "entries": [
                {
                    "app": "one",
                    "uid": item.uid.hex(),
                    "entry": None,
                    "journaled": {
                        "time": format_tick(NOON - SECOND),
                        "time_borrowed": False,
                        "batch": 1,
                        "dropped_by_rule": False,
                        "only_for": None,
                        "at": format_tick(NOON),
                        "read": {
                            "kind": "live",
                            "since": format_tick(FLOOR),
                            "until": format_tick(NOON),
                            "began": format_tick(NOON),
                            "pages": ANY,
                            "added": 1,
                        },
                        "destinations": [
                            {"destination": "out", "state": "waiting", "at": None, "reason": None}
                        ],
                    },
                    "reason": None,
                }
            ],
            "gaps": [],
            "searched": [],
            "stopped": [],
            "failed": {},
        }
    assert not scene.logs.requests


def test_what_became_of_it(scene: Scene) -> None:
    """Acknowledged when; or refused, when and why."""
    scene.write("a", NOON - 2 * SECOND)
    scene.write("b", NOON - SECOND)
    first, second = scene.fill()
    scene.now = 7.0
    scene.acknowledge(1, [DeadLetter("out", second.uid.hex(), 1, "too old", b"", NOON + 5)])
    (one,) = explained(scene, first.uid.hex()).entries
    assert one.journaled is not None
    (fate,) = one.journaled.fates
    assert (fate.state, fate.at) == (State.ACKNOWLEDGED, NOON + 7 * SECOND)
    (two,) = explained(scene, second.uid.hex()).entries
    assert two.journaled is not None
    (fate,) = two.journaled.fates
    assert (fate.state, fate.at, fate.reason) == (State.DEAD_LETTER, NOON + 5, "too old")


def test_what_is_no_longer_known_is_not_invented(scene: Scene) -> None:
    """A journal from before batches were noted."""
    scene.write("a", NOON - SECOND)
    (item,) = scene.fill()
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("UPDATE seen SET seq = 0")
    (one,) = explained(scene, item.uid.hex()).entries
    assert one.journaled is not None
    assert one.journaled.read is None
    assert [fate.state for fate in one.journaled.fates] == [State.UNKNOWN]


def test_the_beginning_of_several_uids(scene: Scene) -> None:
    """They are named."""
    uids = [bytes.fromhex("ab" * 4 + f"{n:024x}") for n in range(2)]
    scene.write("a", NOON - SECOND)
    scene.fill()
    with closing(sqlite3.connect(scene.path)) as db, db:
        for uid in uids:
            db.execute("INSERT INTO seen VALUES (1, 5, ?, 1)", (uid,))
    with pytest.raises(ConfigError) as caught:
        explained(scene, "abababab")
    assert all(uid.hex() in str(caught.value) for uid in uids)
    assert len(explained(scene, uids[1].hex()).entries) == 1


def test_one_uid_in_two_apps(scene: Scene) -> None:
    """Both are explained, or the one that is asked for."""
    scene.write("a", NOON - SECOND)
    (item,) = scene.fill()
    scene.fill("two")
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("INSERT INTO seen VALUES (2, ?, ?, 1)", (item.tick, item.uid))
    config = config_of(scene, {"app_id": "one"}, {"app_id": "two"})
    both = explained(scene, item.uid.hex(), config=config)
    assert [one.app for one in both.entries] == ["one", "two"]
    only = explained(scene, item.uid.hex(), config=config, apps=("two",))
    assert [one.app for one in only.entries] == ["two"]


def test_by_text(scene: Scene) -> None:
    """The API finds the entries, the ledger explains them; the newest first."""
    for n in range(10):
        scene.write(f"needle {n}" if n % 3 == 0 else f"hay {n}", FLOOR + n * SECOND)
    scene.fill()
    explanation = explained(scene, "needle")
    messages = [e["entry"]["message"] for e in document_of(explanation)["entries"]]
    assert messages == ["needle 9", "needle 6", "needle 3", "needle 0"]
    assert all(one.journaled for one in explanation.entries)
    assert explanation.searched == ("one",)


def test_a_text_that_looks_like_a_uid(scene: Scene) -> None:
    """Where no uid begins so, it is a text."""
    scene.write("commit deadbeef", NOON - SECOND)
    scene.fill()
    assert len(explained(scene, "deadbeef").entries) == 1


def test_identical_lines_are_explained_one_by_one(scene: Scene) -> None:
    """Each has its own uid, and one of them may be missing."""
    for _ in range(3):
        scene.write("the same", NOON - SECOND)
    scene.write("another", NOON - SECOND)
    found = scene.fill()
    scene.forget(found[1].uid)
    explanation = explained(scene, "the same")
    assert len(explanation.entries) == 3
    assert sum(one.journaled is None for one in explanation.entries) == 1


def test_only_the_newest_are_explained(scene: Scene) -> None:
    """A bounded number, whatever the text."""
    for n in range(300):
        scene.write(f"needle {n}", FLOOR + n * SECOND)
    scene.fill()
    explanation = explained(scene, "needle")
    assert len(explanation.entries) == MOST
    first = explanation.entries[0].entry
    assert first is not None
    assert first.raw["message"] == "needle 299"


def test_an_app_that_searches_itself(scene: Scene) -> None:
    """The API takes one term, so the other is looked for here, page by page."""
    for n in range(450):
        scene.write(f"Hay {'NEEDLE' if n % 200 == 7 else n}", FLOOR + n * SECOND)
    scene.fill()
    config = config_of(scene, {"app_id": "one", "search": "Hay"})
    explanation = explained(scene, "needle", config=config)
    assert len(explanation.entries) == 3
    assert all(one.journaled for one in explanation.entries)


def test_an_entry_without_a_time(scene: Scene) -> None:
    """Told by its content."""
    scene.write("needle", NOON - SECOND, timestamp="soon")
    scene.write("x", NOON - 2 * SECOND)
    found = scene.fill()
    (one,) = explained(scene, "needle").entries
    assert one.journaled is not None
    assert not one.journaled.place.dated
    scene.forget(*(item.uid for item in found))
    assert "no readable time" in reason_of(scene, "needle")


def test_nothing_found(scene: Scene) -> None:
    """Neither by uid nor by text."""
    scene.fill()
    assert explained(scene, "ab" * 16).entries == ()
    assert explained(scene, "needle").entries == ()


def test_why_an_entry_is_not_journaled(scene: Scene) -> None:
    """Young, late, old, in a gap; and if none of these, missing."""
    sweeps = {900 * SECOND: NOON - 900 * SECOND}
    gap = Gap(GapKind.CROWDED, FLOOR + 60 * SECOND, FLOOR + 61 * SECOND, 9)
    scene.fill(swept=sweeps, gaps=[gap])
    scene.now = 60.0
    scene.write("young", NOON + SECOND)
    scene.write("late", NOON - 10 * SECOND)
    scene.write("old", FLOOR - SECOND)
    scene.write("crowded", FLOOR + 60 * SECOND)
    scene.write("lost", FLOOR + 90 * SECOND)
    assert f"too young: the app is read up to {format_tick(NOON)}" in reason_of(scene, "young")
    assert format_tick(NOON - 900 * SECOND) in reason_of(scene, "late")
    assert "older than the ledger" in reason_of(scene, "old")
    assert "crowded gap" in reason_of(scene, "crowded")
    assert "audit --repair" in reason_of(scene, "lost")
    assert f"--since {format_tick(FLOOR + 90 * SECOND)}" in reason_of(scene, "lost")


def test_an_app_that_was_never_read(scene: Scene) -> None:
    """Said so."""
    scene.fill("two")
    scene.write("x", NOON - SECOND)
    (one,) = explained(scene, "x").entries
    assert one.reason == "the bridge has never read this app"


def test_errors(scene: Scene) -> None:
    """No journal, no such app, an API that stays away."""
    with pytest.raises(JournalUnusable, match="no journal"):
        explained(scene, "x")
    scene.fill()
    with pytest.raises(ConfigError, match="no app 'tow'"):
        explained(scene, "x", apps=("tow",))
    scene.front.faults = Faults(schedule=lambda *_: Reply(503))
    (reason,) = explained(scene, "x").failed.values()
    assert "503" in reason


def test_an_app_that_fails_hides_no_other(scene: Scene) -> None:
    """What the others show is explained, and of the one it is said why not."""
    for app in ("one", "two"):
        scene.write("needle", NOON - SECOND, app)
        scene.fill(app)
    config = config_of(scene, {"app_id": "one"}, {"app_id": "two"})

    def refuse(_: int, request: Request) -> Reply | None:
        return Reply(403) if request.parameter("app_id") == "one" else None

    scene.front.faults = Faults(schedule=refuse)
    explanation = explained(scene, "needle", config=config)
    assert [one.app for one in explanation.entries] == ["two"]
    assert list(explanation.failed) == ["one"]
    assert "403" in document_of(explanation)["failed"]["one"]
    assert scene.now == 0.0


def test_a_refused_key_ends_the_search(scene: Scene) -> None:
    """It would be refused for the other apps too, and is not asked for them."""
    scene.fill("one")
    config = config_of(scene, {"app_id": "one"}, {"app_id": "two"})
    scene.front.faults = Faults(schedule=lambda *_: Reply(401))
    asked = scene.front._number
    assert list(explained(scene, "x", config=config).failed) == ["one", "two"]
    assert (scene.now, scene.front._number) == (0.0, asked + 1)


def test_a_gap_has_a_uid_too(scene: Scene) -> None:
    """That of its record downstream: which stretch, whether it is still open, who has it."""
    gap = Gap(GapKind.CROWDED, FLOOR + SECOND, FLOOR + 2 * SECOND, 1_000)
    scene.fill(gaps=[gap])
    uid = gap_uid("one", gap).hex()
    scene.logs.requests.clear()
    for text in (uid, uid[:8].upper()):
        explanation = explained(scene, text)
        assert explanation.entries == ()
        assert document_of(explanation)["gaps"] == [
            {
                "app": "one",
                "uid": uid,
                "kind": "crowded",
                "since": format_tick(gap.floor),
                "until": format_tick(gap.ceiling),
                "at_least": 1_000,
                "found_at": format_tick(NOON),
                "closed_at": None,
                "batch": 1,
                "destinations": [
                    {"destination": "out", "state": "waiting", "at": None, "reason": None}
                ],
            }
        ]
    assert not scene.logs.requests
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("UPDATE gaps SET closed_at = ?", (NOON + SECOND,))
    (closed,) = document_of(explained(scene, uid, apps=("one",)))["gaps"]
    assert closed["closed_at"] == format_tick(NOON + SECOND)


def test_what_was_lost(scene: Scene) -> None:
    """Its batch is gone, and nobody has it."""
    scene.write("x", NOON - SECOND)
    (item,) = scene.fill()
    with closing(sqlite3.connect(scene.path)) as db, db:
        db.execute("DELETE FROM batches")
    (one,) = explained(scene, item.uid.hex()).entries
    assert one.journaled is not None
    assert [fate.state for fate in one.journaled.fates] == [State.LOST]


def test_beside_a_running_bridge(scene: Scene) -> None:
    """It reads along."""
    scene.write("x", NOON - SECOND)
    scene.fill()
    journal = scene.open()
    try:
        assert explained(scene, "x").entries[0].journaled
    finally:
        journal.abandon()
