"""Child processes: the fakes to talk to, and the contestants, with what they used."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

_LOOK_EVERY: Final = 0.1
_STOPPING: Final = 30.0
_MAXRSS_PER_MIB: Final = 1 << 20 if sys.platform == "darwin" else 1 << 10


class BenchmarkFailed(Exception):
    """The measurement is worth nothing: a contestant failed or took too long."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used: user and system CPU seconds, and its largest resident size."""

    cpu: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Remote:
    """A fake in its process."""

    url: str

    def tally(self) -> dict[str, int]:
        """What it holds."""
        return {name: int(value) for name, value in self._get("/tally").items()}

    def cpu(self) -> float:
        """CPU seconds it has used."""
        return float(self._get("/")["cpu"])

    def last(self) -> float:
        """When it last answered a contestant, in Unix seconds."""
        return float(self._get("/")["last"])

    def _get(self, path: str) -> dict[str, Any]:
        with urlopen(self.url + path, timeout=600) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def fake(*arguments: str) -> Iterator[Remote]:
    """Start a fake of `benchmarks.fakes`, and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fakes", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise BenchmarkFailed(f"the fake {arguments[0]} did not start")
            yield Remote(url)
        finally:
            process.terminate()


def run(
    argv: Sequence[str], *, log: Path, timeout: float, finished: Callable[[], bool] | None = None
) -> Usage:
    """Run a process to its end, or until ``finished`` and a SIGTERM; its output goes to ``log``.

    The kernel counts the starting process's own size into the largest size of what it starts, so
    this one is to be kept small: nothing heavy is imported before the last contestant is done.

    Raises:
        BenchmarkFailed: it failed, or did not end in time.
    """
    # Neither proxies nor the bridge's or the SDK's variables of whoever measures.
    env = {"PATH": os.environ["PATH"]}
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=env)
    try:
        used = _wait(process, timeout, finished)
    finally:
        process.kill()  # does nothing to one that has ended
    if process.returncode:
        late = "did not end in time" if process.returncode == -signal.SIGKILL else "failed"
        raise BenchmarkFailed(f"{' '.join(argv)} {late}:\n{log.read_text()[-2000:]}")
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss / _MAXRSS_PER_MIB)


def _wait(
    process: subprocess.Popen[bytes], timeout: float, finished: Callable[[], bool] | None
) -> resource.struct_rusage:
    """Wait for a process's end, hastening it when it is finished or late; what it used."""
    deadline = time.monotonic() + timeout
    stopped = False
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return used
        if time.monotonic() > deadline:
            process.kill()
        elif finished and not stopped and finished():
            process.terminate()
            stopped, deadline = True, time.monotonic() + _STOPPING
        time.sleep(_LOOK_EVERY)
