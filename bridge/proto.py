"""OTLP's messages as classes that protobuf generates, each loaded when it is first asked for.

What entries become is written by hand (`bridge.mapping.wire`), so that most runs get by without
protobuf, which takes 30 ms and 5 MiB to import: name a class as ``proto.LogRecord``.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from google.protobuf.json_format import MessageToDict, Parse, ParseError
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it ships no types
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import (
        LogRecord,
        ResourceLogs,
        ScopeLogs,
        SeverityNumber,
    )
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

__all__ = [
    "AnyValue",
    "DecodeError",
    "ExportLogsServiceRequest",
    "ExportLogsServiceResponse",
    "KeyValue",
    "LogRecord",
    "MessageToDict",
    "Parse",
    "ParseError",
    "Resource",
    "ResourceLogs",
    "ScopeLogs",
    "SeverityNumber",
    "Status",
]

_SERVICE: Final = "opentelemetry.proto.collector.logs.v1.logs_service_pb2"
_LOGS: Final = "opentelemetry.proto.logs.v1.logs_pb2"
_COMMON: Final = "opentelemetry.proto.common.v1.common_pb2"
_JSON: Final = "google.protobuf.json_format"
_HOMES: Final = MappingProxyType(
    {
        "AnyValue": _COMMON,
        "DecodeError": "google.protobuf.message",
        "ExportLogsServiceRequest": _SERVICE,
        "ExportLogsServiceResponse": _SERVICE,
        "KeyValue": _COMMON,
        "LogRecord": _LOGS,
        "MessageToDict": _JSON,
        "Parse": _JSON,
        "ParseError": _JSON,
        "Resource": "opentelemetry.proto.resource.v1.resource_pb2",
        "ResourceLogs": _LOGS,
        "ScopeLogs": _LOGS,
        "SeverityNumber": _LOGS,
        "Status": "google.rpc.status_pb2",
    }
)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A class at its first use (PEP 562); from then on it is here."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found
