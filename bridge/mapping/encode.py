"""Mapped records as encoded ``ExportLogsServiceRequest``s, bounded in records and in size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from bridge import __version__
from bridge.mapping.wire import framed, opening, tag, utf8
from bridge.model import Encoded
from bridge.payload import encoded

_RESOURCE_LOGS: Final = tag(1)
_RESOURCE: Final = tag(1)
_SCOPE_LOGS: Final = tag(2)
_LOG_RECORD: Final = tag(2)
_SCOPE: Final = framed(
    tag(1), framed(tag(1), utf8("fal-log-bridge")) + framed(tag(2), utf8(__version__))
)
"""``ScopeLogs.scope``: whose records they are."""
_FRAME: Final = 1 + 5
"""The most that one nested message adds around itself: its tag, and its length up to 2 GiB."""
_GROUP: Final = 3 * _FRAME + len(_SCOPE)
"""The most that another origin adds: the frames of three messages, and the scope."""

Mapped = tuple[bytes, bytes, tuple[bytes, ...] | None]
"""A record, before it the resource it comes from, both encoded; behind it the entries it speaks
for, where that is not simply its own."""


def encode(mapped: Iterable[Mapped], *, max_records: int, max_size: int) -> list[Encoded]:
    """Encode records in order, in as few requests as the bounds allow.

    Each request has at most ``max_records`` records and ``max_size`` bytes before compression; a
    record that is larger by itself stands alone. Within a request the records of one origin
    stand together, in order.
    """
    return [_request(batch) for batch in _batches(mapped, max_records, max_size)]


class _Batch(Struct):
    """What one request is to hold: framed records by their origin, and the entries they speak for.

    A record's frame stands before it by itself, since joining them would copy each record.
    """

    groups: dict[bytes, list[bytes]] = field(default_factory=dict)
    records: int = 0
    size: int = 0
    uids: list[bytes] | None = None


def _batches(mapped: Iterable[Mapped], max_records: int, max_size: int) -> Iterator[_Batch]:
    batch = _Batch()
    for origin, record, uids in mapped:
        group = batch.groups.get(origin)
        more = _FRAME + len(record) + (_GROUP + len(origin) if group is None else 0)
        if batch.records and (batch.records == max_records or batch.size + more > max_size):
            yield batch
            batch, group = _Batch(), None
            more = _FRAME + len(record) + _GROUP + len(origin)
        if group is None:
            group = batch.groups[origin] = []
        group += (opening(_LOG_RECORD, len(record)), record)
        batch.records += 1
        batch.size += more
        if uids is not None:
            batch.uids = batch.uids or []
            batch.uids.extend(uids)
    if batch.records:
        yield batch


def _request(batch: _Batch) -> Encoded:
    every = [_group(origin, records) for origin, records in batch.groups.items()]
    request = encoded(b"".join(every), batch.records)
    return request if batch.uids is None else replace(request, uids=tuple(batch.uids))


def _group(origin: bytes, records: list[bytes]) -> bytes:
    scope_logs = framed(_SCOPE_LOGS, b"".join((_SCOPE, *records)))
    return framed(_RESOURCE_LOGS, framed(_RESOURCE, origin) + scope_logs)
