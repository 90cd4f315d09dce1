"""What a bridge in virtual time has around it: an account, backends, settings, a journal's file."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random
from typing import Any

from support.virtual import VirtualClock

from bridge.app.parts import World
from bridge.journal.sqlite import SqliteJournal
from bridge.model import SECOND
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.transport import CoreTransport
from bridge.telemetry import Event
from bridge.timestamps import format_tick

NOON = 1_758_283_200 * SECOND
_KEY = "id:secret"


class Simulated:
    """Two apps, ``one`` and ``two``, and two backends; the clock starts at noon.

    ``hangs`` is from when to when the second backend does not answer, and ``down`` the same for the
    API, in seconds.
    """

    apps = ("one", "two")
    sides = ("first", "second")

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(NOON)
        self.logs = LogsApiFake(self.clock, LogsApiConfig(key=_KEY))
        self.backends = {name: OtlpBackend(BackendConfig()) for name in self.sides}
        self.hangs = self.down = (0.0, 0.0)
        self.events: list[Event] = []
        self.config: dict[str, Any] = {
            "fal": {"base_url": "http://api.test", "key": _KEY},
            "apps": [{"app_id": app, "start": "now"} for app in self.apps],
            "journal": {"path": str(folder / "journal.sqlite")},
            "destinations": [
                {"name": name, "type": "otlp", "endpoint": f"http://{name}.test"}
                for name in self.sides
            ],
        }

    def write(self, app: str, second: float, message: str, level: str = "INFO") -> None:
        """An app writes an entry so many seconds after noon."""
        tick = NOON + round(second * SECOND)
        raw = {"timestamp": format_tick(tick), "message": message, "app": app, "level": level}
        self.logs.write(raw, tick, visible_at=tick)

    def told(self, *kinds: type[Event]) -> list[Event]:
        """The events of some kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    def world(self) -> World:
        """The simulated one."""
        return World(
            clock=self.clock,
            random=Random(1),
            emit=self.events.append,
            out=io.BytesIO(),
            open_journal=lambda place, clock: SqliteJournal.open(
                place.path, max_bytes=place.max_bytes, clock=clock, inline=True
            ),
            api_transport=CoreTransport(_Api(self), self.clock),
            otlp_transport=lambda name: CoreTransport(_Backend(self, name), self.clock),
        )

    def amid(self, spell: tuple[float, float]) -> bool:
        """Whether it is within a spell now."""
        since, until = spell
        return since <= self.clock.monotonic() < until


class _Api:
    def __init__(self, stage: Simulated) -> None:
        self._stage = stage

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        if self._stage.amid(self._stage.down):
            return Answer(503)
        return self._stage.logs.answer(request)


class _Backend:
    def __init__(self, stage: Simulated, name: str) -> None:
        self._stage = stage
        self._name = name

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        if self._name == "second" and self._stage.amid(self._stage.hangs):
            return Answer(200, delay=3_600.0)
        return self._stage.backends[self._name].answer(request)
