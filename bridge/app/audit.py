"""The audit: for each app, a closed window read again and compared with the journal's ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from bridge import settings
from bridge.app.parts import World, account_of, attach_all, mapper_of, selected_by
from bridge.errors import ConfigError, JournalUnusable
from bridge.journal import Journal
from bridge.journal.ledger import AppStanding, Ledger
from bridge.model import Append, AppRecord, Entry, Gap, Identified, Json, Read, Tick
from bridge.source.account import Account
from bridge.source.audit import Comparison, Repair, Result, audit, other_limit
from bridge.source.reader import Reader
from bridge.timestamps import format_tick

Progress: TypeAlias = Callable[[str, float], None]
"""Told an app and the share of its window that is done."""

_START_OF_MESSAGE: Final = 120


@dataclass(frozen=True, slots=True)
class Asked:
    """What to audit: the window, the apps by name (none: all that are configured).

    With ``repair``, what is missing is journaled.
    """

    since: settings.Start
    until: settings.Start
    apps: Sequence[str] = ()
    repair: bool = False


async def run(
    config: settings.Settings,
    world: World,
    asked: Asked,
    progress: Progress,
) -> list[Result]:
    """Audit the apps one after the other.

    Raises:
        ExceptionGroup: of a `ConfigError` for each app whose window is not closed or not in the
            ledger.
        JournalUnusable: there is no journal, or it is to be repaired and a bridge holds it.
        ApiError: the API cannot be read.
    """
    apps = chosen(config, asked.apps)
    floor, ceiling = window_of(asked, world.clock.now())
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(config.journal.path))
        standings = {one.record.name: one for one in ledger.apps()}
        refusals = [refusal(app, config, standings.get(app.name), floor, ceiling) for app in apps]
        if refused := [error for error in refusals if error is not None]:
            raise ExceptionGroup("not every app can be audited", refused)
        journal = await _own_journal(config, world, ledger, stack) if asked.repair else None
        account = await account_of(config, world, stack)
        results = []
        for app in apps:
            record = standings[app.name].record
            repair = None if journal is None else _repair_of(app, record, journal, world)
            results.append(
                await audit(
                    Comparison(app.name, floor, ceiling, ledger),
                    reader=reader_of(app, config, account, world),
                    account=account,
                    repair=repair,
                    progress=partial(progress, app.name),
                )
            )
        return results


def chosen(config: settings.Settings, names: Sequence[str]) -> list[settings.App]:
    """The configured apps of these names; all of them for no name.

    Raises:
        ConfigError: there is no such app.
    """
    known = {app.name: app for app in config.apps}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"there is no app {name!r}", where="--app", hint=f"there are: {', '.join(known)}"
            )
    return [known[name] for name in dict.fromkeys(names or known)]


def reader_of(
    app: settings.App, config: settings.Settings, account: Account, world: World
) -> Reader:
    """Reads an app again, by another page size than the bridge does."""
    return Reader(
        app.name,
        app.filter,
        page_size=other_limit(config.poll.page_size),
        account=account,
        clock=world.clock,
        random=world.random,
        emit=world.emit,
    )


def window_of(asked: Asked, now: Tick) -> tuple[Tick, Tick]:
    """The window in ticks, as (floor, ceiling).

    Raises:
        ConfigError: it is empty.
    """
    floor, ceiling = asked.since.resolve(now), asked.until.resolve(now)
    if floor >= ceiling:
        raise ConfigError(
            f"the window from {format_tick(floor)} to {format_tick(ceiling)} is empty",
            where="--since, --until",
            hint="give an earlier --since or a later --until",
        )
    return floor, ceiling


def closed_below(record: AppRecord) -> Tick:
    """The tick below which an app's reader expects nothing more: its sweeps have all been there."""
    return min([record.position, *record.swept.values()])


