"""Mapped records as encoded ``ExportLogsServiceRequest``s, bounded in records and in size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from bridge import __version__
from bridge.mapping.wire import framed, tag, utf8
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

Mapped = tuple[bytes, bytes]
"""A record, and before it the resource it comes from, both encoded."""


def encode(mapped: Iterable[Mapped], *, max_records: int, max_size: int) -> list[Encoded]:
    """Encode records in order, in as few requests as the bounds allow.

    Each request has at most ``max_records`` records and ``max_size`` bytes before compression; a
    record that is larger by itself stands alone. Within a request the records of one origin
    stand together, in order.
    """
    return [_request(*batch) for batch in _batches(mapped, max_records, max_size)]


def _batches(
    mapped: Iterable[Mapped], max_records: int, max_size: int
) -> Iterator[tuple[dict[bytes, list[bytes]], int]]:
    """Records by their origins, and how many they are, for each request."""
    groups: dict[bytes, list[bytes]] = {}
    records = size = 0
    for origin, record in mapped:
        alone = _FRAME + len(record)
        more = alone if origin in groups else alone + _GROUP + len(origin)
        if records and (records == max_records or size + more > max_size):
            yield groups, records
            groups, records, size = {}, 0, 0
            more = alone + _GROUP + len(origin)
        groups.setdefault(origin, []).append(framed(_LOG_RECORD, record))
        records += 1
        size += more
    if records:
        yield groups, records


def _request(groups: dict[bytes, list[bytes]], records: int) -> Encoded:
    every = [_group(origin, framed_records) for origin, framed_records in groups.items()]
    return encoded(b"".join(every), records)


def _group(origin: bytes, framed_records: list[bytes]) -> bytes:
    scope_logs = framed(_SCOPE_LOGS, _SCOPE + b"".join(framed_records))
    return framed(_RESOURCE_LOGS, framed(_RESOURCE, origin) + scope_logs)
