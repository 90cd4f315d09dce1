"""What an OTLP/HTTP receiver makes of a request: codings undone, JSON read as the document says."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from typing import Any

from google.protobuf.json_format import ParseDict
from msgspec.structs import replace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bridge.simulator.exchange import Request
from bridge.simulator.otlp_backend import PROTOBUF

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

JSON = "application/json"


def from_json(body: bytes) -> bytes:
    """OTLP/JSON as protobuf; strict about what OTLP has other than protobuf's own JSON."""
    decoded = json.loads(body)
    for resource_logs in decoded.get("resourceLogs", []):
        for scope_logs in resource_logs.get("scopeLogs", []):
            for record in scope_logs.get("logRecords", []):
                _check(record)
    return ParseDict(decoded, ExportLogsServiceRequest()).SerializeToString()


def decoded(request: Request) -> Request:
    """The same request as plain binary protobuf, or in gzip as it came."""
    headers = dict(request.headers)
    body = request.body
    if headers.get("content-encoding") == "zstd":
        headers.pop("content-encoding")
        body = zstd.decompress(body)
    if headers.get("content-encoding") == "gzip":
        headers.pop("content-encoding")
        assert body.count(b"\x1f\x8b\x08\x00") == 1, "more than one gzip member"
        body = gzip.decompress(body)
    if headers["content-type"] == JSON:
        headers["content-type"] = PROTOBUF
        body = from_json(body)
    return replace(request, headers=tuple(headers.items()), body=body)


def _check(record: dict[str, Any]) -> None:
    """Ids are hex, enums are integers, 64-bit integers strings."""
    for key, size in (("traceId", 16), ("spanId", 8)):
        if key in record:
            value = bytes.fromhex(record[key])
            assert len(value) == size
            record[key] = base64.b64encode(value).decode()
    assert isinstance(record.get("severityNumber", 0), int)
    assert isinstance(record.get("timeUnixNano", "0"), str)