def refusal(
    app: settings.App,
    config: settings.Settings,
    standing: AppStanding | None,
    floor: Tick,
    ceiling: Tick,
) -> ConfigError | None:
    """Why the app's window cannot be audited, with one that can; None where it can."""
    where = f"audit of {app.name}"
    if standing is None:
        hint = "run the bridge first"
        return ConfigError("the journal knows nothing of this app", where=where, hint=hint)
    record = standing.record
    if (record.stream, record.filters) != selected_by(app, config):
        return ConfigError(
            "its settings select other entries than those that were journaled",
            where=where,
            hint="audit with the settings that the bridge ran with, or run it with these first",
        )
    lowest, highest = record.ledger_from or record.position, closed_below(record)
    if lowest <= floor and ceiling <= highest:
        return None
    why = [f"the ledger goes back to {format_tick(lowest)} only"] if floor < lowest else []
    if ceiling > highest:
        why.append(f"from {format_tick(highest)} on entries may still come, before the last sweep")
    return ConfigError("; ".join(why), where=where, hint=_accepted(lowest, highest, floor, ceiling))


def _accepted(lowest: Tick, highest: Tick, floor: Tick, ceiling: Tick) -> str:
    """A window that would do: the wanted one as far as possible."""
    if lowest >= highest:
        return "no window of it can be audited yet: the last sweep has still to pass"
    since, until = max(floor, lowest), min(ceiling, highest)
    if since >= until:
        since, until = lowest, highest
    return f"--since {format_tick(since)} --until {format_tick(until)} is accepted"


async def _own_journal(
    config: settings.Settings, world: World, ledger: Ledger, stack: AsyncExitStack
) -> Journal:
    try:
        journal = world.open_journal(config.journal, world.clock)
    except JournalUnusable as error:
        if not ledger.held:
            raise
        raise JournalUnusable(
            "cannot be repaired while a bridge runs on it",
            where=str(config.journal.path),
            hint="stop the bridge, repeat the audit with --repair, start the bridge again",
        ) from error
    stack.push_async_callback(journal.aclose)
    await attach_all(config, journal)  # they hold what is repaired, as they hold what is read
    return journal


def _repair_of(app: settings.App, record: AppRecord, journal: Journal, world: World) -> Repair:
    """Journals what an audit of the app found missing, like any other read."""
    mapper = mapper_of(app)

    async def repair(read: Read, missing: Sequence[Identified]) -> int:
        observed = world.clock.now()
        done = await journal.append(
            Append(
                app.name,
                missing,
                record.position,
                lambda entries, gaps: mapper.encode(entries, observed, gaps),
                read,
                record.swept,
            )
        )
        return done.added

    return repair


def as_json(results: Sequence[Result]) -> Json:
    """The results as one document; times are ISO 8601, UTC."""
    return {
        "complete": all(result.complete for result in results),
        "apps": [_result_json(result) for result in results],
    }


def _result_json(result: Result) -> Json:
    return {
        "app": result.app,
        "since": format_tick(result.floor),
        "until": format_tick(result.ceiling),
        "in_api": result.in_api,
        "journaled": result.journaled,
        "dropped_by_rule": result.dropped_by_rule,
        "missing": result.missing,
        "repaired": result.repaired,
        "surplus": result.surplus,
        "unproved": result.unproved,
        "destinations": {
            share.destination: {
                "delivered": share.delivered,
                "waiting": share.waiting,
                "dead_lettered": share.dead_lettered,
                "unknown": share.unknown,
            }
            for share in result.shares
        },
        "first_missing": [
            {"uid": item.uid.hex(), **entry_json(item.entry)} for item in result.first_missing
        ],
        "gaps": [gap_json(gap) for gap in result.gaps],
    }


def gap_json(gap: Gap) -> Json:
    """A gap as JSON."""
    return {
        "kind": gap.kind.value,
        "since": format_tick(gap.floor),
        "until": format_tick(gap.ceiling),
        "at_least": gap.at_least,
    }


def entry_json(entry: Entry) -> Json:
    """Enough of an entry to recognise it: time, level and the start of its message."""
    raw = entry.raw if isinstance(entry.raw, dict) else {"message": entry.raw}
    message = raw.get("message")
    text = message if isinstance(message, str) else json.dumps(message)
    level = raw.get("level")
    return {
        "time": None if entry.tick is None else format_tick(entry.tick),
        "level": level if isinstance(level, str) else None,
        "message": text[:_START_OF_MESSAGE],
    }
