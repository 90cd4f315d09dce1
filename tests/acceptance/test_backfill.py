"""Backfills of the real command, alone and beside a running bridge: complete, and once."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from time import time
from typing import Any, Self

import pytest
from support.acceptance_bridge import Command
from support.acceptance_fal import FalAccount, Line, line, micros, stamp, tied
from support.acceptance_otlp import OtlpBackend, difference

_MANY = 100_000
_DAY = 24 * 3600


def _options(since: float, until: float) -> list[str]:
    """The window as the command takes it."""
    return ["--since", f"{stamp(micros(since))}Z", "--until", f"{stamp(micros(until))}Z"]


def _older(began: float) -> Line:
    """An entry before a window: fal shows that far back."""
    return line(micros(began - 60), "older")


def _listed(command: Command, config: Path) -> list[dict[str, Any]]:
    ended = command.run("backfill", "list", "--json", "--config", config)
    assert ended.code == 0, ended.err
    jobs: list[dict[str, Any]] = json.loads(ended.out)["backfills"]
    return jobs


@pytest.mark.timeout(300)
def test_a_hundred_thousand_entries_killed_half_way(command: Command, opened: ExitStack) -> None:
    """Killed (9) amid it, the same command again: complete, none twice, and none by a third."""
    began = time() - 3 * _DAY
    history = tied(_MANY, since=micros(began), most=30)
    end = history[-1].at / 1e6 + 1
    fal = opened.enter_context(FalAccount([_older(began), *history]))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, poll={"requests_per_second": 1000})
    again = ["backfill", *_options(began, end), "--config", str(config)]
    first = command.start(*again)
    assert backend.holds(_MANY // 2, 120), first.err
    first.kill()
    first.end()
    assert backend.kept < _MANY
    (job,) = _listed(command, config)
    assert job["state"] == "active"
    assert 0.3 < job["share"] < 1
    second = command.run(*again, "--json", within=150)
    assert second.code == 0, second.err
    told = json.loads(second.out)
    assert (told["backfill"], told["state"], told["delivered"]) == (job["backfill"], "done", True)
    assert sum(app["added"] for app in told["apps"]) == _MANY
    assert len(backend.uids) == _MANY
    # What was on its way when it was killed is sent again, with its uid: no more than that.
    repeats = backend.kept - _MANY
    assert repeats <= 4 * 1_000 + 1_000, repeats
    kept = backend.kept
    third = command.run(*again, "--json", within=150)
    assert third.code == 0, third.err
    told = json.loads(third.out)
    assert told["backfill"] != job["backfill"]
    assert [(app["added"], app["known"]) for app in told["apps"]] == [(0, _MANY)]
    assert backend.kept == kept
    assert {one.message for one in history} == set(backend.bodies)
    positions = command.run("positions", "list", "--json", "--config", config)
    assert json.loads(positions.out)["positions"] == []


class _Writer:
    """An app that logs a line every so often, and notes when."""

    def __init__(self, fal: FalAccount) -> None:
        self.shown: dict[str, float] = {}
        self._fal = fal
        self._stop = Event()
        self._thread = Thread(target=self._write)

    def _write(self) -> None:
        while not self._stop.wait(0.05):
            name = f"live {len(self.shown)}"
            self.shown[name] = time()
            self._fal.write([line(micros(), name)])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.timeout(300)
def test_the_live_stream_does_not_notice(command: Command, opened: ExitStack) -> None:
    """Beside a running bridge: what is written meanwhile comes as soon as it did before."""
    began = time() - 3 * _DAY
    history = tied(30_000, since=micros(began), most=30)
    end = history[-1].at / 1e6 + 1
    fal = opened.enter_context(FalAccount([_older(began), *history]))
    backend = opened.enter_context(OtlpBackend())
    app = {"app_id": "app", "start": "now"}
    config = command.config(fal.url, {"backend": backend.url}, apps=[app])
    bridge = command.start("run", "--config", config)
    assert bridge.says('"app_started"'), bridge.err
    with _Writer(fal) as writer:
        assert backend.holds(100), bridge.err
        quiet = set(writer.shown)
        ended = command.run("backfill", *_options(began, end), "--config", config, within=200)
        assert ended.code == 0, ended.err + bridge.err
        busy = writer.shown.keys() - quiet
    expected = [*(one.message for one in history), *writer.shown]
    assert backend.wait_for(lambda: len(backend.uids) >= len(expected), 20), bridge.err
    assert bridge.stop().code == 0
    assert not difference(backend, expected)
    took = {
        a.body: got.at - writer.shown.get(a.body, got.at)
        for got in backend.got
        for a in got.arrivals
    }
    before, meanwhile = (sorted(took[name] for name in names) for names in (quiet, busy))
    assert len(meanwhile) > 20
    middle, worst = meanwhile[len(meanwhile) // 2], meanwhile[-1]
    assert middle < before[len(before) // 2] + 0.5, (before, meanwhile)
    assert worst < before[-1] + 3, (before, meanwhile)


def test_ctrl_c_stops_it_and_resume_goes_on(command: Command, opened: ExitStack) -> None:
    """Alone and handed to a bridge: exit code 130, nothing goes on, `--resume` does."""
    began = time() - _DAY
    history = tied(6_000, since=micros(began), most=3)
    end = history[-1].at / 1e6 + 1
    fal = opened.enter_context(FalAccount([_older(began), *history]))
    backend = opened.enter_context(OtlpBackend())
    app = {"app_id": "app", "start": "now"}
    slow = {"page_size": 100, "requests_per_second": 20}
    config = command.config(fal.url, {"backend": backend.url}, apps=[app], poll=slow)
    alone = command.start("backfill", *_options(began, end), "--config", config, "--name", "job")
    assert backend.holds(300), alone.err
    alone.send_ctrl_c()
    ended = alone.end()
    assert ended.code == 130, ended
    assert "backfill --resume job" in ended.out
    bridge = command.start("run", "--config", config)
    assert bridge.says('"started"'), bridge.err
    (job,) = _listed(command, config)
    assert job["state"] == "stopped"
    resumed = command.start("backfill", "--resume", "job", "--config", config)
    kept = backend.kept
    assert backend.holds(kept + 300), resumed.err
    resumed.send_ctrl_c()
    assert resumed.end().code == 130
    config = command.config(fal.url, {"backend": backend.url}, apps=[app])
    bridge.hang_up()
    ended = command.run("backfill", "--resume", "job", "--config", config)
    assert ended.code == 0, ended.err
    assert bridge.stop().code == 0
    assert not difference(backend, [one.message for one in history])


@pytest.mark.timeout(180)
def test_the_bridge_is_killed_and_started_again(command: Command, opened: ExitStack) -> None:
    """Killed (9) amid a job it was handed: the next one goes on, and so does who watches."""
    began = time() - _DAY
    history = tied(20_000, since=micros(began), most=10)
    end = history[-1].at / 1e6 + 1
    fal = opened.enter_context(FalAccount([_older(began), *history]))
    backend = opened.enter_context(OtlpBackend())
    app = {"app_id": "app", "start": "now"}
    config = command.config(fal.url, {"backend": backend.url}, apps=[app])
    bridge = command.start("run", "--config", config)
    assert bridge.says('"app_started"'), bridge.err
    watching = command.start("backfill", *_options(began, end), "--config", config)
    assert backend.holds(8_000, 60), watching.err
    bridge.kill()
    bridge.end()
    bridge = command.start("run", "--config", config)
    ended = watching.end(100)
    assert ended.code == 0, ended
    assert bridge.stop().code == 0
    assert len(backend.uids) == len(history)
    assert {one.message for one in history} == set(backend.bodies)
    (job,) = _listed(command, config)
    assert (job["state"], job["apps"][0]["added"]) == ("done", len(history))


def test_beside_another_command_it_is_refused(command: Command, opened: ExitStack) -> None:
    """At once, and with how to go on; nothing is left behind, and that one does its work."""
    now = time()
    lines = [line(micros(now - 1_000 + n / 10), f"{n}") for n in range(6_000)]
    fal = opened.enter_context(FalAccount([_older(now - 8_000), *lines]))
    backend = opened.enter_context(OtlpBackend())
    slow = {"page_size": 100, "requests_per_second": 20}
    config = command.config(fal.url, {"backend": backend.url}, poll=slow)
    once = command.start("run", "--once", "--config", config)
    assert backend.holds(100), once.err
    ended = command.run("backfill", *_options(now - 2_000, now - 1_500), "--config", config)
    assert ended.code == 1, ended
    assert "in use by another command, which takes no orders: run --once" in ended.err
    assert _listed(command, config) == []
    assert once.end(60).code == 0
    assert not difference(backend, [one.message for one in lines])


def test_only_a_new_destination_gets_what_it_has_not(command: Command, opened: ExitStack) -> None:
    """What the old one has from the live stream goes to the new one alone."""
    now = time()
    lines = [line(micros(now - 1_000 + n), f"old {n}") for n in range(500)]
    fal = opened.enter_context(FalAccount([_older(now - 8_000), *lines]))
    old, new = (opened.enter_context(OtlpBackend()) for _ in range(2))
    config = command.config(fal.url, {"old": old.url})
    assert command.once(config).code == 0
    assert old.kept == 500
    both = command.config(fal.url, {"old": old.url, "new": new.url})
    options = [*_options(now - 2_000, now - 100), "--config", str(both)]
    everyone = command.run("backfill", *options, "--json")
    assert everyone.code == 0, everyone.err
    assert json.loads(everyone.out)["apps"][0]["known"] == 500
    ended = command.run("backfill", *options, "--destination", "new", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["apps"][0]["added"] == 500
    assert (old.kept, new.kept) == (500, 500)
    assert new.bodies == old.bodies
    assert new.uids == old.uids


def test_refusals(command: Command, opened: ExitStack) -> None:
    """Each a message that says what to do, with exit code 2, and nothing is begun."""
    fal = opened.enter_context(FalAccount())
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url})

    def refused(*options: str) -> str:
        ended = command.run("backfill", *options, "--config", config)
        assert ended.code == 2, ended
        assert "Traceback" not in ended.err
        return " ".join(ended.err.split())

    assert "is empty" in refused("--since", "1h", "--until", "2h")
    tomorrow = f"{stamp(micros(time() + _DAY))}Z"
    assert "is in the future" in refused("--since", "1h", "--until", tomorrow)
    assert "a duration back such as 10m" in refused("--since", "yesterday", "--until", "now")
    assert "did you mean 'app'?" in refused("--since", "2h", "--until", "1h", "--app", "ap")
    words = refused("--since", "2h", "--until", "1h", "--destination", "backnd")
    assert "did you mean 'backend'?" in words
    assert "--until" in refused("--since", "2h")
    assert "cannot be a name" in refused("--since", "2h", "--until", "1h", "--name", "a b")
    assert not (command.folder / "journal.sqlite").exists()
    dry = command.run("backfill", "--since", "2h", "--until", "1h", "--dry-run", "--config", config)
    assert dry.code == 0, dry.err
    assert "app: no bridge has read it yet." in dry.out
    assert not (command.folder / "journal.sqlite").exists()


def test_what_fal_no_longer_shows_is_told(command: Command, opened: ExitStack) -> None:
    """A window that begins before the account's first entry may have lost what was there."""
    now = time()
    fal = opened.enter_context(FalAccount([line(micros(now - 7_200), "first")]))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url})
    ended = command.run("backfill", *_options(now - 20_000, now - 4_000), "--config", config)
    assert ended.code == 0, ended.err
    assert "1 stretch of it cannot be proved complete" in ended.out
    assert any(body.startswith("fal log bridge: a gap") for body in backend.bodies)
    assert backend.bodies["first"] == 1
