"""Nothing goes untested without a word: the rules of tests/conftest.py, tried on a tiny suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SUITE = """
import pytest

@pytest.mark.server("no-such-program", "json")
def test_absent(): ...

@pytest.mark.server("json")
def test_present(): ...

@pytest.mark.xfail(strict=True)
def test_expected(): raise AssertionError
"""
_SELF_SKIPPING = """
import pytest
pytest.importorskip("no_such_module")
"""


@pytest.fixture
def suite(tmp_path: Path, project: Path) -> Path:
    """A folder with the project's conftest and three tests, one of which cannot run."""
    (tmp_path / "conftest.py").write_text((project / "tests/conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = server: needs something\n")
    (tmp_path / "test_suite.py").write_text(_SUITE)
    return tmp_path


def _pytest(suite: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "."],
        cwd=suite,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("spread", [(), ("-n", "1")], ids=["alone", "spread"])
def test_missing_is_counted_and_named(suite: Path, spread: tuple[str, ...]) -> None:
    """A plain run passes and its summary says how many tests did not run, and for want of what."""
    done = _pytest(suite, *spread)
    assert done.returncode == 0, done.stdout
    assert "1 tests not run (test_suite.py): no-such-program missing" in done.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("spread", [(), ("-n", "1")], ids=["alone", "spread"])
def test_missing_fails_where_all_must_run(suite: Path, spread: tuple[str, ...]) -> None:
    """With --require-servers the same suite fails and names the test and the program."""
    done = _pytest(suite, "--require-servers", *spread)
    assert done.returncode == 1, done.stdout
    assert "test_absent did not run: Skipped: no-such-program missing" in done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_a_file_that_skips_itself_fails_too(suite: Path) -> None:
    """A file that skips itself on import is no way around --require-servers."""
    (suite / "test_self.py").write_text(_SELF_SKIPPING)
    done = _pytest(suite, "--require-servers")
    assert done.returncode != 0, done.stdout
    assert "test_self.py did not run: Skipped: could not import 'no_such_module'" in done.stdout
