"""The way of single entries: fetched by which read, journaled when, acknowledged by whom.

An entry is named by its uid, or found by a text that the API is asked for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from msgspec import Struct, field

from bridge import settings
from bridge.app.parts import World, account_of
from bridge.app.rereading import (
    chosen,
    closed_below,
    concerns_all,
    entry_json,
    gap_json,
    reader_of,
)
from bridge.app.search import newest_with
from bridge.errors import BridgeError, ConfigError
from bridge.gaps import gap_uid
from bridge.journal.ledger import AppStanding, Found, GapRecord, Ledger, ReadRecord, State
from bridge.model import SECOND, AppRecord, Entry, Json, Tick
from bridge.timestamps import format_tick

MOST: Final = 20
"""How many entries a text explains, the newest ones."""

_UID: Final = re.compile(r"[0-9a-fA-F]{8,32}\Z")
_UID_DIGITS: Final = 32


class Fate(Struct, frozen=True):
    """One destination's answer: when, and why it was refused."""

    destination: str
    state: State
    at: Tick | None = None
    reason: str = ""


class Journaled(Struct, frozen=True):
    """Where in the journal an entry is; ``read`` is None where that is no longer known."""

    place: Found
    read: ReadRecord | None
    fates: tuple[Fate, ...]


class Explained(Struct, frozen=True):
    """One entry of one app. ``entry`` is known where the API was asked.

    Not ``journaled``: ``reason`` says why that can be.
    """

    app: str
    uid: bytes
    entry: Entry | None = None
    journaled: Journaled | None = None
    reason: str = ""


class ExplainedGap(Struct, frozen=True):
    """The record of a gap that was sent downstream among the entries."""

    uid: bytes
    record: GapRecord
    fates: tuple[Fate, ...]


class Explanation(Struct, frozen=True):
    """Everything that was found, the newest first; ``searched`` are the apps the API was asked for.

    ``stopped`` are those where the search ended before its start: there was too much to read.
    ``failed`` says of an app why the API could not be asked. ``by_uid``: the text can be one.
    """

    entries: tuple[Explained, ...]
    gaps: tuple[ExplainedGap, ...] = ()
    searched: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    by_uid: bool = False

    @property
    def found(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.entries or self.gaps)


async def explain(
    config: settings.Settings,
    world: World,
    text: str,
    *,
    apps: Sequence[str] = (),
    since: settings.Start | None = None,
) -> Explanation:
    """Explain the entry with this uid, or the newest ones with this text.

    ``since`` bounds the search for a text; without it, it goes back as far as the ledger.

    Raises:
        ConfigError: no such app, the beginning of several uids, or a key that cannot be used.
        JournalUnusable: there is no journal.
    """
    wanted = chosen(config, apps)
    names = tuple(app.name for app in wanted)
    with Ledger.open(config.journal.path) as ledger:
        if _UID.match(text):
            named = _by_uid(ledger, text.lower(), frozenset(names) if apps else None)
            if named.found:
                return named
        found = _Found()
        async with AsyncExitStack() as stack:
            account = await account_of(config, world, stack)
            standings = {one.record.name: one for one in ledger.apps()}
            for at, app in enumerate(wanted):
                standing = standings.get(app.name)
                floor = _search_floor(standing, since, world.clock.now())
                reader = reader_of(app, config, account, world)
                try:
                    shown, whole = await newest_with(text, reader, app.filter, floor, MOST)
                except BridgeError as error:
                    if concerns_all(error):
                        found.failed |= dict.fromkeys(names[at:], str(error))
                        break
                    found.failed[app.name] = str(error)
                else:
                    found.entries += [_explain_shown(ledger, app.name, standing, e) for e in shown]
                    found.stopped += [] if whole else [app.name]
    found.entries.sort(key=lambda one: -(one.entry.tick or 0) if one.entry else 0)
    return Explanation(
        tuple(found.entries[:MOST]),
        searched=names,
        stopped=tuple(found.stopped),
        failed=found.failed,
        by_uid=_UID.match(text) is not None,
    )


class _Found(Struct):
    """What searching came to so far."""

    entries: list[Explained] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def _by_uid(ledger: Ledger, digits: str, names: frozenset[str] | None) -> Explanation:
    """What is journaled under a uid, whole or begun, entries and gaps."""
    gaps = [
        (one, record)
        for record in ledger.gap_records()
        if (one := gap_uid(record.app, record.gap)).hex().startswith(digits)
    ]
    uids = dict.fromkeys((*_uids(ledger, digits), *(one for one, _ in gaps)))
    if len(uids) > 1:
        raise ConfigError(
            f"several uids begin with {digits}: {', '.join(one.hex() for one in uids)}",
            where="explain",
            hint="give more of it",
        )
    return Explanation(
        tuple(
            Explained(place.app, one, journaled=_journaled(ledger, one, place))
            for one in uids
            for place in ledger.find(one)
            if names is None or place.app in names
        ),
        tuple(
            ExplainedGap(one, record, _fates(ledger, one, record.seq))
            for one, record in gaps
            if names is None or record.app in names
        ),
        by_uid=True,
    )


