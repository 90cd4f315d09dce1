"""One bridge after the other: a reload is a restart within the process.

The present bridge drains as it does at a stop and lets go of everything, the journal included;
then the next one is built from the new configuration, as at a start. So positions and cursors mean
what they mean across a restart, and there is one way to begin, not two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

from bridge import settings
from bridge.app.bridge import Bridge
from bridge.errors import BridgeError
from bridge.telemetry import Emit
from bridge.telemetry.service import (
    ConfigChanged,
    ConfigUnchanged,
    InternalError,
    ReloadFailed,
    Reloading,
    ReloadRefused,
)


class Begin(Protocol):
    """Builds a bridge and what is around it; the stack releases all of it.

    Raises:
        BridgeError: it cannot be built from these settings.
    """

    async def __call__(
        self, config: settings.Settings, halt: asyncio.Event, stack: AsyncExitStack
    ) -> Bridge:
        """``halt`` will be set when the bridge has to end, for a reload or for good."""
        ...


class Succession:
    """Runs a bridge until ``stop`` is set, and another in its place whenever that is asked for.

    ``load`` reads the settings as the start did, ``rehearse`` finds out beside a running bridge
    what about them cannot be used; both raise `BridgeError`.
    """

    def __init__(
        self,
        *,
        load: Callable[[], settings.Settings],
        rehearse: Callable[[settings.Settings], Awaitable[None]],
        begin: Begin,
        emit: Emit,
        stop: asyncio.Event,
    ) -> None:
        self._load = load
        self._rehearse = rehearse
        self._begin = begin
        self._emit = emit
        self._stop = stop
        self._asked = asyncio.Event()
        self._bridge: Bridge | None = None
        self._proven: settings.Settings | None = None

    def hang_up(self) -> None:
        """What SIGHUP asks for: open files anew, and look at the configuration.

        During a reload it is remembered, and looked at after that.
        """
        if self._bridge:
            self._bridge.hang_up()
        self._asked.set()

    async def run(self, config: settings.Settings) -> int:
        """Run until stopped; how many records the slowest destination has still to take.

        Raises:
            BridgeError: the first bridge cannot be built, or neither a new one nor the old one.
        """
        while True:
            try:
                following, waiting = await self._live(config)
            except Exception as error:
                if self._proven is None or config is self._proven:
                    raise
                self._tell(ReloadFailed, error)
                config = self._proven
                continue
            if following is None or self._stop.is_set():
                return waiting
            config = following

    async def _live(self, config: settings.Settings) -> tuple[settings.Settings | None, int]:
        """One bridge from its beginning to its end: what comes after it, and what waits then."""
        halt = asyncio.Event()
        async with AsyncExitStack() as stack:
            bridge = await self._begin(config, halt, stack)
            self._proven, self._bridge = config, bridge
            stack.callback(self._forget)
            async with asyncio.TaskGroup() as group:
                following = group.create_task(self._following(config, halt))
                await bridge.run(halt)
            return following.result(), await bridge.waiting()

    def _forget(self) -> None:
        self._bridge = None

    async def _following(
        self, config: settings.Settings, halt: asyncio.Event
    ) -> settings.Settings | None:
        """Wait for a configuration to go on with, or for the end, which has none; then halt."""
        try:
            while await self._asked_to_reload():
                wanted = await self._wanted(config)
                if wanted is not None:
                    return wanted
            return None
        finally:
            halt.set()

    async def _asked_to_reload(self) -> bool:
        """Wait until that is asked for; False if it is to stop instead."""
        events = [asyncio.create_task(event.wait()) for event in (self._stop, self._asked)]
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in events:
                event.cancel()
        self._asked.clear()
        return not self._stop.is_set()

    async def _wanted(self, config: settings.Settings) -> settings.Settings | None:
        """The settings as they are now, if they differ from those in use and can be used."""
        try:
            wanted = self._load()
            changes = settings.changes(config, wanted)
            if not changes:
                self._emit(ConfigUnchanged())
                return None
            await self._rehearse(wanted)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one goes on
            self._tell(ReloadRefused, error)
            return None
        for change in changes:
            self._emit(ConfigChanged(change))
        self._emit(Reloading(len(changes)))
        return wanted

    def _tell(self, event: type[ReloadFailed | ReloadRefused], error: Exception) -> None:
        """Say why there was no reload; what is no error of the tree is a defect, told as one."""
        if not isinstance(error, BridgeError):
            self._emit(InternalError.of("the reload", error))
        self._emit(event(str(error) or type(error).__name__))
