"""The bridge's own metrics on their way out over OTLP."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from support.virtual import VirtualClock, run_virtually

from bridge import settings
from bridge.app.export import Exporter
from bridge.model import SECOND
from bridge.simulator.exchange import Answer, Drop, Request
from bridge.simulator.transport import CoreTransport
from bridge.telemetry import Event
from bridge.telemetry.registry import Registry
from bridge.telemetry.service import TelemetryHeld, TelemetryRecovered

NOON = 1_758_283_200 * SECOND
CONFIG = {
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


def exported(collector: Collector, registry: Registry, seconds: float) -> list[Event]:
    """Export for so long; what was told."""
    events: list[Event] = []

    async def main() -> None:
        clock = VirtualClock(NOON)
        exporter = Exporter(
            settings.Telemetry.model_validate(CONFIG),
            registry,
            clock,
            events.append,
            CoreTransport(collector, clock),
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
    assert exported(collector, registry, 100) == []
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
    first, second = exported(collector, registry, 150)
    assert isinstance(first, TelemetryHeld)
    assert "401" in first.text
    assert "s3cret" not in first.text
    assert second == TelemetryRecovered()
    assert "taken again" in second.text
    assert len(collector.requests) == 4
