"""What people read is true: links lead somewhere, commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from bridge.cli import app

_UNSEEN = {".git", ".venv", "__pycache__", "node_modules", "build", "dist"}
_CACHE = re.compile(r"^\.\w+_cache$|^\.hypothesis$")
_SOMEONES_FOLDER = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work)/\w")
_LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
_FENCE = re.compile(r"^```(?:\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)\b")
_CODE = re.compile(r"`[^`\n]+`")
_COMMAND = re.compile(r"^(?:\$ )?(?:\S+/)?fal-log-bridge ([a-z].*)$", re.MULTILINE)
_REST = re.compile(r"\s(?:\||>|<|2>|&&|;|\\).*")


def _files(project: Path, pattern: str = "*") -> list[Path]:
    """The project's own files, without what tools left."""
    return [
        path
        for path in sorted(project.rglob(pattern))
        if path.is_file()
        and path.suffix != ".so"
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


def test_commands_exist(project: Path) -> None:
    """Every command line that a page shows is one: its sub-command and its options."""
    shown = {
        match.strip()
        for text in _prose(project).values()
        for match in _COMMAND.findall("\n".join(_FENCE.findall(text)))
    }
    assert len(shown) > 20
    unknown = {line: why for line in sorted(shown) if (why := _refused(line))}
    assert not unknown


@pytest.mark.parametrize("line", ["stats", "status --wacth", "dead-letters list --out x"])
def test_what_is_no_command_is_found(line: str) -> None:
    """The check itself can fail."""
    assert _refused(line)


def _refused(line: str) -> str:
    """What the command line has against some words, were they given with --help; else empty."""
    words = shlex.split(_REST.sub("", line), comments=True)
    try:
        get_command(app).main([*words, "--help"], standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - any of the parser's
        return str(error) or type(error).__name__
    return ""


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
