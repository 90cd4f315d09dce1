"""What sets two configurations apart, in words that give no value away."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.settings import Settings, changes

SECRET = "hunter2"
BASE: dict[str, Any] = {
    "fal": {"key": "id:secret"},
    "apps": [{"app_id": "one"}, {"app_id": "two", "level": "INFO"}],
    "journal": {"path": "/var/old.sqlite"},
    "destinations": [
        {"name": "otlp", "type": "otlp", "endpoint": "http://localhost:4318"},
        {"name": "screen", "type": "console"},
    ],
}


def between(**sections: Any) -> tuple[str, ...]:
    """What changes when these sections take the place of the base's."""
    return changes(Settings.model_validate(BASE), Settings.model_validate(BASE | sections))


def test_nothing_changed() -> None:
    """Read again, in another order, or with a default written out: the same."""
    admin = {"listen": "127.0.0.1:9846"}
    shuffled = {key: BASE[key][::-1] for key in ("apps", "destinations")}
    assert between() == between(admin=admin) == between(**shuffled) == ()


def test_warnings_are_no_difference() -> None:
    """They are about the settings, not part of them."""
    one = Settings.model_validate(BASE)
    assert changes(one, one.warned(("beware",))) == ()


def test_apps_come_and_go() -> None:
    """With what becomes of the position."""
    apps = [{"app_id": "two", "level": "INFO"}, {"app_id": "three"}]
    assert between(apps=apps) == (
        "app three: added; read from its position, or from its start if it has none",
        "app one: removed; its position is kept for when it is put back",
    )


def test_changed_filters_say_what_that_means() -> None:
    """For the position; what is no filter does not."""
    apps = [{"app_id": "one", "search": SECRET, "service": SECRET}, {"app_id": "two"}]
    assert between(apps=apps) == (
        (
            "app one: service, search changed; the new filters apply from its position on, and "
            "what they would have selected before is not read again"
        ),
        (
            "app two: level changed; the new filters apply from its position on, and what they "
            "would have selected before is not read again"
        ),
    )


def test_what_is_read_under_a_name() -> None:
    """Another stream under the same name, and a start that no longer counts."""
    before = Settings.model_validate(BASE | {"apps": [{"name": "n", "app_id": "a"}]})
    after = Settings.model_validate(BASE | {"apps": [{"name": "n", "app_id": "b", "start": "1h"}]})
    assert changes(before, after) == (
        (
            "app n: app_id, start changed; another stream is read, from the position of the one "
            "before; start counts only while an app has no position"
        ),
    )


def test_destinations_come_go_and_turn_into_others() -> None:
    """With what becomes of their places."""
    destinations = [
        {"name": "screen", "type": "file", "path": "/var/log/out"},
        {"name": "new", "type": "console"},
    ]
    assert between(destinations=destinations) == (
        "destination new: added; goes on from its place, or from its start if it has none",
        (
            "destination otlp: removed; it keeps its place and what it has still to get, until "
            "`fal-log-bridge destinations forget` gives that up"
        ),
        "destination screen: is of another type now, and goes on from its place",
    )


def test_another_journal() -> None:
    """Says where everything stays."""
    assert between(journal={"path": "/var/new.sqlite"}) == (
        "journal: path changed",
        (
            "journal.path: positions, and what has still to be delivered, stay in /var/old.sqlite; "
            "/var/new.sqlite has its own"
        ),
    )


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"fal": {"key": SECRET}}, "fal: key changed"),
        ({"admin": {"token": SECRET}}, "admin: token changed"),
        (
            {"telemetry": {"endpoint": "http://t", "headers": {"key": SECRET}}},
            "telemetry: endpoint, headers changed",
        ),
        ({"poll": {"page_size": 7, "concurrency": 2}}, "poll: page_size, concurrency changed"),
    ],
)
def test_sections(sections: dict[str, Any], told: str) -> None:
    """Keys by name, never a value."""
    assert between(**sections) == (told,)


def test_no_value_is_ever_told() -> None:
    """Headers, URLs, masks and resources may all hold a secret."""
    otlp = {
        "name": "otlp",
        "type": "otlp",
        "logs_endpoint": f"http://localhost/?key={SECRET}",
        "headers": {"authorization": SECRET},
        "resource": {"a": SECRET},
    }
    mask = {"mask": [{"pattern": SECRET}]}
    app = {"app_id": "one", "shape": mask, "labels": {"a": SECRET}, "resource": {"b": SECRET}}
    told = between(destinations=[otlp, BASE["destinations"][1]], apps=[app, BASE["apps"][1]])
    assert len(told) == 2
    assert "resource, endpoint, logs_endpoint, headers changed" in told[1]
    assert SECRET not in "".join(told)
