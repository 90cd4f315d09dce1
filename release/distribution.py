"""``make dist``: wheel and sdist, their contents checked, the wheel tried where nothing else is."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import bridge
from release.tools import (
    DIST,
    PROJECT,
    ReleaseError,
    clean_environment,
    main,
    run,
    source_date,
    tool,
    tracked,
)

_NAME: Final = f"fal_log_bridge-{bridge.__version__}"
_SOURCES: Final = (
    *("bridge", "benchmarks", "compose", "config", "docs", "helm", "release", "requirements"),
    *(
        "tests",
        "compose.yaml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Dockerfile",
        "LICENSE",
        "Makefile",
        "README.md",
    ),
    *(".dockerignore", ".gitignore", "pyproject.toml"),
)
"""What an sdist holds: everything that the project is made, tested and packed with."""
_DEMO: Final = re.compile(r"written ([\d,]+) · delivered ([\d,]+) · missing 0 · repeated \d+")


def build(folder: Path) -> tuple[Path, Path]:
    """Build wheel and sdist into a folder."""
    _hatch(PROJECT, folder)
    return folder / f"{_NAME}-py3-none-any.whl", folder / f"{_NAME}.tar.gz"


def check(wheel: Path, sdist: Path) -> None:
    """Compare what the archives hold with git, and the wheel with the one that the sdist builds.

    Raises:
        ReleaseError: one holds too much or too little, or the wheels differ.
    """
    with zipfile.ZipFile(wheel) as archive:
        check_wheel(archive.namelist())
    with tarfile.open(sdist) as archive:
        check_sdist([entry.name for entry in archive if entry.isfile()])
    if rebuilt(sdist) != wheel.read_bytes():
        raise ReleaseError("the sdist builds another wheel than the checkout")


def check_wheel(names: Iterable[str]) -> None:
    """Exactly the package's tracked files, beside the wheel's own description.

    Raises:
        ReleaseError: it names what is missing and what does not belong there.
    """
    about = f"{_NAME}.dist-info/"
    held = set(names)
    _compare("the wheel", {name for name in held if not name.startswith(about)}, tracked("bridge"))
    wanted = {f"{about}{name}" for name in ("METADATA", "entry_points.txt", "licenses/LICENSE")}
    if missing := wanted - held:
        raise ReleaseError(f"the wheel lacks {', '.join(sorted(missing))}")


def check_sdist(names: Iterable[str]) -> None:
    """Exactly the project's tracked files, beside the sdist's own description.

    Raises:
        ReleaseError: it names what is missing and what does not belong there.
    """
    held = {name.removeprefix(f"{_NAME}/") for name in names}
    _compare("the sdist", held - {"PKG-INFO"}, tracked(*_SOURCES))


def rebuilt(sdist: Path) -> bytes:
    """The wheel that an sdist builds."""
    with tempfile.TemporaryDirectory() as folder:
        run("tar", "-xzf", sdist, "-C", folder)
        source = Path(folder) / _NAME
        _hatch(source, Path(folder), "-t", "wheel")
        return (Path(folder) / f"{_NAME}-py3-none-any.whl").read_bytes()


def try_out(wheel: Path) -> str:
    """Install a wheel where there is only what the lock pins, and run the demo; its tally.

    Raises:
        ReleaseError: it does not install, is another version, or the demo lost something.
    """
    with clean_environment(wheel) as commands:
        # From a folder of its own, so that it is not the checkout that is imported.
        said = run(commands / "fal-log-bridge", "--version", cwd=commands)
        if said.split()[-1] != bridge.__version__:
            raise ReleaseError(f"--version says {said!r}, not {bridge.__version__}")
        output = run(commands / "fal-log-bridge", "demo", "--seconds", "5", cwd=commands)
    tallies = list(_DEMO.finditer(output))
    if not tallies or tallies[-1][1] != tallies[-1][2] or tallies[-1][1] == "0":
        raise ReleaseError(f"the demo did not deliver everything:\n{output}")
    return tallies[-1][0]


def _hatch(source: Path, folder: Path, *options: str) -> None:
    when = {"SOURCE_DATE_EPOCH": source_date()}
    run(tool("hatchling"), "build", *options, "-d", folder, env=when, cwd=source)


def _compare(what: str, held: set[str], wanted: Iterable[str]) -> None:
    here = set(wanted)
    if held != here:
        few, many = sorted(here - held)[:5], sorted(held - here)[:5]
        raise ReleaseError(f"{what} lacks {few} and has {many} that are not tracked by git")


def _make() -> str:
    shutil.rmtree(DIST, ignore_errors=True)
    wheel, sdist = build(DIST)
    check(wheel, sdist)
    tally = try_out(wheel)
    return f"{wheel.name}, {sdist.name}: contents as tracked, the same wheel twice; demo: {tally}"


if __name__ == "__main__":
    main(_make, "make dist")
