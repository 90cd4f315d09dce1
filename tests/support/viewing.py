"""A view whose answers are set by hand, for tests of what the admin server makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.admin import Health, Wanted
from bridge.model import Json


@dataclass
class Shown:
    """Everything is fine unless set otherwise; ``trouble`` is what the journal's answers raise."""

    alive: Health = field(default_factory=lambda: Health(ok=True))
    usable: Health = field(default_factory=lambda: Health(ok=True))
    trouble: Exception | None = None
    asked: list[Wanted] = field(default_factory=list)

    def live(self) -> Health:
        """See `View.live`."""
        return self.alive

    def ready(self) -> Health:
        """See `View.ready`."""
        return self.usable

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """See `View.metrics`."""
        return "text/plain; version=9", f"for {accept}\n".encode()

    async def status(self) -> Json:
        """See `View.status`."""
        if self.trouble:
            raise self.trouble
        return {"apps": ["<script>"]}

    async def overview(self) -> Json:
        """See `View.overview`."""
        return {"verdict": "all is well"}

    def history(self) -> Json:
        """See `View.history`."""
        return {"apps": {"one": {"lag": [1.5, None]}}}

    async def entries(self, wanted: Wanted) -> Json:
        """See `View.entries`."""
        self.asked.append(wanted)
        return {"entries": ["a line of a log"]}

    async def problems(self) -> Json:
        """See `View.problems`."""
        if self.trouble:
            raise self.trouble
        return {"dead_letters": ["a line of a log"]}
