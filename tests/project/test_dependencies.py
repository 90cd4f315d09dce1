"""The locked dependencies: current, complete and of one mind."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_LOCKS = {
    "run": (),
    "build": ("build",),
    "dev": ("dev",),
    "servers": ("dev", "servers"),
    "release": ("release",),
}
_WITHOUT_PROJECT = {"build", "release"}
_PIN = re.compile(
    r"^(?P<name>[a-z0-9_.-]+)==(?P<version>[^\s;]+)(?P<rest>(?:\\\n|.)*)", re.MULTILINE
)


@pytest.fixture(scope="session")
def pyproject(project: Path) -> dict[str, Any]:
    """The package's description."""
    return tomllib.loads((project / "pyproject.toml").read_text("utf-8"))


def _pins(project: Path, lock: str) -> dict[str, tuple[str, str]]:
    """A lock's (version, marker and hashes) by canonical name."""
    text = (project / f"requirements/{lock}.txt").read_text("utf-8")
    return {canonicalize_name(m["name"]): (m["version"], m["rest"]) for m in _PIN.finditer(text)}


def _group(pyproject: dict[str, Any], name: str) -> Iterator[Requirement]:
    """A dependency group's requirements, included groups too (PEP 735)."""
    for item in pyproject["dependency-groups"][name]:
        if isinstance(item, str):
            yield Requirement(item)
        else:
            yield from _group(pyproject, item["include-group"])


@pytest.mark.parametrize("lock", _LOCKS)
def test_lock_satisfies_the_project(project: Path, pyproject: dict[str, Any], lock: str) -> None:
    """Every requirement is pinned to a version that it allows; ``make lock`` mends it."""
    wanted = [requirement for group in _LOCKS[lock] for requirement in _group(pyproject, group)]
    if lock not in _WITHOUT_PROJECT:
        wanted += [Requirement(text) for text in pyproject["project"]["dependencies"]]
    pins = _pins(project, lock)
    stale = [
        str(requirement)
        for requirement in wanted
        if (name := canonicalize_name(requirement.name)) not in pins
        or not requirement.specifier.contains(pins[name][0], prereleases=True)
    ]
    assert not stale, f"requirements/{lock}.txt does not satisfy {stale}: run make lock"


@pytest.mark.parametrize("lock", _LOCKS)
def test_lock_is_hashed(project: Path, lock: str) -> None:
    """Every pin carries hashes, so that an install gives the same bytes everywhere."""
    pins = _pins(project, lock)
    assert pins
    assert [name for name, (_, rest) in pins.items() if "--hash=sha256:" not in rest] == []


def test_locks_agree(project: Path) -> None:
    """What is tested is what is shipped: no package has two versions among the locks."""
    versions: dict[str, set[str]] = {}
    for lock in _LOCKS:
        for name, (version, _) in _pins(project, lock).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
