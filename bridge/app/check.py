"""Trying everything out before it is relied upon: one row for each thing that was tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Final

from msgspec import Struct, field
from msgspec.structs import asdict

from bridge import settings
from bridge.app.parts import World, account_of, destination_of
from bridge.app.rereading import chosen, concerns_all
from bridge.delivery.selection import Selection
from bridge.destinations import Destination
from bridge.errors import ApiError, ApiLimitRefused, ApiThrottled, JournalUnusable
from bridge.journal.trying import tried
from bridge.mapping.trial import trial
from bridge.model import Batch, Json, Outcome, Tick, Verdict
from bridge.payload import Request
from bridge.source.account import Account
from bridge.source.fingerprint import UID_BYTES
from bridge.source.probes import Probed, Standing, probed

_TEST: Final = "test record"


class Mark(StrEnum):
    """What trying something came to."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Row(Struct, frozen=True):
    """One thing that was tried.

    ``target`` is the config, the journal, the fal account, an app or a destination; ``mend`` says
    what to do, or what the finding means; ``asked`` and ``evidence`` are a probe's.
    """

    target: str
    check: str
    mark: Mark
    finding: str
    mend: str = ""
    asked: str = ""
    evidence: Mapping[str, int] = field(default_factory=dict)


async def check(
    config: settings.Settings, world: World, names: Sequence[str] = (), *, send: bool = False
) -> AsyncIterator[Row]:
    """Try valid settings out, and give each row as it is known.

    ``names`` are the apps to try; if empty all of them are, and the journal's file, and the
    destinations, which get one test record each to ``send``. What fails for the whole account is
    tried once only.

    Raises:
        ConfigError: there is no app of such a name, or the key, the proxy or what a destination
            names cannot be used.
    """
    apps = chosen(config, names)
    for row in _of_config(config):
        yield row
    if not names:
        yield _of_journal(config.journal)
    async for row in _of_apps(apps, config, world):
        yield row
    if not names:
        async for row in _of_destinations(config, world, send=send):
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


def _of_journal(place: settings.Journal) -> Row:
    """Look at the journal's file, which nothing is done to."""
    try:
        found = tried(place.path)
    except JournalUnusable as error:
        return Row("journal", "file", Mark.FAILED, f"{error.where}: {error.what}", error.hint)
    return Row("journal", "file", Mark.OK, f"{place.path}: {found}")


async def _of_app(app: settings.App, account: Account, world: World) -> list[Row]:
    """Probe the API with one app's filter."""
    found = await probed(account, app.name, app.filter, world.clock)
    return [_row(_name(app), one) for one in found]


async def _of_destinations(
    config: settings.Settings, world: World, *, send: bool
) -> AsyncIterator[Row]:
    """Reach each destination, without giving it a record unless that is asked for."""
    async with AsyncExitStack() as stack:
        built = [destination_of(one, world) for one in config.destinations]
        for destination in built:
            stack.push_async_callback(destination.aclose)
        found = await asyncio.gather(
            *(
                _of_destination(destination, one, world, send=send)
                for destination, one in zip(built, config.destinations, strict=True)
            )
        )
        for rows in found:
            for row in rows:
                yield row


async def _of_destination(
    destination: Destination, one: settings.Destination, world: World, *, send: bool
) -> list[Row]:
    target = f"destination {destination.name}"
    rows = [_reached(target, await destination.probe())]
    if send and rows[0].mark is not Mark.FAILED:
        uid = world.random.randbytes(UID_BYTES)
        outcome = await destination.send(_test_request(one, uid, world.clock.now()))
        rows.append(_sent(target, uid, outcome, acknowledged=destination.acknowledged))
    return [*rows, _promised(target, acknowledged=destination.acknowledged)]


def _test_request(one: settings.Destination, uid: bytes, now: Tick) -> Request:
    """A test record as this destination gets its records: with its resource attributes."""
    made = trial(uid, now)
    batch = Batch(0, "", made.records, made.size, made.gzip, now)
    return Request(Selection(resource=one.resource).take([batch]).parts)


def _sent(target: str, uid: bytes, outcome: Outcome, *, acknowledged: bool) -> Row:
    """What sending a test record came to."""
    named, mend = f"log.record.uid {uid.hex()}", ""
    if outcome.verdict is Verdict.DELIVERED and not outcome.refused:
        mark = Mark.UNKNOWN if outcome.reason else Mark.OK
        said = f"{'taken' if acknowledged else 'sent'}, {named}"
        if not acknowledged:
            mend = "nothing confirms that it was received: look for it there"
        return Row(target, _TEST, mark, "; ".join(filter(None, (said, outcome.reason))), mend)
    if outcome.verdict is Verdict.RETRY:
        mend = f"entries would be sent again until it answers; look whether it has {named}"
    elif outcome.verdict is Verdict.BLOCKED:
        mend = "nothing would be lost: entries are held until this is mended"
    else:
        mend = "it takes requests, but not this record: see in its answer what it asks of records"
    return Row(target, _TEST, Mark.FAILED, outcome.reason, mend)


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
