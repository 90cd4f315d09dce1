"""The image, built once for all tests, and a way to run it as strictly as a cluster would."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from image import container

Command = Callable[..., Sequence[str]]


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The image's name; it is gone afterwards, and what it was built on."""
    tag = f"localhost/fal-log-bridge:{uuid.uuid4().hex[:12]}"
    container.build(tag)
    yield tag
    _podman("rmi", "--force", tag, f"{tag}-base")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the checkout: a container that is killed for its memory leaves a file behind."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def name() -> str:
    """The name of the test's container."""
    return f"bridge-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def command(image: str, name: str) -> Iterator[Command]:
    """Make the command that runs the image: ``command("run", env={...}, network="host")``.

    The test's containers, one after the other, share a volume.
    """

    def make(
        *args: str, env: dict[str, str] | None = None, entrypoint: str = "", network: str = "none"
    ) -> Sequence[str]:
        options = [f"--env={key}={value}" for key, value in (env or {}).items()]
        if entrypoint:
            options.append(f"--entrypoint={entrypoint}")
        options += ["--name", name, "--network", network, f"--volume={name}:{container.STATE}"]
        options += ["--oom-score-adj", "1000"]  # who goes first when a test fills its memory
        return container.run(image, *args, options=options)

    yield make
    _podman("rm", "--force", "--ignore", name)
    _podman("volume", "rm", "--force", name)


def _podman(*args: str) -> None:
    subprocess.run([*container.PODMAN, *args], check=True, capture_output=True)
