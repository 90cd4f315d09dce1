"""The container image: it builds, and runs without root, capabilities or a writable root folder."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import pytest

import bridge
from bridge.clock import SystemClock
from bridge.model import SECOND
from bridge.simulator.account import Account
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import OtlpBackend
from bridge.simulator.server import serving

Command = Callable[..., Sequence[str]]

pytestmark = [
    pytest.mark.server("buildah", "podman", "runc", "mmdebstrap", "root"),
    pytest.mark.xdist_group("image"),  # one worker, so that the image is built once
    pytest.mark.timeout(900),  # building takes a minute, or several on a busy machine
]

_WRITABLE = """
for folder in / /app /etc /tmp /run /var/lib /var/lib/fal-log-bridge; do
  touch $folder/probe 2>/dev/null && echo $folder
done
id -u
"""


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_version(command: Command) -> None:
    """The image holds this version."""
    assert bridge.__version__ in _output(command("--version"))


def test_schema(command: Command) -> None:
    """The command line works in the image: the config schema is printed as JSON."""
    assert json.loads(_output(command("config", "schema")))["type"] == "object"


def test_only_the_journal_folder_is_writable(command: Command) -> None:
    """A numeric user without a name, and one folder to write to."""
    shell = command("-c", _WRITABLE, entrypoint="/bin/sh")
    assert _output(shell).split() == ["/var/lib/fal-log-bridge", "10001"]


def test_no_build_tools_are_left(command: Command) -> None:
    """The application's environment has neither pip nor what built the package."""
    tools = command("-c", "ls /app/lib/python3*/site-packages /app/bin", entrypoint="/bin/sh")
    names = _output(tools).split()
    assert "bridge" in names
    assert not [name for name in names if re.match(r"pip\b|setuptools|wheel|hatchling", name)]


def test_demo(command: Command) -> None:
    """The demo carries a simulated account's logs and ends with nothing missing."""
    tally = re.findall(
        r"written ([\d,]+) · delivered ([\d,]+) · missing 0 · repeated \d+",
        _output(command("demo", "--seconds", "5")),
    )
    assert tally
    written, delivered = tally[-1]
    assert written == delivered != "0"


def test_run_until_stopped(command: Command) -> None:
    """Configured by environment variables alone, it delivers what there is; SIGTERM ends it, 0."""
    asyncio.run(asyncio.wait_for(_run_until_stopped(command), timeout=120))


async def _run_until_stopped(command: Command) -> None:
    clock = SystemClock()
    api = LogsApiFake(clock, LogsApiConfig(key="an-id:a-secret"))
    now = clock.now()
    account = Account(seed=1, start=now - 60 * SECOND, rate=5, late=0)
    written = list(account.entries_between(0, now))
    api.add(*written)
    all_here = asyncio.Event()
    backend = OtlpBackend(
        on_record=lambda _: _set_when(len(backend.uids) == len(written), all_here)
    )
    async with AsyncExitStack() as stack:
        env = {
            "FAL_KEY": "an-id:a-secret",
            "BRIDGE_APPS": "*",
            "BRIDGE_FAL__BASE_URL": await stack.enter_async_context(serving(api)),
            "OTEL_EXPORTER_OTLP_ENDPOINT": await stack.enter_async_context(serving(backend)),
        }
        container = await asyncio.create_subprocess_exec(
            *command("run", env=env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = asyncio.create_task(container.communicate())
        arrived = asyncio.create_task(all_here.wait())
        await asyncio.wait({said, arrived}, return_when=asyncio.FIRST_COMPLETED)
        assert arrived.done(), (await said)[0].decode()
        container.send_signal(signal.SIGTERM)  # podman passes it on
        output = (await said)[0].decode()
    assert container.returncode == 0, output
    assert backend.uids.total() == len(backend.uids) == len(written) > 0
    assert not backend.violations
    assert "a-secret" not in output


def _set_when(condition: bool, event: asyncio.Event) -> None:
    if condition:
        event.set()
