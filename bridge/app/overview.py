"""What the status page shows of a bridge: names, numbers and words of our own.

Nothing in it comes out of an entry or out of a server's answer, so it is shown to whoever may see
the metrics. It is read off memory; what only the journal knows (`status`) is given to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bridge import __version__
from bridge.app import findings
from bridge.app.bridge import Bridge
from bridge.app.findings import Finding
from bridge.app.history import History, Series
from bridge.clock import Clock
from bridge.delivery.forwarder import Forwarding
from bridge.journal import Backlog, Stats
from bridge.model import SECOND, Json
from bridge.source.tailer import Tailer
from bridge.timestamps import format_tick

_PRESENT: Final = 3
"""Samples that a present rate is the mean of."""

_SHORTEST: Final = 2.0
"""Seconds that are enough to tell a rate from."""

LAG: Final = "lag"
READ: Final = "read"
AGE: Final = "age"
DELIVERED: Final = "delivered"


class Overview:
    """Looks at one running bridge, and fills the history with what it sees."""

    def __init__(self, bridge: Bridge, clock: Clock, history: History) -> None:
        self._bridge = bridge
        self._clock = clock
        self._history = history
        self._counted = clock.monotonic()
        self._counts = self._totals()

    def sample(self, stats: Stats) -> None:
        """Note the present numbers, if it is time to."""
        if not self._history.due:
            return
        now, counts = self._clock.monotonic(), self._totals()
        passed = now - self._counted
        rates = {
            # Of a moment there is no rate: the first sample comes with the bridge.
            key: (count - self._counts[key]) / passed if passed >= _SHORTEST else None
            for key, count in counts.items()
        }
        ages = {(AGE, one.destination): self._age(one) for one in stats.backlogs}
        lags = {(LAG, tailer.name): tailer.lag for tailer in self._bridge.tailers}
        self._history.note({**rates, **ages, **lags})
        self._counted, self._counts = now, counts

    def document(
        self, stats: Stats, *, stuck: tuple[str, ...], journal: Json, uptime: float
    ) -> Json:
        """Everything; ``stuck`` as the liveness names it, ``journal`` what `status` read of it.

        Ages are in seconds, sizes in bytes, rates a second, times ISO 8601 in UTC. What is not
        known yet is null.
        """
        apps = [self._app(tailer, stuck) for tailer in self._bridge.tailers]
        forwarding = {state.destination: state for state in self._states()}
        destinations = [
            *(self._destination(one, stuck, forwarding) for one in stats.backlogs),
            *(self._destination(one, (), {}, in_use=False) for one in stats.unused),
        ]
        store = self._journal(stats, stuck)
        first, others = findings.verdict(apps, destinations, store)
        told = {one["app"]: one for one in journal.get("apps", ())}
        backlogs = {one.destination: one for one in (*stats.backlogs, *stats.unused)}
        tailers = {tailer.name: tailer for tailer in self._bridge.tailers}
        return {
            "time": format_tick(self._clock.now()),
            "version": __version__,
            "uptime_seconds": uptime,
            "verdict": _said(first),
            "also": [_said(one) for one in others],
            "apps": [
                self._app_json(one, tailers[one.name], told.get(one.name, {})) for one in apps
            ],
            "destinations": [
                self._destination_json(one, backlogs[one.name], forwarding.get(one.name))
                for one in destinations
            ],
            "journal": {
                **_said(findings.of_journal(store)),
                "bytes": stats.live_bytes,
                "max_bytes": stats.max_bytes,
                "held_by": store.held_by,
                "dead_letter_bytes": stats.dead_letter_bytes,
                "dead_letters_max_bytes": stats.dead_letters_max_bytes,
            },
        }

    def _app(self, tailer: Tailer, stuck: tuple[str, ...]) -> findings.App:
        return findings.App(
            name=tailer.name,
            lag=tailer.lag,
            troubled=bool(tailer.trouble),
            paused=tailer.paused,
            silent=self._bridge.silences.silent.get(tailer.name, False),
            stuck=any(one.startswith(f"app {tailer.name}: ") for one in stuck),
            open_gaps=tailer.open_gaps,
        )

    def _destination(
        self,
        backlog: Backlog,
        stuck: tuple[str, ...],
        forwarding: Mapping[str, Forwarding],
        *,
        in_use: bool = True,
    ) -> findings.Destination:
        name = backlog.destination
        state = forwarding.get(name)
        return findings.Destination(
            name=name,
            waiting=backlog.records,
            age=self._age(backlog),
            trouble=state.trouble.verdict if state and state.trouble else None,
            paused=backlog.paused,
            stuck=any(one.startswith(f"destination {name}: ") for one in stuck),
            in_use=in_use,
            dead_letters=backlog.dead_letters,
        )

    def _journal(self, stats: Stats, stuck: tuple[str, ...]) -> findings.Journal:
        waiting = [one for one in (*stats.backlogs, *stats.unused) if one.records]
        holder = min(waiting, key=lambda one: one.cursor, default=None)
        return findings.Journal(
            size=stats.live_bytes,
            max_size=stats.max_bytes,
            held_by=holder.destination if holder else "",
            full=any(tailer.paused for tailer in self._bridge.tailers),
            stuck=any(one.startswith("journal: ") for one in stuck),
        )

    def _app_json(self, app: findings.App, tailer: Tailer, told: Mapping[str, Json]) -> Json:
        return {
            "app": app.name,
            **_said(findings.of_app(app)),
            "position": None if tailer.position is None else format_tick(tailer.position),
            "lag_seconds": app.lag,
            "rate": self._history.mean((READ, app.name), _PRESENT),
            "read": tailer.read,
            "late": told.get("late"),
            "open_gaps": app.open_gaps,
            "gaps": told.get("gaps", []),
        }

    def _destination_json(
        self, one: findings.Destination, backlog: Backlog, state: Forwarding | None
    ) -> Json:
        trouble = state.trouble if state else None
        acknowledged = {sending.name: sending.acknowledged for sending in self._bridge.sending}
        return {
            "destination": one.name,
            **_said(findings.of_destination(one)),
            "since": format_tick(trouble.since) if trouble else None,
            "acknowledged": acknowledged.get(one.name),
            "cursor": backlog.cursor,
            "waiting_records": one.waiting,
            "waiting_bytes": backlog.bytes,
            "oldest_seconds": one.age if backlog.oldest is not None else None,
            "rate": self._history.mean((DELIVERED, one.name), _PRESENT),
            "delivered": state.delivered if state else None,
            "dead_letters": one.dead_letters,
        }

    def _totals(self) -> dict[Series, int]:
        read = {(READ, tailer.name): tailer.read for tailer in self._bridge.tailers}
        return read | {(DELIVERED, one.destination): one.delivered for one in self._states()}

    def _states(self) -> Iterator[Forwarding]:
        return (forwarder.state for forwarder in self._bridge.forwarders)

    def _age(self, backlog: Backlog) -> float:
        return (
            0.0 if backlog.oldest is None else max(0, self._clock.now() - backlog.oldest) / SECOND
        )


def history_json(bridge: Bridge, history: History) -> Json:
    """The last hour of every app and destination: samples, the oldest first, null where unknown."""
    return {
        "every_seconds": history.every,
        "apps": {
            tailer.name: {
                "lag": history.series((LAG, tailer.name)),
                "rate": history.series((READ, tailer.name)),
            }
            for tailer in bridge.tailers
        },
        "destinations": {
            one.name: {
                "age": history.series((AGE, one.name)),
                "rate": history.series((DELIVERED, one.name)),
            }
            for one in bridge.sending
        },
    }


def nothing_yet(sentence: str) -> Json:
    """The document while no bridge runs."""
    return {
        "verdict": _said(Finding(findings.Level.NOTE, "not running", sentence)),
        "also": [],
        "apps": [],
        "destinations": [],
        "journal": None,
    }


def _said(finding: Finding) -> dict[str, Json]:
    return {
        "level": finding.level.name.lower(),
        "state": finding.state,
        "sentence": finding.sentence,
        "mend": finding.mend,
    }
