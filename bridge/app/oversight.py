"""Looks after a running bridge: the journal's figures, and whether anything stands still.

A loop is stuck when it has neither done anything nor failed at anything for longer than any wait
it knows. What it waits for by name (its turn to ask, room in the journal, a destination that does
not accept or is paused) is no standstill, however long it takes: a restart would not help.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from bridge import settings
from bridge.admin import Health, Wanted
from bridge.app.bridge import Bridge
from bridge.app.figures import figures
from bridge.app.metered import Metered
from bridge.app.overview import Overview, history_json, nothing_yet
from bridge.app.past import Past
from bridge.app.refusals import dead_letters_json
from bridge.app.status import as_json, status
from bridge.clock import Clock
from bridge.delivery.forwarder import Forwarding
from bridge.errors import JournalError
from bridge.journal import Stats
from bridge.model import Json, Verdict
from bridge.telemetry import Event, metrics
from bridge.telemetry.delivering import BatchesNotRead, CursorNotStored, JournalRecovered
from bridge.telemetry.registry import Registry

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at the journal's figures."""

_READ_EVERY: Final = 5.0
"""Seconds for which what the overview reads of the journal is good enough."""

_SLACK: Final = 60.0
_LONGEST_BACKOFF: Final = 60.0


class Oversight:
    """What the admin server shows of a bridge; see `bridge.admin.View`."""

    def __init__(
        self,
        config: settings.Settings,
        clock: Clock,
        registry: Registry,
        stop: asyncio.Event,
        *,
        began: float | None = None,
        past: Past | None = None,
    ) -> None:
        """``began`` is the monotonic moment at which the process did, if that is not now.

        ``past`` is what it remembers of the bridges before, if there were any.
        """
        self._config = config
        self._clock = clock
        self._registry = registry
        self._stop = stop
        self._patience = _SLACK + max(_LONGEST_BACKOFF, config.poll.max_interval)
        self._bridge: Bridge | None = None
        self._stats: Stats | None = None
        self._looked = clock.monotonic()
        self._began = self._looked if began is None else began
        self._marks: dict[str, tuple[object, float]] = {}
        self._unstored: set[str] = set()
        self._showing = asyncio.Lock()
        self._past = past or Past(clock)
        self._overview: Overview | None = None
        self._told: Json = {}
        self._told_at = float("-inf")

    def note(self, event: Event) -> None:
        """Hear an event: whom the journal fails is not to blame for standing still."""
        if isinstance(event, CursorNotStored | BatchesNotRead):
            self._unstored.add(event.destination)
        elif isinstance(event, JournalRecovered):
            self._unstored.discard(event.destination)
        self._past.problems.note(event)

    def take(self, bridge: Bridge) -> None:
        """Look after a bridge, which begins to run now."""
        self._bridge, self._looked = bridge, self._clock.monotonic()
        self._overview = Overview(bridge, self._clock, self._past.history)
        self._past.problems.keep("app", {tailer.name for tailer in bridge.tailers})
        self._past.problems.keep("destination", {one.name for one in bridge.sending})
        looks = figures(bridge, self._clock, lambda: self._stats, began=self._began)
        for metric, look in looks.items():
            self._registry.observe(metric, look)
        self._registry.observe(metrics.LIVE, lambda: [((), self.live().ok)])

    async def run(self) -> None:
        """Look at the bridge that was taken, every few seconds, for ever."""
        while self._bridge:
            await self._look(self._bridge)
            if self._overview and self._stats:
                self._overview.sample(self._stats)
            await self._clock.sleep(LOOK_EVERY)

    def live(self) -> Health:
        """Whether everything moves; names what does not."""
        if self._bridge is None or self._stop.is_set():
            return Health(ok=True)
        stuck = tuple(self._stuck(self._bridge))
        return Health(not stuck, stuck)

    def ready(self) -> Health:
        """Whether at least one app is read and one destination not blocked; names what fails.

        In words of our own: what a server said may quote a log line.
        """
        if self._stop.is_set():
            return Health(ok=False, reasons=("stopping",))
        if self._bridge is None:
            return Health(ok=False, reasons=("starting: the positions are not loaded yet",))
        unread = list(_unread(self._bridge))
        states = [forwarder.state for forwarder in self._bridge.forwarders]
        reads = len(unread) < len(self._bridge.tailers)
        delivers = not all(_is_blocked(state) for state in states)
        failing = (f"destination {s.destination}: {_failing(s)}" for s in states if s.trouble)
        return Health(reads and delivers, (*unread, *failing))

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """The metrics as text, with its content type."""
        return self._registry.exposition(accept)

    async def status(self) -> Json:
        """What ``fal-log-bridge status --json`` prints; read beside the loop, one at a time.

        Raises:
            JournalUnusable: the journal cannot be read.
        """
        async with self._showing:
            found = await asyncio.to_thread(status, self._config, self._clock)
        # Without a token anybody may ask, and fal's own words may quote a log line.
        return as_json(found, words=self._config.admin.token is not None)

    async def overview(self) -> Json:
        """See `View.overview`."""
        if self._stop.is_set():
            return nothing_yet("The bridge is stopping: it finishes what is on its way.")
        if self._overview is None or self._stats is None:
            return nothing_yet("The bridge is starting: its positions are not loaded yet.")
        return self._overview.document(
            self._stats,
            stuck=self.live().reasons,
            journal=await self._journal_told(),
            uptime=self._clock.monotonic() - self._began,
        )

    def history(self) -> Json:
        """See `View.history`."""
        return {} if self._bridge is None else history_json(self._bridge, self._past.history)

    async def entries(self, wanted: Wanted) -> Json:
        """See `View.entries`; what has to be decoded for it is, beside the loop."""
        return await asyncio.to_thread(self._past.recent.snapshot().find, wanted)

    async def problems(self) -> Json:
        """See `View.problems`.

        Raises:
            JournalUnusable: the journal cannot be read.
        """
        async with self._showing:
            letters = await asyncio.to_thread(dead_letters_json, self._config)
        problems = self._past.problems
        return {
            "apps": problems.as_json("app"),
            "destinations": problems.as_json("destination"),
            "dead_letters": letters,
        }

    async def _journal_told(self) -> Json:
        """The status, at most a few seconds old, however many look; the last one if it fails."""
        async with self._showing:
            if self._clock.monotonic() - self._told_at >= _READ_EVERY:
                self._told_at = self._clock.monotonic()
                with suppress(JournalError):  # told by those whose work it stops
                    found = await asyncio.to_thread(status, self._config, self._clock)
                    self._told = as_json(found, words=False)
            return self._told

    async def _look(self, bridge: Bridge) -> None:
        """Take the journal's figures, and note who has moved."""
        try:
            self._stats = await bridge.journal.stats()
            for forwarder, sending in zip(bridge.forwarders, bridge.sending, strict=True):
                self._mark(forwarder.state, sending, self._stats)
        except JournalError:
            self._marks.clear()  # told by those whose work it stops
        self._looked = self._clock.monotonic()

    def _mark(self, state: Forwarding, sending: Metered, stats: Stats) -> None:
        name, now = state.destination, self._clock.monotonic()
        mark = (state.cursor, state.delivered, state.dead_lettered, sending.sends)
        before, since = self._marks.get(name, (None, now))
        fine = mark != before or sending.sending or self._may_rest(state, stats)
        self._marks[name] = (mark, now if fine else since)

    def _may_rest(self, state: Forwarding, stats: Stats) -> bool:
        """Whether there is nothing to deliver, or a known reason not to."""
        waiting = any(b.destination == state.destination and b.records for b in stats.backlogs)
        return not waiting or state.trouble is not None or state.destination in self._unstored

    def _stuck(self, bridge: Bridge) -> Iterator[str]:
        now = self._clock.monotonic()
        for tailer in bridge.tailers:
            progressed = tailer.progressed
            if progressed is not None and now - progressed > self._patience:
                yield f"app {tailer.name}: reading has not moved for {now - progressed:.0f} s"
        for sending in bridge.sending:
            _, since = self._marks.get(sending.name, (None, now))
            if sending.hangs:
                yield f"destination {sending.name}: a send does not end"
            elif now - since > self._patience:
                yield f"destination {sending.name}: delivery has not moved for {now - since:.0f} s"
        if now - self._looked > self._patience:
            yield f"journal: no answer for {now - self._looked:.0f} s"


def _unread(bridge: Bridge) -> Iterator[str]:
    for tailer in bridge.tailers:
        if tailer.trouble:
            yield f"app {tailer.name}: cannot be read; the log says why"
        elif tailer.position is None:
            yield f"app {tailer.name}: its start is not known yet"


def _is_blocked(state: Forwarding) -> bool:
    return state.trouble is not None and state.trouble.verdict is Verdict.BLOCKED


def _failing(state: Forwarding) -> str:
    if state.paused:
        return "paused as asked"
    return f"{'blocked' if _is_blocked(state) else 'retrying'}; the log says why"
