"""What every acceptance test starts from: a folder, and an end for all that it started."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.acceptance_bridge import Command


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """Whoever started the tests may ignore Ctrl-C, as nohup does; commands would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Ends servers and bridges with the test, the last one first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def command(tmp_path: Path, opened: ExitStack) -> Command:
    """The command line in a folder of its own."""
    return Command(tmp_path, opened)
