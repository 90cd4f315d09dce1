"""The record of a plain entry that speaks of no traces, at less than half the general way's cost.

Most entries are such: nothing of them has to be read, compared or marked. What is written is byte
for byte what `log_record` writes, which the tests compare.
"""

from __future__ import annotations

from typing import Final

from bridge.mapping.attributes import label_attribute
from bridge.mapping.conventions import DOCUMENTED_FIELDS, TRACE_LABELS, TRACEBACK_HEADER
from bridge.mapping.record import (
    BEFORE_UID,
    LAST_TICK,
    observed_bytes,
    record_bytes,
    severities,
)
from bridge.mapping.wire import utf8
from bridge.model import Cast, Identified, Provenance, Tick

_TRACE: Final = "race"
"""What "trace" and "Traceback" share: a message without it holds neither ids nor a traceback."""


def plain_record(
    found: Identified, provenance: Provenance, observed: Tick, stderr: int
) -> bytes | None:
    """Map one entry of this provenance; arguments as for `log_record`. None if it is another."""
    raw, time = found.entry.raw, found.entry.tick
    message, labels = raw.get("message"), raw["labels"]
    if (
        type(message) is not str
        or _TRACE in message
        or time is None
        or not 0 < time <= LAST_TICK
        or not DOCUMENTED_FIELDS.issuperset(raw)
        or not TRACE_LABELS.isdisjoint(provenance.own)
    ):
        return None
    severity, stream = severities(raw.get("level"), stderr)
    attributes = [BEFORE_UID, found.uid.hex().encode(), stream, provenance.attributes or b""]
    for key in provenance.own:
        value = labels[key]
        if isinstance(value, str) and TRACEBACK_HEADER in value:
            return None
        attributes.append(label_attribute(key, value))
    return record_bytes(
        time=time,
        observed=observed,
        severity=severity,
        body=utf8(message),
        attributes=b"".join(attributes),
    )


class CastRecords:
    """Makes the records of entries whose parts are encoded already, fetched at one moment.

    ``observed`` and ``stderr`` as for `log_record`.
    """

    def __init__(self, observed: Tick, stderr: int) -> None:
        self._observed = observed_bytes(observed)
        self._stderr = stderr
        self._severities: dict[str, tuple[bytes, bytes]] = {}

    def record(self, cast: Cast, uid: bytes, worker: bytes | None) -> bytes:
        """One entry's; ``worker`` are the attributes of its provenance."""
        said = self._severities.get(cast.level)
        if said is None:
            said = self._severities[cast.level] = severities(cast.level, self._stderr)
        return b"".join(
            (
                cast.time,
                said[0],
                cast.body,
                BEFORE_UID,
                uid.hex().encode(),
                said[1],
                worker or b"",
                cast.own,
                self._observed,
            )
        )
