"""The metric contract: names, labels, kinds, and the page about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client.parser import text_string_to_metric_families
from support.scraped import scrape

from bridge import __version__
from bridge.model import Verdict
from bridge.telemetry import metrics
from bridge.telemetry.meter import NO_METER, Meter
from bridge.telemetry.metrics import METRICS, Kind
from bridge.telemetry.registry import Registry

# The contract as it was agreed; it is relied on from outside.
CONTRACT = {
    "fal_log_bridge_entries_read_total": ("app",),
    "fal_log_bridge_entries_late_total": ("app",),
    "fal_log_bridge_entry_lateness_seconds": ("app",),
    "fal_log_bridge_position_age_seconds": ("app",),
    "fal_log_bridge_api_requests_total": ("app", "status"),
    "fal_log_bridge_gaps_total": ("app",),
    "fal_log_bridge_sends_total": ("destination", "outcome"),
    "fal_log_bridge_records_delivered_total": ("destination",),
    "fal_log_bridge_backlog_records": ("destination",),
    "fal_log_bridge_backlog_age_seconds": ("destination",),
    "fal_log_bridge_delivery_latency_seconds": ("destination",),
    "fal_log_bridge_dead_letters": ("destination",),
    "fal_log_bridge_journal_bytes": (),
}


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Of two apps and one destination."""
    registry = Registry(apps=("a", "b"), destinations=("d",))
    yield registry
    registry.close()


def fill(registry: Registry) -> None:
    """Let every metric have a number."""
    registry.late("a", [3.0, 70.0])
    registry.sent("d", Verdict.DELIVERED, [0.2])
    for metric in METRICS:
        if metric.kind is not Kind.HISTOGRAM and metric not in _COUNTED:
            values = tuple(f"some {label}" for label in metric.labels)
            registry.observe(metric, lambda values=values: [(values, 1.0)])  # type: ignore[misc]


_COUNTED = (
    metrics.ENTRIES_LATE,
    metrics.GAPS,
    metrics.API_REQUESTS,
    metrics.SENDS,
    metrics.BUILD_INFO,
)


def test_the_contract_is_kept() -> None:
    """Every agreed metric is there, with its labels."""
    known = {metric.name: metric.labels for metric in METRICS}
    assert CONTRACT.items() <= known.items()
    assert len(known) == len(METRICS)


def test_what_is_shown_is_the_contract(registry: Registry) -> None:
    """Names, kinds and labels come out of the exporter exactly as they are declared."""
    fill(registry)
    _, text = registry.exposition("")
    shown = {f.name: f for f in text_string_to_metric_families(text.decode())}
    for metric in METRICS:
        family = shown.pop(metric.name.removesuffix("_total"))
        assert family.type == metric.kind, metric.name
        assert family.documentation == metric.help
        assert {s.name.removeprefix(metric.name) for s in family.samples} <= _ENDS[metric.kind]
        for sample in family.samples:
            assert sorted(sample.labels.keys() - {"le"}) == sorted(metric.labels), metric.name
    assert [name for name in shown if not name.startswith("process_")] == ["target_info"]


_ENDS = {
    Kind.COUNTER: {""},
    Kind.GAUGE: {""},
    Kind.HISTOGRAM: {"_bucket", "_count", "_sum"},
}


def test_over_otlp_the_same(registry: Registry) -> None:
    """Every metric, by its OpenTelemetry name and unit; the resource is the bridge."""
    fill(registry)
    request = ExportMetricsServiceRequest.FromString(registry.otlp())
    (resource,) = request.resource_metrics
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert attributes == {"service.name": "fal-log-bridge", "service.version": __version__}
    (scope,) = resource.scope_metrics
    shown = {metric.name: metric.unit for metric in scope.metrics}
    assert shown == {metric.instrument: metric.unit for metric in METRICS}
    assert shown["fal_log_bridge.entry_lateness"] == "s"
    assert shown["fal_log_bridge.journal"] == "By"


def test_the_standard_variables_describe_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and nothing takes their place."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "our-bridge")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    registry = Registry(apps=(), destinations=())
    (info,) = scrape(registry)["target_info"]
    registry.close()
    assert set(info) == {"our-bridge", "prod", __version__}


def test_counters_stand_at_zero_from_the_start(registry: Registry) -> None:
    """For every configured name: a rate needs a first value."""
    shown = scrape(registry)
    assert shown["fal_log_bridge_gaps_total"] == {("a",): 0, ("b",): 0}
    assert shown["fal_log_bridge_entries_late_total"] == {("a",): 0, ("b",): 0}
    assert shown["fal_log_bridge_api_requests_total"] == {("a", "200"): 0, ("b", "200"): 0}
    assert shown["fal_log_bridge_sends_total"] == {
        ("d", outcome): 0 for outcome in ("delivered", "retry", "too_large", "rejected", "blocked")
    }


def test_a_state_is_a_number(registry: Registry) -> None:
    """True is 1 in either form; the encoding of OTLP takes no truth values."""
    registry.observe(metrics.APP_UP, lambda: [(("a",), True), (("b",), False)])
    assert scrape(registry)["fal_log_bridge_app_up"] == {("a",): 1, ("b",): 0}
    assert registry.otlp()


def test_what_is_counted(registry: Registry) -> None:
    """Each call of the meter moves its own series, and no other."""
    registry.answered("a", "200")
    registry.answered("a", "429")
    registry.gap("b")
    registry.late("a", [1.5, 70.0, 2.0])
    registry.sent("d", Verdict.TOO_LARGE, [])
    registry.sent("d", Verdict.DELIVERED, [0.3, 0.3])
    shown = scrape(registry)
    assert shown["fal_log_bridge_api_requests_total"] == {
        ("a", "200"): 1,
        ("a", "429"): 1,
        ("b", "200"): 0,
    }
    assert shown["fal_log_bridge_gaps_total"] == {("a",): 0, ("b",): 1}
    assert shown["fal_log_bridge_entries_late_total"] == {("a",): 3, ("b",): 0}
    assert shown["fal_log_bridge_entry_lateness_seconds_count"] == {("a",): 3}
    assert shown["fal_log_bridge_entry_lateness_seconds_sum"] == {("a",): 73.5}
    assert shown["fal_log_bridge_entry_lateness_seconds_bucket"][("a", "2.5")] == 2
    assert shown["fal_log_bridge_sends_total"][("d", "too_large")] == 1
    assert shown["fal_log_bridge_sends_total"][("d", "delivered")] == 1
    assert shown["fal_log_bridge_delivery_latency_seconds_count"] == {("d",): 2}


def test_openmetrics_where_it_is_accepted(registry: Registry) -> None:
    """A modern scraper asks for it."""
    kind, text = registry.exposition("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    assert registry.exposition("*/*")[0].startswith("text/plain; version=0.0.4")


def test_the_default_meter_counts_nothing() -> None:
    """It takes whatever it is told."""
    assert type(NO_METER) is Meter
    NO_METER.answered("a", "200")
    NO_METER.late("a", [1.0])
    NO_METER.gap("a")
    NO_METER.sent("d", Verdict.DELIVERED, [1.0])


def test_the_page_is_current(project: Path) -> None:
    """docs/metrics.md is what the code says; the page tells how to write it anew."""
    page = (project / "docs/metrics.md").read_text("utf-8")
    mend = "run: python -m bridge.telemetry.metrics > docs/metrics.md"
    assert page == "".join(metrics.reference()), mend
