"""Mapped records as encoded ``ExportLogsServiceRequest``s, bounded in records and in size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from bridge import __version__
from bridge.mapping.resource import Origin
from bridge.model import Encoded
from bridge.payload import encoded

_SCOPE: Final = InstrumentationScope(name="fal-log-bridge", version=__version__)
_FRAME: Final = 1 + 5
"""The most that one nested message adds around itself: its tag, and its length up to 2 GiB."""
_GROUP: Final = 4 * _FRAME + _SCOPE.ByteSize()
"""The most that another origin adds: the frames of four messages, and the scope."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """One record, and where it comes from.

    ``uids`` are the entries it speaks for, where that is not simply its own.
    """

    origin: Origin
    record: LogRecord
    uids: tuple[bytes, ...] | None = None


def encode(mapped: Iterable[Mapped], *, max_records: int, max_size: int) -> list[Encoded]:
    """Encode records in order, in as few requests as the bounds allow.

    Each request has at most ``max_records`` records and ``max_size`` bytes before compression; a
    record that is larger by itself stands alone. Within a request the records of one origin
    stand together, in order.
    """
    return [_request(batch) for batch in _batches(mapped, max_records, max_size)]


def _batches(mapped: Iterable[Mapped], max_records: int, max_size: int) -> Iterator[list[Mapped]]:
    batch: list[Mapped] = []
    origins: set[bytes] = set()
    size = 0
    for item in mapped:
        alone = _FRAME + item.record.ByteSize()
        group = _GROUP + len(item.origin.encoded)
        more = alone if item.origin.encoded in origins else alone + group
        if batch and (len(batch) == max_records or size + more > max_size):
            yield batch
            batch, origins, size, more = [], set(), 0, alone + group
        batch.append(item)
        origins.add(item.origin.encoded)
        size += more
    if batch:
        yield batch


def _request(batch: list[Mapped]) -> Encoded:
    groups: dict[bytes, list[Mapped]] = {}
    for item in batch:
        groups.setdefault(item.origin.encoded, []).append(item)
    message = ExportLogsServiceRequest(resource_logs=[_group(g) for g in groups.values()])
    request = encoded(message.SerializeToString(deterministic=True), len(batch))
    if batch[0].uids is None:
        return request
    return replace(request, uids=tuple(uid for item in batch for uid in item.uids or ()))


def _group(group: list[Mapped]) -> ResourceLogs:
    records = ScopeLogs(scope=_SCOPE, log_records=[item.record for item in group])
    return ResourceLogs(resource=group[0].origin.resource, scope_logs=[records])
