"""The HTTP row of the outcome table, answer by answer."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it ships no types
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from bridge.destinations.otlp_answer import (
    LONGEST_ANSWER,
    LONGEST_REASON,
    one_line,
    read_answer,
    shown,
)
from bridge.model import Outcome, Verdict

URL = "https://user:hunter2@collector.test:4318/v1/logs?token=hunter2"
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"


def read(status: int, body: bytes = b"", **headers: str) -> Outcome:
    """Read an answer; header names with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(status, named, body, URL)


def partial(refused: int, message: str) -> bytes:
    """An OTLP response with a partial success."""
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = refused
    response.partial_success.error_message = message
    return response.SerializeToString()


def failure(message: str) -> bytes:
    """The body of a failure, as OTLP asks for it."""
    return bytes(Status(code=3, message=message).SerializeToString())


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [b"", ExportLogsServiceResponse().SerializeToString(), b"{}"])
def test_delivered(status: int, body: bytes) -> None:
    """200, 201 (Fluent Bit), 202 and 204 (Loki) acknowledge, without a word."""
    assert read(status, body) == Outcome(Verdict.DELIVERED)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"ok", ""),
        (b"ok", "text/plain"),
        (b"\n", "application/x-protobuf"),
        (b"\nok", "text/plain; charset=utf-8"),
        (b"{", "application/json"),
        (b'{"partialSuccess": 7}', "application/json"),
        (b"\xff\xff\xff", "application/x-protobuf"),
        (b"[" * 100_000, "application/json"),
    ],
)
def test_an_acceptance_that_cannot_be_read_is_taken_with_a_warning(
    body: bytes, content_type: str
) -> None:
    """A body that is neither HTML nor an OTLP response: delivered, with a reason."""
    outcome = read(200, body, content_type=content_type)
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.refused == 0
    assert "200 OK from https://collector.test:4318/v1/logs" in outcome.reason
    assert "no OTLP response" in outcome.reason


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (partial(3, "too old"), "application/x-protobuf"),
        (partial(3, "too old"), ""),
        (
            json.dumps(
                {"partialSuccess": {"rejectedLogRecords": "3", "errorMessage": "too old"}}
            ).encode(),
            "application/json",
        ),
    ],
)
def test_partial_success_counts(body: bytes, content_type: str) -> None:
    """Delivered, with the count and the message; also in JSON (trap 22)."""
    outcome = read(200, body, content_type=content_type)
    assert (outcome.verdict, outcome.refused) == (Verdict.DELIVERED, 3)
    assert outcome.reason.endswith(": too old")


def test_partial_success_without_a_message() -> None:
    """The reason says so."""
    assert read(200, partial(1, "")).reason.endswith("no reason given")


def test_a_warning_in_a_full_success_is_passed_on() -> None:
    """OTLP, "Partial Success": zero rejected with a message is a warning."""
    outcome = read(200, partial(0, "use gzip"))
    assert (outcome.verdict, outcome.refused) == (Verdict.DELIVERED, 0)
    assert outcome.reason.endswith("use gzip")


def test_a_negative_count_is_none() -> None:
    """Nonsense in the count does not make records come back."""
    assert read(200, partial(-3, "odd")).refused == 0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 400, 422])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (HTML, ""),
        (b"\xef\xbb\xbf  <HTML>", "application/x-protobuf"),
        (b"<!-- proxy -->\n<!doctype  html>", "text/plain"),
        (b"<p>Sign in</p>", "text/html; charset=utf-8"),
        (b"<p/>", "application/xhtml+xml"),
    ],
)
def test_html_is_never_an_acceptance(status: int, body: bytes, content_type: str) -> None:
    """A login page or a proxy answered, not the backend: blocked."""
    outcome = read(status, body, content_type=content_type)
    assert outcome.verdict is Verdict.BLOCKED
    assert "an HTML page" in outcome.reason


def test_an_html_page_is_known_by_its_title() -> None:
    """The title says whose page it is, if it has one."""
    assert read(200, b"<html><TITLE lang=en> A \n b</TITLE>").reason.endswith(
        "an HTML page titled A b, not an OTLP response"
    )
    assert read(200, b"<html>" + b"<title" * 600).reason.endswith(
        "an HTML page, not an OTLP response"
    )
    assert read(200, HTML).reason.endswith("an HTML page titled Sign in, not an OTLP response")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "body",
    [b"<!---->" * 40 + b"x", b"<!---->" * 600, b"<!--" * 1_024],
    ids=["many", "more", "open"],
)
def test_comments_before_no_page_are_looked_through_once(body: bytes) -> None:
    """Backtracking over forty of them would take hours."""
    assert read(200, body).verdict is Verdict.DELIVERED
    assert read(200, b"<!-- a -->\n" * 300 + HTML).verdict is Verdict.BLOCKED


def test_an_empty_answer_of_type_html_is_no_page() -> None:
    """Some frameworks put that type on every answer."""
    assert read(204, b"", content_type="text/html") == Outcome(Verdict.DELIVERED)


@pytest.mark.parametrize("status", [408, 429, 500, 501, 502, 503, 504, 507, 520, 599])
@pytest.mark.parametrize("body", [b"", b"no upstream", HTML])
def test_retry(status: int, body: bytes) -> None:
    """408, 429 and any 5xx pass, a proxy's HTML page too."""
    outcome = read(status, body)
    assert outcome.verdict is Verdict.RETRY
    assert outcome.retry_after is None
    assert outcome.reason.startswith(str(status))
    assert outcome.own_fault == (status in {408, 500, 502, 504})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "-3"}, 0.0),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30.0,
        ),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            0.0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"Retry-After": "soon", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": ""}, None),
    ],
)
def test_retry_after(headers: Mapping[str, str], seconds: float | None) -> None:
    """A number of seconds, or a date that counts from the answer's own (RFC 9110, 10.2.3)."""
    assert read_answer(503, headers, b"", URL).retry_after == seconds
    assert read_answer(429, headers, b"", URL).retry_after == seconds


