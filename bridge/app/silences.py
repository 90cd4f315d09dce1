"""Watches for apps that have gone silent, where it is said how often they should be heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bridge.clock import Clock
from bridge.source.server_clock import ServerClock
from bridge.source.silence import Silence
from bridge.source.tailer import Tailer
from bridge.telemetry import Emit
from bridge.telemetry.reading import AppHeard, AppSilent

_LOOK_EVERY: Final = 1.0


class Silences:
    """The apps of a bridge of which something is expected: told once when they fall silent.

    ``expect_every`` is in seconds, by app; ``time`` is the server's, for what is told.
    """

    def __init__(
        self,
        tailers: Sequence[Tailer],
        expect_every: Mapping[str, float],
        *,
        time: ServerClock,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._time = time
        self._clock = clock
        self._emit = emit
        now = clock.monotonic()
        self._watched = [
            (tailer, Silence(expect_every[tailer.name], now))
            for tailer in tailers
            if tailer.name in expect_every
        ]

    @property
    def silent(self) -> Mapping[str, bool]:
        """Whether each of the apps is."""
        return {tailer.name: silence.silent for tailer, silence in self._watched}

    async def run(self) -> None:
        """Watch for ever, if there is anything to watch."""
        while self._watched:
            await self._clock.sleep(_LOOK_EVERY)
            for tailer, silence in self._watched:
                self._look(tailer, silence)

    def _look(self, tailer: Tailer, silence: Silence) -> None:
        # What keeps it from being read is told where it happens.
        works = tailer.position is not None and not tailer.trouble and not tailer.paused
        since, now = silence.since, self._clock.monotonic()
        lasted = silence.look(read=tailer.read, works=works, now=now)
        if lasted is None:
            return
        if silence.silent:
            self._emit(AppSilent(tailer.name, self._time.at(since), lasted))
        else:
            self._emit(AppHeard(tailer.name, lasted))
