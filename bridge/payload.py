"""OTLP request bytes: compress, join, take apart. Pure, and deterministic byte for byte.

An ``ExportLogsServiceRequest`` is a message with one repeated field, so the concatenation of two
encoded requests is the encoded request of both (Protocol Buffers, "Encoding", "Last One Wins" and
repeated fields). Gzip members must not be concatenated the same way: receivers silently keep only
the first member of a body, so joined requests are compressed again into one.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from bridge.model import Batch, Encoded

_LEVEL = 1
_UID_KEY = "log.record.uid"


def compress(raw: bytes) -> bytes:
    """One gzip member, without a time stamp so that equal input gives equal bytes."""
    return gzip.compress(raw, compresslevel=_LEVEL, mtime=0)


def encoded(raw: bytes, records: int) -> Encoded:
    """Wrap encoded request bytes for the journal."""
    return Encoded(records=records, size=len(raw), gzip=compress(raw))


@dataclass(frozen=True)
class Request:
    """What one send carries: one batch, several joined, or a piece of one.

    ``parts`` are the encoded requests it is made of, in order; one part is sent as the stored
    bytes it is, several are joined uncompressed and compressed again into one member.
    """

    parts: tuple[Encoded | Batch, ...]

    @property
    def records(self) -> int:
        """How many log records it carries."""
        return sum(part.records for part in self.parts)

    @property
    def size(self) -> int:
        """Its length in bytes before compression."""
        return sum(part.size for part in self.parts)

    @cached_property
    def raw(self) -> bytes:
        """The encoded ``ExportLogsServiceRequest``."""
        return b"".join(gzip.decompress(part.gzip) for part in self.parts)

    @cached_property
    def gzip(self) -> bytes:
        """The same in one gzip member."""
        return self.parts[0].gzip if len(self.parts) == 1 else compress(self.raw)


def records_of(raw: bytes) -> Iterator[tuple[ResourceLogs, ScopeLogs, LogRecord]]:
    """Every log record of an encoded request, with the resource and scope it stands under."""
    message = ExportLogsServiceRequest.FromString(raw)
    for resource_logs in message.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield resource_logs, scope_logs, record


def uid_of(record: LogRecord) -> str:
    """A record's ``log.record.uid``, empty when it has none."""
    return next((a.value.string_value for a in record.attributes if a.key == _UID_KEY), "")


def halves(request: Request) -> tuple[Request, ...]:
    """Take a request apart in two: at a batch border if it has one, else between records.

    A request of a single record comes back whole, alone.
    """
    if len(request.parts) > 1:
        middle = len(request.parts) // 2
        return Request(request.parts[:middle]), Request(request.parts[middle:])
    entries = list(records_of(request.raw))
    if len(entries) < 2:  # noqa: PLR2004 - nothing to halve
        return (request,)
    middle = len(entries) // 2
    return _pieces(entries[:middle]), _pieces(entries[middle:])


def singles(request: Request) -> Iterator[tuple[str, Encoded]]:
    """Every record as a request of its own, with its uid."""
    for entry in records_of(request.raw):
        piece = _pieces([entry]).parts[0]
        yield uid_of(entry[2]), Encoded(piece.records, piece.size, piece.gzip)


def _pieces(entries: Sequence[tuple[ResourceLogs, ScopeLogs, LogRecord]]) -> Request:
    """Encode chosen records again, each under its own resource and scope, in order."""
    message = ExportLogsServiceRequest()
    under: ScopeLogs | None = None
    target: ScopeLogs | None = None
    for resource_logs, scope_logs, record in entries:
        if target is None or scope_logs is not under:
            held = message.resource_logs.add(
                resource=resource_logs.resource, schema_url=resource_logs.schema_url
            )
            target = held.scope_logs.add(scope=scope_logs.scope, schema_url=scope_logs.schema_url)
            under = scope_logs
        target.log_records.append(record)
    raw = message.SerializeToString(deterministic=True)
    return Request((encoded(raw, len(entries)),))
