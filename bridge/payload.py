"""OTLP request bytes: compress, join, take apart. Pure, and deterministic byte for byte.

An ``ExportLogsServiceRequest`` is a message with one repeated field, so the concatenation of two
encoded requests is the encoded request of both (Protocol Buffers, "Encoding", "Last One Wins" and
repeated fields). Gzip members must not be concatenated the same way: receivers silently keep only
the first member of a body, so joined requests are compressed again into one. JSON is made of the
joined protobuf, never joined itself.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import sha512
from itertools import groupby
from typing import Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bridge import proto
from bridge.model import Batch, Encoded, Json, Tick

try:
    from isal import isal_zlib as zlib  # a fifth of the time (docs/decisions/0025)
except ImportError:  # not built for every processor
    import zlib  # type: ignore[no-redef]

_LEVEL: Final = 1
_GZIP: Final = 31
"""The window size by which zlib means a gzip member."""
_IDS = ("traceId", "spanId")
_UID_KEY = "log.record.uid"
_NANOSECONDS: Final = 1_000

Located: TypeAlias = "tuple[proto.ResourceLogs, proto.ScopeLogs, proto.LogRecord]"
"""A record with the messages it stands under."""

_Part = TypeVar("_Part", bound=Encoded | Batch)


def compress(raw: bytes) -> bytes:
    """One gzip member, without a time stamp so that equal input gives equal bytes."""
    member = zlib.compress(raw, _LEVEL, wbits=_GZIP)
    sha512(member[:1]).digest()  # sets the processor right after ISA-L (docs/decisions/0025)
    return member


def encoded(raw: bytes, records: int) -> Encoded:
    """Wrap encoded request bytes for the journal."""
    return Encoded(records=records, size=len(raw), gzip=compress(raw))


class Request(Struct, frozen=True, dict=True):
    """What one send carries: one batch, several joined, or a piece of one.

    ``parts`` are the encoded requests it is made of, in order; one part is sent as the stored
    bytes it is, several are joined uncompressed and compressed again into one member.
    ``patience`` is how many times as long as usual its answer is waited for.
    """

    parts: tuple[Encoded | Batch, ...]
    patience: float = 1.0

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

    @cached_property
    def json(self) -> bytes:
        """The same as OTLP/JSON."""
        return to_json(self.raw)

    @cached_property
    def oldest(self) -> Tick | None:
        """The time of its oldest record (see `time_of`), None where no record says any."""
        records = (record for part in self.parts for _, _, record in located(part))
        times = (time for record in records if (time := time_of(record)) is not None)
        return min(times, default=None)


def to_json(raw: bytes) -> bytes:
    """An encoded request as OTLP/JSON, the same bytes each time.

    That is the JSON mapping of Protocol Buffers (64-bit integers are strings, bytes base64) with
    enums as integers and ids in hex (OTLP specification 1.11, "JSON Protobuf Encoding").
    """
    message = proto.ExportLogsServiceRequest.FromString(raw)
    decoded = proto.MessageToDict(message, use_integers_for_enums=True)
    decoded.setdefault("resourceLogs", [])  # not left out: some receivers refuse a bare {}
    for record in _json_records(decoded):
        for key in _IDS:
            if key in record:
                record[key] = base64.b64decode(record[key]).hex()
    return msgspec.json.encode(decoded)


def records_of(raw: bytes) -> Iterator[Located]:
    """Every log record of an encoded request, with the resource and scope it stands under."""
    message = proto.ExportLogsServiceRequest.FromString(raw)
    for resource_logs in message.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield resource_logs, scope_logs, record


def uid_of(record: proto.LogRecord) -> str:
    """A record's ``log.record.uid``, empty when it has none."""
    return next((a.value.string_value for a in record.attributes if a.key == _UID_KEY), "")


def time_of(record: proto.LogRecord) -> Tick | None:
    """When it happened, else when it was observed; None where it says neither.

    Zero nanoseconds mean unknown (OTLP, ``LogRecord``).
    """
    return (record.time_unix_nano or record.observed_time_unix_nano) // _NANOSECONDS or None


def located(part: Encoded | Batch) -> list[Located]:
    """Every record of a part, as messages of its own that may be changed."""
    return list(records_of(gzip.decompress(part.gzip)))


def holding(part: _Part, records: Sequence[Located]) -> _Part:
    """The part with these records, from `located`, in place of all; a batch keeps its number."""
    piece = _piece(records)
    return replace(part, records=piece.records, size=piece.size, gzip=piece.gzip)


def alone(found: Located) -> Encoded:
    """One record as a request of its own."""
    return _piece([found])


def halves(request: Request) -> tuple[Request, ...]:
    """Take a request apart in two: at a batch border if it has one, else between records.

    A request of a single record comes back whole, alone.
    """
    if len(request.parts) > 1:
        middle = len(request.parts) // 2
        return Request(request.parts[:middle]), Request(request.parts[middle:])
    records = list(records_of(request.raw))
    middle = len(records) // 2
    if not middle:
        return (request,)
    return Request((_piece(records[:middle]),)), Request((_piece(records[middle:]),))


def singles(request: Request) -> Iterator[tuple[str, Encoded]]:
    """Every record as a request of its own, with its uid, in order."""
    for found in records_of(request.raw):
        yield uid_of(found[2]), alone(found)


def _piece(records: Sequence[Located]) -> Encoded:
    """Encode chosen records again, in order, neighbours of one resource and scope together.

    Each message that `records_of` parsed is one object for as long as the given records hold it,
    so identity tells which records came from one.
    """
    message = proto.ExportLogsServiceRequest()
    for run in _runs(records, key=lambda located: id(located[0])):
        source = run[0][0]
        target = message.resource_logs.add(resource=source.resource, schema_url=source.schema_url)
        for within in _runs(run, key=lambda located: id(located[1])):
            scope = within[0][1]
            target.scope_logs.add(
                scope=scope.scope,
                schema_url=scope.schema_url,
                log_records=[record for _, _, record in within],
            )
    return encoded(message.SerializeToString(deterministic=True), len(records))


def _json_records(request: Json) -> Iterator[dict[str, Json]]:
    """The log records of a request in JSON; what is empty is left out there."""
    for resource_logs in request.get("resourceLogs", ()):
        for scope_logs in resource_logs.get("scopeLogs", ()):
            yield from scope_logs.get("logRecords", ())


def _runs(records: Iterable[Located], key: Callable[[Located], int]) -> Iterator[list[Located]]:
    return (list(run) for _, run in groupby(records, key))
