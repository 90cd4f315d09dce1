"""The OTLP receiver: what it takes, what it refuses, and how it misbehaves."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from bridge.payload import compress
from bridge.simulator.exchange import Answer, Request
from bridge.simulator.otlp_backend import (
    BackendConfig,
    ExtraMembers,
    OtlpBackend,
    Received,
    Refusals,
)


def export(*bodies: str, service: str = "alpha") -> bytes:
    """An encoded request; each record's uid is its body doubled."""
    message = ExportLogsServiceRequest()
    resource_logs = message.resource_logs.add()
    name = resource_logs.resource.attributes.add(key="service.name")
    name.value.string_value = service
    scope_logs = resource_logs.scope_logs.add()
    for at, body in enumerate(bodies):
        record = scope_logs.log_records.add(time_unix_nano=at)
        record.body.string_value = body
        uid = record.attributes.add(key="log.record.uid")
        uid.value.string_value = body * 2
    return message.SerializeToString()


def sent(
    backend: OtlpBackend,
    body: bytes,
    coding: str = "gzip",
    *,
    content_type: str = "application/x-protobuf",
    path: str = "/v1/logs",
    method: str = "POST",
) -> Answer:
    """One export request, compressed beforehand by the caller."""
    headers = (("content-type", content_type), ("content-encoding", coding))
    return backend.answer(Request(method, path, (), headers, body))


@pytest.mark.parametrize("coding", ["gzip", "identity", ""])
def test_accepts_and_decodes(coding: str) -> None:
    """Uid, body, time and service of every record; a protobuf acknowledgement."""
    heard: list[Received] = []
    backend = OtlpBackend(on_record=heard.append)
    raw = export("a", "b")
    answer = sent(backend, compress(raw) if coding == "gzip" else raw, coding)
    assert answer.status == 200
    assert answer.header("content-type") == "application/x-protobuf"
    reply = ExportLogsServiceResponse.FromString(answer.body)
    assert not reply.HasField("partial_success")
    shown = [(r.uid, r.time_unix_nano, r.body, r.service) for r in backend.records]
    assert shown == [("aa", 0, "a", "alpha"), ("bb", 1, "b", "alpha")]
    assert heard == backend.records
    assert backend.accepted == 2
    assert backend.uids == {"aa": 1, "bb": 1}
    assert not backend.violations


def test_memory_may_stay_bounded() -> None:
    """Without records kept, the count and the listener remain."""
    heard: list[Received] = []
    backend = OtlpBackend(BackendConfig(keep_records=False), heard.append)
    sent(backend, compress(export("a")))
    assert (backend.records, backend.accepted, len(heard)) == ([], 1, 1)


def test_exact_requests_may_be_kept() -> None:
    """So that a re-send can be compared byte by byte."""
    backend = OtlpBackend(BackendConfig(keep_requests=True, status=503))
    body = compress(export("a"))
    assert [sent(backend, body).status for _ in range(2)] == [503, 503]
    assert [request.body for request in backend.requests] == [body, body]


def test_a_second_gzip_member_is_refused() -> None:
    """Receivers lose it silently, so a sender must never send one."""
    backend = OtlpBackend()
    body = compress(export("a")) + compress(export("b"))
    assert sent(backend, body).status == 400
    assert backend.accepted == 0
    assert backend.violations == {"more than one gzip member": 1}


def test_or_the_second_member_is_lost_without_a_word() -> None:
    """As real receivers do."""
    backend = OtlpBackend(BackendConfig(extra_members=ExtraMembers.LOST))
    assert sent(backend, compress(export("a")) + compress(export("b"))).status == 200
    assert backend.uids == {"aa": 1}


@pytest.mark.parametrize(
    ("body", "coding", "violation"),
    [
        (b"not gzip", "gzip", "body is not gzip"),
        (compress(export("a"))[:-1], "gzip", "gzip body is cut short"),
        (b"", "gzip", "gzip body is cut short"),
        (b"\xff\xff", "", "body is not an ExportLogsServiceRequest"),
        (compress(b"\xff\xff"), "gzip", "body is not an ExportLogsServiceRequest"),
    ],
    ids=["no gzip", "cut", "absent", "no protobuf", "no protobuf in gzip"],
)
def test_what_cannot_be_decoded_is_a_400(body: bytes, coding: str, violation: str) -> None:
    """And is named as the sender's fault."""
    backend = OtlpBackend()
    answer = sent(backend, body, coding)
    assert (answer.status, answer.body.decode()) == (400, violation)
    assert backend.violations == {violation: 1}


def test_an_empty_request_is_a_violation() -> None:
    """OTLP: never send an empty envelope; it is answered all the same."""
    backend = OtlpBackend()
    assert sent(backend, b"", "").status == 200
    assert backend.violations == {"empty request": 1}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"path": "/v1/traces"}, 404),
        ({"method": "GET"}, 405),
        ({"content_type": "application/json"}, 415),
        ({"coding": "zstd"}, 415),
    ],
)
def test_what_is_not_served(changes: dict[str, str], status: int) -> None:
    """Another path, method, type or coding."""
    assert sent(OtlpBackend(), export("a"), **{"coding": "", **changes}).status == status


@pytest.mark.parametrize("coding", ["gzip", ""])
def test_a_request_over_the_size_is_a_413(coding: str) -> None:
    """Counted before compression: the same bytes, whatever the coding."""
    raw = export("a" * 5_000)
    body = compress(raw) if coding else raw
    assert sent(OtlpBackend(BackendConfig(max_bytes=len(raw))), body, coding).status == 200
    small = OtlpBackend(BackendConfig(max_bytes=len(raw) - 1))
    assert sent(small, body, coding).status == 413
    assert small.accepted == 0


def test_no_content_is_an_acknowledgement_without_a_body() -> None:
    """Loki's."""
    backend = OtlpBackend(BackendConfig(status=204))
    assert sent(backend, compress(export("a"))) == Answer(204)
    assert backend.accepted == 1


def refuse_b(record: LogRecord) -> str | None:
    """Nothing good ever came of b."""
    return "b is not welcome" if record.body.string_value == "b" else None


@pytest.mark.parametrize(
    ("way", "status", "kept"),
    [
        (Refusals.PARTIAL, 200, ["a", "c"]),
        (Refusals.WHOLE, 400, []),
        (Refusals.REST_KEPT, 400, ["a", "c"]),
    ],
)
def test_three_ways_to_refuse_a_record(way: Refusals, status: int, kept: list[str]) -> None:
    """Partial success, all or nothing, or a 400 that hides what was kept."""
    backend = OtlpBackend(BackendConfig(refuse=refuse_b, refusals=way))
    answer = sent(backend, compress(export("a", "b", "c")))
    assert answer.status == status
    assert [record.body for record in backend.records] == kept
    if status == 200:
        partial = ExportLogsServiceResponse.FromString(answer.body).partial_success
        assert (partial.rejected_log_records, partial.error_message) == (1, "b is not welcome")
    else:
        assert answer.body == b"b is not welcome"


def test_statuses_are_counted() -> None:
    """Of all answers."""
    backend = OtlpBackend()
    sent(backend, compress(export("a")))
    sent(backend, b"x")
    assert backend.statuses == {200: 1, 400: 1}
