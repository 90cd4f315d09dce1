"""What a service has around its bridge: metrics, the admin server, the export of its telemetry.

The parts are heavy to import, so that only a process that serves imports them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bridge import settings
from bridge.admin.server import address_of, listening, serving
from bridge.app.bridge import Bridge
from bridge.app.oversight import Oversight
from bridge.clock import SystemClock
from bridge.errors import ConfigError
from bridge.telemetry import Emit, Event
from bridge.telemetry.meter import Meter
from bridge.telemetry.registry import Registry
from bridge.telemetry.service import AdminListening, AdminMoved, InternalError

if TYPE_CHECKING:
    from bridge.app.export import Exporter

_RESTART_AFTER: Final = 15.0
_LAST_EXPORT: Final = 1.0
"""Seconds that the export at the end may take: container runtimes do not wait for long."""


@dataclass(frozen=True, slots=True)
class Overseen:
    """What a bridge is built with so that it can be looked after."""

    emit: Emit
    meter: Meter
    oversight: Oversight
    exporter: Exporter | None
    where: Event | None

    @asynccontextmanager
    async def looking_after(self, bridge: Bridge) -> AsyncIterator[None]:
        """Watch a bridge while it runs, and export one last time in the end."""
        if self.where:  # not before: a start that fails has one thing to say
            self.emit(self.where)
        self.oversight.take(bridge)
        exports = [] if self.exporter is None else [self.exporter]
        running: list[Oversight | Exporter] = [self.oversight, *exports]
        loops = [asyncio.create_task(self._keep(type(one).__name__, one.run)) for one in running]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
                with suppress(asyncio.CancelledError):
                    await loop
            for exporter in exports:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_EXPORT):
                        await self._try(type(exporter).__name__, exporter.export)

    async def _keep(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop, again and again."""
        while True:
            await self._try(name, loop)
            await asyncio.sleep(_RESTART_AFTER)

    async def _try(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do some work; a defect in it is told, and concerns neither the bridge nor the others."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - any defect
            self.emit(InternalError.of(name, error))


async def overseeing(
    config: settings.Settings, emit: Emit, stop: asyncio.Event, stack: AsyncExitStack
) -> Overseen:
    """Set up what looks after a service; it answers from now on, until the stack unwinds.

    Raises:
        ConfigError: the admin server's address or the telemetry's endpoint cannot be used.
    """
    clock = SystemClock()
    registry = Registry(
        apps=[app.name for app in config.apps],
        destinations=[one.name for one in config.destinations],
    )
    stack.callback(registry.close)
    oversight = Oversight(config, clock, registry, stop)
    exporter = None
    if config.telemetry.endpoint is not None:
        from bridge.app.export import Exporter  # noqa: PLC0415 - only who exports needs it

        exporter = Exporter(config.telemetry, registry, clock, emit)
        stack.push_async_callback(exporter.aclose)
    where = None
    if config.admin.enabled:
        listener, where = _listener(config.admin)
        token = config.admin.token.get_secret_value() if config.admin.token else None
        await stack.enter_async_context(serving(oversight, listener, emit, token))

    def heard(event: Event) -> None:
        emit(event)
        oversight.note(event)

    return Overseen(heard, registry, oversight, exporter, where)


def _listener(admin: settings.Admin) -> tuple[socket.socket, Event]:
    """The admin server's socket and what to say of it; a port that nobody chose may be another."""
    try:
        listener = listening(admin.host, admin.port)
    except ConfigError:
        if "listen" in admin.model_fields_set:
            raise
        listener = listening(admin.host, 0)
        return listener, AdminMoved(admin.listen, address_of(listener))
    return listener, AdminListening(address_of(listener))
