"""The recipes in `config/recipes`: what stands in their heads, and what they say in YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[2] / "config/recipes"
RECEIVING: Final = FOLDER / "receiving"
NAMES: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
SECTIONS: Final = ("Variables", "Limits", "What a log looks like", "How to query")

_PLACEHOLDER: Final = re.compile(r"\$\{env:(\w+)(?::-([^}]*))?\}")
_VARIABLE: Final = re.compile(r"^#   ([A-Z][A-Z0-9_]+)  +(\S.*(?:\n#      .*)*)", re.MULTILINE)
_STATUS: Final = re.compile(r"^# (Tested against: |From documentation only: )\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe."""

    name: str
    path: Path
    head: str
    body: str

    @property
    def placeholders(self) -> dict[str, str | None]:
        """The variables that the YAML reads, with their defaults; None is none."""
        return {name: default or None for name, default in _PLACEHOLDER.findall(self.body)}

    @property
    def required(self) -> tuple[str, ...]:
        """The variables without a default."""
        return tuple(name for name, default in self.placeholders.items() if default is None)

    @property
    def documented(self) -> dict[str, str]:
        """The variables that the head explains."""
        found = _VARIABLE.findall(self.section("Variables"))
        return {name: re.sub(r"\n#\s+", " ", text) for name, text in found}

    @property
    def statuses(self) -> list[str]:
        """Whether it was tried, as it says itself."""
        return [match.strip(": ") for match in _STATUS.findall(self.head)]

    def section(self, heading: str) -> str:
        """The lines below a heading of the head."""
        _, _, rest = self.head.partition(f"\n# {heading}\n")
        lines = rest.splitlines(keepends=True)
        end = next((n for n, line in enumerate(lines) if not line.startswith("#   ")), len(lines))
        return "".join(lines[:end])


def recipe(name: str) -> Recipe:
    """One by its name."""
    path = FOLDER / f"{name}.yaml"
    text = path.read_text("utf-8")
    head, mark, body = text.partition("\nfal:\n")
    return Recipe(name, path, head, mark + body)
