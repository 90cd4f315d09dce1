"""The whole way of one app's entries to encoded requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Final

from bridge.mapping.encode import Mapped, encode
from bridge.mapping.extra import NOTHING, Extra
from bridge.mapping.gap import gap_record
from bridge.mapping.plain import CastRecords, plain_record
from bridge.mapping.provenance import NOWHERE
from bridge.mapping.reading import read
from bridge.mapping.record import log_record
from bridge.mapping.resource import Origins, Scalar
from bridge.mapping.severity import INFO
from bridge.mapping.shaping import Rules, Shaper
from bridge.mapping.shaping.shaper import Shaped
from bridge.model import ALL_DROPPED, Encoded, Gap, Identified, Provenance, Tick

MAX_RECORDS: Final = 1000
MAX_SIZE: Final = 1 << 20
_NO_COUNTS: Final[Mapping[str, int]] = MappingProxyType({})


class Mapper:
    """Maps the entries of one app; holds its configuration and nothing that changes results.

    Beside that it counts what the app's rules did: see `settle`.

    Args:
        app: the app's configured name; part of a gap's identity.
        service: the ``service.name`` of every record; None to take each entry's ``app``.
        fallback_service: the ``service.name`` of an entry that names no app.
        resource: the app's own resource attributes; they override what entries say.
        stderr_severity: the severity number of level ``STDERR``.
        rules: what is done to its entries first; None for nothing.
        max_records: the most records in one request.
        max_size: the most bytes of one request before compression.

    Raises:
        PatternError: a mask of the rules cannot be used.
    """

    def __init__(
        self,
        *,
        app: str,
        service: str | None,
        fallback_service: str,
        resource: Mapping[str, Scalar],
        stderr_severity: int = INFO,
        rules: Rules | None = None,
        max_records: int = MAX_RECORDS,
        max_size: int = MAX_SIZE,
    ) -> None:
        self._app = app
        self._shaper = Shaper(rules, stderr=stderr_severity) if rules else None
        self._names = self._shaper.names if self._shaper else None
        self._origins = Origins(
            service=service,
            fallback=fallback_service,
            resource=resource,
            left_out=self._names.left_out if self._names else None,
        )
        self._stderr = stderr_severity
        self._max_records = max_records
        self._max_size = max_size

    def encode(
        self, found: Sequence[Identified], observed: Tick, gaps: Sequence[Gap] = ()
    ) -> list[Encoded]:
        """Map entries, fetched at ``observed``, to requests in the given order; gaps follow them.

        Equal calls give equal bytes. Nothing an entry holds makes it raise. Where the app's rules
        drop or join entries, every request names the uids it speaks for.
        """
        entries: Iterable[Mapped]
        if self._shaper is None:
            entries = self._map_all(found, observed)
        else:
            entries = self._map_shaped(self._shaper, found, observed)
        mapped = chain(entries, (self._map_gap(gap, observed) for gap in gaps))
        requests = encode(mapped, max_records=self._max_records, max_size=self._max_size)
        return [ALL_DROPPED] if found and not requests else requests

    @property
    def counts(self) -> Mapping[str, int]:
        """Entries dropped or changed so far, by rule; those of journaled appends only."""
        return self._shaper.counts.snapshot if self._shaper else _NO_COUNTS

    def settle(self) -> Mapping[str, int]:
        """Count what the last `encode` did, since its append is journaled, and return that."""
        return self._shaper.counts.settle() if self._shaper else _NO_COUNTS

    def _map_all(self, found: Sequence[Identified], observed: Tick) -> Iterator[Mapped]:
        record, origin = CastRecords(observed, self._stderr).record, self._origins.of
        for one in found:
            provenance, cast = one.entry.provenance, one.entry.cast
            if provenance is None or cast is None:
                yield self._map(one, observed)
            else:
                yield origin(provenance), record(cast, one.uid, provenance.attributes), None

    def _map(self, found: Identified, observed: Tick) -> Mapped:
        provenance, record = self._record(found, observed, NOTHING)
        return self._origins.of(provenance), record, None

    def _map_shaped(
        self, shaper: Shaper, found: Sequence[Identified], observed: Tick
    ) -> Iterator[Mapped]:
        counted = shaper.counts.propose()
        for shaped in shaper.shape(found, counted):
            yield self._map_one(shaped, observed, counted)

    def _map_one(self, shaped: Shaped, observed: Tick, counted: Counter[str]) -> Mapped:
        provenance, record = self._record(shaped.found, observed, shaped.extra)
        kept = record if self._names is None else self._names.prune(record)
        reduced = len(kept) < len(record) or self._origins.reduces(provenance)
        if reduced and "drop_attributes" not in shaped.rules:
            counted["drop_attributes"] += 1
        return self._origins.of(provenance), kept, shaped.uids

    def _record(self, found: Identified, observed: Tick, extra: Extra) -> tuple[Provenance, bytes]:
        """An entry's record, by the short way where that takes it, and where it comes from."""
        provenance = found.entry.provenance
        if provenance is not None and extra is NOTHING:
            record = plain_record(found, provenance, observed, self._stderr)
            if record is not None:
                return provenance, record
        reading = read(found.entry)
        return reading.provenance, log_record(found, reading, observed, self._stderr, extra)

    def _map_gap(self, gap: Gap, observed: Tick) -> Mapped:
        speaks_for = () if self._shaper and self._shaper.rules.selective else None
        return self._origins.of(NOWHERE), gap_record(self._app, gap, observed), speaks_for
