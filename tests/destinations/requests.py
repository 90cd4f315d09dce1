"""Requests to send."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from bridge.model import Batch
from bridge.payload import Request, encoded

NOON = 1_758_283_200_123_456


def batch(seq: int, uids: Sequence[str], *, body: str = "hello") -> Batch:
    """A batch of one record for each uid."""
    message = ExportLogsServiceRequest()
    logs = message.resource_logs.add()
    logs.resource.attributes.add(key="service.name").value.string_value = "app"
    scope = logs.scope_logs.add()
    for uid in uids:
        record = scope.log_records.add(time_unix_nano=NOON * 1_000, severity_text="INFO")
        record.severity_number = SeverityNumber.SEVERITY_NUMBER_INFO
        record.body.string_value = body
        record.attributes.add(key="log.record.uid").value.string_value = uid
    part = encoded(message.SerializeToString(), len(uids))
    return Batch(seq, "app", part.records, part.size, part.gzip, NOON)


def request(*uids: str, body: str = "hello") -> Request:
    """A request of one batch."""
    return Request((batch(1, uids, body=body),))


def joined(*groups: Sequence[str]) -> Request:
    """A request of several batches."""
    return Request(tuple(batch(seq, uids) for seq, uids in enumerate(groups, start=1)))
