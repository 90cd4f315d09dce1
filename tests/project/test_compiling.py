"""The part in C is compiled where it can be, and what is built says whether it has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_SOURCE = "bridge/source/_stencil.c"
_COMPILED = "bridge/source/_stencil.abi3.so"
_FILES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "bridge/__init__.py", _SOURCE)
_NO_COMPILER = {"CC": "no-such-compiler"}


@pytest.fixture
def checkout(project: Path, tmp_path: Path) -> Path:
    """What a build needs of the project, and a module that was compiled from something else."""
    for name in _FILES:
        target = tmp_path / "checkout" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / name, target)
    (tmp_path / "checkout" / _COMPILED).write_bytes(b"stale")
    return tmp_path / "checkout"


def _build(
    checkout: Path, env: dict[str, str], target: str = "wheel"
) -> subprocess.CompletedProcess[str]:
    here = {name: value for name, value in os.environ.items() if name != "FAL_LOG_BRIDGE_PURE"}
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", "dist"],
        cwd=checkout,
        env=here | env,
        capture_output=True,
        text=True,
        check=False,
    )


def _built(checkout: Path) -> tuple[str, bytes | None]:
    """The tag of the one wheel, and its compiled module."""
    (wheel,) = (checkout / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        module = archive.read(_COMPILED) if _COMPILED in archive.namelist() else None
        assert _SOURCE not in archive.namelist()
    return wheel.stem.split("-", 2)[2], module


@pytest.mark.server("bridge.source._stencil")
def test_a_wheel_tells_what_it_was_compiled_for(checkout: Path) -> None:
    """Every CPython from 3.11 on, of one platform; nothing of the checkout's own module."""
    done = _build(checkout, {})
    assert done.returncode == 0, done.stderr
    tag, module = _built(checkout)
    assert tag.startswith("cp311-abi3-")
    assert module
    assert module.startswith(b"\x7fELF") or sys.platform != "linux"
    assert b"stale" not in module


@pytest.mark.server("bridge.source._stencil")
def test_an_editable_install_has_it_in_the_checkout(checkout: Path) -> None:
    """In place of the one that was there."""
    done = _build(checkout, {}, "wheel:editable")
    assert done.returncode == 0, done.stderr
    assert (checkout / _COMPILED).read_bytes() != b"stale"
    assert _built(checkout) == ("py3-none-any", None)


def test_without_a_compiler_the_wheel_is_for_all(checkout: Path) -> None:
    """One line says why, and no module of the checkout slips in."""
    done = _build(checkout, _NO_COMPILER)
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if _SOURCE in line]
    assert "left out" in said
    assert "no-such-compiler" in said
    assert _built(checkout) == ("py3-none-any", None)


def test_without_a_compiler_nothing_stale_is_left(checkout: Path) -> None:
    """An editable install that could not compile has no module, rather than an older one."""
    assert _build(checkout, _NO_COMPILER, "wheel:editable").returncode == 0
    assert not (checkout / _COMPILED).exists()


def test_it_can_be_left_out(checkout: Path) -> None:
    """By choice, and then there is nothing to warn of."""
    done = _build(checkout, {"FAL_LOG_BRIDGE_PURE": "1"})
    assert done.returncode == 0, done.stderr
    assert _SOURCE not in done.stderr
    assert _built(checkout) == ("py3-none-any", None)


def test_it_can_be_insisted_on(checkout: Path) -> None:
    """Where it cannot be compiled there is no wheel then, and the reason is told."""
    done = _build(checkout, {"FAL_LOG_BRIDGE_PURE": "0", **_NO_COMPILER})
    assert done.returncode != 0
    assert f"{_SOURCE} cannot be compiled" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((checkout / "dist").glob("*.whl"))
