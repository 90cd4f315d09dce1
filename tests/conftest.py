"""Says plainly what was not tried: tests that need a server or a system package.

Such a test carries ``@pytest.mark.server("buildah", "kubernetes_validate", ...)``: programs or
Python modules by name, or ``root``. Where one is missing the test is skipped, and the summary
counts and names it. With ``--require-servers``, as ``.ci/run`` has it, a skip is a failure.

With ``--general`` the native part is as if it had not been built, so that everything goes the way
of machines without a compiler.

Where tests compare with files that they can write themselves, ``--update-golden`` has them do it:
then look at git.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)

_MISSING = "missing"
_NATIVE = "bridge.source._stencil"
_STRICT = "require_servers"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer ``--require-servers``, ``--general`` and ``--update-golden``."""
    parser.addoption(
        "--require-servers",
        action="store_true",
        dest=_STRICT,
        help="fail a test that does not run because a server or a system package is missing",
    )
    parser.addoption("--general", action="store_true", help="without the package's native part")
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_configure(config: pytest.Config) -> None:
    """Hide the native part, before anything imports it."""
    if config.getoption("--general"):
        sys.modules[_NATIVE] = None  # type: ignore[assignment]  # what import takes for "not there"


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether the golden files are to be written rather than compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose server or system package is missing, naming it."""
    names = [name for marker in item.iter_markers("server") for name in marker.args]
    missing = [name for name in dict.fromkeys(names) if not _present(name)]
    if missing:
        item.user_properties.extend((_MISSING, name) for name in missing)
        pytest.skip(f"{', '.join(missing)} missing")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where every test has to run."""
    report = yield
    return _strictly(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself."""
    report = yield
    return _strictly(report, collector.config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count and name what did not run for want of a server or a system package."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report, pytest.TestReport) and "server" in report.keywords
    ]
    if skipped:
        missing = sorted({str(v) for r in skipped for k, v in r.user_properties if k == _MISSING})
        files = sorted({report.nodeid.partition("::")[0] for report in skipped})
        terminalreporter.write_line(
            f"{len(skipped)} tests not run ({', '.join(files)}): "
            f"{', '.join(missing) or 'see above'} missing; .ci/run installs them and runs all",
            yellow=True,
        )


def _present(name: str) -> bool:
    """Whether this machine has a program or a Python module of that name, or lets us be root."""
    if name == "root":
        return os.geteuid() == 0
    folders = (str(Path(sys.executable).parent), os.defpath, "/usr/sbin", os.environ.get("PATH"))
    path = os.pathsep.join(folder for folder in folders if folder)
    return bool(shutil.which(name, path=path) or importlib.util.find_spec(name))


def _strictly(report: _Report, config: pytest.Config) -> _Report:
    """A skip as a failure, if the run is strict; an expected failure is no skip."""
    if config.getoption(_STRICT) and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} did not run: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped, from pytest's (file, line, reason)."""
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
