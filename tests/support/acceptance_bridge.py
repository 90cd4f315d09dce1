"""The real command in a process of its own: its config, its environment, its output, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any, Self

import yaml
from support.acceptance_fal import KEY


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit code, what it printed, how many seconds it took."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(slots=True)
class Command:
    """The command line in a folder; every bridge that is started here ends with the test."""

    folder: Path
    ending: ExitStack
    env: dict[str, str] = field(default_factory=dict)

    def config(
        self,
        base_url: str,
        backends: Mapping[str, str],
        /,
        *,
        apps: Iterable[str | dict[str, Any]] = ("app",),
        **sections: Any,
    ) -> Path:
        """Write the config file: quick polls, destinations by name and URL.

        ``sections`` are merged over what is written: ``poll``, ``journal``, ``fal`` by key,
        ``each`` over every destination; ``destinations`` takes the place of them all.
        """
        each = sections.pop("each", {})
        written: dict[str, Any] = {
            "fal": {"base_url": base_url, "key": KEY},
            "apps": [_app(app) for app in apps],
            "poll": {"interval": "100ms", "max_interval": "300ms", "requests_per_second": 200},
            "journal": {"path": str(self.folder / "journal.sqlite")},
            "destinations": [
                {"name": name, "type": "otlp", "endpoint": url, **each}
                for name, url in backends.items()
            ],
        }
        for name, section in sections.items():
            merged = isinstance(section, dict)
            written[name] = {**written.get(name, {}), **section} if merged else section
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(written), encoding="utf-8")
        return path

    def start(self, *args: str | Path, env: Mapping[str, str] | None = None) -> Process:
        """Start a command and go on."""
        process = Process([*map(str, args)], self.folder, {**self.env, **(env or {})})
        return self.ending.enter_context(process)

    def run(
        self, *args: str | Path, env: Mapping[str, str] | None = None, within: float = 60.0
    ) -> Ended:
        """Run a command to its end."""
        return self.start(*args, env=env).end(within)

    def once(self, config: Path, *args: str, within: float = 60.0) -> Ended:
        """``run --once`` to its end."""
        return self.run("run", "--config", config, "--once", *args, within=within)


class Process:
    """One bridge under way. Only its own process is ever signalled."""

    def __init__(self, args: list[str], folder: Path, env: Mapping[str, str]) -> None:
        self.began = monotonic()
        self._changed = threading.Condition()
        self._lines: dict[str, list[str]] = {"out": [], "err": []}
        self._ended: set[str] = set()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bridge", *args],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(stream, name))
            for stream, name in ((self._process.stdout, "out"), (self._process.stderr, "err"))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def err(self) -> str:
        """What it has printed to standard error so far."""
        return "".join(self._lines["err"])

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def says(self, *words: str, seconds: float = 20.0) -> bool:
        """Wait until one line of standard error holds all these words, or there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._said(words) or "err" in self._ended, seconds)
            return self._said(words)

    def prints(self, words: str, seconds: float = 20.0) -> bool:
        """Wait until one line of standard output holds these words, or there are no more."""

        def printed() -> bool:
            return any(words in line for line in self._lines["out"])

        with self._changed:
            self._changed.wait_for(lambda: printed() or "out" in self._ended, seconds)
            return printed()

    def _said(self, words: tuple[str, ...]) -> bool:
        return any(all(word in line for word in words) for line in self._lines["err"])

    def interrupt(self) -> None:
        """Ask it to stop, as a container runtime does."""
        self._process.send_signal(signal.SIGTERM)

    def send_ctrl_c(self) -> None:
        """Interrupt it, as a terminal does."""
        self._process.send_signal(signal.SIGINT)

    def hang_up(self) -> None:
        """Send SIGHUP, as logrotate does."""
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it without a chance to do anything about it (kill -9)."""
        self._process.kill()

    def end(self, within: float = 30.0) -> Ended:
        """Wait for its end.

        Raises:
            AssertionError: it has not ended in time; the text holds what it said.
        """
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within:g} s; it said: {self.err}") from None
        for reader in self._readers:
            reader.join()
        return Ended(code, "".join(self._lines["out"]), self.err, monotonic() - self.began)

    def stop(self, within: float = 30.0) -> Ended:
        """Ask it to stop and wait for its end."""
        self.interrupt()
        return self.end(within)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()

    def _read(self, stream: IO[str], name: str) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines[name].append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended.add(name)
            self._changed.notify_all()


def _app(app: str | dict[str, Any]) -> dict[str, Any]:
    return {"start": "1h", **({"app_id": app} if isinstance(app, str) else app)}
