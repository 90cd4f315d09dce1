"""``make sbom``: a CycloneDX bill of the materials that are shipped, from the lock alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

import bridge
from release.licences import shipped
from release.tools import DIST, PROJECT, ReleaseError, clean_environment, main, run, tool

_TOOLS: Final = {"pip", "setuptools"}
"""What an environment has beside what was installed into it."""


def check(bill: dict[str, Any], installed: set[str]) -> None:
    """It lists what was installed, each with a version, a licence and a package URL.

    Raises:
        ReleaseError: it names what is missing, too much, or not described.
    """
    listed = {canonicalize_name(one["name"]): one for one in bill["components"]}
    if listed.keys() != installed:
        raise ReleaseError(f"the bill and the lock differ in {sorted(listed.keys() ^ installed)}")
    vague = [
        name
        for name, one in listed.items()
        if not (one.get("version") and _licensed(one) and one.get("purl"))
    ]
    if vague:
        raise ReleaseError(f"the bill does not describe {', '.join(sorted(vague))}")


def _licensed(component: dict[str, Any]) -> bool:
    """Whether a component's licences say anything."""
    return any(one.get("expression") or one.get("license") for one in component["licenses"])


def complete(bill: dict[str, Any]) -> None:
    """Add what the tool does not find: our own version, and licences that are told in words."""
    # It stands in the package, not in pyproject.toml.
    bill["metadata"]["component"]["version"] = bridge.__version__
    told = {canonicalize_name(one.name): one.licence for one in shipped()}
    for one in bill["components"]:
        if not one.get("licenses"):
            one["licenses"] = [{"expression": told.get(canonicalize_name(one["name"]), "")}]


def make(folder: Path) -> Path:
    """Write the bill into a folder.

    Raises:
        ReleaseError: it could not be made, or is not complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fal-log-bridge-{bridge.__version__}.cdx.json"
    with clean_environment() as commands:
        names = json.loads(run(commands / "pip", "list", "--format=json"))
        installed = {str(canonicalize_name(one["name"])) for one in names} - _TOOLS
        run(commands / "pip", "uninstall", "--quiet", "--yes", *sorted(_TOOLS))
        run(
            *(tool("cyclonedx-py"), "environment", "--output-reproducible"),
            *("--pyproject", PROJECT / "pyproject.toml", "--mc-type", "application"),
            *("--output-format", "JSON", "--output-file", path, commands / "python"),
        )
    bill = json.loads(path.read_text("utf-8"))
    complete(bill)
    path.write_text(json.dumps(bill, indent=2) + "\n", "utf-8")
    check(bill, installed)
    return path


def _make() -> str:
    path = make(DIST)
    count = len(json.loads(path.read_text("utf-8"))["components"])
    return f"dist/{path.name}: {count} packages"


if __name__ == "__main__":
    main(_make, "make sbom")
