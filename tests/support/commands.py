"""What the commands that look at a journal work in: settings and a world around a `Scene`."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.audited import KEY, Scene

from bridge import settings
from bridge.__main__ import main
from bridge.app.parts import World
from bridge.journal.sqlite import SqliteJournal
from bridge.simulator.otlp_backend import OtlpBackend
from bridge.simulator.transport import CoreTransport


def config_of(scene: Scene, *apps: dict[str, Any]) -> settings.Settings:
    """Settings for the scene; the app is ``one`` unless others are given."""
    return settings.Settings.model_validate(
        {
            "fal": {"base_url": "http://api.test", "key": KEY},
            "apps": apps or ({"app_id": "one"},),
            "poll": {"late_sweeps": ["1s"], "requests_per_second": 50},
            "journal": {"path": str(scene.path)},
            "destinations": [{"name": "out", "type": "otlp", "endpoint": "http://out.test"}],
        }
    )


def world_of(scene: Scene, backend: OtlpBackend | None = None) -> World:
    """The scene's API and clock, and a backend if there is one."""

    def otlp(_: str) -> httpx.AsyncBaseTransport | None:
        return None if backend is None else CoreTransport(backend, scene.clock)

    return World(
        clock=scene.clock,
        random=scene.random,
        emit=scene.events.append,
        out=io.BytesIO(),
        open_journal=lambda place, clock: SqliteJournal.open(
            place.path, max_bytes=place.max_bytes, clock=clock, inline=True
        ),
        api_transport=scene.transport,
        otlp_transport=otlp,
    )


def file_of(scene: Scene) -> Path:
    """A config file for the scene."""
    path = scene.folder / "config.yaml"
    path.write_text(
        f"fal: {{base_url: 'http://127.0.0.1:1', key: '{KEY}'}}\n"
        "apps: [{app_id: one}]\n"
        f"journal: {{path: '{scene.path}'}}\n"
        "destinations: [{name: out, type: console}]\n"
    )
    return path


@dataclass(frozen=True)
class CommandLine:
    """Runs the program in this process."""

    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def __call__(self, *args: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self.patch.setattr(sys, "argv", ["fal-log-bridge", *args])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = self.capture.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err
