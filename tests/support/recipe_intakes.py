"""Stand-ins for the backends of `config/recipes`, made from what their vendors document.

They speak HTTP as those do, refuse what those refuse and, where those lose something without a
word, write that down, so that a test can see it.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support.acceptance_http import Answer, Asked, LoopbackServer

_SECOND: Final = 1_000_000_000
_PROTOBUF: Final = "application/x-protobuf"


def attributes_of(attributes: Any) -> dict[str, str]:
    """Attributes as text, as most backends store them."""
    return {one.key: _text(one.value) for one in attributes}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return "" if kind is None else str(getattr(value, kind))


class Intake(LoopbackServer):
    """Takes what has the right path, headers, type and compression; `refusal` may say no to it."""

    def __init__(self, path: str, headers: Mapping[str, str], *, most_bytes: int) -> None:
        self.records: list[tuple[dict[str, str], LogRecord]] = []
        self.statuses: Counter[int] = Counter()
        self.largest = 0
        self._path = path
        self._wanted = dict(headers)
        self._most_bytes = most_bytes
        super().__init__()

    def answer(self, asked: Asked) -> Answer:
        """See `LoopbackServer.answer`."""
        answer = self._judged(asked)
        with self.changed:
            self.statuses[answer.status] += 1
        return answer

    def taken(self, records: list[tuple[dict[str, str], LogRecord]]) -> Answer:
        """What becomes of a request that is in order: each record with its resource."""
        with self.changed:
            self.records += records
        return Answer(200)

    @property
    def bodies(self) -> Counter[str]:
        """How often each body was kept."""
        return Counter(record.body.string_value for _, record in self.records)

    def _judged(self, asked: Asked) -> Answer:
        if asked.path != self._path:
            return Answer(404, f"no {asked.path} here".encode())
        if any(asked.headers.get(name) != value for name, value in self._wanted.items()):
            return Answer(403, b"forbidden")
        if asked.headers.get("content-type") != _PROTOBUF:
            return Answer(415)
        if asked.headers.get("content-encoding") != "gzip":
            return Answer(400, b"the recipe says gzip")
        raw = gzip.decompress(asked.body)
        if len(raw) > self._most_bytes:
            return Answer(413, b"Payload Too Large")
        with self.changed:
            self.largest = max(self.largest, len(raw))
        return self.taken(list(_records(raw)))


def _records(raw: bytes) -> Iterator[tuple[dict[str, str], LogRecord]]:
    for resource in ExportLogsServiceRequest.FromString(raw).resource_logs:
        described = attributes_of(resource.resource.attributes)
        for scope in resource.scope_logs:
            yield from ((described, record) for record in scope.log_records)


_DAY: Final = 86_400 * _SECOND
_HOUR: Final = 3_600 * _SECOND

Stream = frozenset[tuple[str, str]]


@dataclass(slots=True)
class Lines:
    """One stream of Loki: its lines by time and text, with their metadata, and its newest time."""

    kept: dict[tuple[int, str], dict[str, str]] = field(default_factory=dict)
    newest: int = 0


class Loki(Intake):
    """Loki 3's OTLP endpoint with its default limits (`limits_config`, `distributor.otlp`).

    ``first`` are the statuses with which it answers the first requests, keeping nothing. Of a
    request with a line that it refuses it keeps the others and answers 400 all the same.
    ``again`` counts lines that it had already, which it keeps once.
    """

    LABELS: Final = frozenset(
        [
            *("service.name", "service.namespace", "service.instance.id"),
            *("deployment.environment", "deployment.environment.name"),
            *("cloud.region", "cloud.availability_zone", "container.name"),
            *("k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "k8s.container.name"),
        ]
    )
    BURST: Final = 6 << 20
    LINE: Final = 256 << 10

    def __init__(self, tenant: str, *, first: tuple[int, ...] = ()) -> None:
        self.streams: dict[Stream, Lines] = {}
        self.refusals: list[str] = []
        self.again = 0
        self._first = list(first)
        super().__init__("/otlp/v1/logs", {"x-scope-orgid": tenant}, most_bytes=100 << 20)

    def taken(self, records: list[tuple[dict[str, str], LogRecord]]) -> Answer:
        """See `Intake.taken`."""
        with self.changed:
            if self._first:
                return Answer(self._first.pop(0), b"not now")
            if _ingested(records) > self.BURST:
                return Answer(429, b"ingestion rate limit exceeded")
            refused = [why for one in records if (why := self._refusal(*one))]
            self.refusals += refused
            self.records += records
        if refused:
            return Answer(400, f"{len(refused)} errors like: {refused[0]}".encode())
        return Answer(204)

    @property
    def lines(self) -> Counter[str]:
        """How often each line is shown."""
        return Counter(line for stream in self.streams.values() for _, line in stream.kept)

    def _refusal(self, resource: dict[str, str], record: LogRecord) -> str:
        """Keep one line, or say why not."""
        labels = frozenset((key, resource[key]) for key in resource.keys() & self.LABELS)
        metadata = {key: value for key, value in resource.items() if key not in self.LABELS}
        metadata |= attributes_of(record.attributes)
        line, at = record.body.string_value, record.time_unix_nano
        stream = self.streams.setdefault(labels, Lines())
        now = int(time() * _SECOND)
        if len(line.encode()) > self.LINE:
            return "max entry size exceeded"
        if len(metadata) > 128 or sum(len(k) + len(v) for k, v in metadata.items()) > 64 << 10:
            return "structured metadata too large"
        if at < now - 7 * _DAY:
            return "timestamp too old"
        if at > now + 600 * _SECOND:
            return "timestamp too new"
        if at < stream.newest - _HOUR:
            return "entry too far behind"
        self.again += (at, line) in stream.kept
        stream.kept.setdefault((at, line), metadata)
        stream.newest = max(stream.newest, at)
        return ""


def _ingested(records: list[tuple[dict[str, str], LogRecord]]) -> int:
    """What Loki counts: every line with all its metadata, that of the resource repeated."""
    return sum(
        len(record.body.string_value)
        + sum(len(k) + len(v) for k, v in (resource | attributes_of(record.attributes)).items())
        for resource, record in records
    )


@dataclass(frozen=True, slots=True)
class DatadogLog:
    """What Datadog shows of a record."""

    message: str
    service: str
    host: str
    source: str
    status: str
    tags: frozenset[str]
    attributes: dict[str, str]


class Datadog(Intake):
    """Datadog's OTLP logs intake, with its mapping as Datadog publishes it.

    (Repository DataDog/datadog-agent, pkg/opentelemetry-mapping-go/otlp/logs and .../attributes.)
    ``truncated`` and ``too_old`` count what it would have cut and dropped behind its 202.
    """

    MOST: Final = 5_000_000
    LOG: Final = 1_000_000
    _TAGS: Final = {
        "service.name": "service",
        "service.version": "version",
        "deployment.environment.name": "env",
        "cloud.provider": "cloud_provider",
    }
    _STATUSES: Final = (
        *(("emerg", "emergency"), ("f", "emergency"), ("a", "alert"), ("c", "critical")),
        *(("err", "error"), ("w", "warn"), ("n", "notice"), ("i", "info")),
        *(("d", "debug"), ("t", "debug"), ("v", "debug"), ("o", "ok"), ("s", "ok")),
    )

    def __init__(self, key: str) -> None:
        self.truncated = 0
        self.too_old = 0
        super().__init__("/v1/logs", {"dd-api-key": key}, most_bytes=self.MOST)

    def taken(self, records: list[tuple[dict[str, str], LogRecord]]) -> Answer:
        """See `Intake.taken`."""
        now = int(time() * _SECOND)
        with self.changed:
            for resource, record in records:
                if record.ByteSize() > self.LOG:
                    self.truncated += 1
                elif record.time_unix_nano < now - 18 * _HOUR:
                    self.too_old += 1
                else:
                    self.records.append((resource, record))
        return Answer(202)

    @property
    def logs(self) -> list[DatadogLog]:
        """What it shows."""
        return [self._shown(*one) for one in self.records]

    def _shown(self, resource: dict[str, str], record: LogRecord) -> DatadogLog:
        attributes = attributes_of(record.attributes) | resource
        if record.trace_id:
            attributes["dd.trace_id"] = str(int.from_bytes(record.trace_id[-8:], "big"))
            attributes["otel.trace_id"] = record.trace_id.hex()
            attributes["dd.span_id"] = str(int.from_bytes(record.span_id, "big"))
        tags = {f"{name}:{resource[key]}" for key, name in self._TAGS.items() if key in resource}
        own = "datadog.container.tag."
        tags |= {f"{k.removeprefix(own)}:{v}" for k, v in resource.items() if k.startswith(own)}
        # Reserved names in a record's attributes take the place of its own fields.
        reserved = {"message", "msg", "log", "status", "severity", "level", "ddtags", "service"}
        assert not attributes.keys() & reserved
        return DatadogLog(
            message=record.body.string_value,
            service=resource.get("service.name", ""),
            host=resource.get("host.id", resource.get("host.name", "")),
            source=resource.get("datadog.log.source", ""),
            status=self._status(record.severity_text),
            tags=frozenset(tags),
            attributes=attributes,
        )

    def _status(self, text: str) -> str:
        """Datadog's log status remapper (docs.datadoghq.com, "Log Status Remapper")."""
        lowered = text.lower()
        return next(
            (status for start, status in self._STATUSES if lowered.startswith(start)), "info"
        )
