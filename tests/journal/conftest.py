"""The journals under test, each behind the same few levers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from support.journal import Disk

from bridge.journal import Journal
from bridge.journal.memory import Contents, MemoryJournal
from bridge.journal.sqlite import SqliteJournal
from bridge.simulator.manual_clock import ManualClock

Open: TypeAlias = Callable[[], Journal]
"""Open the one journal of the test, again after it was closed."""


@pytest.fixture
def clock() -> ManualClock:
    """The clock that stamps batches."""
    return ManualClock(1_000)


@pytest.fixture
def disk() -> Disk:
    """The disk under the SQLite journals."""
    return Disk()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite journals live."""
    return tmp_path / "journal.db"


@pytest.fixture(params=["memory", "sqlite inline", "sqlite thread"])
def open_journal(
    request: pytest.FixtureRequest, path: Path, clock: ManualClock, disk: Disk
) -> Iterator[Open]:
    """Every implementation under the contract: room for 100 bytes, and for 60 of dead letters."""
    contents = Contents()
    opened: list[SqliteJournal] = []

    def memory() -> Journal:
        return MemoryJournal(
            max_bytes=100, dead_letters_max_bytes=60, clock=clock, contents=contents
        )

    def sqlite() -> Journal:
        inline = request.param == "sqlite inline"
        journal = SqliteJournal.open(
            path,
            max_bytes=100,
            dead_letters_max_bytes=60,
            clock=clock,
            inline=inline,
            connect=disk.connect,
        )
        opened.append(journal)
        return journal

    yield memory if request.param == "memory" else sqlite
    for journal in opened:
        journal.abandon()
