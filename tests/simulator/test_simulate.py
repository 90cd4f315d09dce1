"""The simulated account alone, and its command."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from bridge.cli.simulate import simulate
from bridge.clock import SystemClock
from bridge.errors import ConfigError
from bridge.simulator.alone import CROWD, Plan, Progress, Trait, run_alone
from bridge.simulator.logs_api import LogsApiConfig
from bridge.simulator.manual_clock import ManualClock

SCRIPT = "import typer; from bridge.cli.simulate import simulate; typer.run(simulate)"


def served(plan: Plan, app: str | None = None) -> tuple[list[httpx.Response], Progress]:
    """A wrong and a right request, about one app or all, against a running account."""

    async def run() -> tuple[list[httpx.Response], Progress]:
        stop = asyncio.Event()
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(
            run_alone(plan, SystemClock(), stop, ready=url.set_result, progress=lambda _: None)
        )
        async with httpx.AsyncClient(trust_env=False) as client:
            base = await url
            since = {"since": "2025-01-01T00:00:00Z", "limit": "5000"}
            since |= {"app_id": app} if app else {}
            answers = [
                await client.post(
                    f"{base}/logs/", params=since, headers={"Authorization": f"Key {key}"}, json={}
                )
                for key in ("wrong", plan.api.key)
            ]
        stop.set()
        return answers, await running

    return asyncio.run(run())


def test_an_account_serves_its_logs() -> None:
    """History at once, the key checked, a trait at work, all counted."""
    plan = Plan(
        port=0,
        rate=50,
        apps=("one",),
        api=LogsApiConfig(key="k", cap=5),
        traits=(Trait.OLDEST_FIRST,),
        history=60,
    )
    (refused, listed), last = served(plan)
    assert refused.status_code == 401
    times = [item["labels"]["logged_at"] for item in listed.json()]
    assert len(times) == 5
    assert times == sorted(times)
    assert {item["app"] for item in listed.json()} == {"one"}
    assert last.written >= 60 * 50 - 16
    assert last.statuses == Counter({401: 1, 200: 1})
    assert last.struck == 0


@pytest.mark.parametrize("trait", list(Trait))
def test_every_trait_can_be_served(trait: Trait) -> None:
    """None breaks a good request."""
    (_, listed), _ = served(Plan(port=0, history=10, traits=(trait,)))
    assert listed.status_code == 200


def test_a_crowd_on_one_tick() -> None:
    """Lines that nothing tells apart, of the first app, once their time has come."""
    plan = Plan(port=0, history=0, late=0, traits=(Trait.CROWD,), trouble_after=0)
    (_, listed), last = served(plan, plan.apps[0])
    assert max(Counter(json.dumps(line) for line in listed.json()).values()) == CROWD
    assert last.written >= CROWD
    (_, before), _ = served(replace(plan, trouble_after=60), plan.apps[0])
    assert len(before.json()) < 100


def test_a_poisoned_second() -> None:
    """Whatever reaches it fails, of the first app only, and not before its time."""
    plan = Plan(port=0, traits=(Trait.POISON,), trouble_after=0)
    answers = [served(plan, app)[0][1].status_code for app in plan.apps]
    assert answers == [500, 200, 200]
    (_, before), _ = served(replace(plan, trouble_after=60), plan.apps[0])
    assert before.status_code == 200


def test_the_count_goes_on() -> None:
    """Once a second, on a clock that nobody waits for."""
    counts: list[int] = []
    stop = asyncio.Event()

    def progress(so_far: Progress) -> None:
        counts.append(so_far.written)
        if len(counts) == 5:
            stop.set()

    plan = Plan(port=0, rate=100, history=0)
    run = run_alone(plan, ManualClock(), stop, ready=lambda _: None, progress=progress)
    last = asyncio.run(run)
    assert counts == sorted(set(counts))
    assert last.written >= counts[4] > 300


def test_a_port_out_of_reach_is_a_config_error() -> None:
    """Raised before anything runs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        plan = Plan(port=taken.getsockname()[1])
        run = run_alone(plan, SystemClock(), asyncio.Event(), ready=print, progress=print)
        with pytest.raises(ConfigError, match="cannot listen"):
            asyncio.run(run)


def test_help_shows_examples_and_options() -> None:
    """What a person needs to begin."""
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    for text in ("fal-log-bridge simulate --rate", "--port", "--seed", "--cap", "cut-bounds"):
        assert text in result.stdout


@pytest.mark.parametrize("option", [["--rate", "0"], ["--port", "70000"], ["--body", "none"]])
def test_wrong_options_are_usage_errors(option: list[str]) -> None:
    """Exit 2, as everywhere."""
    app = typer.Typer()
    app.command()(simulate)
    assert CliRunner().invoke(app, option).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(number: signal.Signals) -> None:
    """Prints URL, key and environment; answers; ends with the count and exit 0."""
    options = ["--port", "0", "--key", "a b:c", "--app", "one", "--app", "two", "--history", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stdout
    head = [process.stdout.readline() for _ in range(8)]
    url = head[0].split()[-1]
    answer = httpx.post(
        f"{url}/logs/", headers={"Authorization": "Key a b:c"}, json={}, trust_env=False
    )
    process.send_signal(number)
    rest, errors = process.communicate()
    watchdog.cancel()
    assert answer.status_code == 200
    assert process.returncode == 0
    text = "".join(head)
    assert "export FAL_KEY='a b:c'" in text
    assert f"export BRIDGE_FAL__BASE_URL={url}" in text
    assert "export BRIDGE_APPS=one,two" in text
    assert "1 of 200" in rest
    assert "Traceback" not in errors
