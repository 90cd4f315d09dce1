"""Entries as they come, straight from the API: neither journal nor positions are touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, TypeAlias

from msgspec import Struct

from bridge import settings
from bridge.app.parts import World, account_of
from bridge.app.rereading import chosen
from bridge.mapping.reading import read
from bridge.mapping.record import body_of
from bridge.mapping.severity import INFO, UNSPECIFIED, severity_number, severity_text
from bridge.model import Entry, Gap, Identified, Json, Query
from bridge.patterns import Pattern
from bridge.source.account import Account
from bridge.source.follow import Follower
from bridge.source.reader import Reader
from bridge.source.schedule import Pace
from bridge.tasks import cancelled
from bridge.timestamps import format_tick

_PATIENCE: Final = 60.0


class Asked(Struct, frozen=True):
    """What to show: of these apps (none are all), from ``since`` on.

    ``min_severity`` is the least severity number; what has none is shown. ``grep`` is looked for in
    the message. Not ``follow``: up to now only.
    """

    since: settings.Start
    apps: Sequence[str] = ()
    min_severity: int = UNSPECIFIED
    grep: Pattern | None = None
    follow: bool = True


class Line(Struct, frozen=True):
    """One entry to show, with the name of its app."""

    app: str
    time: str
    level: str
    severity: int
    message: str
    uid: str
    entry: Entry


class Unproved(Struct, frozen=True):
    """A stretch that may hold more than is shown."""

    app: str
    gap: Gap


Show: TypeAlias = Callable[[Sequence[Line | Unproved]], None]
"""Called with what is new of one app, oldest first."""


async def tail(config: settings.Settings, world: World, asked: Asked, show: Show) -> None:
    """Show entries as they come, for ever, or up to now.

    The entries of one app come oldest first, but for those that the API shows late; several apps'
    come as they are read.

    Raises:
        ConfigError: there is no such app, or the key or the proxy cannot be used.
        ApiError: the API refuses one of the apps; all of them end then.
    """
    apps = chosen(config, asked.apps, where="APP")
    async with AsyncExitStack() as stack:
        account = await account_of(config, world, stack)
        following = _Following(config, world, account, asked, show)
        tasks = [asyncio.create_task(following.follow(app)) for app in apps]
        stack.push_async_callback(cancelled, tasks)
        await asyncio.gather(*tasks)


class _Following(Struct, frozen=True):
    """What following any of the apps takes."""

    config: settings.Settings
    world: World
    account: Account
    asked: Asked
    show: Show

    async def follow(self, app: settings.App) -> None:
        """Show one app's entries, for ever or up to now."""
        poll, clock = self.config.poll, self.world.clock
        follower = await self._follower(app)
        pace = Pace(interval=poll.interval, max_interval=poll.max_interval)
        flowed = await follower.look()
        while self.asked.follow:
            await clock.sleep(pace.after(0.0, flowed=flowed))
            flowed = await follower.look()

    async def _follower(self, app: settings.App) -> Follower:
        """A reader of the app from where it is asked for, by the server's clock."""
        world, poll = self.world, self.config.poll
        patience = None if self.asked.follow else _PATIENCE
        reader = Reader(
            app.name,
            app.filter,
            page_size=poll.page_size,
            account=self.account,
            clock=world.clock,
            random=world.random,
            emit=world.emit,
            persists=False,
        )
        # The first answer tells the server's time, which "so long ago" goes by.
        await reader.page(Query(app.filter, world.clock.now(), None, 1), patience=patience)
        return Follower(
            reader,
            start=self.asked.since.resolve(self.account.time.now()),
            account=self.account,
            take=partial(self._take, app),
            width=poll.concurrency,
            patience=patience,
            clock=world.clock,
            random=world.random,
        )

    def _take(self, app: settings.App, found: Sequence[Identified], gaps: Sequence[Gap]) -> None:
        lines = [line for line in _lines(app, found) if _wanted(line, self.asked)]
        if lines or gaps:
            self.show([*lines, *(Unproved(app.name, gap) for gap in gaps)])


def _lines(app: settings.App, found: Sequence[Identified]) -> Iterator[Line]:
    stderr = severity_number(app.stderr_level, stderr=INFO)
    for item in found:
        seen = read(item.entry)
        level, written_by = seen.fields.get("level"), seen.fields.get("app")
        # Where the whole account is read, each entry says itself whose it is.
        named = written_by if app.app_id is None and isinstance(written_by, str) else app.name
        yield Line(
            app=named,
            time="no time" if seen.tick is None else format_tick(seen.tick),
            level=severity_text(level),
            severity=severity_number(level, stderr=stderr),
            message=body_of(seen.message),
            uid=item.uid.hex(),
            entry=item.entry,
        )


def _wanted(line: Line, asked: Asked) -> bool:
    if UNSPECIFIED < line.severity < asked.min_severity:
        return False
    return asked.grep is None or asked.grep.matches(line.message)


def as_json(line: Line) -> Json:
    """A line as one JSON value: the entry as the API gave it, and the uid it is delivered under."""
    return {"app": line.app, "uid": line.uid, "entry": line.entry.raw}
