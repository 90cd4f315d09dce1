"""The image, built once for all tests, and a way to run it as strictly as a cluster would."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

# What a restricted pod security policy asks for, and less memory than anyone would give.
_STRICT = (
    *("--network", "host", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
    *("--read-only", "--read-only-tmpfs=false", "--memory", "128m"),
    *("--user", "10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The image's name; it is gone afterwards."""
    tag = f"localhost/fal-log-bridge:{uuid.uuid4().hex[:12]}"
    build = Path(__file__).with_name("build.py")
    subprocess.run([sys.executable, build, tag], check=True)
    yield tag
    subprocess.run(
        ["podman", "rmi", "--force", tag, f"{tag}-base"], check=True, capture_output=True
    )


@pytest.fixture
def command(image: str) -> Iterator[Callable[..., Sequence[str]]]:
    """Make the command that runs the image under a name: ``command("run", env={...})``."""
    name = f"bridge-{uuid.uuid4().hex[:12]}"
    podman = ("podman", "--cgroup-manager", "cgroupfs", "--runtime", "runc")

    def make(*args: str, env: dict[str, str] | None = None, entrypoint: str = "") -> Sequence[str]:
        options = [f"--env={key}={value}" for key, value in (env or {}).items()]
        if entrypoint:
            options.append(f"--entrypoint={entrypoint}")
        return [*podman, "run", "--rm", "--name", name, *_STRICT, *options, image, *args]

    yield make
    subprocess.run(["podman", "rm", "--force", "--ignore", name], check=True, capture_output=True)
