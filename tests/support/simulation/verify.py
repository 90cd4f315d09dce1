"""What must be true of every simulated world, in its course and in the end.

- Every entry arrived everywhere, or is a dead letter with a reason there, or lies in a recorded
  gap, as far as that excuses it: see `support.simulation.claims`.
- A repeat has the same uid, a re-send the same bytes, and nothing arrives that was not written.
- Positions, sweep cursors, destinations' cursors and the ledger's begin never move back: see
  `support.simulation.watch`.
"""

from __future__ import annotations

import gzip
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support.simulation import claims

from bridge.model import SECOND, Tick
from bridge.payload import records_of
from bridge.simulator.otlp_backend import Received
from bridge.simulator.store import Written
from bridge.telemetry.service import InternalError

if TYPE_CHECKING:
    from support.simulation.universe import Universe

_FIRST_WALK: Final = 30 * SECOND


def check(world: Universe) -> None:
    """All that must be true in the end."""
    defects = [event for event in world.events if isinstance(event, InternalError)]
    assert defects == []
    claims.check(world)
    dead = world.dead
    for name, backend in world.backends.items():
        assert not backend.violations, (name, backend.violations)
        entries = [r for r in backend.records if not claims.tells_of_a_gap(r.record)]
        _check_repeats(backend.records)
        arrived = _arrived(entries)
        written = Counter(w.raw["message"] for w in world.plan.entries)
        assert arrived <= written, (name, "invented", arrived - written)
        required = _required(world, since=world.attached[name])
        missing = required - arrived - Counter(dict.fromkeys(dead[name], 10**9))
        lost = claims.unexcused(world, missing, arrived)
        for message in _expired_before(world):
            del lost[message]
        assert not lost, (name, "missing", lost)


def dead_letters(journal: Path) -> Mapping[str, set[str]]:
    """The bodies of the records each destination refused for good, read from the file itself."""
    found: dict[str, set[str]] = defaultdict(set)
    db = sqlite3.connect(journal)
    try:
        rows = db.execute("SELECT destination, reason, gzip FROM dead_letters").fetchall()
    finally:
        db.close()
    for destination, reason, payload in rows:
        assert reason
        records = [record for _, _, record in records_of(gzip.decompress(payload))]
        found[destination].update(record.body.string_value for record in records)
    return found


def _check_repeats(records: Sequence[Received]) -> None:
    """What has the same uid has the same bytes."""
    first: dict[str, bytes] = {}
    for received in records:
        same = received.record.SerializeToString(deterministic=True)
        assert first.setdefault(received.uid, same) == same, received.body


def _arrived(records: Sequence[Received]) -> Counter[str]:
    """How many there are of each message; a uid counts once."""
    return Counter(body for _, body in {(received.uid, received.body) for received in records})


def _required(world: Universe, *, since: Tick) -> Counter[str]:
    """What must be accounted for at a destination that has been in use since then.

    What was visible before may have been journaled and cleared away without it, unless it was
    there from the start; what a filter of any life passes over may have been passed by.
    """
    first = min(w.visible_at for w in world.plan.entries)
    always = since <= max(first, world.outside.epoch)
    filters = {setup.labels for setup in world.plan.setups}
    return Counter(
        w.raw["message"]
        for w in world.plan.entries
        if (always or w.visible_at > since) and all(_matches(w, labels) for labels in filters)
    )


def _matches(entry: Written, labels: Sequence[tuple[str, str]]) -> bool:
    has = entry.raw["labels"] if isinstance(entry.raw["labels"], dict) else {}
    return all(has.get(key) == value for key, value in labels)


def _expired_before(world: Universe) -> set[str]:
    """The messages that left the API before anything of their app was journaled.

    Where nothing was ever journaled, a start in the past is all that the bridge can know. Nor can
    it know of what leaves the API while its very first walk is on its way.
    """
    retention = world.plan.api.retention
    if retention is None:
        return set()
    db = sqlite3.connect(world.folder / "journal.sqlite")
    try:
        rows = db.execute(
            "SELECT name, min(at) FROM reads JOIN apps ON apps.id = app GROUP BY name"
        ).fetchall()
    finally:
        db.close()
    firsts = dict(rows)
    never = 2**62
    return {
        w.raw["message"]
        for w in world.plan.entries
        if w.tick + retention - _FIRST_WALK
        <= min(firsts.get(app, never) for app in (w.raw["app"], claims.ACCOUNT))
    }
