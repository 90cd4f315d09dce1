"""The way of single entries: fetched by which read, journaled when, acknowledged by whom.

An entry is named by its uid, or found by a text that the API is asked for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bridge import settings
from bridge.app.audit import chosen, closed_below, entry_json, reader_of
from bridge.app.parts import World, account_of
from bridge.errors import ConfigError
from bridge.journal.ledger import AppStanding, Found, Ledger, ReadRecord
from bridge.model import SECOND, AppRecord, Entry, Filter, Json, Query, Tick
from bridge.source.audit import PATIENCE, read_again
from bridge.source.fingerprint import content_hash, uid
from bridge.source.reader import Reader
from bridge.timestamps import format_tick

MOST: Final = 20
"""How many entries a text explains, the newest ones."""

_MOST_PAGES: Final = 100
_PAGE: Final = 100
_UID: Final = re.compile(r"[0-9a-fA-F]{8,32}\Z")
_UID_DIGITS: Final = 32


class State(StrEnum):
    """What became of an entry at one destination."""

    ACKNOWLEDGED = "acknowledged"
    WAITING = "waiting"
    DEAD_LETTER = "dead letter"
    UNKNOWN = "unknown"
    """Its batch was passed before this destination was there, or before the journal kept when."""


@dataclass(frozen=True, slots=True)
class Fate:
    """One destination's answer: when, and why it was refused."""

    destination: str
    state: State
    at: Tick | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Journaled:
    """Where in the journal an entry is; ``read`` is None where that is no longer known."""

    place: Found
    read: ReadRecord | None
    fates: tuple[Fate, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """One entry of one app. ``entry`` is known where the API was asked.

    Not ``journaled``: ``reason`` says why that can be.
    """

    app: str
    uid: bytes
    entry: Entry | None = None
    journaled: Journaled | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that was found, the newest first; ``searched`` are the apps the API was asked for.

    ``stopped`` are those where the search ended before its start: there was too much to read.
    """

    entries: tuple[Explained, ...]
    searched: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


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
        ConfigError: no such app, or the beginning of several uids.
        JournalUnusable: there is no journal.
        ApiError: the API cannot be read.
    """
    wanted = chosen(config, apps)
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(config.journal.path))
        names = {app.name for app in wanted} if apps else None
        by_uid = _by_uid(ledger, text, names)
        if by_uid:
            return Explanation(tuple(by_uid))
        account = await account_of(config, world, stack)
        standings = {one.record.name: one for one in ledger.apps()}
        found: list[Explained] = []
        stopped = []
        for app in wanted:
            standing = standings.get(app.name)
            reader = reader_of(app, config, account, world)
            floor = _search_floor(standing, since, world.clock.now())
            shown, whole = await _search(reader, app.filter, text, floor)
            found += [_explain_shown(ledger, app.name, standing, one) for one in shown]
            stopped += [] if whole else [app.name]
        found.sort(key=lambda one: -(one.entry.tick or 0) if one.entry else 0)
        searched = tuple(app.name for app in wanted)
        return Explanation(tuple(found[:MOST]), searched, tuple(stopped))


def _by_uid(ledger: Ledger, text: str, names: set[str] | None) -> list[Explained]:
    """What is journaled under a uid, whole or begun; nothing where it is none."""
    if not _UID.match(text):
        return []
    digits = text.lower()
    if len(digits) == _UID_DIGITS:
        uids = [bytes.fromhex(digits)]
    else:
        begun = ledger.uids_with_prefix(bytes.fromhex(digits[: len(digits) // 2 * 2]))
        uids = [one for one in begun if one.hex().startswith(digits)]
    if len(uids) > 1:
        raise ConfigError(
            f"several uids begin with {digits}: {', '.join(one.hex() for one in uids)}",
            where="explain",
            hint="give more of it",
        )
    return [
        Explained(place.app, one, journaled=_journaled(ledger, one, place))
        for one in uids
        for place in ledger.find(one)
        if names is None or place.app in names
    ]


def _journaled(ledger: Ledger, one: bytes, place: Found) -> Journaled:
    if place.dropped:
        return Journaled(place, None, ())
    refused = {letter.destination: letter for letter in ledger.dead_letters_of([one.hex()])}
    fates = []
    for destination in ledger.destinations():
        letter = refused.get(destination.name)
        at = ledger.acknowledged(destination.name, place.seq)
        if letter is not None:
            state, at = State.DEAD_LETTER, letter.refused_at
        elif place.seq > destination.cursor:
            state, at = State.WAITING, None
        else:
            state = State.UNKNOWN if at is None else State.ACKNOWLEDGED
        fates.append(Fate(destination.name, state, at, letter.reason if letter else ""))
    read = ledger.read_of(place.app, place.seq) if place.seq else None
    return Journaled(place, read, tuple(fates))


def _search_floor(standing: AppStanding | None, since: settings.Start | None, now: Tick) -> Tick:
    """Where a search ends: as asked, else where the ledger does."""
    if since is not None:
        return since.resolve(now)
    if standing is None:
        return now - 3600 * SECOND
    return standing.record.ledger_from or standing.record.position


async def _search(
    reader: Reader, selection: Filter, text: str, floor: Tick
) -> tuple[list[tuple[bytes, Entry]], bool]:
    """The newest entries with the text, with their uids; and whether all was looked through.

    An app that searches for something itself is searched here, page by page: the API takes one
    term only.
    """
    by_api = selection.search is None
    asked = replace(selection, search=text) if by_api else selection
    found: list[tuple[bytes, Entry]] = []
    done: set[Tick] = set()
    until: Tick | None = None
    for _ in range(_MOST_PAGES):
        query = Query(asked, floor - 1, until, min(_PAGE, reader.limit.value))
        page = await reader.page(query, patience=PATIENCE)
        matching = [e for e in page.entries if by_api or _has(e, text)]
        contents = {content_hash(entry) for entry in matching}
        # One without a time has no tick whose other entries count: it is taken for the first.
        found += [(uid(content_hash(e), 0), e) for e in matching if e.tick is None]
        for tick in dict.fromkeys(e.tick for e in matching if e.tick is not None):
            if tick in done or len(found) >= MOST:
                continue
            done.add(tick)
            walk, _ = await read_again(reader, tick, tick + 1)
            found += [
                (item.uid, item.entry)
                for item in walk.found()
                if item.entry.tick == tick
                and (content_hash(item.entry) in contents or _has(item.entry, text))
            ]
        ticks = [entry.tick for entry in page.entries if entry.tick is not None]
        if len(found) >= MOST or not ticks:
            return found[:MOST], True
        until = min(ticks)
    return found, False


def _has(entry: Entry, text: str) -> bool:
    message = entry.raw.get("message") if isinstance(entry.raw, dict) else None
    return isinstance(message, str) and text.casefold() in message.casefold()


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
    return None if seq is None else Found(app, tick, seq, dated=True)


def _why_not(ledger: Ledger, record: AppRecord, tick: Tick | None) -> str:
    """Why an entry that the API shows may not be journaled."""
    lowest, highest = record.ledger_from or record.position, closed_below(record)
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
        "searched": list(explanation.searched),
        "stopped": list(explanation.stopped),
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
        "destinations": [
            {
                "destination": fate.destination,
                "state": fate.state.value,
                "at": None if fate.at is None else format_tick(fate.at),
                "reason": fate.reason or None,
            }
            for fate in journaled.fates
        ],
    }
