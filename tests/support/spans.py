"""Spans as a receiver has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from bridge.telemetry.tracing import Tracing

_PREFIX = "fal_log_bridge."


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ``attributes`` are without our prefix, ``parent`` is empty for a root."""

    name: str
    attributes: Mapping[str, str | int]
    trace_id: bytes
    span_id: bytes
    parent: bytes
    failed: bool
    client: bool
    seconds: float


def spans(tracing: Tracing) -> Sequence[Span]:
    """What has ended since the last call."""
    return decoded(tracing.otlp())


def decoded(request: bytes) -> Sequence[Span]:
    """The spans of an encoded request; one resource, one scope."""
    found = ExportTraceServiceRequest.FromString(request)
    return [
        _span(span)
        for resource in found.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _span(span: Proto) -> Span:
    assert not span.events  # an exception's text is an event
    assert not span.status.message
    return Span(
        span.name,
        {
            one.key.removeprefix(_PREFIX): one.value.string_value or one.value.int_value
            for one in span.attributes
        },
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.status.code == Status.STATUS_CODE_ERROR,
        span.kind == Proto.SPAN_KIND_CLIENT,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )
