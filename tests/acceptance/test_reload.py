"""SIGHUP to the real command: what it takes, what it refuses, what it does not lose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import time
from typing import Any

import httpx
from support.acceptance_bridge import Command, Process
from support.acceptance_fal import FalAccount, line, micros, tied
from support.acceptance_otlp import OtlpBackend, difference
from support.rsyslog import eventually
from support.scraped import scraped

_RELOADS = 5


def count(bridge: Process, event: str) -> int:
    """How often an event was told."""
    return sum(f'"event": "{event}"' in told for told in bridge.err.splitlines())


def reloaded(bridge: Process, event: str = "started") -> None:
    """Send SIGHUP, and wait for what comes of it."""
    before = count(bridge, event)
    bridge.hang_up()
    eventually(lambda: count(bridge, event) > before, "no answer to SIGHUP")


def last(bridge: Process, event: str) -> dict[str, Any]:
    """The last event of a kind."""
    events: list[dict[str, Any]] = [json.loads(told) for told in bridge.err.splitlines()]
    return [told for told in events if told["event"] == event][-1]


def test_reloads_under_load_lose_and_repeat_nothing(command: Command, opened: ExitStack) -> None:
    """Five of them, each amid reading and sending; the backend is slow to answer."""
    history = tied(3_000, since=micros(time() - 300), most=3)
    fal = opened.enter_context(FalAccount(history))
    backend = opened.enter_context(OtlpBackend())
    written = [one.message for one in history]

    def write(some: int) -> None:
        lines = [line(micros() + n, f"live {len(written) + n}") for n in range(some)]
        fal.write(lines)
        written.extend(one.message for one in lines)

    def config(page_size: int) -> Path:
        return command.config(fal.url, {"backend": backend.url}, poll={"page_size": page_size})

    bridge = command.start("run", "--config", config(100))
    for reload in range(_RELOADS):
        assert backend.holds(300 * (reload + 1)), bridge.err
        config(101 + reload)
        write(50)
        reloaded(bridge)
        write(50)
    assert backend.holds(len(written)), bridge.err
    assert bridge.stop().code == 0
    assert count(bridge, "reloading") == _RELOADS
    assert not difference(backend, written)
    assert backend.kept == len(written)


def test_a_broken_file_is_refused_and_the_old_one_goes_on(
    command: Command, opened: ExitStack
) -> None:
    """With the message that a start prints; mended, it is taken."""
    fal = opened.enter_context(FalAccount([line(micros(), "before")]))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url})
    good = config.read_text("utf-8")
    bridge = command.start("run", "--config", config)
    assert backend.holds(1), bridge.err
    config.write_text(good + "\nadmim: {}\npols: {}\n", "utf-8")
    reloaded(bridge, "reload_refused")
    started = command.run("run", "--config", config)
    assert started.code == 2
    assert last(bridge, "reload_refused")["error"] in started.err
    assert last(bridge, "reload_refused")["level"] == "ERROR"
    assert "did you mean 'admin'?" in last(bridge, "reload_refused")["text"]
    fal.write([line(micros(), "after")])
    assert backend.holds(2), bridge.err
    config.write_text(good, "utf-8")
    reloaded(bridge, "config_unchanged")
    assert bridge.stop().code == 0
    assert count(bridge, "started") == 1
    assert backend.bodies == Counter(["before", "after"])


def test_what_looks_on_goes_on(command: Command, opened: ExitStack) -> None:
    """The admin server answers on; its series are those of what is configured now."""
    fal = opened.enter_context(FalAccount([line(micros(), "a", app="a")]))
    backend = opened.enter_context(OtlpBackend())

    def config(*apps: str, **admin: str) -> Path:
        sections = {"admin": {"listen": "127.0.0.1:0", **admin}}
        return command.config(fal.url, {"backend": backend.url}, apps=apps, **sections)

    bridge = command.start("run", "--config", config("a", token="first-token"))
    assert bridge.says('"admin_listening"'), bridge.err
    base = f"http://{last(bridge, 'admin_listening')['address']}"

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{base}/api/status", headers=headers, trust_env=False).status_code

    def series(name: str) -> set[tuple[str, ...]]:
        return set(scraped(httpx.get(f"{base}/metrics", trust_env=False).text).get(name, ()))

    def app_is(name: str) -> Callable[[], bool]:
        return lambda: series("fal_log_bridge_entries_read_total") == {(name,)}

    eventually(app_is("a"), "not shown")
    assert (status("first-token"), status("second-token")) == (200, 401)

    config("b", token="second-token")
    reloaded(bridge)
    eventually(app_is("b"), "not shown")
    assert series("fal_log_bridge_gaps_total") == {("b",)}
    assert (status("first-token"), status("second-token")) == (401, 200)
    assert count(bridge, "admin_listening") == 1

    config("b", listen="127.0.0.2:0")
    reloaded(bridge)
    eventually(lambda: count(bridge, "admin_listening") == 2, "not moved")
    base = f"http://{last(bridge, 'admin_listening')['address']}"
    assert base.startswith("http://127.0.0.2:")
    eventually(app_is("b"), "not shown")

    config("b", listen="192.0.2.1:1")
    reloaded(bridge, "reload_failed")
    assert "admin.listen: cannot listen on 192.0.2.1:1" in last(bridge, "reload_failed")["text"]
    eventually(lambda: count(bridge, "admin_listening") == 3, "not back")
    base = f"http://{last(bridge, 'admin_listening')['address']}"
    eventually(app_is("b"), "not shown")
    ended = bridge.stop()
    assert ended.code == 0
    assert "token" in ended.err
    assert "first-token" not in ended.err
    assert "second-token" not in ended.err
