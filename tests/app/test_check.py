"""Trying settings out: one row for each thing that was tried, and none for what was not."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any

import pytest
from support.virtual import VirtualClock, run_virtually

from bridge import settings
from bridge.app.check import Mark, Row, as_json, check, failed
from bridge.app.parts import World
from bridge.clock import Clock
from bridge.errors import ConfigError
from bridge.journal import Journal
from bridge.model import SECOND
from bridge.simulator.exchange import Answer, Request, refusal
from bridge.simulator.faults import LOGIN_PAGE, Dropped, Fault, Faults, Faulty, OldestFirst, Reply
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.manual_clock import NOON
from bridge.simulator.times import naive
from bridge.simulator.transport import CoreTransport

KEY = "key-id:the-secret-of-fal"


def no_journal(_: settings.Journal, __: Clock) -> Journal:
    """A check must not touch the journal."""
    raise AssertionError("the journal was opened")


def tried(
    *faults: Fault,
    core: Any = None,
    names: tuple[str, ...] = (),
    apps: tuple[dict[str, Any], ...] = ({"app_id": "one"}, {"app_id": "two"}),
    environ: str = "",
) -> list[Row]:
    """The rows for two apps of 20 entries each, behind some faults."""
    clock = VirtualClock(NOON)
    logs = LogsApiFake(clock, LogsApiConfig(key=KEY))
    for n in range(20):
        for app in ("one", "two"):
            tick = NOON - SECOND - n * 7_001_001
            logs.write({"app": app, "timestamp": naive(tick)}, tick, visible_at=0)
    front = core or Faulty(logs, Faults(faults), Random(1))
    config = settings.Settings.model_validate(
        {
            "fal": {"base_url": "http://api.test", "key": KEY},
            "apps": apps,
            "destinations": [{"name": "out", "type": "console"}],
        }
    )
    if environ:
        config = config.warned((environ,))
    world = World(
        clock=clock,
        random=Random(1),
        emit=lambda _: None,
        out=io.BytesIO(),
        open_journal=no_journal,
        api_transport=CoreTransport(front, clock),
    )

    async def main() -> list[Row]:
        return [row async for row in check(config, world, names)]

    return run_virtually(main())


_OF_OUT = ("connection", "delivery")


def test_all_fine() -> None:
    """A row for config and journal, then the same for each app, then each destination."""
    rows = tried()
    assert not failed(rows)
    targets = ["config", "journal", *["app one"] * 8, *["app two"] * 8, *["destination out"] * 2]
    assert [row.target for row in rows] == targets
    checks = ["page", "order", "bounds", "precision", "limit", "timestamps", "date", "body"]
    assert [row.check for row in rows] == ["settings", "file", *checks, *checks, *_OF_OUT]
    unknown = [row for row in rows if row.mark is not Mark.OK]
    assert [(row.target, row.check) for row in unknown] == [
        ("app one", "limit"),
        ("app two", "limit"),
    ]


def test_one_app() -> None:
    """Only the app that is named is tried; a name that is none says which there are."""
    assert {row.target for row in tried(names=("two",))} == {"config", "app two"}
    with pytest.raises(ConfigError, match=r"no app 'three' \(there are: one, two\)"):
        tried(names=("three",))


@pytest.mark.parametrize(
    ("fault", "said", "mend"),
    [
        (Reply(401, b'{"detail": "Key is revoked"}'), "Key is revoked", "check fal.key"),
        (Dropped(), "no answer", "check fal.base_url, the network"),
    ],
)
def test_what_concerns_the_account_is_one_row(fault: Fault, said: str, mend: str) -> None:
    """A key that is not accepted and a host that is not there are no matter of one app."""
    rows = tried(fault)[:-2]
    assert [(row.target, row.check, row.mark) for row in rows[2:]] == [
        ("fal", "request", Mark.FAILED)
    ]
    assert rows[2].finding.startswith("http://api.test/logs/: ")
    assert said in rows[2].finding
    assert mend in rows[2].mend
    assert failed(rows)


@pytest.mark.parametrize(
    ("fault", "said", "mend"),
    [
        (Reply(403, b'{"detail": "not yours"}'), "not yours", "READONLY"),
        (Reply(404, b'{"detail": "no such page"}'), "no such page", "check fal.base_url"),
        (Reply(307, headers=(("location", "https://else.test"),)), "else.test", "fal.base_url"),
        (Reply(429, b'{"detail": "slow down"}'), "slow down", "poll.requests_per_second"),
        (Reply(500, b'{"detail": "sorry"}'), "sorry", "the server's side"),
        (Reply(200, LOGIN_PAGE), "cannot be read", "a proxy in between"),
        (
            Reply(422, b'{"detail": [{"loc": ["query", "limit"], "msg": "x"}]}'),
            "limit: x",
            "fal.api",
        ),
    ],
)
def test_a_page_that_does_not_come(fault: Fault, said: str, mend: str) -> None:
    """One row for each app: the API's own words, and the mend beside them."""
    rows = tried(fault)[2:-2]
    assert [(row.target, row.mark) for row in rows] == [
        ("app one", Mark.FAILED),
        ("app two", Mark.FAILED),
    ]
    assert all(said in row.finding and mend in row.mend for row in rows)


def test_a_filter_that_is_refused() -> None:
    """The app whose filter it is fails with the API's detail; the other one is fine."""
    apps = ({"app_id": "one", "labels": {"app": "one"}}, {"app_id": "two"})
    rows = tried(apps=apps)
    (row,) = (row for row in rows if row.mark is Mark.FAILED)
    assert row.target == "app one"
    assert row.finding.endswith("answered 400 Bad Request: Duplicate label key found: app")
    assert row.mend == "check the app's filters"
    assert {row.target for row in rows[2:-2]} == {"app one", "app two"}


def test_the_key_is_not_shown() -> None:
    """A server that repeats the key does not get it printed."""

    class Telltale:
        """Quotes the header."""

        def answer(self, request: Request) -> Answer:
            """See `Core.answer`."""
            return refusal(403, f"{request.header('authorization')} may not")

    assert "the-secret-of-fal" not in json.dumps(as_json(tried(core=Telltale())))


def test_what_reading_cannot_cope_with_fails() -> None:
    """An odd finding fails only where it is harmful."""
    rows = tried(OldestFirst(), names=("one",))
    assert [row.check for row in rows if row.mark is Mark.FAILED] == ["order"]
    assert "newest first" in next(row.mend for row in rows if row.check == "order")


def test_warnings_of_the_config() -> None:
    """What `run` would warn of stands here too."""
    row = tried(environ="BRIDGE_POL: unknown")[1]
    assert (row.target, row.mark, row.finding) == ("config", Mark.UNKNOWN, "BRIDGE_POL: unknown")


def test_json() -> None:
    """The document has every field of every row, and whether all is well."""
    rows = tried(names=("one",))
    document = json.loads(json.dumps(as_json(rows)))
    assert document["ok"] is True
    assert len(document["rows"]) == len(rows)
    order = next(row for row in document["rows"] if row["check"] == "order")
    assert order == {
        "target": "app one",
        "check": "order",
        "mark": "ok",
        "finding": "newest first",
        "mend": "",
        "asked": "20 entries",
        "evidence": {"entries": 20, "rising": 0, "falling": 19},
    }
    assert as_json(tried(Dropped()))["ok"] is False
