"""What one destination takes of the journal, and what becomes of records too old for it. Pure.

A selection leaves records out and adds resource attributes; where neither applies, what was
stored goes out as the very bytes it is. Records are left out when they are read from the journal,
and are looked at for their age before every try to send them, since they age while they wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bridge import proto
from bridge.delivery.split import Piece
from bridge.mapping.gap import EVENT_NAME
from bridge.mapping.resource import Scalar
from bridge.mapping.severity import UNSPECIFIED
from bridge.mapping.wire import key_value
from bridge.model import MILLISECOND, SECOND, Batch, DeadLetter, Encoded, Tick
from bridge.payload import Located, Request, alone, holding, located, time_of, uid_of
from bridge.timestamps import format_tick

ORIGINAL_TIME: Final = "fal.timestamp"
"""Where a record keeps its own time: also the mapping's, where a record could not say it."""
_NANOSECONDS: Final = 1_000
_UNITS: Final[Mapping[str, Tick]] = {
    "d": 86_400 * SECOND,
    "h": 3_600 * SECOND,
    "m": 60 * SECOND,
    "s": SECOND,
    "ms": MILLISECOND,
}


class TooOld(StrEnum):
    """What becomes of a record over ``max_age``."""

    DEAD_LETTER = "dead_letter"
    """It is kept as a dead letter and not sent."""
    RESTAMP = "restamp"
    """It is sent with the present as its time, and its own time as an attribute."""
    SEND = "send"
    """It is sent as it is, and counted."""


class Taken(Struct, frozen=True):
    """What a destination takes of some batches, and how many records it leaves out."""

    parts: tuple[Batch, ...]
    skipped: int


class Fresh(Struct, frozen=True):
    """What is to be sent of a piece now.

    ``piece`` is None where nothing is left of it; ``dead`` are its records that are not sent, and
    ``restamped`` counts those that got a new time.
    """

    piece: Piece | None
    dead: tuple[DeadLetter, ...] = ()
    restamped: int = 0


