"""What gRPC statuses mean, one by one."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo  # type: ignore[import-untyped] # none
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it ships no types
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)

from bridge.destinations.masking import Mask
from bridge.destinations.otlp_answer import LONGEST_ANSWER
from bridge.destinations.otlp_grpc_answer import read_response, read_status
from bridge.model import Outcome, Verdict

URL = "http://collector.test:4317"
TABLE = {
    Verdict.RETRY: (
        *("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED", "OUT_OF_RANGE"),
        *("DATA_LOSS", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED"),
    ),
    Verdict.REJECTED: ("INVALID_ARGUMENT",),
    Verdict.BLOCKED: (
        *("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"),
        *("FAILED_PRECONDITION", "ALREADY_EXISTS"),
    ),
}


def details(*found: RetryInfo | DebugInfo) -> tuple[tuple[str, str | bytes], ...]:
    """The trailers of a status with these details."""
    status = Status(code=8, message="slow down")
    for each in found:
        packed = AnyMessage()
        packed.Pack(each)
        status.details.append(packed)
    return (("x-other", "1"), ("grpc-status-details-bin", status.SerializeToString()))


@pytest.mark.parametrize(
    ("code", "verdict"), [(code, verdict) for verdict, codes in TABLE.items() for code in codes]
)
def test_every_status_has_its_verdict(code: str, verdict: Verdict) -> None:
    """As in the design's table; what is not listed there blocks."""
    outcome = read_status(code, "what it said", (), URL)
    assert outcome.verdict is verdict
    assert outcome.reason.startswith(f"{code} from {URL}: what it said")
    own = {"CANCELLED", "DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"}
    assert outcome.own_fault == (code in own)


@pytest.mark.parametrize(
    ("details", "own"),
    [
        ("Socket closed", True),
        ("recvmsg:Connection reset by peer", True),
        ("no healthy upstream", False),
        ("failed to connect to all addresses; last error: UNKNOWN: Connection reset", False),
    ],
)
def test_a_connection_that_broke_may_be_the_requests_own_fault(details: str, *, own: bool) -> None:
    """One that could not be made is not."""
    outcome = read_status("UNAVAILABLE", details, (), URL)
    assert (outcome.verdict, outcome.own_fault) == (Verdict.RETRY, own)


def test_no_status_is_forgotten() -> None:
    """The table has all that gRPC knows, but OK."""
    listed = {code for codes in TABLE.values() for code in codes}
    assert {code.name for code in StatusCode} - listed == {"OK"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (400000 vs. 300000)"),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (4194305 vs. 4194304)"),
        (
            "RESOURCE_EXHAUSTED",
            "grpc: received message after decompression larger than max 4194304",
        ),
        ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4194304: 4194310"),
        ("RESOURCE_EXHAUSTED", "Received message exceeds the maximum configured message size."),
        ("RESOURCE_EXHAUSTED", "request body too large"),
        (
            "OUT_OF_RANGE",
            "Error, decoded message length too large: found 5242880 bytes, the limit is: 4194304",
        ),
    ],
)
def test_a_size_that_is_named_is_too_large(code: str, said: str) -> None:
    """In the words of the C, Go, Java, .NET and Rust libraries."""
    assert read_status(code, said, (), URL).verdict is Verdict.TOO_LARGE


@pytest.mark.parametrize(
    "said",
    [
        "",
        "too many requests",
        "ingestion rate limit (4194304 bytes) exceeded, 1000 lines are too large a batch",
        "data refused due to high memory usage, request size 12",
        "quota exceeded for request size",
        "request size limit of 10 MB/s reached",
        "CLIENT: Received message larger than max (70000000 vs. 67108864)",
    ],
)
def test_other_limits_pass(said: str) -> None:
    """A rate, a quota, memory, or an answer that was too large: nothing is wrong with a request."""
    assert read_status("RESOURCE_EXHAUSTED", said, (), URL).verdict is Verdict.RETRY


def test_who_says_when_to_retry_names_no_size() -> None:
    """RetryInfo is the protocol's word for throttling, whatever the text says."""
    trailers = details(RetryInfo(retry_delay=Duration(seconds=7)))
    outcome = read_status("RESOURCE_EXHAUSTED", "message too large", trailers, URL)
    assert (outcome.verdict, outcome.retry_after) == (Verdict.RETRY, 7.0)


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE"])
def test_retry_info_is_read(code: str) -> None:
    """Among other details, with fractions of a second."""
    info = RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    outcome = read_status(code, "", details(DebugInfo(detail="x"), info), URL)
    assert outcome.retry_after == 2.5