@pytest.mark.parametrize("body", [b"", HTML, b"request too large"])
def test_too_large(body: bytes) -> None:
    """413, a proxy's HTML page included."""
    assert read(413, body).verdict is Verdict.TOO_LARGE


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("body", "content_type", "shows"),
    [
        (failure("entry too far behind"), "application/x-protobuf", "entry too far behind"),
        (failure("entry too far behind"), "", "entry too far behind"),
        (b'{"code": 3, "message": "bad time"}', "application/json", "bad time"),
        (b'{"error": "bad time"}', "application/json", '{"error": "bad time"}'),
        (b'["bad time"]', "application/json", '["bad time"]'),
        (b"{bad time", "", "{bad time"),
        (b"stream limit", "text/plain", "stream limit"),
        (b"stream limit", "", "stream limit"),
    ],
)
def test_rejected(status: int, body: bytes, content_type: str, shows: str) -> None:
    """400 and 422, with what the answer says in any of the forms they come in."""
    outcome = read(status, body, content_type=content_type)
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.reason.endswith(f": {shows}")


@pytest.mark.parametrize(
    "status",
    [100, 199, 203, 205, 206, 226, 260, 299, 304, 401, 402, 403, 404, 405, 415, 418, 451, 600, 999],
)
def test_blocked(status: int) -> None:
    """What only a person can mend, any other 2xx (trap 9), and whatever is not listed."""
    outcome = read(status)
    assert outcome.verdict is Verdict.BLOCKED
    assert outcome.reason.startswith(str(status))


def test_lokis_260_is_named() -> None:
    """A 2xx that no status registry knows is explained."""
    assert read(260, b"blocked until 12:00").reason == (
        "260 Ingestion Blocked from https://collector.test:4318/v1/logs: blocked until 12:00"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "shows"),
    [
        ("https://sso.test/login?state=hunter2", "redirects to https://sso.test/login"),
        ("/login#hunter2", "redirects to /login"),
        ("http://[::1]:4318/v1/logs/", "redirects to http://[::1]:4318/v1/logs/"),
        ("http://[broken", "redirects to (not a URL)"),
        ("", "redirects to nowhere"),
    ],
)
def test_redirects_are_named_and_not_followed(status: int, location: str, shows: str) -> None:
    """A POST that is redirected arrives as a GET, or with the credentials elsewhere."""
    outcome = read(status, location=location)
    assert outcome.verdict is Verdict.BLOCKED
    assert outcome.reason.endswith(shows)


@given(
    st.integers(100, 999),
    st.binary(max_size=2_000),
    st.sampled_from(["", "text/plain", "application/json", "application/x-protobuf", "text/html"]),
)
def test_any_answer_has_an_outcome(status: int, body: bytes, content_type: str) -> None:
    """Nothing raises; reasons are one bounded printable line without the URL's secrets."""
    outcome = read(status, body, content_type=content_type, location="//x", retry_after="?")
    if outcome.verdict is Verdict.DELIVERED:
        assert status in {200, 201, 202, 204}
    else:
        assert outcome.reason
    assert outcome.reason.isprintable()
    assert len(outcome.reason) <= LONGEST_REASON
    assert "hunter2" not in outcome.reason


def test_one_line_is_bounded_and_printable() -> None:
    """Control characters become spaces, long text ends with an ellipsis."""
    assert one_line("a\x1b[31m\n\tb\u202e") == "a [31m b"
    assert one_line("x" * 10_000) == "x" * (LONGEST_REASON - 1) + "…"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, "https://collector.test:4318/v1/logs"),
        ("http://[::1]:4318/", "http://[::1]:4318/"),
        ("http://h:99999999/", "(not a URL)"),
        ("relative/path", "relative/path"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, expected: str) -> None:
    """User, password, query and fragment are left out."""
    assert shown(url) == expected


def test_a_wrong_path_is_told_with_its_mend() -> None:
    """A 404 is most often /v1/logs twice, or not at all."""
    outcome = read_answer(404, {}, b"no such path", "http://b.test/v1/logs/v1/logs")
    assert "is the endpoint right?" in outcome.reason
    assert outcome.reason.endswith(": no such path")


@pytest.mark.parametrize("status", [400, 401, 413, 422, 500, 503])
@pytest.mark.parametrize(
    ("body", "content_type", "kept"),
    [
        (b"", "", ""),
        (b"line 7:\n  no such key", "text/plain", "line 7:\n  no such key"),
        (b'{"message": "no", "more": 1}', "application/json", '{"message": "no", "more": 1}'),
        (failure("field 3\nis odd"), "application/x-protobuf", "field 3\nis odd"),
        (b"\xff\xfe", "application/x-protobuf", "\ufffd\ufffd"),
        (b"x" * 10_000, "text/plain", "x" * LONGEST_ANSWER),
        (HTML, "text/html", HTML.decode()),
    ],
)
def test_what_a_refusing_backend_said_is_kept(
    status: int, body: bytes, content_type: str, kept: str
) -> None:
    """More of it than a reason has room for, as it was said, for a dead letter."""
    assert read(status, body, content_type=content_type).answer == kept


def test_what_a_backend_said_of_a_part_is_kept() -> None:
    """The message of a partial success; a full one leaves nothing."""
    assert read(200, partial(2, "x" * 10_000)).answer == "x" * LONGEST_ANSWER
    assert not read(200, b"ok").answer
