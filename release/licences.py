"""``make licences``: the licence of everything that is shipped, and whether it lets us ship it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from release.tools import LOCK, ReleaseError, main

ALLOWED: Final = frozenset(
    [
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "MIT-0"),
        *("PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
        # Its terms hold for its own files alone, which are shipped as they are.
        "MPL-2.0",
    ]
)
"""What Apache-2.0 code may be shipped with, as SPDX names."""

_ELSEWHERE: Final = {"colorama": "BSD-3-Clause"}
"""Pins that only other systems install, so that their own word is not at hand."""

_WORDS: Final = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
"""How packages without an SPDX expression (PEP 639) name theirs."""
_PIN: Final = re.compile(r"^([a-z0-9_.-]+)==(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Shipped:
    """One package that is shipped: its licence as an SPDX expression, empty if it tells none."""

    name: str
    version: str
    licence: str


def shipped() -> Iterator[Shipped]:
    """What the lock pins, each with its licence."""
    for name, version in _PIN.findall(LOCK.read_text("utf-8")):
        yield Shipped(name, version, _licence(canonicalize_name(name)))


def licence_of(about: Mapping[str, Any]) -> str:
    """The SPDX expression that a package's metadata amounts to; empty if it tells none."""
    stated = str(about.get("license", "")).strip().partition("\n")[0]
    names = [c for c in about.get("classifier", ()) if c.startswith("License ::")]
    words = [about.get("license_expression"), stated, *(c.rpartition(" :: ")[2] for c in names)]
    return next(filter(None, map(_spdx, filter(None, words))), "")


def permitted(expression: str) -> bool:
    """Whether an SPDX expression leaves a way to ship under it: every AND, some OR."""
    text = expression.replace("(", " ( ").replace(")", " ) ")
    choices = re.split(r"\sOR\s", text)
    if "(" in text:  # none has had any so far
        return False
    return any(all(one.strip() in ALLOWED for one in re.split(r"\sAND\s", c)) for c in choices)


def table() -> str:
    """All of them as a table in Markdown.

    Raises:
        ReleaseError: it names those that tell no licence or one that is not allowed.
    """
    rows = sorted(shipped(), key=lambda one: one.name)
    wrong = [f"{one.name}: {one.licence or 'none told'}" for one in rows if not _good(one)]
    if wrong:
        raise ReleaseError("not among what may be shipped: " + "; ".join(wrong))
    lines = [f"| {one.name} | {one.version} | {one.licence} |" for one in rows]
    return "\n".join(["| package | version | licence |", "| --- | --- | --- |", *lines])


def _good(one: Shipped) -> bool:
    return bool(one.licence) and permitted(one.licence)


def _licence(name: str) -> str:
    try:
        return licence_of(metadata.metadata(name).json)
    except metadata.PackageNotFoundError:
        return _ELSEWHERE.get(name, "")


def _spdx(words: str) -> str:
    known = _WORDS.get(words.lower(), words)
    try:
        return str(canonicalize_license_expression(known))
    except InvalidLicenseExpression:
        return ""


if __name__ == "__main__":
    main(table, "make licences")
