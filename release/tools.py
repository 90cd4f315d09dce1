"""The checkout, its version, commands, and an environment with what is shipped and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]
DIST: Final = PROJECT / "dist"
LOCK: Final = PROJECT / "requirements/run.txt"
_COMMANDS: Final = Path(sys.executable).parent


class ReleaseError(Exception):
    """Something that must not be released as it is; the text says what and why."""


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = PROJECT) -> str:
    """Run a command and give what it printed.

    Raises:
        ReleaseError: it failed; the text holds what it said.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join(str(word) for word in command)
        raise ReleaseError(f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def tool(name: str) -> Path:
    """A command of the environment that this runs in."""
    return _COMMANDS / name


def tracked(*paths: str) -> list[str]:
    """The files that belong to the project, below some paths."""
    return run("git", "ls-files", "-z", "--", *paths).split("\0")[:-1]


def source_date() -> str:
    """The time that goes into archives: ``SOURCE_DATE_EPOCH``, else that of the last commit.

    (reproducible-builds.org/specs/source-date-epoch)
    """
    return os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct").strip()


@contextmanager
def clean_environment(*more: Path) -> Iterator[Path]:
    """The folder of commands of a new environment: what the lock pins, and wheels beside it."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "venv", folder)
        commands = Path(folder) / "bin"
        pip = (commands / "pip", "--quiet", "--disable-pip-version-check", "install")
        run(*pip, "--require-hashes", "-r", LOCK)
        if more:
            run(*pip, "--no-deps", "--no-index", *more)
        yield commands


def main(work: Callable[[], str], what: str) -> None:
    """Run a part of a release as a command: its word on success, the reason on failure."""
    try:
        sys.stdout.write(f"{work()}\n")
    except ReleaseError as error:
        sys.stderr.write(f"{what}: {error}\n")
        raise SystemExit(1) from None
