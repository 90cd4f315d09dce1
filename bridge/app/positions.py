"""Where apps stand in their logs, and moving one back by a person's word."""

from __future__ import annotations

from msgspec import Struct

from bridge import settings
from bridge.clock import Clock
from bridge.journal import rules
from bridge.journal.ledger import AppStanding, Ledger
from bridge.journal.orders import Orders
from bridge.model import SECOND, Json, Tick
from bridge.timestamps import format_tick


class Listing(Struct, frozen=True):
    """Every app that the journal knows, at the moment ``now``; ``held``: a bridge runs on it.

    ``configured`` are the apps that the settings have now.
    """

    now: Tick
    held: bool
    apps: tuple[AppStanding, ...]
    configured: frozenset[str]

    def age(self, tick: Tick) -> float:
        """Seconds since a tick, never less than none."""
        return max(0, self.now - tick) / SECOND


class Plan(Struct, frozen=True):
    """What a rewind makes the next run read again: ``[floor, ceiling)`` of an app.

    ``known`` entries of it are in the ledger and not sent again. What was delivered from below
    ``unknown_below`` is, as the ledger knows nothing of it; None where it covers all.
    """

    app: str
    floor: Tick
    ceiling: Tick
    known: int
    unknown_below: Tick | None
    held: bool
    configured: bool


def listed(config: settings.Settings, clock: Clock) -> Listing:
    """Read the positions off the journal.

    Raises:
        JournalUnusable: there is none, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        return Listing(clock.now(), ledger.held, ledger.apps(), _configured(config))


def planned(config: settings.Settings, app: str, to: Tick) -> Plan:
    """What a rewind would come to; nothing is changed.

    Raises:
        JournalError: the journal does not know the app, or its position is not above.
        JournalUnusable: there is no journal, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        records = {one.record.name: one.record for one in ledger.apps()}
        if app not in records:
            raise rules.not_known("app", app, records)
        record = records[app]
        if to >= record.position:
            raise rules.not_back(app, record.position)
        return Plan(
            app=app,
            floor=to,
            ceiling=record.position,
            known=ledger.count(app, to, record.position),
            unknown_below=record.whole_from if to < record.whole_from else None,
            held=ledger.held,
            configured=app in _configured(config),
        )


def rewind(config: settings.Settings, app: str, to: Tick) -> None:
    """Move an app's position back.

    Raises:
        JournalError: as `planned`, or a bridge runs on the journal.
        JournalUnusable: there is no journal, or it cannot be used.
    """
    with Orders.open(config.journal.path) as orders:
        orders.rewind(app, to)


def as_json(listing: Listing) -> Json:
    """The positions as one document; times are ISO 8601, UTC, ages in seconds."""
    return {
        "time": format_tick(listing.now),
        "held": listing.held,
        "positions": [_json(listing, one) for one in listing.apps],
    }


def _json(listing: Listing, one: AppStanding) -> Json:
    record = one.record
    return {
        "app": record.name,
        "configured": record.name in listing.configured,
        "position": format_tick(record.position),
        "lag_seconds": listing.age(record.position),
        "swept": [
            {"age_seconds": age / SECOND, "swept_to": format_tick(cursor)}
            for age, cursor in sorted(record.swept.items())
        ],
        "ledger_from": format_tick(record.whole_from),
        "fingerprints": one.fingerprints,
    }


def _configured(config: settings.Settings) -> frozenset[str]:
    return frozenset(app.name for app in config.apps)
