"""The bridge's own metrics on their way out over OTLP, as logs go to any backend."""

from __future__ import annotations

from typing import Final

import httpx

from bridge import settings
from bridge.clock import Clock
from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.tls import Tls
from bridge.model import Verdict
from bridge.payload import Request, encoded
from bridge.telemetry import Emit
from bridge.telemetry.registry import Registry
from bridge.telemetry.service import TelemetryHeld, TelemetryRecovered

_TIMEOUT: Final = 5.0
"""Seconds for one export; short, since a stop waits for the last one."""


class Exporter:
    """Sends all metrics now and then; what does not arrive is not sent again, the next one does."""

    def __init__(
        self,
        config: settings.Telemetry,
        registry: Registry,
        clock: Clock,
        emit: Emit,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; nothing is sent yet. ``transport`` stands in for the network.

        Raises:
            ConfigError: a header or the environment's proxy cannot be used.
        """
        self._interval = config.interval
        self._registry = registry
        self._clock = clock
        self._emit = emit
        self._held = False
        # A request of metrics differs from one of logs in its URL and its bytes only, and the
        # answers are alike, a partial success's fields too (OTLP 1.11, "Partial Success").
        self._backend = OtlpHttp(
            "telemetry",
            config.url,
            {name: value.get_secret_value() for name, value in config.headers.items()},
            compression="gzip",
            timeout=_TIMEOUT,
            tls=Tls(),
            transport=transport,
        )

    async def run(self) -> None:
        """Export for ever."""
        while True:
            await self._clock.sleep(self._interval)
            await self.export()

    async def export(self) -> None:
        """Send what the metrics are now; a failure is told once, and when it is over."""
        raw = self._registry.otlp()
        if not raw:
            return
        outcome = await self._backend.send(Request((encoded(raw, records=1),)))
        held = outcome.verdict is not Verdict.DELIVERED
        if held and not self._held:
            self._emit(TelemetryHeld(outcome.reason))
        elif self._held and not held:
            self._emit(TelemetryRecovered())
        self._held = held

    async def aclose(self) -> None:
        """Release connections."""
        await self._backend.aclose()
