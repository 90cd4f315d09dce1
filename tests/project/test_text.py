"""What people read is true: links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_UNSEEN = {".git", ".venv", "__pycache__", "node_modules", "build", "dist"}
_CACHE = re.compile(r"^\.\w+_cache$|^\.hypothesis$")
_SOMEONES_FOLDER = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work)/\w")
_LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
_FENCE = re.compile(r"^```(?:\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)\b")
_CODE = re.compile(r"`[^`\n]+`")
_COMMAND = re.compile(r"^(?:\$ )?(?:\S+/)?fal-log-bridge((?: [a-z][a-z-]*)+)(?=\s|$)", re.MULTILINE)


def _files(project: Path, pattern: str = "*") -> list[Path]:
    """The project's own files, without what tools left."""
    return [
        path
        for path in sorted(project.rglob(pattern))
        if path.is_file()
        and not any(
            part in _UNSEEN or _CACHE.match(part) for part in path.relative_to(project).parts
        )
    ]


def _slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _prose(project: Path) -> dict[Path, str]:
    return {path: path.read_text("utf-8") for path in _files(project, "*.md")}


def test_links_resolve(project: Path) -> None:
    """Every relative link leads to a file, and to a heading if it names one."""
    broken = []
    for path, text in _prose(project).items():
        for link in _LINK.finditer(text):
            target = (path.parent / link["path"]).resolve() if link["path"] else path
            anchor = link["anchor"]
            if not target.exists() or (
                anchor and anchor not in map(_slug, _HEADING.findall(target.read_text("utf-8")))
            ):
                broken.append(f"{path.relative_to(project)}: {link[0]}")
    assert not broken, "\n".join(broken)


def test_make_targets_exist(project: Path) -> None:
    """Every ``make`` command that a page shows is a target."""
    makefile = (project / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    shown = {
        target
        for text in _prose(project).values()
        for code in [*_FENCE.findall(text), *_CODE.findall(_FENCE.sub("", text))]
        for target in _MAKE.findall(code)
    }
    assert {"demo", "test"} <= shown
    assert shown <= targets


def test_readme_commands_exist(project: Path) -> None:
    """Every sub-command that README shows is one of the command's."""
    text = (project / "README.md").read_text("utf-8")
    shown = {match.strip() for match in _COMMAND.findall("\n".join(_FENCE.findall(text)))}
    assert shown, "README shows no fal-log-bridge command"
    unknown = [command for command in shown if not _is_command(command)]
    assert not unknown


def _is_command(words: str) -> bool:
    """Whether the command line knows a sub-command."""
    command = [sys.executable, "-m", "bridge", *words.split(), "--help"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nothing_names_someones_machine(project: Path) -> None:
    """No file carries a path that exists only on the machine it was written on."""
    found = [
        f"{path.relative_to(project)}: {match[0]}"
        for path in _files(project)
        for match in _SOMEONES_FOLDER.finditer(path.read_text("utf-8", errors="replace"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"])
def test_pages_exist(project: Path, page: str) -> None:
    """The pages that everyone looks for are there and say something."""
    assert (project / page).read_text("utf-8").strip()


def test_decisions_are_numbered(project: Path) -> None:
    """Decision records are numbered without a gap, in their names and their titles."""
    records = sorted((project / "docs/decisions").glob("*.md"))
    assert records
    for number, path in enumerate(records, start=1):
        assert path.name.startswith(f"{number:04}-"), path.name
        assert path.read_text("utf-8").startswith(f"# {number}. "), path.name
