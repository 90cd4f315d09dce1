"""What one process remembers of its bridges, one after the other; bounded, and in memory only."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from bridge.app.history import History
from bridge.app.recent import Recent
from bridge.clock import Clock
from bridge.model import Json, Tick
from bridge.telemetry import Event
from bridge.telemetry.log import safe
from bridge.timestamps import format_tick

_LONGEST: Final = 1_000

Of: TypeAlias = Literal["app", "destination"]


class Problem(Struct, frozen=True):
    """The sentence of an event, and when it was told."""

    at: Tick
    text: str


class Problems:
    """The last problem that was told of each app and destination.

    It may quote what a server said, and that may quote a log line.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[tuple[Of, str], Problem] = {}

    def note(self, event: Event) -> None:
        """Hear an event: remembered is what is worse than a word, and of somebody by name."""
        if event.level < logging.WARNING:
            return
        kinds: tuple[Of, ...] = ("app", "destination")
        for kind in kinds:
            name = getattr(event, kind, None)
            if isinstance(name, str):
                text = safe(event.text.removeprefix(f"{name}: ")[:_LONGEST])
                self._last[kind, name] = Problem(self._clock.now(), text)

    def keep(self, kind: Of, names: Collection[str]) -> None:
        """Forget what is configured no more."""
        self._last = {
            key: problem for key, problem in self._last.items() if key[0] != kind or key[1] in names
        }

    def as_json(self, kind: Of) -> Json:
        """The problems by name; times are ISO 8601, UTC."""
        return {
            name: {"time": format_tick(problem.at), "text": problem.text}
            for (of, name), problem in self._last.items()
            if of == kind
        }


class Past:
    """The numbers of the last hour, the last entries, the last problems."""

    def __init__(self, clock: Clock) -> None:
        self.history = History(clock)
        self.recent = Recent()
        self.problems = Problems(clock)
