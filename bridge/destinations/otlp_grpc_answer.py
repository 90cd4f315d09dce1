"""What an OTLP/gRPC status means for the records that were sent. Pure.

Sources: OTLP specification 1.11, "OTLP/gRPC Response" (full and partial success, failures,
throttling) and the outcome table of the design. Statuses come from the backend, from a proxy on
the way, or from the gRPC library itself where there was no answer; the table is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # no types

from bridge import proto
from bridge.destinations.masking import NOTHING, Mask
from bridge.destinations.otlp_answer import NOT_REACHED, accepted, excerpt, one_line
from bridge.model import Outcome, Verdict

_RETRYING: Final = frozenset(
    {
        "ABORTED",
        "CANCELLED",
        "DATA_LOSS",
        "DEADLINE_EXCEEDED",
        "INTERNAL",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "UNKNOWN",
    }
)
_OWN_FAULT: Final = frozenset(
    {"CANCELLED", "DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"}
)
"""The statuses that HTTP has as 500 or as no answer in time (google.rpc.Code); a stream that a peer
resets with CANCEL comes as CANCELLED."""
_BROKEN: Final = re.compile(r"socket closed|connection reset|broken pipe", re.IGNORECASE)
"""How the library words an UNAVAILABLE for a connection that was lost on the way; one that could
not be made is in other words (`_TRIED`)."""

_SIZED: Final = frozenset({"RESOURCE_EXHAUSTED", "OUT_OF_RANGE"})
"""What too large a message comes to: the latter in tonic, the former everywhere else."""
_SIZE: Final = re.compile(
    r"\btoo (?:large|big|long)\b|\blarger than\b|\bmessage exceeds\b|\bsize limit\b"
    r"|\b(?:message|request|payload|body|entity|content) (?:size|length)\b",
    re.IGNORECASE,
)
_NO_SIZE: Final = re.compile(
    r"\brate\b|\bper[ -]second\b|/s(?:ec)?\b|\bquota\b|\bmemory\b|^CLIENT:", re.IGNORECASE
)
"""Limits of another kind, and what only the answer was too large for."""

_TRIED: Final = re.compile(r"failed to connect to all addresses; last error: (?:[A-Z_]+: )?")
_REFUSED: Final = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|Hostname Verification|_ALERT_|WRONG_VERSION_NUMBER"
)
"""What a TLS handshake that cannot succeed ends with."""
_MENDS: Final = (
    ("WRONG_VERSION_NUMBER", "is it http:// rather than https://?"),
    ("http1.x", "is it the port for gRPC, usually 4317?"),
    ("Connection refused", NOT_REACHED),
    ("DNS resolution failed", NOT_REACHED),
)
_NO_SERVICE: Final = ("UNIMPLEMENTED", "is it the port for gRPC, and does it take logs?")
_DETAILS: Final = "grpc-status-details-bin"

Trailers = Iterable[tuple[str, str | bytes]]


def read_response(body: bytes, url: str, *, mask: Mask = NOTHING) -> Outcome:
    """What an OK came to.

    Args:
        body: The encoded ``ExportLogsServiceResponse``.
        url: Where the request went, as it may be shown.
        mask: Keeps secrets out of what the answer says.
    """
    try:
        response = proto.ExportLogsServiceResponse.FromString(body)
    except proto.DecodeError:
        response = None
    return accepted(response, body, f"OK from {url}", mask=mask)


def read_status(code: str, details: str, trailers: Trailers, url: str) -> Outcome:
    """What any other status came to.

    Args:
        code: The status code's name.
        details: Its text.
        trailers: The trailing metadata, with the ``RetryInfo`` of a throttling backend.
        url: Where the request went, as it may be shown.
    """
    retry_after = _retry_after(trailers)
    return Outcome(
        _verdict(code, details, retry_after),
        one_line(_said(code, details, url)),
        retry_after=retry_after,
        own_fault=code in _OWN_FAULT or _broken(code, details),
        answer="" if _TRIED.match(details) else excerpt(details),
    )


def _verdict(code: str, details: str, retry_after: float | None) -> Verdict:
    if code in _SIZED and retry_after is None and _names_a_size(details):
        return Verdict.TOO_LARGE
    if code == "UNAVAILABLE" and _TRIED.match(details) and _REFUSED.search(details):
        return Verdict.BLOCKED
    if code in _RETRYING:
        return Verdict.RETRY
    return Verdict.REJECTED if code == "INVALID_ARGUMENT" else Verdict.BLOCKED


def _broken(code: str, details: str) -> bool:
    """Whether the connection was lost after the request had gone out."""
    made = not _TRIED.match(details)
    return code == "UNAVAILABLE" and made and _BROKEN.search(details) is not None


def _said(code: str, details: str, url: str) -> str:
    """For people: what came from where, and what mends it if that is known."""
    mend = next((mend for part, mend in (*_MENDS, _NO_SERVICE) if part in f"{code} {details}"), "")
    if tried := _TRIED.match(details):
        said = f"no connection to {url}: {details[tried.end() :]}"
    else:
        said = f"{code} from {url}{': ' if details else ''}{details}"
    return f"{said}{f' ({mend})' if mend else ''}"


def _names_a_size(details: str) -> bool:
    return bool(_SIZE.search(details)) and not _NO_SIZE.search(details)


def _retry_after(trailers: Trailers) -> float | None:
    """Seconds from the ``RetryInfo`` among a status's details (OTLP, "OTLP/gRPC Throttling")."""
    for key, value in trailers:
        if key == _DETAILS and isinstance(value, bytes):
            try:
                status = proto.Status.FromString(value)
                for detail in status.details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        delay = info.retry_delay
                        return max(0.0, float(delay.seconds + delay.nanos / 1e9))
            except proto.DecodeError:
                return None
    return None