def test_a_negative_delay_is_none() -> None:
    """It asks for no wait."""
    trailers = details(RetryInfo(retry_delay=Duration(seconds=-5)))
    assert read_status("UNAVAILABLE", "", trailers, URL).retry_after == 0.0


@given(st.binary(), st.text())
def test_any_trailer_and_text_is_an_outcome(trailer: bytes, said: str) -> None:
    """Nothing that a backend sends raises, and a reason is one printable line."""
    trailers = (("grpc-status-details-bin", trailer), ("grpc-status-details-bin", "text"))
    outcome = read_status("UNAVAILABLE", said, trailers, URL)
    assert outcome.verdict is Verdict.RETRY
    assert outcome.reason.isprintable()


@pytest.mark.parametrize(
    ("said", "verdict", "reason"),
    [
        (
            (
                "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL "
                "routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate has expired"
            ),
            Verdict.BLOCKED,
            "certificate has expired",
        ),
        (
            (
                "Custom verification check failed with error: UNAUTHENTICATED: Hostname "
                "Verification Check failed."
            ),
            Verdict.BLOCKED,
            "Hostname",
        ),
        ("x:SSLV3_ALERT_BAD_CERTIFICATE: OK", Verdict.BLOCKED, "BAD_CERTIFICATE"),
        ("x:WRONG_VERSION_NUMBER: x", Verdict.BLOCKED, "is it http:// rather than https://?"),
        ("(Trying to connect an http1.x server)", Verdict.RETRY, "usually 4317"),
        ("Connection refused", Verdict.RETRY, "Connection refused"),
    ],
)
def test_a_connection_that_cannot_be_made(said: str, verdict: Verdict, reason: str) -> None:
    """A refused certificate is a setting to mend; the network's trouble passes (trap 21)."""
    whole = f"failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: {said}"
    outcome = read_status("UNAVAILABLE", whole, (), URL)
    assert outcome.verdict is verdict
    assert outcome.reason.startswith(f"no connection to {URL}: ipv4:127.0.0.1:1: ")
    assert reason in outcome.reason


def test_a_backend_that_talks_of_certificates_is_no_tls_trouble() -> None:
    """Only what the connection came to is; a Collector may say this of its own backend."""
    said = "exporting failed: CERTIFICATE_VERIFY_FAILED"
    assert read_status("UNAVAILABLE", said, (), URL).verdict is Verdict.RETRY


def test_what_a_refusing_backend_said_is_kept() -> None:
    """As it was said, for a dead letter; what the library says of a connection is no answer."""
    said = "field 3\n" + "x" * 10_000
    for code in ("INVALID_ARGUMENT", "INTERNAL", "UNAUTHENTICATED"):
        assert read_status(code, said, (), URL).answer == said[:LONGEST_ANSWER]
    nobody = "failed to connect to all addresses; last error: UNKNOWN: Connection refused"
    assert not read_status("UNAVAILABLE", nobody, (), URL).answer


def test_a_full_success() -> None:
    """An empty response, and one with an empty partial success."""
    empty = ExportLogsServiceResponse(partial_success=ExportLogsPartialSuccess())
    for body in (b"", empty.SerializeToString()):
        assert read_response(body, URL) == Outcome(Verdict.DELIVERED)


def test_a_partial_success() -> None:
    """The count and the words of what was refused; without a count, a warning."""
    for refused in (3, 0):
        partial = ExportLogsPartialSuccess(rejected_log_records=refused, error_message="too old")
        body = ExportLogsServiceResponse(partial_success=partial).SerializeToString()
        expected = Outcome(
            Verdict.DELIVERED, f"OK from {URL}: too old", refused=refused, answer="too old"
        )
        assert read_response(body, URL) == expected


def test_an_unreadable_response_is_delivered_with_a_word() -> None:
    """The status acknowledges; the body does not say otherwise."""
    outcome = read_response(b"\xff\xff", URL)
    assert outcome.verdict is Verdict.DELIVERED
    assert "no OTLP response" in outcome.reason


def test_a_partial_success_that_quotes_a_secret_is_not_shown() -> None:
    """It is masked as it reads, escaped or not, before it is cut."""
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 1
    response.partial_success.error_message = r'{"key":"abc\/def\u003d"}, abc/def= ' * 300
    mask = Mask({"x-key": "abc/def="})
    outcome = read_response(response.SerializeToString(), URL, mask=mask)
    assert outcome.refused == 1
    assert "*" in outcome.reason
    for part in ("abc", "def"):
        assert part not in outcome.reason + outcome.answer
