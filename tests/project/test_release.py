"""What a release is held to, shown on releases that must not be made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import bridge
from release import distribution, licences, sbom
from release.distribution import NATIVE, PURE, Kind
from release.tools import ReleaseError, tracked

_ABOUT = f"fal_log_bridge-{bridge.__version__}.dist-info/"
_ROOT = f"fal_log_bridge-{bridge.__version__}/"


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("MIT", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("AGPL-3.0-or-later OR GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", False),
        ("", False),
    ],
)
def test_what_may_be_shipped(expression: str, may: bool) -> None:
    """Every part that has to be kept is on the list; what is not understood is not."""
    assert licences.permitted(expression) is may


@pytest.mark.parametrize(
    ("about", "licence"),
    [
        ({"license_expression": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"license_expression": "MIT", "license": "GPL"}, "MIT"),
        ({"license": "MIT"}, "MIT"),
        ({"license": "MIT License\n\nPermission is hereby granted"}, "MIT"),
        ({"license": "3-Clause BSD License"}, "BSD-3-Clause"),
        ({"classifier": ["License :: OSI Approved :: ISC License (ISCL)"]}, "ISC"),
        (
            {"license": "as you like", "classifier": ["License :: OSI Approved :: MIT License"]},
            "MIT",
        ),
        ({"license": "as you like"}, ""),
        ({}, ""),
    ],
)
def test_how_packages_tell_their_licence(about: dict[str, Any], licence: str) -> None:
    """By an expression, a word or a classifier, in this order; else not at all."""
    assert licences.licence_of(about) == licence


def test_what_is_shipped_may_be(project: Path) -> None:
    """Everything in the image has a licence that lets Apache-2.0 code stand on it."""
    rows = licences.table().splitlines()[2:]
    lock = (project / "requirements/run.txt").read_text("utf-8").splitlines()
    assert len(rows) == sum(1 for one in licences.shipped()) > 30
    assert len(rows) == sum(line[:1].isalnum() for line in lock)


def test_an_unknown_licence_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package, so that somebody can look."""
    bad = [licences.Shipped("evil", "1", "GPL-3.0-only"), licences.Shipped("mute", "1", "")]
    monkeypatch.setattr(licences, "shipped", lambda: iter(bad))
    with pytest.raises(ReleaseError, match=r"evil: GPL-3\.0-only; mute: none told"):
        licences.table()


@pytest.fixture(scope="module")
def wheel() -> list[str]:
    """The names in a wheel without the C part, as it must be."""
    about = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    sources = (name for name in tracked("bridge") if not name.endswith(".c"))
    return [*sources, *(_ABOUT + name for name in about)]


def test_a_wheel_holds_what_git_knows(wheel: list[str]) -> None:
    """No more and no less; a stray file, a forgotten one and a lost licence are named."""
    distribution.check_wheel(wheel, PURE)
    with pytest.raises(ReleaseError, match=r"bridge/scratch\.py"):
        distribution.check_wheel([*wheel, "bridge/scratch.py"], PURE)
    for lost in ("bridge/journal/schema.sql", "licenses/LICENSE"):
        with pytest.raises(ReleaseError, match=re.escape(lost)):
            distribution.check_wheel([name for name in wheel if not name.endswith(lost)], PURE)


def test_the_compiled_module_is_in_its_own_wheel_alone(wheel: list[str]) -> None:
    """A wheel for every machine has none, one for this kind of machine has it."""
    distribution.check_wheel([*wheel, *NATIVE.compiled], NATIVE)
    for kind, names in ((PURE, [*wheel, *NATIVE.compiled]), (NATIVE, wheel)):
        with pytest.raises(ReleaseError, match=r"_stencil\.abi3\.so"):
            distribution.check_wheel(names, kind)


def test_an_sdist_holds_all_that_is_needed_to_make_it() -> None:
    """Every tracked file of the sources; what is left out is named."""
    names = [_ROOT + name for name in (*tracked(*distribution._SOURCES), "PKG-INFO")]
    distribution.check_sdist(names)
    with pytest.raises(ReleaseError, match=r"pyproject\.toml"):
        distribution.check_sdist([name for name in names if not name.endswith("/pyproject.toml")])


def test_only_the_forge_and_ci_are_left_out() -> None:
    """Whoever adds a folder decides whether it belongs into the sdist."""
    left = set(tracked()) - set(tracked(*distribution._SOURCES))
    assert {name for name in left if not name.startswith((".ci/", ".git"))} == set()


@pytest.mark.parametrize(
    "kind",
    [PURE, pytest.param(NATIVE, marks=pytest.mark.server("cc", "bridge.source._stencil"))],
    ids=["pure", "native"],
)
def test_archives_can_be_reproduced(tmp_path: Path, kind: Kind) -> None:
    """Byte by byte, the wheel from the sdist too; what they hold `make dist` compares with git."""
    here, there = tmp_path / "here", tmp_path / "there"
    sdist = distribution.build_sdist(here)
    assert distribution.build_sdist(there).read_bytes() == sdist.read_bytes()
    wheel = distribution.build_wheel(kind, here).read_bytes()
    assert distribution.build_wheel(kind, there).read_bytes() == wheel
    assert distribution.rebuilt(sdist, kind) == wheel


def test_a_bill_is_complete() -> None:
    """What is missing, too much or not described is named."""
    one = {"name": "A_b", "version": "1", "purl": "pkg:pypi/a-b@1", "licenses": [{"license": {}}]}
    described = one | {"licenses": [{"expression": "MIT"}]}
    sbom.check({"components": [described]}, {"a-b"})
    with pytest.raises(ReleaseError, match=r"\['c'\]"):
        sbom.check({"components": [described]}, {"a-b", "c"})
    with pytest.raises(ReleaseError, match="does not describe a-b"):
        sbom.check({"components": [one]}, {"a-b"})
