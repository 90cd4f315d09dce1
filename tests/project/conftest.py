"""Fixtures about the checkout itself."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout's root folder."""
    return Path(__file__).parents[2]
