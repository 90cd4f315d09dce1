"""What is said of a bridge, and what comes first."""

from __future__ import annotations

import pytest

from bridge.app.findings import (
    App,
    Destination,
    Journal,
    Level,
    of_app,
    of_destination,
    of_journal,
    span,
    verdict,
)
from bridge.model import Verdict

ROOM = Journal(size=10, max_size=1_000)


def app(**fields: object) -> App:
    """An app that is read."""
    return App(**{"name": "one", "lag": 1.0, **fields})  # type: ignore[arg-type]  # by the tests


def destination(**fields: object) -> Destination:
    """A destination that takes what comes."""
    made = {"name": "siem", "waiting": 0, "age": 0.0, **fields}
    return Destination(**made)  # type: ignore[arg-type]  # by the tests


@pytest.mark.parametrize(
    ("fields", "level", "state"),
    [
        ({}, Level.FINE, "reading"),
        ({"lag": None}, Level.NOTE, "starting"),
        ({"lag": 7_500.0}, Level.NOTE, "catching up"),
        ({"silent": True}, Level.WARNING, "silent"),
        ({"paused": True, "lag": 900.0}, Level.WARNING, "waits for room"),
        ({"troubled": True, "lag": None}, Level.FAILURE, "cannot be read"),
        ({"stuck": True, "troubled": True}, Level.FAILURE, "stands still"),
    ],
)
def test_apps(fields: dict[str, object], level: Level, state: str) -> None:
    """Each state has its word, its sentence by name, and what to do if it is bad."""
    found = of_app(app(**fields))
    assert (found.level, found.state) == (level, state)
    assert "one" in found.sentence
    assert bool(found.mend) == (level > Level.NOTE)


@pytest.mark.parametrize(
    ("fields", "level", "state"),
    [
        ({}, Level.FINE, "up to date"),
        ({"waiting": 5, "age": 3.0}, Level.FINE, "delivering"),
        ({"waiting": 5, "age": 300.0}, Level.NOTE, "catching up"),
        ({"trouble": Verdict.RETRY}, Level.WARNING, "retrying"),
        ({"trouble": Verdict.BLOCKED}, Level.FAILURE, "held"),
        ({"trouble": Verdict.BLOCKED, "paused": True}, Level.WARNING, "paused"),
        ({"in_use": False, "waiting": 5}, Level.NOTE, "not in use"),
        ({"stuck": True}, Level.FAILURE, "stands still"),
    ],
)
def test_destinations(fields: dict[str, object], level: Level, state: str) -> None:
    """The same for destinations."""
    found = of_destination(destination(**fields))
    assert (found.level, found.state) == (level, state)
    assert "siem" in found.sentence
    if level > Level.NOTE:
        assert found.mend


@pytest.mark.parametrize(
    ("journal", "level", "state"),
    [
        (ROOM, Level.FINE, "room"),
        (Journal(size=0, max_size=0), Level.FINE, "room"),
        (Journal(size=800, max_size=1_000, held_by="siem"), Level.WARNING, "nearly full"),
        (Journal(size=970, max_size=1_000, full=True), Level.FAILURE, "full"),
        (Journal(size=0, max_size=1_000, stuck=True), Level.FAILURE, "stands still"),
    ],
)
def test_the_journal(journal: Journal, level: Level, state: str) -> None:
    """How full it is, and who holds it."""
    found = of_journal(journal)
    assert (found.level, found.state) == (level, state)
    assert ("siem" in found.sentence) == bool(journal.held_by)


def test_all_is_well() -> None:
    """One sentence that says so, with how many there are."""
    first, others = verdict([app(), app(name="two")], [destination()], ROOM)
    assert first.level is Level.FINE
    assert first.sentence == "All is well: 2 apps are read, 1 destination takes what comes."
    assert others == []


def test_what_stays_on_record_is_no_alarm() -> None:
    """All is well, and what happened is said below, with the command for it."""
    first, others = verdict([app(open_gaps=2)], [destination(dead_letters=1)], ROOM)
    assert first.level is Level.FINE
    assert [one.sentence for one in others] == [
        "2 stretches of one cannot be proved complete.",
        "siem refused one entry for good, kept as dead letters.",
    ]
    assert all("fal-log-bridge" in one.mend for one in others)


def test_the_worst_comes_first() -> None:
    """One thing to do first; the rest in order of weight."""
    apps = [app(silent=True), app(name="two", open_gaps=1)]
    destinations = [
        destination(name="slow", trouble=Verdict.RETRY),
        destination(name="shut", trouble=Verdict.BLOCKED, waiting=1_234),
    ]
    first, others = verdict(apps, destinations, ROOM)
    assert first.sentence == "shut refuses what it is sent. Nothing is lost: 1,234 entries wait."
    assert [one.state for one in others] == ["retrying", "silent", "gap"]


def test_a_full_journal_leads() -> None:
    """Not the apps that wait for it: it is what has to be mended."""
    apps = [app(paused=True), app(name="two", paused=True)]
    first, others = verdict(apps, [], Journal(990, 1_000, held_by="siem", full=True))
    assert first.sentence == "The journal is full, held by siem; reading waits."
    assert len(others) == 2


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (86_400 + 59, "1 d"),
        (9 * 86_400 + 2 * 3_600, "9 d 2 h"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    """Two units at most, neighbours."""
    assert span(seconds) == said
