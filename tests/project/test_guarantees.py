"""docs/guarantees.md: all traps are there, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.fixture(scope="session")
def tables(project: Path) -> dict[str, list[list[str]]]:
    """The cells of each table's rows, without its head, by the heading above it."""
    text = (project / "docs" / "guarantees.md").read_text("utf-8")
    found: dict[str, list[list[str]]] = {}
    for section in text.split("\n## ")[1:]:
        heading, _, rest = section.partition("\n")
        rows = [line for line in rest.splitlines() if line.startswith("|")]
        found[heading] = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    return found


def test_every_trap_has_its_row(tables: dict[str, list[list[str]]]) -> None:
    """One to thirty, in order, each with the trap, the answer and a test."""
    rows = tables["Thirty traps"]
    assert [row[0] for row in rows] == [str(n) for n in range(1, 31)]
    assert all(len(row) == 4 and all(row) for row in rows)


def test_every_promise_has_its_row(tables: dict[str, list[list[str]]]) -> None:
    """What is promised, under which assumption, and a test."""
    rows = tables["Promises"]
    assert rows
    assert all(len(row) == 3 and all(row) for row in rows)


def test_every_named_test_exists(project: Path, tables: dict[str, list[list[str]]]) -> None:
    """Each row ends in names of tests and nothing else, and they are functions of their files."""
    missing = []
    for row in (row for rows in tables.values() for row in rows):
        named = _TEST.findall(row[-1])
        assert named, row
        assert not _TEST.sub("", row[-1]).strip(", "), row
        missing += [f"{path}::{name}" for path, name in named if name not in _tests(project / path)]
    assert not missing, "\n".join(missing)


@cache
def _tests(path: Path) -> frozenset[str]:
    """The test functions of a file; none if there is no such file."""
    if not path.is_file():
        return frozenset()
    body = ast.parse(path.read_text("utf-8")).body
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef))
