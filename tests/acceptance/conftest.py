"""What every acceptance test starts from: a folder, and an end for all that it started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.acceptance_bridge import Command


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Ends servers and bridges with the test, the last one first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def command(tmp_path: Path, opened: ExitStack) -> Command:
    """The command line in a folder of its own."""
    return Command(tmp_path, opened)
