"""The real command, started with a recipe as it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.acceptance_bridge import Command, Ended
from support.acceptance_fal import KEY
from support.recipes import recipe

Cook = Callable[..., Ended]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Ends servers and bridges with the test, the last one first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def cook(tmp_path: Path, opened: ExitStack) -> Cook:
    """``run --once`` of a recipe: ``cook("loki", fal.url, LOKI_URL=loki.url)``; or other words."""
    command = Command(tmp_path, opened)

    def cook(name: str, fal: str, *words: str, **variables: str) -> Ended:
        env = {
            "FAL_KEY": KEY,
            "FAL_APP_ID": "app",
            "BRIDGE_FAL__BASE_URL": fal,
            "BRIDGE_POLL__INTERVAL": "100ms",
            "BRIDGE_POLL__MAX_INTERVAL": "300ms",
            "BRIDGE_POLL__REQUESTS_PER_SECOND": "200",
            **variables,
        }
        words = words or ("run", "--once", "--timeout", "60s")
        return command.run(*words, "--config", recipe(name).path, env=env, within=90)

    return cook
