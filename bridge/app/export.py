"""The bridge's own metrics and spans on their way out over OTLP, as logs go to any backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx
from msgspec import Struct

from bridge import settings
from bridge.clock import Clock
from bridge.destinations import Destination
from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.tls import Tls
from bridge.model import Verdict
from bridge.payload import Request, encoded
from bridge.telemetry import Emit
from bridge.telemetry.service import TelemetryHeld, TelemetryRecovered

_TIMEOUT: Final = 5.0
"""Seconds for one export; short, since a stop waits for the last one."""
_SPANS_EVERY: Final = 5.0
"""Seconds between two exports of spans, which are kept in memory until then."""
_REMIND_EVERY: Final = 3600.0


class Signal(Struct, frozen=True):
    """One kind of telemetry: its name for people, its path over HTTP, its method over gRPC."""

    name: str
    path: str
    method: str

    def where(self, config: settings.Telemetry) -> str:
        """Where it is sent (OTLP 1.11, "OTLP/HTTP Request")."""
        endpoint = config.endpoint or ""
        return endpoint if config.protocol == "grpc" else endpoint + self.path


METRICS: Final = Signal(
    "metrics",
    "/v1/metrics",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
)
SPANS: Final = Signal(
    "spans", "/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
)


class Exporter:
    """Sends what there is now and then; what does not arrive is not sent again.

    ``take`` gives an encoded request, empty for none. A failure is told when it begins, once an
    hour while it lasts, and when it is over; it concerns neither reading nor delivery.
    """

    def __init__(
        self,
        signal: Signal,
        take: Callable[[], bytes],
        config: settings.Telemetry,
        clock: Clock,
        emit: Emit,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; nothing is sent yet. ``transport`` stands in for the network.

        Raises:
            ConfigError: a header, a certificate or the environment's proxy cannot be used.
        """
        self._signal = signal
        self._take = take
        interval = config.interval
        self._interval = min(interval, _SPANS_EVERY) if signal is SPANS else interval
        self._clock = clock
        self._emit = emit
        self._told: float | None = None
        self._backend = _backend(signal, config, transport)

    async def run(self) -> None:
        """Export for ever."""
        while True:
            await self._clock.sleep(self._interval)
            await self.export()

    async def export(self) -> None:
        """Send what there is now."""
        raw = self._take()
        if not raw:
            return
        outcome = await self._backend.send(Request((encoded(raw, records=1),)))
        if outcome.verdict is not Verdict.DELIVERED:
            self._held(outcome.reason)
        elif self._told is not None:
            self._told = None
            self._emit(TelemetryRecovered(self._signal.name))

    async def aclose(self) -> None:
        """Release connections."""
        await self._backend.aclose()

    def _held(self, reason: str) -> None:
        now = self._clock.monotonic()
        if self._told is None or now - self._told >= _REMIND_EVERY:
            self._told = now
            self._emit(TelemetryHeld(self._signal.name, reason))


def _backend(
    signal: Signal, config: settings.Telemetry, transport: httpx.AsyncBaseTransport | None
) -> Destination:
    """What sends a signal.

    A request of metrics or spans differs from one of logs in its address and its bytes only, and
    the answers are alike, a partial success's fields too (OTLP 1.11, "Partial Success").
    """
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    tls = Tls(**config.tls.model_dump())
    where = signal.where(config)
    if config.protocol != "grpc":
        return OtlpHttp(
            *("telemetry", where, headers),
            compression="gzip",
            timeout=_TIMEOUT,
            tls=tls,
            transport=transport,
        )
    settings.quieten_grpc()
    from bridge.destinations.otlp_grpc import OtlpGrpc  # noqa: PLC0415 - heavy, and rarely chosen

    return OtlpGrpc(
        *("telemetry", where, headers),
        compression="gzip",
        timeout=_TIMEOUT,
        tls=tls,
        method=signal.method,
    )
