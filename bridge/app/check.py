"""Trying everything out before it is relied upon: one row for each thing that was tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from bridge import settings
from bridge.app.parts import World, account_of, destination_of
from bridge.app.rereading import chosen, concerns_all
from bridge.errors import ApiError, ApiLimitRefused, ApiThrottled
from bridge.model import Json, Outcome, Verdict
from bridge.source.account import Account
from bridge.source.probes import Probed, Standing, probed


class Mark(StrEnum):
    """What trying something came to."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was tried.

    ``target`` is the config, the fal account, an app or a destination; ``mend`` says what to do,
    or what the finding means; ``asked`` and ``evidence`` are a probe's.
    """

    target: str
    check: str
    mark: Mark
    finding: str
    mend: str = ""
    asked: str = ""
    evidence: Mapping[str, int] = field(default_factory=dict)


async def check(
    config: settings.Settings, world: World, names: Sequence[str] = ()
) -> AsyncIterator[Row]:
    """Try valid settings out, and give each row as it is known.

    ``names`` are the apps to try; if empty all of them are, and the destinations. What fails for
    the whole account is tried once only.

    Raises:
        ConfigError: there is no app of such a name, or the key, the proxy or what a destination
            names cannot be used.
    """
    apps = chosen(config, names)
    for row in _of_config(config):
        yield row
    async for row in _of_apps(apps, config, world):
        yield row
    if not names:
        async for row in _of_destinations(config, world):
            yield row


async def _of_apps(
    apps: Sequence[settings.App], config: settings.Settings, world: World
) -> AsyncIterator[Row]:
    async with AsyncExitStack() as stack:
        account = await account_of(config, world, stack)
        for app in apps:
            try:
                rows = await _of_app(app, account, world)
            except ApiError as error:
                shared = concerns_all(error)
                target = "fal" if shared else _name(app)
                yield Row(target, "request", Mark.FAILED, _said(error), _mend(error))
                if shared:
                    return
            else:
                for row in rows:
                    yield row


def failed(rows: Sequence[Row]) -> bool:
    """Whether anything that was tried needs mending."""
    return any(row.mark is Mark.FAILED for row in rows)


def as_json(rows: Sequence[Row]) -> Json:
    """The rows as one JSON document."""
    return {"ok": not failed(rows), "rows": [asdict(row) for row in rows]}


def _of_config(config: settings.Settings) -> list[Row]:
    apps, destinations = len(config.apps), len(config.destinations)
    said = f"valid; apps: {apps}, destinations: {destinations}"
    warnings = [Row("config", "warning", Mark.UNKNOWN, text) for text in config.warnings]
    return [Row("config", "settings", Mark.OK, said), *warnings]


async def _of_app(app: settings.App, account: Account, world: World) -> list[Row]:
    """Probe the API with one app's filter."""
    found = await probed(account, app.name, app.filter, world.clock)
    return [_row(_name(app), one) for one in found]


async def _of_destinations(config: settings.Settings, world: World) -> AsyncIterator[Row]:
    """Reach each destination without giving it a record."""
    async with AsyncExitStack() as stack:
        built = [destination_of(one, world) for one in config.destinations]
        for destination in built:
            stack.push_async_callback(destination.aclose)
        found = await asyncio.gather(*(destination.probe() for destination in built))
        for destination, outcome in zip(built, found, strict=True):
            target = f"destination {destination.name}"
            yield _reached(target, outcome)
            yield _promised(target, acknowledged=destination.acknowledged)


def _reached(target: str, outcome: Outcome) -> Row:
    """What a probe came to; one that was taken to be no good may still be the probe's fault."""
    if outcome.verdict is Verdict.DELIVERED:
        mark = Mark.UNKNOWN if outcome.reason else Mark.OK
        return Row(target, "connection", mark, outcome.reason or "works")
    if outcome.verdict is Verdict.REJECTED:
        mend = "it was reached, and refuses a request without a record, as some do"
        return Row(target, "connection", Mark.UNKNOWN, outcome.reason, mend)
    mend = "nothing would be lost: entries are held until this is mended"
    return Row(target, "connection", Mark.FAILED, outcome.reason, mend)


def _promised(target: str, *, acknowledged: bool) -> Row:
    """What the destination's word is worth."""
    if acknowledged:
        return Row(target, "delivery", Mark.OK, "at least once: it confirms what it has")
    said = "best effort: nothing confirms what was received"
    return Row(target, "delivery", Mark.OK, said, "what a receiver had not stored is lost with it")


def _row(target: str, one: Probed) -> Row:
    """A probe's finding: what is odd fails only where reading cannot cope with it."""
    if one.standing is Standing.UNKNOWN:
        mark = Mark.UNKNOWN
    else:
        mark = Mark.FAILED if one.harmful else Mark.OK
    return Row(target, one.probe, mark, one.finding, one.meaning, one.asked, one.evidence)


def _name(app: settings.App) -> str:
    return f"app {app.name}"


def _said(error: ApiError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what


def _mend(error: ApiError) -> str:
    if error.hint:
        return error.hint
    if isinstance(error, ApiThrottled):
        return "others use up the account's requests: wait, or lower poll.requests_per_second"
    if isinstance(error, ApiLimitRefused):
        return "the documented page size is refused; check fal.api and fal.base_url"
    if error.status is None:
        return "check fal.base_url, the network and the proxy variables"
    return "this is on the server's side; try again"
