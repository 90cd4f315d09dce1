"""The bridge's own metrics on their way out over OTLP."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from destinations.otlp_grpc_server import Call, GrpcReceiver
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from support.spans import decoded
from support.virtual import VirtualClock, run_virtually

from bridge import settings
from bridge.app.export import METRICS, SPANS, Exporter, Signal
from bridge.clock import SystemClock
from bridge.model import SECOND
from bridge.simulator.exchange import Answer, Drop, Request
from bridge.simulator.transport import CoreTransport
from bridge.telemetry import Event
from bridge.telemetry.registry import Registry
from bridge.telemetry.service import TelemetryHeld, TelemetryRecovered
from bridge.telemetry.spans import SEND
from bridge.telemetry.tracing import Tracing

NOON = 1_758_283_200 * SECOND
CONFIG: dict[str, object] = {
    "endpoint": "http://collector.test/otlp",
    "headers": {"Authorization": "Bearer s3cret-key"},
    "interval": 30,
}


@dataclass
class Collector:
    """Takes metrics, or does what it is told."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else Answer(200)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Of one app."""
    registry = Registry(apps=("a",), destinations=("d",))
    yield registry
    registry.close()


def exported(
    collector: Collector,
    take: Callable[[], bytes],
    seconds: float,
    signal: Signal = METRICS,
    config: dict[str, object] = CONFIG,
) -> list[Event]:
    """Export for so long; what was told."""
    events: list[Event] = []

    async def main() -> None:
        clock = VirtualClock(NOON)
        exporter = Exporter(
            *(signal, take, settings.Telemetry.model_validate(config), clock),
            events.append,
            transport=CoreTransport(collector, clock),
        )
        running = asyncio.create_task(exporter.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await exporter.aclose()

    run_virtually(main())
    return events


def test_what_is_sent(registry: Registry) -> None:
    """Every interval, to `/v1/metrics` under the endpoint, all numbers as they are then."""
    collector = Collector()
    registry.gap("a")
    assert exported(collector, registry.otlp, 100) == []
    assert len(collector.requests) == 3
    request = collector.requests[0]
    assert (request.method, request.path) == ("POST", "/otlp/v1/metrics")
    assert request.header("authorization") == "Bearer s3cret-key"
    assert request.header("content-type") == "application/x-protobuf"
    decoded = ExportMetricsServiceRequest.FromString(gzip.decompress(request.body))
    sums = {
        metric.name: metric.sum.data_points[0].as_int
        for metric in decoded.resource_metrics[0].scope_metrics[0].metrics
        if metric.WhichOneof("data") == "sum"
    }
    assert sums["fal_log_bridge.gaps"] == 1


def test_trouble_is_told_once(registry: Registry) -> None:
    """And its end; the next export carries what the lost ones had. No secret is repeated."""
    collector = Collector(
        [Answer(401, body=b"not s3cret-key"), Answer(503), Answer(200, drop=Drop.BEFORE)]
    )
    first, second = exported(collector, registry.otlp, 150)
    assert isinstance(first, TelemetryHeld)
    assert "401" in first.text
    assert "s3cret" not in first.text
    assert second == TelemetryRecovered("metrics")
    assert "taken again" in second.text
    assert len(collector.requests) == 4


def test_an_endpoint_that_hangs_is_told_once_an_hour(registry: Registry) -> None:
    """It is given five seconds each time, and one warning an hour, however long it lasts."""
    collector = Collector([Answer(200, delay=1e6)] * 400)
    told = exported(collector, registry.otlp, 2.5 * 3600)
    assert len(told) == 3
    assert {type(one) for one in told} == {TelemetryHeld}
    assert len(collector.requests) == 2.5 * 3600 // 35


def test_spans_go_their_own_way() -> None:
    """To `/v1/traces`, every few seconds, and only when there are any."""
    collector, tracing = Collector(), Tracing(1.0)
    with tracing.span(SEND, destination="d", records=3):
        pass
    assert exported(collector, tracing.otlp, 100, SPANS) == []
    (request,) = collector.requests
    assert (request.method, request.path) == ("POST", "/otlp/v1/traces")
    assert request.header("authorization") == "Bearer s3cret-key"
    (span,) = decoded(gzip.decompress(request.body))
    assert (span.name, span.attributes) == ("send", {"destination": "d", "records": 3})


def test_spans_that_nobody_takes_are_dropped() -> None:
    """Said of spans, with the status that says why; what comes later is tried anew."""
    tracing, collector = Tracing(1.0), Collector([Answer(404)])

    def take() -> bytes:
        with tracing.span(SEND, destination="d"):
            pass
        return tracing.otlp()

    first, second = exported(collector, take, 11, SPANS)
    assert isinstance(first, TelemetryHeld)
    assert first.what == "spans"
    assert "404" in first.text
    assert second == TelemetryRecovered("spans")
    assert [len(decoded(gzip.decompress(r.body))) for r in collector.requests] == [1, 1]


@pytest.mark.parametrize("signal", [METRICS, SPANS], ids=["metrics", "spans"])
def test_over_grpc(signal: Signal, registry: Registry) -> None:
    """Each to its own service, with the headers, in the bytes that HTTP would carry."""
    tracing = Tracing(1.0)
    with tracing.span(SEND, destination="d"):
        pass
    raw = registry.otlp() if signal is METRICS else tracing.otlp()
    calls: list[Call] = []
    events: list[Event] = []

    async def answer(call: Call) -> bytes:
        calls.append(call)
        return b""

    async def main() -> None:
        async with GrpcReceiver(answer, method=signal.method) as receiver:
            config = {
                "endpoint": f"http://127.0.0.1:{receiver.port}",
                "protocol": "grpc",
                "headers": {"api-key": "s3cret"},
            }
            exporter = Exporter(
                *(signal, lambda: raw, settings.Telemetry.model_validate(config), SystemClock()),
                events.append,
            )
            await exporter.export()
            await exporter.aclose()

    asyncio.run(main())
    assert events == []
    (call,) = calls
    assert call.body == raw
    assert call.metadata["api-key"] == "s3cret"
