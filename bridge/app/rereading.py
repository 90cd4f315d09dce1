"""What the commands share that look at an app's past again: which app, by which reader, up to when.

Also the few words in which an entry, a gap or a failure is told by all of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from bridge import settings
from bridge.app.parts import World
from bridge.errors import ApiError, ApiUnavailable, BridgeError, ConfigError
from bridge.model import AppRecord, Entry, Gap, Json, Tick
from bridge.source.account import Account
from bridge.source.audit import other_limit
from bridge.source.reader import Reader
from bridge.timestamps import format_tick

_START_OF_MESSAGE: Final = 120


def chosen(
    config: settings.Settings, names: Sequence[str], *, where: str = "--app"
) -> list[settings.App]:
    """The configured apps of these names; all of them for no name. ``where`` they were given.

    Raises:
        ConfigError: there is no such app.
    """
    known = {app.name: app for app in config.apps}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"there is no app {name!r}", where=where, hint=f"there are: {', '.join(known)}"
            )
    return [known[name] for name in dict.fromkeys(names or known)]


def reader_of(
    app: settings.App, config: settings.Settings, account: Account, world: World
) -> Reader:
    """Reads an app again, by another page size than the bridge does, while somebody waits."""
    return Reader(
        app.name,
        app.filter,
        page_size=other_limit(config.poll.page_size),
        account=account,
        clock=world.clock,
        random=world.random,
        emit=world.emit,
        persists=False,
    )


def closed_below(record: AppRecord) -> Tick:
    """The tick below which an app's reader expects nothing more: its sweeps have all been there."""
    return min(record.swept.values(), default=record.position)


def concerns_all(error: BridgeError) -> bool:
    """A key that is not accepted, or no answer at all, is no matter of one app."""
    if not isinstance(error, ApiError):
        return False
    unanswered = isinstance(error, ApiUnavailable) and error.status is None
    return unanswered or error.status == HTTPStatus.UNAUTHORIZED


class Glimpse(Struct, frozen=True):
    """Enough of an entry to recognise it: time, level and the start of its message."""

    time: str | None
    level: str | None
    message: str


def glimpse(entry: Entry) -> Glimpse:
    """What there is to recognise an entry by."""
    raw = entry.raw if isinstance(entry.raw, dict) else {"message": entry.raw}
    message, level = raw.get("message"), raw.get("level")
    return Glimpse(
        time=None if entry.tick is None else format_tick(entry.tick),
        level=level if isinstance(level, str) else None,
        message=(message if isinstance(message, str) else json.dumps(message))[:_START_OF_MESSAGE],
    )


def entry_json(entry: Entry) -> Json:
    """The same as JSON."""
    return asdict(glimpse(entry))


def gap_json(gap: Gap) -> Json:
    """A gap as JSON."""
    return {
        "kind": gap.kind.value,
        "since": format_tick(gap.floor),
        "until": format_tick(gap.ceiling),
        "at_least": gap.at_least,
    }
