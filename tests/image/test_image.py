"""The container image: it builds, and runs without root, capabilities or a writable root folder."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from image.container import PODMAN
from support.ends import KEY, Ends, until

import bridge

Command = Callable[..., Sequence[str]]
Stop = Callable[[str], None]

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

_LARGEST = 100_000_000
"""Bytes that the image may add to its base; docs/operations.md says how many it does."""

# Fills the memory that a container may have until the process that it was made for is gone.
_HOG = """
import os, sys
pid, group = sys.argv[1:]
with open(f"{group}/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
held = []
while os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat").read().split()[2]:
    held.append(bytearray(os.urandom(1 << 20)))
"""


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def _inspected(name: str, kind: str = "container") -> dict[str, Any]:
    """What podman knows of a container or an image."""
    (found,) = json.loads(_output([*PODMAN, kind, "inspect", name]))
    return dict(found)


def test_version(command: Command) -> None:
    """The image holds this version."""
    assert bridge.__version__ in _output(command("--version"))


def test_the_c_part_is_compiled(command: Command) -> None:
    """It is there, and this Python loads it."""
    load = command("-c", "import bridge.source._stencil", entrypoint="/app/bin/python3")
    assert _output(load) == ""


def test_labels(image: str) -> None:
    """The image says what it is, in the words of the OCI."""
    labels = _inspected(image, "image")["Config"]["Labels"]
    told = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert told["version"] == bridge.__version__
    assert told["licenses"] == "Apache-2.0"
    assert {"title", "description", "revision", "base.name"} <= told.keys()


def test_size(image: str) -> None:
    """What the image adds to its base stays small."""
    added = _inspected(image, "image")["Size"] - _inspected(f"{image}-base", "image")["Size"]
    assert added < _LARGEST


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
    find = "for tool in pip pip3 cc gcc make git; do command -v $tool; done; true"
    assert _output(command("-c", find, entrypoint="/bin/sh")) == ""


def test_health(command: Command, name: str) -> None:
    """It listens on every address, and the image's own health check finds it alive.

    There is neither network nor backend here: waiting for them is no reason to be restarted.
    """
    env = {"FAL_KEY": KEY, "BRIDGE_APPS": "*", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    # A proxy is no way to this container itself.
    env["http_proxy"] = "http://127.0.0.1:1"
    check = [*PODMAN, "healthcheck", "run", name]
    started = [*PODMAN, "exec", name, "cat", "/proc/net/tcp"]
    with subprocess.Popen(command("run", env=env), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = next(line for line in process.stderr if "admin_listening" in line)
        assert "http://0.0.0.0:9846" in said
        assert "00000000:2676 00000000:0000 0A" in _output(started)
        assert subprocess.run(check, check=False, timeout=60).returncode == 0
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_demo(command: Command) -> None:
    """The demo carries a simulated account's logs and ends with nothing missing."""
    tally = re.findall(
        r"written ([\d,]+) · delivered ([\d,]+) · missing 0 · repeated \d+",
        _output(command("demo", "--seconds", "5")),
    )
    assert tally
    written, delivered = tally[-1]
    assert written == delivered != "0"


def _by_signal(number: str) -> Stop:
    """Stop a container by a signal."""

    def stop(name: str) -> None:
        _output([*PODMAN, "kill", "--signal", number, name])

    return stop


def _out_of_memory(name: str) -> None:
    """Have the kernel kill the container's process: something else fills its memory."""
    pid = str(_inspected(name)["State"]["Pid"])
    groups = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    paths = {kind: path for _, kind, path in groups}
    old = "/sys/fs/cgroup/memory" + paths.get("memory", "")
    group = old if "memory" in paths else "/sys/fs/cgroup" + paths[""]
    subprocess.run([sys.executable, "-c", _HOG, pid, group], check=True, timeout=60)


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        pytest.param(_by_signal("TERM"), 0, id="SIGTERM"),
        pytest.param(_by_signal("KILL"), 137, id="SIGKILL"),
        pytest.param(_out_of_memory, 137, id="out-of-memory"),
    ],
)
def test_stopped_in_the_middle(command: Command, name: str, stop: Stop, code: int) -> None:
    """However it ends, the next one on the same volume goes on: nothing is lost.

    Configured by environment variables alone. At SIGTERM it finishes what is in flight and leaves
    with 0, and then nothing is sent twice either.
    """
    asyncio.run(asyncio.wait_for(_stopped_in_the_middle(command, name, stop, code), timeout=240))


async def _stopped_in_the_middle(command: Command, name: str, stop: Stop, code: int) -> None:
    ends = Ends(rate=20, page=25, delay=0.3)
    async with ends.served() as at:
        env = {
            "FAL_KEY": KEY,
            "BRIDGE_APPS": "*",
            "BRIDGE_FAL__BASE_URL": at.api,
            "BRIDGE_ADMIN__LISTEN": "127.0.0.1:0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": at.backend,
        }
        arguments = command("run", env=env, network="host")
        assert await _run_until(arguments, name, ends.first, stop) == code
        assert 0 < len(ends.backend.uids) < ends.written
        ends.write()
        assert await _run_until(arguments, name, ends.all, _by_signal("TERM")) == 0
    uids = ends.backend.uids
    assert len(uids) == ends.written
    if code == 0:
        assert uids.total() == len(uids)
    assert not ends.backend.violations


async def _run_until(
    arguments: Sequence[str], name: str, reached: asyncio.Event, stop: Stop
) -> int | None:
    """Run a container up to an event, then stop it; the exit code."""
    container = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = await until(reached, container)
    await asyncio.to_thread(stop, name)
    output = (await said)[0].decode()
    assert KEY.partition(":")[2] not in output
    return container.returncode