class Selection:
    """What one destination takes. The default is everything, as it is.

    Args:
        destination: the destination's name: it takes no batch that is for another one.
        apps: names of apps, or patterns of them (`fnmatch`), one of which an app must match.
        min_severity: the least severity number that passes. A record without one passes, and so
            does one that tells of a gap: whoever reads the rest must know what is missing.
        resource: attributes for every resource, in place of those of the same name.
        max_age: the age in ticks up to which a record, by its `time_of`, is not too old.
        too_old: what becomes of older ones.
    """

    def __init__(
        self,
        *,
        destination: str | None = None,
        apps: Sequence[str] = ("*",),
        min_severity: int = UNSPECIFIED,
        resource: Mapping[str, Scalar] | None = None,
        max_age: Tick | None = None,
        too_old: TooOld = TooOld.DEAD_LETTER,
    ) -> None:
        self._destination = destination
        self._apps = tuple(apps)
        self._min_severity = min_severity
        self._resource = _values(resource or {})
        self._max_age = max_age
        self._too_old = too_old

    def take(self, batches: Sequence[Batch]) -> Taken:
        """Leave out what is not selected and add the resource attributes.

        A batch of which nothing is left is none of the parts; one that nothing applies to is the
        same object. Taking again what was taken changes nothing.
        """
        parts = tuple(part for batch in batches if (part := self._part_of(batch)) is not None)
        return Taken(parts, _records(batches) - _records(parts))

    def expired(self, request: Request, now: Tick) -> bool:
        """Whether `fresh` would change a request. Cheap but for a request's first time."""
        return self._too_old is not TooOld.SEND and self._has_aged(request, now)

    def fresh(self, piece: Piece, now: Tick, *, destination: str) -> Fresh:
        """See to the records of a piece that are too old at ``now``.

        A restamped record is as old as any new one: it is sent with that same time as often as it
        takes, until it is over ``max_age`` again.
        """
        if not self.expired(piece.request, now):
            return Fresh(piece)
        if self._too_old is TooOld.RESTAMP:
            return self._restamped(piece, now)
        return self._without_old(piece, now, destination)

    def late(self, request: Request, now: Tick) -> int:
        """How many records of a request are too old and are sent as they are all the same."""
        if self._too_old is not TooOld.SEND or not self._has_aged(request, now):
            return 0
        records = (record for part in request.parts for _, _, record in located(part))
        return sum(self._is_too_old(record, now) for record in records)

    def _part_of(self, batch: Batch) -> Batch | None:
        if batch.audience not in {None, self._destination}:
            return None
        if not any(batch.app == app or fnmatchcase(batch.app, app) for app in self._apps):
            return None
        if self._min_severity == UNSPECIFIED and not self._resource:
            return batch
        records = located(batch)
        kept = [found for found in records if self._is_severe_enough(found[2])]
        if not kept:
            return None
        changed = self._add_attributes(kept)
        return batch if len(kept) == len(records) and not changed else holding(batch, kept)

    def _is_severe_enough(self, record: proto.LogRecord) -> bool:
        number = record.severity_number
        return (
            number == UNSPECIFIED or number >= self._min_severity or record.event_name == EVENT_NAME
        )

    def _add_attributes(self, records: Iterable[Located]) -> bool:
        """Add to every resource that records stand under; whether that changed any."""
        groups: dict[int, proto.ResourceLogs] = {id(group): group for group, _, _ in records}
        changed = [self._add_to(group.resource) for group in groups.values()]
        return any(changed)

    def _add_to(self, resource: proto.Resource) -> bool:
        missing, changed = dict(self._resource), False
        for attribute in resource.attributes:
            missing.pop(attribute.key, None)
            value = self._resource.get(attribute.key)
            if value is not None and attribute.value != value:
                attribute.value.CopyFrom(value)
                changed = True
        for key, value in missing.items():
            resource.attributes.add(key=key, value=value)
        return changed or bool(missing)

    def _restamped(self, piece: Piece, now: Tick) -> Fresh:
        parts: list[Encoded | Batch] = []
        restamped = 0
        stamps = count(now * _NANOSECONDS)
        for part in piece.request.parts:
            records = located(part)
            old = [record for _, _, record in records if self._is_too_old(record, now)]
            _restamp(old, stamps)
            parts.append(holding(part, records) if old else part)
            restamped += len(old)
        return Fresh(_made_of(piece, parts), restamped=restamped)

    def _without_old(self, piece: Piece, now: Tick, destination: str) -> Fresh:
        parts: list[Encoded | Batch] = []
        dead: list[DeadLetter] = []
        for part in piece.request.parts:
            records = located(part)
            young = [found for found in records if not self._is_too_old(found[2], now)]
            old = [found for found in records if self._is_too_old(found[2], now)]
            seq = _seq(part, piece.seq)
            dead += (self._letter(found, destination, seq, now) for found in old)
            if young:
                parts.append(holding(part, young) if old else part)
        return Fresh(_made_of(piece, parts) if parts else None, tuple(dead))

    def _has_aged(self, request: Request, now: Tick) -> bool:
        if self._max_age is None or request.oldest is None:
            return False
        return now - request.oldest > self._max_age

    def _is_too_old(self, record: proto.LogRecord, now: Tick) -> bool:
        time = time_of(record)
        return time is not None and self._max_age is not None and now - time > self._max_age

    def _letter(self, found: Located, destination: str, seq: int, now: Tick) -> DeadLetter:
        age = now - (time_of(found[2]) or 0)
        reason = f"too old: {_span(age)}, and max_age is {_span(self._max_age or 0)}"
        return DeadLetter(destination, uid_of(found[2]), seq, reason, alone(found).gzip, now)


def _values(attributes: Mapping[str, Scalar]) -> dict[str, proto.AnyValue]:
    pairs = (proto.KeyValue.FromString(key_value(key, value)) for key, value in attributes.items())
    return {pair.key: pair.value for pair in pairs}


def _restamp(records: Iterable[proto.LogRecord], stamps: Iterator[int]) -> None:
    """Give records the present as their time, a nanosecond apart so that they keep their order."""
    for record, nanoseconds in zip(records, stamps, strict=False):  # the stamps have no end
        told = any(attribute.key == ORIGINAL_TIME for attribute in record.attributes)
        if record.time_unix_nano and not told:
            original = format_tick(record.time_unix_nano // _NANOSECONDS)
            record.attributes.add(key=ORIGINAL_TIME).value.string_value = original
        record.time_unix_nano = nanoseconds


def _made_of(piece: Piece, parts: Sequence[Encoded | Batch]) -> Piece:
    request = replace(piece.request, parts=tuple(parts))
    return replace(piece, request=request, seq=_seq(parts[0], piece.seq))


def _seq(part: Encoded | Batch, cut_from: int) -> int:
    """The batch that a part is, else the one it was cut from."""
    return part.seq if isinstance(part, Batch) else cut_from


def _records(parts: Iterable[Encoded | Batch]) -> int:
    return sum(part.records for part in parts)


def _span(ticks: Tick) -> str:
    """A length of time by its two largest units: ``2h10m``."""
    left, words = ticks, []
    for unit, size in _UNITS.items():
        units, left = divmod(left, size)
        if units:
            words.append(f"{units}{unit}")
    return "".join(words[:2]) or "0ms"


EVERYTHING: Final = Selection()
"""Every record, as it is, at any age."""
