"""A record that tries a destination out: marked as such, of no app, as encoded request."""

from __future__ import annotations

from typing import Final

from bridge.mapping.encode import encode
from bridge.mapping.provenance import NOWHERE
from bridge.mapping.record import record_bytes, severity_bytes
from bridge.mapping.resource import Origins
from bridge.mapping.severity import INFO
from bridge.mapping.wire import attributes
from bridge.model import Encoded, Tick

EVENT_NAME: Final = "fal_log_bridge.test"

_SERVICE: Final = "fal-log-bridge"
_MAX_SIZE: Final = 1 << 20


def trial(uid: bytes, now: Tick) -> Encoded:
    """A request of one record under this uid, made now. Equal calls give equal requests."""
    record = record_bytes(
        time=now,
        observed=now,
        severity=severity_bytes(INFO, "INFO"),
        body=b"fal log bridge: a test record of `fal-log-bridge check --send`; no app wrote it",
        attributes=attributes([("log.record.uid", uid.hex())]),
        event_name=EVENT_NAME,
    )
    origin = Origins(service=_SERVICE, fallback=_SERVICE, resource={}).of(NOWHERE)
    (request,) = encode([(origin, record, None)], max_records=1, max_size=_MAX_SIZE)
    return request
