"""The audit: for each app, a closed window read again and compared with the journal's ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from bridge import settings
from bridge.app.parts import World, account_of, attach_all, mapper_of
from bridge.app.rereading import chosen, concerns_all, entry_json, gap_json, reader_of
from bridge.app.windows import for_all, reach_of, refusals, window_of
from bridge.errors import BridgeError, JournalUnusable
from bridge.journal import Journal
from bridge.journal.ledger import Ledger
from bridge.journal.lock import say_task
from bridge.model import Append, AppRecord, Identified, Json, Read
from bridge.source.audit import Comparison, Repair, Result, audit
from bridge.timestamps import format_tick

Progress: TypeAlias = Callable[[str, float], None]
"""Told an app and the share of its window that is done."""


class Asked(Struct, frozen=True):
    """What to audit: the window, the apps by name (none: all that are configured).

    With ``repair``, what is missing is journaled. ``otherwise`` are further options as they were
    given, for a command line to copy.
    """

    since: settings.Start
    until: settings.Start
    apps: Sequence[str] = ()
    repair: bool = False
    otherwise: str = ""


class Audited(Struct, frozen=True):
    """What came of it, app by app; ``held``: a bridge runs on the journal."""

    results: tuple[Result, ...]
    held: bool = False

    @property
    def complete(self) -> bool:
        """Whether every app's window is proved complete."""
        return all(result.complete for result in self.results)


async def run(config: settings.Settings, world: World, asked: Asked, progress: Progress) -> Audited:
    """Audit the apps one after the other.

    What fails for one of them is in its result; an app of which no window can be audited yet is
    left out in the same way, unless it is the only one.

    Raises:
        ExceptionGroup: of a `ConfigError` for each app whose window is not closed or not in the
            ledger, and one with a window that all of them accept.
        JournalUnusable: there is no journal, or it is to be repaired and a bridge holds it.
        ConfigError: there is no such app, the window is empty, or the key cannot be used.
    """
    apps = chosen(config, asked.apps)
    floor, ceiling = window_of(asked.since, asked.until, world.clock.now())
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(config.journal.path))
        standings = {one.record.name: one for one in ledger.apps()}
        refused = refusals(apps, config, standings, floor, ceiling)
        reach = {app.name: reach_of(standings.get(app.name)) for app in apps}
        if len(refused) == len(apps) or any(reach[name] for name in refused):
            together = for_all(reach, floor, ceiling, asked.otherwise)
            raise ExceptionGroup("not every app can be audited", [*refused.values(), *together])
        held = ledger.held  # by a bridge, not by the repair that may follow
        journal = await _own_journal(config, world, ledger, stack) if asked.repair else None
        account = await account_of(config, world, stack)
        results: list[Result] = []
        hopeless: BridgeError | None = None
        for app in apps:
            comparison = Comparison(app.name, floor, ceiling, ledger)
            results.append(comparison.result)
            if why := refused.get(app.name) or hopeless:
                comparison.result.error = str(why)
                continue
            record = standings[app.name].record
            try:
                await audit(
                    comparison,
                    reader=reader_of(app, config, account, world),
                    account=account,
                    repair=_repair_of(app, record, journal, world) if journal else None,
                    progress=partial(progress, app.name),
                )
            except BridgeError as error:
                comparison.result.error = str(error)
                hopeless = error if concerns_all(error) else None
        return Audited(tuple(results), held)


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
    say_task(config.journal.path, "audit --repair")
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


def as_json(audited: Audited) -> Json:
    """The results as one document; times are ISO 8601, UTC."""
    return {
        "complete": audited.complete,
        "apps": [_result_json(result) for result in audited.results],
    }


def _result_json(result: Result) -> Json:
    return {
        "app": result.app,
        "since": format_tick(result.floor),
        "until": format_tick(result.ceiling),
        "error": result.error or None,
        "audited_from": format_tick(result.reached),
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
                "lost": share.lost,
                "unknown": share.unknown,
            }
            for share in result.shares
        },
        "first_missing": [
            {"uid": item.uid.hex(), **entry_json(item.entry)} for item in result.first_missing
        ],
        "gaps": [gap_json(gap) for gap in result.gaps],
    }
