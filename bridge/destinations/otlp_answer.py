"""What an OTLP/HTTP answer means for the records that were sent. Pure.

Sources: OTLP specification 1.11, "OTLP/HTTP Response" (full and partial success, failures,
throttling) and the outcome table of the design; backends differ, so whatever is not listed as an
acceptance is none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from bridge import proto
from bridge.destinations.masking import NOTHING, Mask
from bridge.model import Outcome, Verdict

LONGEST_REASON: Final = 300
"""Characters of a reason; the rest is cut off."""

LONGEST_ANSWER: Final = 4_096
"""Characters of an answer that are kept for a dead letter."""

NOT_REACHED: Final = "is the endpoint right, and does anything listen there?"
"""What to look at where no connection came about."""
_WORDS: Final = 4 * LONGEST_REASON
"""Characters of a text that are looked at for a reason, blanks included."""

_ACCEPTING: Final = frozenset({200, 201, 202, 204})
_THROTTLING: Final = frozenset({408, 429})
_REJECTING: Final = frozenset({400, 422})
_TOO_LARGE: Final = 413
_OWN_FAULT: Final = frozenset({408, 500, 502, 504})
"""What a request comes to that a backend fails over, or a proxy before it. A 503 says that there is
no backend, or none that has time."""
_SERVER_ERRORS: Final = range(500, 600)
_REDIRECTS: Final = range(300, 400)
_NAMES: Final = {260: "Ingestion Blocked"}
_KEY: Final = " (check its headers, where the backend's key goes)"
_MENDS: Final = {
    401: _KEY,
    403: _KEY,
    404: " (is the endpoint right? /v1/logs is appended to endpoint, "
    "logs_endpoint is taken as it is)",
}
_HTML: Final = re.compile(rb"<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_LOOK: Final = 4096
"""Bytes in which a web page must begin."""


def read_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    url: str,
    *,
    mask: Mask = NOTHING,
    flaw: str = "",
) -> Outcome:
    """What an answer came to.

    The status decides, also where the body is flawed: who sent a 200 took the records, and a body
    that is not OTLP's changes nothing of it.

    Args:
        status: The HTTP status.
        headers: The answer's headers, names in any case.
        body: The answer's body, decoded, as much of it as was read.
        url: Where the request went; its user, password and query are never shown.
        mask: Keeps secrets out of what the answer says.
        flaw: Why the body is not the one that was meant, if so, as in "a body that ...".
    """
    named = {name.lower(): value for name, value in headers.items()}
    content_type = named.get("content-type", "").lower()
    html = _is_html(content_type, body, flaw)
    if status in _ACCEPTING and not (body or flaw):
        return Outcome(Verdict.DELIVERED)  # most say no more than that, which takes no protobuf
    if status in _ACCEPTING and not html:
        response = None if flaw else _response(content_type, body)
        return accepted(response, body, _said(status, url), mask=mask, flaw=flaw)
    text = _html_text(body) if html else _text(content_type, body)
    if status in _REDIRECTS:
        text = f"redirects to {_target(named.get('location', ''))}"
    mend = _MENDS.get(status, "")
    answer = excerpt(_status_message(content_type, body) or _decoded(body), mask)
    text = mask.start(text or (f"a body that {flaw}" if flaw else ""), _WORDS)
    reason = one_line(f"{_said(status, url)}{mend}{': ' if text else ''}{text}")
    if status in _THROTTLING or status in _SERVER_ERRORS:
        return Outcome(
            Verdict.RETRY,
            reason,
            retry_after=_retry_after(named),
            own_fault=status in _OWN_FAULT,
            answer=answer,
        )
    if status == _TOO_LARGE:
        return Outcome(Verdict.TOO_LARGE, reason, answer=answer)
    if status in _REJECTING and not html:
        return Outcome(Verdict.REJECTED, reason, answer=answer)
    return Outcome(Verdict.BLOCKED, reason, answer=answer)


def accepted(
    response: proto.ExportLogsServiceResponse | None,
    body: bytes,
    said: str,
    *,
    mask: Mask = NOTHING,
    flaw: str = "",
) -> Outcome:
    """An acceptance, whole or in part; one that cannot be read is taken as whole.

    Args:
        response: The answer, None if its body is none.
        body: What came, for a word about it.
        said: Who answered what.
        mask: Keeps secrets out of what the answer says.
        flaw: Why the body is not the one that was meant, as far as is known.
    """
    if response is None:
        text = mask.start(_decoded(body), _WORDS).strip()
        flaw = flaw or "is no OTLP response"
        return Outcome(
            Verdict.DELIVERED,
            one_line(f"{said} with a body that {flaw}{': ' if text else ''}{text}"),
        )
    partial = response.partial_success
    refused = max(0, partial.rejected_log_records)
    if not refused and not partial.error_message:
        return Outcome(Verdict.DELIVERED)
    message = partial.error_message or "no reason given"
    return Outcome(
        Verdict.DELIVERED,
        one_line(f"{said}: {mask.start(message, _WORDS)}"),
        refused=refused,
        answer=excerpt(partial.error_message, mask),
    )


def shown(url: str) -> str:
    """A URL as it may be shown: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
        host = parts.hostname or ""
    except ValueError:
        return "(not a URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}{'://' if host else ''}{host}{port}{parts.path}"


