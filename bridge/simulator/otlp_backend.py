"""An OTLP/HTTP logs receiver that really decodes what arrives. Sans-I/O.

It takes binary protobuf, plain or in one gzip member, and answers as OTLP/HTTP says
(OpenTelemetry Protocol, "OTLP/HTTP Response"). Other misbehaviour than what `BackendConfig` names
comes from wrapping it in `faults.Faulty`.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from google.protobuf.message import DecodeError
from msgspec import Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.payload import records_of, uid_of
from bridge.simulator.exchange import Answer, Request

PROTOBUF: Final = "application/x-protobuf"
_GZIP: Final = zlib.MAX_WBITS | 16
_LARGEST: Final = 64 * 1024 * 1024
"""OTLP's request cap before compression."""


class ExtraMembers(Enum):
    """What a second gzip member in one body comes to."""

    REFUSED = auto()
    """400, and counted as a violation: a sender must not do this."""
    LOST = auto()
    """Silently not read, as real receivers do."""


class Refusals(Enum):
    """What a request with some unacceptable records comes to."""

    PARTIAL = auto()
    """200 with ``partial_success``: the others are kept (the protocol)."""
    WHOLE = auto()
    """400 and nothing is kept (OpenTelemetry Collector)."""
    REST_KEPT = auto()
    """400 although the others are kept (Loki)."""


class Received(Struct, frozen=True):
    """One accepted log record and the resource it stands under."""

    uid: str
    time_unix_nano: int
    body: str
    service: str
    record: LogRecord
    resource: Resource


class BackendConfig(Struct, frozen=True):
    """How the receiver behaves.

    ``max_bytes`` answers 413 to a larger request, counted before compression. ``refuse`` gives a
    reason for a record that is not acceptable. ``keep_records`` and ``keep_requests`` remember
    everything, for tests; without them memory stays bounded.
    """

    path: str = "/v1/logs"
    status: int = 200
    max_bytes: int = _LARGEST
    extra_members: ExtraMembers = ExtraMembers.REFUSED
    refuse: Callable[[LogRecord], str | None] | None = None
    refusals: Refusals = Refusals.PARTIAL
    keep_records: bool = True
    keep_requests: bool = False


class OtlpBackend:
    """The receiver.

    ``config`` may be replaced while it runs. ``records`` and ``requests`` are what was accepted
    and what came in, if kept; ``accepted`` counts records, ``statuses`` answers; ``violations``
    say how a sender broke the protocol. ``on_record`` hears of each accepted record.
    """

    def __init__(
        self,
        config: BackendConfig | None = None,
        on_record: Callable[[Received], None] | None = None,
    ) -> None:
        self.config = config or BackendConfig()
        self.records: list[Received] = []
        self.requests: list[Request] = []
        self.accepted = 0
        self.statuses: Counter[int] = Counter()
        self.violations: Counter[str] = Counter()
        self._on_record = on_record

    @property
    def uids(self) -> Counter[str]:
        """How often each uid was accepted, of the records that were kept."""
        return Counter(received.uid for received in self.records)

    def answer(self, request: Request) -> Answer:
        """Take one export request."""
        if self.config.keep_requests:
            self.requests.append(request)
        try:
            answer = self._handled(request)
        except _Refused as refused:
            answer = refused.answer
        self.statuses[answer.status] += 1
        return answer

    def _handled(self, request: Request) -> Answer:
        if request.path != self.config.path:
            raise _Refused(404, "no such path")
        if request.method != "POST":
            raise _Refused(405, "only POST is served here")
        if request.header("content-type").partition(";")[0].strip() != PROTOBUF:
            raise self._violation(415, "content type is not application/x-protobuf")
        return self._taken(self._decoded(self._raw(request)))

    def _raw(self, request: Request) -> bytes:
        coding = request.header("content-encoding").strip().lower()
        if coding not in {"", "identity", "gzip"}:
            raise self._violation(415, "content coding is neither gzip nor identity")
        raw = self._inflated(request.body) if coding == "gzip" else request.body
        if len(raw) > self.config.max_bytes:
            raise _Refused(413, "request body too large")
        return raw

    def _inflated(self, body: bytes) -> bytes:
        member = zlib.decompressobj(_GZIP)
        try:
            raw = member.decompress(body, self.config.max_bytes + 1)
        except zlib.error:
            raise self._violation(400, "body is not gzip") from None
        if len(raw) > self.config.max_bytes:
            return raw
        if not member.eof:
            raise self._violation(400, "gzip body is cut short")
        if member.unused_data and self.config.extra_members is ExtraMembers.REFUSED:
            raise self._violation(400, "more than one gzip member")
        return raw

    def _decoded(self, raw: bytes) -> list[Received]:
        try:
            found = [
                Received(
                    uid=uid_of(record),
                    time_unix_nano=record.time_unix_nano,
                    body=record.body.string_value,
                    service=service_of(under.resource),
                    record=record,
                    resource=under.resource,
                )
                for under, _, record in records_of(raw)
            ]
        except DecodeError:
            raise self._violation(400, "body is not an ExportLogsServiceRequest") from None
        if not found:
            self.violations["empty request"] += 1
        return found

    def _taken(self, found: list[Received]) -> Answer:
        refuse = self.config.refuse
        reasons = [refuse(each.record) if refuse else None for each in found]
        refused = [reason for reason in reasons if reason is not None]
        if refused and self.config.refusals is Refusals.WHOLE:
            raise _Refused(400, refused[0])
        for each, reason in zip(found, reasons, strict=True):
            if reason is None:
                self._accept(each)
        if refused and self.config.refusals is Refusals.REST_KEPT:
            raise _Refused(400, refused[0])
        return self._acknowledged(refused)

    def _accept(self, received: Received) -> None:
        self.accepted += 1
        if self.config.keep_records:
            self.records.append(received)
        if self._on_record:
            self._on_record(received)

    def _acknowledged(self, refused: list[str]) -> Answer:
        message = ExportLogsServiceResponse()
        if refused:
            partial = ExportLogsPartialSuccess(
                rejected_log_records=len(refused), error_message=refused[0]
            )
            message.partial_success.CopyFrom(partial)
        if self.config.status == 204:  # noqa: PLR2004 - No Content, Loki's acknowledgement
            return Answer(self.config.status)
        headers = (("content-type", PROTOBUF),)
        return Answer(self.config.status, headers, message.SerializeToString())

    def _violation(self, status: int, what: str) -> _Refused:
        self.violations[what] += 1
        return _Refused(status, what)


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer = Answer(status, (("content-type", "text/plain"),), why.encode())


def service_of(resource: Resource) -> str:
    """A resource's ``service.name``, empty when it has none."""
    named = (a.value.string_value for a in resource.attributes if a.key == "service.name")
    return next(named, "")
