"""The metrics on the OpenTelemetry SDK, read by Prometheus and as OTLP.

Importing this module imports the SDK, which is heavy: whoever runs the service does so, and
nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from bridge import __version__
from bridge.model import Verdict
from bridge.telemetry.meter import Meter
from bridge.telemetry.metrics import (
    API_REQUESTS,
    BUILD_INFO,
    DELIVERY_LATENCY,
    ENTRIES_LATE,
    ENTRY_LATENESS,
    GAPS,
    PREFIX,
    SENDS,
    Kind,
    Metric,
)
from bridge.telemetry.resource import described

Sample: TypeAlias = tuple[tuple[str, ...], float]
"""The values of a metric's labels, in their order, and the number."""


class Registry(Meter):
    """Every metric of one process; may be read from any thread."""

    def __init__(self, *, apps: Sequence[str], destinations: Sequence[str]) -> None:
        """Counters of these apps and destinations stand at 0 from now on (``rate()`` needs that).

        ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` describe the bridge, by the SDK.
        """
        self._scraped = CollectorRegistry()
        self._exported = InMemoryMetricReader()
        self._provider = MeterProvider(
            # What the contract names are its labels, so the SDK adds none of its own.
            [
                PrometheusMetricReader(scope_info_enabled=False, registry=self._scraped),
                self._exported,
            ],
            described(),
            shutdown_on_exit=False,
            exemplar_filter=AlwaysOffExemplarFilter(),  # no spans to point to, and it takes time
        )
        ProcessCollector(registry=self._scraped)
        self._meter = self._provider.get_meter(PREFIX, __version__)
        self._late = self._counter(ENTRIES_LATE)
        self._gaps = self._counter(GAPS)
        self._requests = self._counter(API_REQUESTS)
        self._sends = self._counter(SENDS)
        self._lateness = self._histogram(ENTRY_LATENESS)
        self._latency = self._histogram(DELIVERY_LATENCY)
        self.observe(BUILD_INFO, lambda: [((__version__,), 1)])
        for app in apps:
            self._late.add(0, {"app": app})
            self._gaps.add(0, {"app": app})
            self._requests.add(0, {"app": app, "status": "200"})
        for destination in destinations:
            for verdict in Verdict:
                self._sends.add(0, _send(destination, verdict))

    def answered(self, app: str, status: str) -> None:
        """See `Meter.answered`."""
        self._requests.add(1, {"app": app, "status": status})

    def late(self, app: str, ages: Sequence[float]) -> None:
        """See `Meter.late`."""
        labels = {"app": app}
        self._late.add(len(ages), labels)
        for age in ages:
            self._lateness.record(age, labels)

    def gap(self, app: str) -> None:
        """See `Meter.gap`."""
        self._gaps.add(1, {"app": app})

    def sent(self, destination: str, verdict: Verdict, waited: Sequence[float]) -> None:
        """See `Meter.sent`."""
        self._sends.add(1, _send(destination, verdict))
        labels = {"destination": destination}
        for seconds in waited:
            self._latency.record(seconds, labels)

    def observe(self, metric: Metric, look: Callable[[], Iterable[Sample]]) -> None:
        """Let ``look`` say a metric's numbers whenever somebody reads, from any thread.

        It takes what it finds and waits for nothing. A counter's numbers never fall; True is 1.
        """

        def observed(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(+number, dict(zip(metric.labels, values, strict=True)))
                for values, number in look()
            ]

        make = (
            self._meter.create_observable_counter
            if metric.kind is Kind.COUNTER
            else self._meter.create_observable_gauge
        )
        make(metric.instrument, [observed], metric.unit, metric.help)

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """The content type and the metrics in Prometheus' or OpenMetrics' text, as is accepted."""
        encode, kind = choose_encoder(accept)
        return kind, encode(self._scraped)

    def otlp(self) -> bytes:
        """All metrics as one encoded ``ExportMetricsServiceRequest``."""
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import (  # noqa: PLC0415 - heavy, and few export
            encode_metrics,
        )

        data = self._exported.get_metrics_data()
        if data is None:  # the SDK is turned off, by its own variable
            return b""
        return encode_metrics(data).SerializeToString()

    def close(self) -> None:
        """Take no more numbers."""
        self._provider.shutdown()

    def _counter(self, metric: Metric) -> Counter:
        return self._meter.create_counter(metric.instrument, metric.unit, metric.help)

    def _histogram(self, metric: Metric) -> Histogram:
        return self._meter.create_histogram(
            metric.instrument,
            metric.unit,
            metric.help,
            explicit_bucket_boundaries_advisory=metric.buckets,
        )


def _send(destination: str, verdict: Verdict) -> dict[str, str]:
    return {"destination": destination, "outcome": verdict.replace(" ", "_")}