def one_line(text: str) -> str:
    """Text of any origin as one printable line of bounded length."""
    whole = "".join(c if c.isprintable() else " " for c in text[:_WORDS])
    line = " ".join(whole.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def excerpt(answer: str, mask: Mask = NOTHING) -> str:
    """As much of an answer as is kept, without secrets."""
    return mask.start(answer, LONGEST_ANSWER)


def _said(status: int, url: str) -> str:
    """For people: the status by number and name, and who gave it."""
    try:
        name = _NAMES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        name = ""
    return f"{status}{' ' if name else ''}{name} from {shown(url)}"


def _response(content_type: str, body: bytes) -> proto.ExportLogsServiceResponse | None:
    """The body as an OTLP response, also in the JSON that some backends answer protobuf with."""
    try:
        if "json" in content_type or body.lstrip()[:1] == b"{":
            blank = proto.ExportLogsServiceResponse()
            return proto.Parse(body, blank, ignore_unknown_fields=True) if body.strip() else blank
        if content_type.startswith("text/") and body.strip():
            return None
        return proto.ExportLogsServiceResponse.FromString(body)
    except (proto.DecodeError, proto.ParseError, UnicodeDecodeError, RecursionError):
        return None


def _is_html(content_type: str, body: bytes, flaw: str) -> bool:
    """Whether a web page answered: a login form or a proxy, not a log backend.

    An empty body is no page, whatever its type says: some frameworks set one on every answer.
    """
    if not (body.strip() or flaw):
        return False
    page = content_type.startswith(("text/html", "application/xhtml"))
    return page or _HTML.match(_behind_comments(body[:_LOOK])) is not None


def _behind_comments(body: bytes) -> bytes:
    """A text from its first word on that is no comment."""
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    while text.startswith(b"<!--"):
        text = text.partition(b"-->")[2].lstrip()
    return text


def _html_text(body: bytes) -> str:
    text = _decoded(body)
    start = text.lower().find("<title")
    title = text[start:].partition(">")[2].partition("<")[0].strip() if start >= 0 else ""
    return f"an HTML page{' titled ' if title else ''}{title}, not an OTLP response"


def _text(content_type: str, body: bytes) -> str:
    """What a failure's body says: the message of a ``google.rpc.Status``, else what is printable.

    OTLP specification, "Failures": the body must be a Status, in the encoding of the request.
    """
    if body[:1] == b"{" or "json" in content_type:
        return _json_message(body)
    return _status_message(content_type, body) or _decoded(body)


def _status_message(content_type: str, body: bytes) -> str:
    """The message of a ``google.rpc.Status`` in protobuf; empty where the body is none."""
    if body[:1] == b"{" or content_type.startswith("text/") or "json" in content_type:
        return ""
    try:
        return str(proto.Status.FromString(body).message)
    except proto.DecodeError:
        return ""


def _json_message(body: bytes) -> str:
    """The ``message`` of a JSON object, else the JSON itself."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return _decoded(body)
    message = decoded.get("message") if isinstance(decoded, dict) else None
    return message if isinstance(message, str) and message else _decoded(body)


def _decoded(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _target(location: str) -> str:
    return (shown(location) if location else "") or "nowhere"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from a ``Retry-After``, which is a number or an HTTP date (RFC 9110, 10.2.3).

    A date counts from the answer's own ``Date``, so that the two machines' clocks do not matter;
    without one it says nothing.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        until, since = _date(value), _date(headers.get("date", ""))
        if until is None or since is None:
            return None
        seconds = (until - since).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
