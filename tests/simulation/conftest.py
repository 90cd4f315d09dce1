"""Which seeds are simulated: some hundreds by default, as many as wanted by option."""

from __future__ import annotations

import pytest

_DEFAULT = "0:240"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer ``--seeds``, when pytest is given this folder."""
    parser.addoption(
        "--seeds", default=_DEFAULT, metavar="FROM:TO", help="simulate these seeds (TO excluded)"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed."""
    if "seed" in metafunc.fixturenames:
        first, last = metafunc.config.getoption("--seeds", default=_DEFAULT).split(":")
        metafunc.parametrize("seed", range(int(first), int(last)))
