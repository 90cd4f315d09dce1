"""What a service has around its bridge: metrics, the admin server, the export of its telemetry.

The parts are heavy to import, so that only a process that serves imports them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct

from bridge import settings
from bridge.admin import Health, View, Wanted
from bridge.admin.server import address_of, listening, serving
from bridge.app.bridge import Bridge
from bridge.app.oversight import Oversight
from bridge.app.past import Past
from bridge.app.recent import Recent
from bridge.clock import SystemClock
from bridge.errors import ConfigError
from bridge.model import Json
from bridge.telemetry import Emit, Event
from bridge.telemetry.meter import Meter
from bridge.telemetry.registry import Registry
from bridge.telemetry.service import AdminListening, AdminMoved, InternalError
from bridge.telemetry.spans import NO_TRACER, Tracer

if TYPE_CHECKING:
    from bridge.app.export import Exporter  # noqa: TC004 - heavy; a struct asks for no types

_RESTART_AFTER: Final = 15.0
_LAST_EXPORT: Final = 1.0
"""Seconds that the export at the end may take: container runtimes do not wait for long."""


class Overseen(Struct, frozen=True):
    """What a bridge is built with so that it can be looked after."""

    emit: Emit
    meter: Meter
    tracer: Tracer
    oversight: Oversight
    exporters: Sequence[Exporter]
    where: Event | None
    recent: Recent | None = None

    @asynccontextmanager
    async def looking_after(self, bridge: Bridge) -> AsyncIterator[None]:
        """Watch a bridge while it runs, and export one last time in the end."""
        if self.where:  # not before: a start that fails has one thing to say
            self.emit(self.where)
        self.oversight.take(bridge)
        running: list[Oversight | Exporter] = [self.oversight, *self.exporters]
        loops = [asyncio.create_task(self._keep(type(one).__name__, one.run)) for one in running]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
                with suppress(asyncio.CancelledError):
                    await loop
            last = [self._try(type(one).__name__, one.export) for one in self.exporters]
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_EXPORT):
                    await asyncio.gather(*last)

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


class Overseer:
    """Looks after one bridge after the other; the admin server answers from the first one on."""

    def __init__(self, emit: Emit) -> None:
        """Nothing listens yet."""
        self._emit = emit
        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._past = Past(self._clock)
        self._present = _Present()
        self._door = _Door(self._present, emit)

    async def __aenter__(self) -> Self:
        """Begin; nothing is looked after yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer no more."""
        await self._door.close()
        self._present.close()

    async def begin(
        self, config: settings.Settings, halt: asyncio.Event, stack: AsyncExitStack
    ) -> Overseen:
        """Set up what looks after the next bridge, which ends when ``halt`` is set.

        Its metrics are its own: counters begin anew, as after a restart, and series of what is
        configured no more are gone.

        Raises:
            ConfigError: the admin server's address or the telemetry's endpoint cannot be used.
        """
        registry = Registry(
            apps=[app.name for app in config.apps],
            destinations=[one.name for one in config.destinations],
        )
        oversight = Oversight(
            config, self._clock, registry, halt, began=self._began, past=self._past
        )
        self._present.take(oversight, registry)
        tracer, exporters = self._exporting(config.telemetry, registry)
        for exporter in exporters:
            stack.push_async_callback(exporter.aclose)
        where = await self._door.open(config.admin)

        def heard(event: Event) -> None:
            self._emit(event)
            oversight.note(event)

        recent = self._recent(config.admin)
        return Overseen(heard, registry, tracer, oversight, exporters, where, recent)

    def _exporting(
        self, config: settings.Telemetry, registry: Registry
    ) -> tuple[Tracer, list[Exporter]]:
        """What traces, and what exports metrics and spans; imported only where that is wanted."""
        if config.endpoint is None:
            return NO_TRACER, []
        from bridge.app.export import METRICS, SPANS, Exporter  # noqa: PLC0415 - see above

        exporters = [Exporter(METRICS, registry.otlp, config, self._clock, self._emit)]
        if not config.sampling_ratio:
            return NO_TRACER, exporters
        from bridge.telemetry.tracing import Tracing  # noqa: PLC0415 - see above

        tracing = Tracing(config.sampling_ratio)
        spans = Exporter(SPANS, tracing.otlp, config, self._clock, self._emit)
        return tracing, [*exporters, spans]

    def _recent(self, admin: settings.Admin) -> Recent | None:
        """Where the last entries are kept; nowhere, while nobody may see them."""
        if admin.enabled and admin.token is not None:
            return self._past.recent
        self._past.recent.clear()
        return None


class _Present:
    """What the admin server shows: whatever looks after the present bridge; see `View`.

    The one before is shown until the next one takes its place, since a scrape may come in between.
    """

    _oversight: Oversight
    _registry: Registry | None = None

    def take(self, oversight: Oversight, registry: Registry) -> None:
        """Show this one from now on."""
        self.close()
        self._oversight, self._registry = oversight, registry

    def close(self) -> None:
        """Take no more numbers."""
        if self._registry is not None:
            self._registry.close()

    def live(self) -> Health:
        """See `View.live`."""
        return self._oversight.live()

    def ready(self) -> Health:
        """See `View.ready`."""
        return self._oversight.ready()

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """See `View.metrics`."""
        return self._oversight.metrics(accept)

    async def status(self) -> Json:
        """See `View.status`."""
        return await self._oversight.status()

    async def overview(self) -> Json:
        """See `View.overview`."""
        return await self._oversight.overview()

    def history(self) -> Json:
        """See `View.history`."""
        return self._oversight.history()

    async def entries(self, wanted: Wanted) -> Json:
        """See `View.entries`."""
        return await self._oversight.entries(wanted)

    async def problems(self) -> Json:
        """See `View.problems`."""
        return await self._oversight.problems()


class _Door:
    """The admin server's port, which stays open for as long as its address is the same."""

    def __init__(self, view: View, emit: Emit) -> None:
        self._view = view
        self._emit = emit
        self._admin: settings.Admin | None = None
        self._listener: socket.socket | None = None
        self._server = AsyncExitStack()

    async def open(self, admin: settings.Admin) -> Event | None:
        """Answer as these settings say; what to say of it if the address is new.

        Raises:
            ConfigError: the address cannot be had; nothing listens then.
        """
        before = self._admin
        if admin == before:
            return None
        if before is None or (admin.enabled, admin.listen) != (before.enabled, before.listen):
            await self.close()  # before the new one opens: an address may be part of another
        where = None
        if admin.enabled and self._listener is None:
            self._listener, where = _listener(admin)
        self._admin = admin
        await self._serve(admin)
        return where

    async def _serve(self, admin: settings.Admin) -> None:
        await self._server.aclose()
        if self._listener is not None:
            token = admin.token.get_secret_value() if admin.token else None
            # The server closes what it is given; who comes before the next one does, waits.
            served = serving(self._view, self._listener.dup(), self._emit, token, admin.path_prefix)
            await self._server.enter_async_context(served)

    async def close(self) -> None:
        """Answer no more."""
        await self._server.aclose()
        if self._listener is not None:
            self._listener.close()
        self._admin = self._listener = None


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
