"""What the metrics read off a bridge whenever somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from bridge.app.bridge import Bridge
from bridge.clock import Clock
from bridge.delivery.forwarder import Forwarding
from bridge.journal import Backlog, Stats
from bridge.model import SECOND
from bridge.source.tailer import Tailer
from bridge.telemetry import metrics
from bridge.telemetry.metrics import Metric

Look: TypeAlias = Callable[[], Iterable[tuple[tuple[str, ...], float]]]


def figures(
    bridge: Bridge, clock: Clock, stats: Callable[[], Stats | None], *, began: float
) -> Mapping[Metric, Look]:
    """A source for every metric that is looked at rather than counted.

    ``stats`` gives the journal's last known figures, None before the first; ``began`` is the
    monotonic moment at which the process did.
    """

    def app(value: Callable[[Tailer], float | None]) -> Look:
        return lambda: [
            ((tailer.name,), number)
            for tailer in bridge.tailers
            if (number := value(tailer)) is not None
        ]

    def destination(value: Callable[[Forwarding], float]) -> Look:
        return lambda: [
            ((state.destination,), value(state))
            for state in (forwarder.state for forwarder in bridge.forwarders)
        ]

    def backlog(value: Callable[[Backlog], float]) -> Look:
        return lambda: [
            ((one.destination,), value(one)) for known in _known() for one in known.backlogs
        ]

    def journal(value: Callable[[Stats], float]) -> Look:
        return lambda: [((), value(known)) for known in _known()]

    def _known() -> list[Stats]:
        now = stats()
        return [] if now is None else [now]

    def age(one: Backlog) -> float:
        return 0.0 if one.oldest is None else max(0, clock.now() - one.oldest) / SECOND

    return {
        metrics.ENTRIES_READ: app(lambda tailer: tailer.read),
        metrics.POSITION_AGE: app(lambda tailer: tailer.lag),
        metrics.BACKFILL_ENTRIES: app(lambda tailer: bridge.backfills.read.get(tailer.name, 0)),
        metrics.BACKFILL_LEFT: app(lambda tailer: bridge.backfills.left.get(tailer.name, 0.0)),
        metrics.OPEN_GAPS: app(lambda tailer: tailer.open_gaps),
        metrics.APP_UP: app(lambda tailer: not tailer.trouble),
        metrics.READING_PAUSED: app(lambda tailer: tailer.paused),
        metrics.SILENT: lambda: [((name,), s) for name, s in bridge.silences.silent.items()],
        metrics.RECORDS_DELIVERED: destination(lambda state: state.delivered),
        metrics.DESTINATION_UP: destination(lambda state: state.trouble is None),
        metrics.DESTINATION_BLOCKED: destination(lambda state: state.blocked),
        metrics.DESTINATION_PAUSED: destination(lambda state: state.paused),
        metrics.DESTINATION_ACKNOWLEDGED: lambda: [
            ((one.name,), one.acknowledged) for one in bridge.sending
        ],
        metrics.BACKLOG_RECORDS: backlog(lambda one: one.records),
        metrics.BACKLOG_AGE: backlog(age),
        metrics.DEAD_LETTERS: backlog(lambda one: one.dead_letters),
        metrics.DEAD_LETTER_BYTES: backlog(lambda one: one.dead_letter_bytes),
        metrics.DEAD_LETTERS_MAX: journal(lambda known: known.dead_letters_max_bytes),
        metrics.JOURNAL_BYTES: journal(lambda known: known.live_bytes),
        metrics.JOURNAL_MAX: journal(lambda known: known.max_bytes),
        metrics.REQUESTS_WAITING: lambda: [((), bridge.account.waiting)],
        metrics.UPTIME: lambda: [((), clock.monotonic() - began)],
    }
