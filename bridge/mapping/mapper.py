"""The whole way of one app's entries to encoded requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from bridge.mapping.encode import Mapped, encode
from bridge.mapping.gap import gap_record
from bridge.mapping.reading import Reading, read
from bridge.mapping.record import log_record
from bridge.mapping.resource import Origins, Scalar
from bridge.mapping.severity import INFO
from bridge.model import Encoded, Gap, Identified, Tick

MAX_RECORDS: Final = 1000
MAX_SIZE: Final = 1 << 20
_NOTHING: Final = Reading({}, {}, None, None, None, "", ())


class Mapper:
    """Maps the entries of one app; holds its configuration and nothing that changes results.

    Args:
        app: the app's configured name; part of a gap's identity.
        service: the ``service.name`` of every record; None to take each entry's ``app``.
        fallback_service: the ``service.name`` of an entry that names no app.
        resource: the app's own resource attributes; they override what entries say.
        stderr_severity: the severity number of level ``STDERR``.
        max_records: the most records in one request.
        max_size: the most bytes of one request before compression.
    """

    def __init__(
        self,
        *,
        app: str,
        service: str | None,
        fallback_service: str,
        resource: Mapping[str, Scalar],
        stderr_severity: int = INFO,
        max_records: int = MAX_RECORDS,
        max_size: int = MAX_SIZE,
    ) -> None:
        self._app = app
        self._origins = Origins(service=service, fallback=fallback_service, resource=resource)
        self._stderr = stderr_severity
        self._max_records = max_records
        self._max_size = max_size

    def encode(
        self, found: Sequence[Identified], observed: Tick, gaps: Sequence[Gap] = ()
    ) -> list[Encoded]:
        """Map entries, fetched at ``observed``, to requests in the given order; gaps follow them.

        Equal calls give equal bytes. Nothing an entry holds makes it raise.
        """
        entries = (self._map(one, observed) for one in found)
        mapped = chain(entries, (self._map_gap(gap, observed) for gap in gaps))
        return encode(mapped, max_records=self._max_records, max_size=self._max_size)

    def _map(self, found: Identified, observed: Tick) -> Mapped:
        reading = read(found.entry)
        record = log_record(found, reading, observed, self._stderr)
        return self._origins.of(reading), record

    def _map_gap(self, gap: Gap, observed: Tick) -> Mapped:
        return self._origins.of(_NOTHING), gap_record(self._app, gap, observed)
