"""Spans: what is in them, what is not, and how many there are."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.spans import spans

from bridge import __version__
from bridge.errors import ApiUnauthorized
from bridge.telemetry.spans import NO_TRACER, POLL, REQUEST, SEND, SPANS
from bridge.telemetry.tracing import MOST_KEPT, Tracing, attribute


def test_a_poll_and_its_requests() -> None:
    """One trace; tasks that a poll starts belong to it; two polls side by side do not mix."""
    tracing = Tracing(1.0)

    async def request(app: str) -> None:
        with tracing.span(REQUEST, app=app) as note:
            await asyncio.sleep(0)
            note("status", "200")

    async def poll(app: str) -> None:
        with tracing.span(POLL, app=app) as note:
            await asyncio.gather(request(app), request(app))
            note("entries", 3)

    async def main() -> None:
        await asyncio.gather(poll("a"), poll("b"))

    asyncio.run(main())
    found = spans(tracing)
    polls = {s.attributes["app"]: s for s in found if s.name == "poll"}
    assert polls["a"].attributes == {"app": "a", "entries": 3}
    assert polls["a"].trace_id != polls["b"].trace_id
    assert not any(s.client or s.parent for s in polls.values())
    requests = [s for s in found if s.name == "request"]
    assert len(requests) == 4
    for one in requests:
        assert one.client
        assert one.attributes == {"app": one.attributes["app"], "status": "200"}
        assert one.parent == polls[str(one.attributes["app"])].span_id
    assert spans(tracing) == []


def test_a_failure_is_named_and_not_quoted() -> None:
    """Its kind alone: what a server said may be a line of a log, or a secret."""
    tracing = Tracing(1.0)
    error = ApiUnauthorized("answered 401: s3cret", where="http://api.test/?key=s3cret")
    with pytest.raises(ApiUnauthorized), tracing.span(POLL, app="a"):
        raise error
    request = tracing.otlp()
    assert b"s3cret" not in request
    assert b"ApiUnauthorized" in request


def test_a_stop_is_no_failure() -> None:
    """A poll that is cancelled ends, unmarked."""
    tracing = Tracing(1.0)
    with pytest.raises(asyncio.CancelledError), tracing.span(POLL, app="a"):
        raise asyncio.CancelledError
    assert [s.failed for s in spans(tracing)] == [False]


def test_a_share_is_traced() -> None:
    """Whole traces, about so many as were asked for; none at all for 0."""
    tracing = Tracing(0.25)
    for _ in range(2_000):
        with tracing.span(POLL, app="a"), tracing.span(REQUEST, app="a"):
            pass
    found = spans(tracing)
    roots = {s.trace_id for s in found if s.name == "poll"}
    assert 300 < len(roots) < 700
    assert {s.trace_id for s in found if s.name == "request"} == roots
    never = Tracing(0.0)
    with never.span(POLL, app="a"):
        pass
    assert never.otlp() == b""


def test_only_the_newest_are_kept() -> None:
    """While nobody takes them, memory is bounded."""
    tracing = Tracing(1.0)
    for n in range(MOST_KEPT + 10):
        with tracing.span(SEND, destination="d", records=n):
            pass
    kept = [s.attributes["records"] for s in spans(tracing)]
    assert kept == list(range(10, MOST_KEPT + 10))


def test_they_are_of_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resource is the metrics'; names are the contract's."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    tracing = Tracing(1.0)
    for kind in SPANS:
        with tracing.span(kind, **dict.fromkeys(kind.attributes, "x")):
            pass
    (resource,) = ExportTraceServiceRequest.FromString(tracing.otlp()).resource_spans
    about = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert about == {
        "service.name": "fal-log-bridge",
        "service.version": __version__,
        "deployment.environment.name": "prod",
    }
    named = {s.name: [a.key for a in s.attributes] for s in resource.scope_spans[0].spans}
    assert named == {kind.name: [attribute(a) for a in kind.attributes] for kind in SPANS}
    assert attribute("app") == "fal_log_bridge.app"


def test_the_default_traces_nothing() -> None:
    """It takes whatever it is told, and lets exceptions pass."""
    with NO_TRACER.span(POLL, app="a") as note:
        note("entries", 1)
    with pytest.raises(ValueError, match="mine"), NO_TRACER.span(POLL, app="a"):
        raise ValueError("mine")


def test_who_does_not_export_does_not_pay() -> None:
    """The SDK's tracing, the encoder of spans and gRPC come with the settings that need them."""
    heavy = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp", "grpc", "bridge.app.export")
    script = (
        "import sys, bridge.app.service, bridge.app.overseen\n"
        f"sys.exit(', '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
