"""What the journal tells of apps and destinations, beside a running bridge or without one."""

from __future__ import annotations

from msgspec import Struct

from bridge import settings
from bridge.app.jobs import job_json
from bridge.app.rereading import gap_json
from bridge.clock import Clock
from bridge.journal.ledger import AppStanding, DestinationStanding, Lateness, Ledger, OpenGap
from bridge.model import SECOND, Backfill, Json, Tick
from bridge.timestamps import format_tick


class AppStatus(Struct, frozen=True):
    """One app: where it stands, what came late, what cannot be proved."""

    standing: AppStanding
    lateness: Lateness | None
    gaps: tuple[OpenGap, ...]


class Status(Struct, frozen=True):
    """The journal at the moment ``now``; ``held``: a bridge runs on it.

    ``configured`` are the destinations that the settings have now.
    """

    now: Tick
    path: str
    held: bool
    live_bytes: int
    max_bytes: int
    apps: tuple[AppStatus, ...]
    destinations: tuple[DestinationStanding, ...]
    dead_letters_max_bytes: int
    configured: frozenset[str]
    backfills: tuple[Backfill, ...] = ()

    def notes(self, one: DestinationStanding) -> list[str]:
        """What is out of the ordinary with a destination, in a word or two each."""
        notes = [] if one.in_use else ["not in use"]
        if one.name not in self.configured:
            notes = ["not configured"]
        return [*notes, "paused"] if one.paused else notes

    def age(self, tick: Tick) -> float:
        """Seconds since a tick, never less than none."""
        return max(0, self.now - tick) / SECOND


def status(config: settings.Settings, clock: Clock) -> Status:
    """Read it off the journal.

    Raises:
        JournalUnusable: there is none, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        return Status(
            now=clock.now(),
            path=str(config.journal.path),
            held=ledger.held,
            live_bytes=ledger.live_bytes(),
            max_bytes=config.journal.max_bytes,
            apps=tuple(_app_status(ledger, standing) for standing in ledger.apps()),
            destinations=ledger.destinations(),
            dead_letters_max_bytes=config.journal.dead_letters_max_bytes,
            configured=frozenset(one.name for one in config.destinations),
            backfills=ledger.backfills(),
        )


def _app_status(ledger: Ledger, standing: AppStanding) -> AppStatus:
    name = standing.record.name
    return AppStatus(standing, ledger.lateness(name), ledger.gaps(name))


def as_json(status: Status, *, words: bool = True) -> Json:
    """The status as one document; times are ISO 8601, UTC, ages in seconds, sizes in bytes.

    Without ``words`` nothing is in it that a server said.
    """
    return {
        "time": format_tick(status.now),
        "journal": {
            "path": status.path,
            "held": status.held,
            "bytes": status.live_bytes,
            "max_bytes": status.max_bytes,
            "dead_letter_bytes": sum(one.dead_letter_bytes for one in status.destinations),
            "dead_letters_max_bytes": status.dead_letters_max_bytes,
        },
        "apps": [_app_json(status, app) for app in status.apps],
        "destinations": destinations_json(status),
        "backfills": [job_json(job, words=words) for job in status.backfills],
    }


def destinations_json(status: Status) -> Json:
    """The destinations alone."""
    return [_destination_json(status, one) for one in status.destinations]


def _app_json(status: Status, app: AppStatus) -> Json:
    record, late = app.standing.record, app.lateness
    return {
        "app": record.name,
        "position": format_tick(record.position),
        "lag_seconds": status.age(record.position),
        "sweeps": [
            {"age_seconds": age / SECOND, "swept_to": format_tick(cursor)}
            for age, cursor in sorted(record.swept.items())
        ],
        "ledger_from": None if record.ledger_from is None else format_tick(record.ledger_from),
        "fingerprints": app.standing.fingerprints,
        "late": None
        if late is None
        else {
            "entries": late.entries,
            "median_seconds": late.median / SECOND,
            "latest_seconds": late.latest / SECOND,
        },
        "gaps": [{**gap_json(one.gap), "found_at": format_tick(one.found_at)} for one in app.gaps],
    }


def _destination_json(status: Status, one: DestinationStanding) -> Json:
    return {
        "destination": one.name,
        "configured": one.name in status.configured,
        "in_use": one.in_use,
        "paused": one.paused,
        "cursor": one.cursor,
        "waiting_records": one.records,
        "waiting_bytes": one.bytes,
        "oldest_seconds": None if one.oldest is None else status.age(one.oldest),
        "dead_letters": one.dead_letters,
        "dead_letter_bytes": one.dead_letter_bytes,
    }
