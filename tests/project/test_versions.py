"""One version, said in one place and repeated truthfully everywhere else; a readable changelog."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

import bridge

_KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
_RELEASE = re.compile(r"\[(\d+\.\d+\.\d+(?:-\w+(?:\.\d+)?)?)\] - (\d{4}-\d\d-\d\d)")
_IMAGE = re.compile(r"fal-log-bridge:v?(\d[\w.-]*)")


def _releases(project: Path) -> list[tuple[str, str]]:
    """The changelog's (version, date), newest first."""
    text = (project / "CHANGELOG.md").read_text("utf-8")
    return _RELEASE.findall(text)


def test_the_version_is_one(project: Path) -> None:
    """Of three numbers (semver.org), and read by the build from the package."""
    assert re.fullmatch(r"\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?", bridge.__version__)
    described = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    assert described["project"]["dynamic"] == ["version"]
    assert described["tool"]["hatch"]["version"] == {"path": "bridge/__init__.py"}


def test_the_chart_has_the_same_version(project: Path) -> None:
    """The chart, the application it installs, and the image that it takes unless told otherwise."""
    chart: dict[str, Any] = yaml.safe_load(
        (project / "helm/fal-log-bridge/Chart.yaml").read_text("utf-8")
    )
    values = yaml.safe_load((project / "helm/fal-log-bridge/values.yaml").read_text("utf-8"))
    assert chart["version"] == str(chart["appVersion"]) == bridge.__version__
    assert values["image"]["tag"] == "", "else the chart's appVersion would not count"


def test_no_file_names_another_version_of_the_image(project: Path) -> None:
    """Wherever an image of ours is named with a version, it is this one; labels too."""
    files = [*project.glob("*.y*ml"), *project.glob("*.md"), *(project / "docs").glob("*.md")]
    files += [path for path in (project / "helm").rglob("*") if path.is_file()]
    named = {
        f"{path.name}: {found}"
        for path in files
        for found in _IMAGE.findall(path.read_text("utf-8"))
        if found != bridge.__version__
    }
    assert named == set()
    labels = re.findall(
        r'image\.version="?([^"\s\\]+)', (project / "Dockerfile").read_text("utf-8")
    )
    assert [label for label in labels if "$" not in label and label != bridge.__version__] == []


def test_the_changelog_can_be_read(project: Path) -> None:
    """As keepachangelog.com has it: releases with dates, entries under known words."""
    text = (project / "CHANGELOG.md").read_text("utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads
    assert heads[0] == "Unreleased"
    assert [head for head in heads[1:] if not _RELEASE.fullmatch(head)] == []
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= set(_KINDS)
    for section in re.split(r"^### .+\n", text, flags=re.MULTILINE)[1:]:
        entries, _, _ = section.partition("\n## ")
        lines = [line for line in entries.splitlines() if line]
        assert lines
        assert [line for line in lines if not line.startswith(("- ", "  "))] == []


def test_the_changelog_knows_this_version(project: Path) -> None:
    """Releases go down in version and date, and none is newer than what the package says."""
    releases = _releases(project)
    versions = [Version(version) for version, _ in releases]
    assert all(newer > older for newer, older in pairwise(versions))
    assert all(newer >= older for (_, newer), (_, older) in pairwise(releases))
    assert not versions or versions[0] <= Version(bridge.__version__)


@pytest.mark.parametrize("target", ["dist", "sbom", "licences", "audit", "newcomer-test"])
def test_releasing_tells_of_its_targets(project: Path, target: str) -> None:
    """Each command of a release is on its page."""
    assert f"`make {target}`" in (project / "docs/releasing.md").read_text("utf-8")