def _uids(ledger: Ledger, digits: str) -> list[bytes]:
    """The uids of journaled entries that begin so."""
    if len(digits) == _UID_DIGITS:
        one = bytes.fromhex(digits)
        return [one] if ledger.find(one) else []
    begun = ledger.uids_with_prefix(bytes.fromhex(digits[: len(digits) // 2 * 2]))
    return [one for one in begun if one.hex().startswith(digits)]


def _journaled(ledger: Ledger, one: bytes, place: Found) -> Journaled:
    if place.dropped:
        return Journaled(place, None, ())
    read = ledger.read_of(place.app, place.seq) if place.seq else None
    fates = _fates(ledger, one, place.seq)
    if place.audience:  # a backfill brought it for one destination; the others passed it by
        fates = tuple(fate for fate in fates if fate.destination == place.audience)
    return Journaled(place, read, fates)


def _fates(ledger: Ledger, one: bytes, seq: int) -> tuple[Fate, ...]:
    """What became of a record of a batch, at each destination."""
    refused = {letter.destination: letter for letter in ledger.dead_letters_of([one.hex()])}
    fates = []
    for destination in ledger.destinations():
        letter = refused.get(destination.name)
        if letter is not None:
            fate = Fate(destination.name, State.DEAD_LETTER, letter.refused_at, letter.reason)
        else:
            fate = Fate(destination.name, *ledger.state_of(destination, seq))
        fates.append(fate)
    return tuple(fates)


def _search_floor(standing: AppStanding | None, since: settings.Start | None, now: Tick) -> Tick:
    """Where a search ends: as asked, else where the ledger does."""
    if since is not None:
        return since.resolve(now)
    if standing is None:
        return now - 3600 * SECOND
    return standing.record.whole_from


def _explain_shown(
    ledger: Ledger, app: str, standing: AppStanding | None, shown: tuple[bytes, Entry]
) -> Explained:
    one, entry = shown
    place = _place(ledger, app, one, entry.tick)
    if place is not None:
        return Explained(app, one, entry, _journaled(ledger, one, place))
    if standing is None:
        return Explained(app, one, entry, reason="the bridge has never read this app")
    return Explained(app, one, entry, reason=_why_not(ledger, standing.record, entry.tick))


def _place(ledger: Ledger, app: str, one: bytes, tick: Tick | None) -> Found | None:
    """Where a uid of the app is journaled; quickly where its tick is known."""
    if tick is None:
        return next((place for place in ledger.find(one) if place.app == app), None)
    seq = ledger.fingerprints(app, tick, tick + 1).get(one)
    if seq is None:
        return ledger.backfilled(app, tick, one)
    return Found(app, tick, seq, dated=True)


def _why_not(ledger: Ledger, record: AppRecord, tick: Tick | None) -> str:
    """Why an entry that the API shows may not be journaled."""
    lowest, highest = record.whole_from, closed_below(record)
    if tick is None:
        return "it has no readable time, and nothing with its content is journaled"
    if tick < lowest:
        return f"it is older than the ledger, which goes back to {format_tick(lowest)}"
    if tick >= record.position:
        return f"it is too young: the app is read up to {format_tick(record.position)}"
    if tick >= highest:
        return (
            "it came late: the sweeps, which read again for late entries, are done up to "
            f"{format_tick(highest)}"
        )
    for known in ledger.gaps(record.name):
        if known.gap.floor <= tick < known.gap.ceiling:
            return f"it is in a stretch that cannot be proved complete ({known.gap.kind} gap)"
    since = tick // SECOND * SECOND
    until = min(highest, since + SECOND)
    return (
        "it is missing; to journal it: fal-log-bridge audit --repair "
        f"--since {format_tick(max(since, lowest))} --until {format_tick(until)} "
        f"--app {shlex.quote(record.name)}"
    )


def as_json(explanation: Explanation) -> Json:
    """The explanation as one document; times are ISO 8601, UTC."""
    return {
        "entries": [_explained_json(one) for one in explanation.entries],
        "gaps": [_explained_gap_json(one) for one in explanation.gaps],
        "searched": list(explanation.searched),
        "stopped": list(explanation.stopped),
        "failed": dict(explanation.failed),
    }


def _explained_json(one: Explained) -> Json:
    return {
        "app": one.app,
        "uid": one.uid.hex(),
        "entry": None if one.entry is None else entry_json(one.entry),
        "journaled": None if one.journaled is None else _journaled_json(one.journaled),
        "reason": one.reason or None,
    }


def _journaled_json(journaled: Journaled) -> Json:
    place, read = journaled.place, journaled.read
    return {
        "time": format_tick(place.tick),
        "time_borrowed": not place.dated,
        "batch": None if place.dropped else place.seq or None,
        "dropped_by_rule": place.dropped,
        "only_for": place.audience or None,
        "at": None if read is None else format_tick(read.journaled_at),
        "read": None
        if read is None
        else {
            "kind": read.read.kind.value,
            "since": format_tick(read.read.floor),
            "until": format_tick(read.read.ceiling),
            "began": format_tick(read.read.at),
            "pages": read.read.pages,
            "added": read.added,
        },
        "destinations": _fates_json(journaled.fates),
    }


def _explained_gap_json(one: ExplainedGap) -> Json:
    closed = one.record.closed_at
    return {
        "app": one.record.app,
        "uid": one.uid.hex(),
        **gap_json(one.record.gap),
        "found_at": format_tick(one.record.found_at),
        "closed_at": None if closed is None else format_tick(closed),
        "batch": one.record.seq or None,
        "destinations": _fates_json(one.fates),
    }


def _fates_json(fates: Sequence[Fate]) -> Json:
    return [
        {
            "destination": fate.destination,
            "state": fate.state.value,
            "at": None if fate.at is None else format_tick(fate.at),
            "reason": fate.reason or None,
        }
        for fate in fates
    ]
