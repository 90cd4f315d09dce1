"""An OTLP/HTTP backend that decodes what arrives and refuses, loses or holds what a test wants."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic, time
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support.acceptance_http import Answer, Asked, LoopbackServer, Sent

_PROTOBUF: Final = {"Content-Type": "application/x-protobuf"}
_ACCEPTED: Final = Answer(200, ExportLogsServiceResponse().SerializeToString(), _PROTOBUF)


class Lost(Enum):
    """How a request can go without the bridge's hearing that all is well."""

    REFUSED = "500, nothing is kept"
    BUSY = "503 with Retry-After, nothing is kept"
    DROPPED = "no answer, nothing is kept"
    UNHEARD = "everything is kept, the connection ends without an answer"
    DENIED = "everything is kept, the answer is 502"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record that was kept."""

    uid: str
    body: str
    service: str
    attributes: dict[str, str]
    record: LogRecord


@dataclass(slots=True)
class Got:
    """One request that was kept.

    ``at`` is the Unix time of that, ``asked`` the monotonic time at which it came, ``answered`` the
    one at which its answer went out, None if it never did; ``denied`` says that it was a 502.
    """

    number: int
    at: float
    asked: float
    arrivals: list[Arrival]
    denied: bool
    answered: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no acceptance."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


_UNKEPT: Final[Mapping[Lost | None, Answer]] = {
    Lost.REFUSED: Answer(500, b"not now"),
    Lost.BUSY: Answer(503, b"busy", {"Retry-After": "0"}),
    Lost.DROPPED: Answer(sent=Sent.NONE),
}


Plan = Callable[[int], Lost | Refusal | None]


class OtlpBackend(LoopbackServer):
    """Takes ``POST /v1/logs``.

    ``plan`` says by a request's number what happens to it, None for acceptance; ``most_bytes``
    answers 413 to larger requests, measured as sent or decompressed; ``hangs`` keeps every request
    without an answer; ``before_keeping`` is called with each request that is to be kept, which is
    lost if it says True, and ``before_answer`` when it is kept and not answered yet.
    ``kept`` counts records, repeats too, and ``uids`` tells them apart.
    """

    def __init__(
        self,
        *,
        plan: Plan = lambda _: None,
        most_bytes: int | None = None,
        listening: bool = True,
        before_keeping: Callable[[Asked], bool] = lambda _: False,
        before_answer: Callable[[Asked], object] = lambda _: None,
    ) -> None:
        self.hangs = False
        self.kept = 0
        self.uids: set[str] = set()
        self.got: list[Got] = []
        self.sizes: list[int] = []
        self.tried: list[float] = []
        self.happened: list[Lost | Refusal] = []
        self._plan = plan
        self._most_bytes = most_bytes
        self._before_keeping = before_keeping
        self._before_answer = before_answer
        super().__init__(listening=listening)

    @property
    def arrivals(self) -> list[Arrival]:
        """Every record that was kept, in the order of arrival, repeats too."""
        return [arrival for got in list(self.got) for arrival in got.arrivals]

    def holds(self, count: int, seconds: float = 30.0) -> bool:
        """Wait until so many records were kept, repeats counted."""
        return self.wait_for(lambda: self.kept >= count, seconds)

    @property
    def bodies(self) -> Counter[str]:
        """How often each body was kept."""
        return Counter(arrival.body for arrival in self.arrivals)

    def answer(self, asked: Asked) -> Answer:
        """See `LoopbackServer.answer`."""
        with self.changed:
            self.tried.append(asked.at)
            self.changed.notify_all()
        if self.hangs:
            self.closing.wait()
            return Answer(sent=Sent.NONE)
        assert asked.path == "/v1/logs", asked.path
        assert asked.headers["content-type"] == "application/x-protobuf"
        wanted = self._plan(asked.number)
        if wanted is not None:
            with self.changed:
                self.happened.append(wanted)
        if isinstance(wanted, Refusal):
            return Answer(wanted.status, wanted.body, wanted.headers, reason="As planned")
        raw = _decompressed(asked)
        with self.changed:
            self.sizes.append(max(len(raw), len(asked.body)))
        if self._most_bytes is not None and self.sizes[-1] > self._most_bytes:
            return Answer(413, b"request entity too large", {"Content-Type": "text/plain"})
        return self._keep(asked, raw, wanted)

    def answered(self, asked: Asked) -> None:
        """See `LoopbackServer.answered`."""
        with self.changed:
            for got in self.got:
                if got.number == asked.number:
                    got.answered = monotonic()

    def _keep(self, asked: Asked, raw: bytes, lost: Lost | None) -> Answer:
        if lost in _UNKEPT:
            return _UNKEPT[lost]
        try:
            arrivals = list(_arrivals(ExportLogsServiceRequest.FromString(raw)))
        except DecodeError:
            return Answer(400, b"not protobuf")
        assert arrivals, "an empty envelope must not be sent"
        if self._before_keeping(asked):
            return Answer(sent=Sent.NONE)
        with self.changed:
            self.kept += len(arrivals)
            self.uids.update(arrival.uid for arrival in arrivals)
            self.got.append(Got(asked.number, time(), asked.at, arrivals, lost is Lost.DENIED))
        self._before_answer(asked)
        if lost is Lost.UNHEARD:
            return Answer(sent=Sent.NONE)
        return Answer(502, b"bad gateway") if lost is Lost.DENIED else _ACCEPTED


def difference(backend: OtlpBackend, expected: Iterable[str]) -> str:
    """What sets the kept records apart from these bodies, each exactly once with a uid of its own.

    Empty if nothing does.
    """
    # Less what the bridge says of itself, in-band.
    kept = [a for a in backend.arrivals if not a.body.startswith("fal log bridge: a gap")]
    uids = {arrival.uid for arrival in kept}
    wanted, bodies = Counter(iter(expected)), Counter(arrival.body for arrival in kept)
    missing, extra = wanted - bodies, bodies - wanted
    found = [
        f"{total} {what}, such as {sorted(some)[:3]}"
        for what, some in (("missing", missing), ("too many", extra))
        if (total := some.total())
    ]
    if not found and len(uids) != wanted.total():
        found = [f"{wanted.total()} records under {len(uids)} uids"]
    return "; ".join(found)


def repeats_share_uids(backend: OtlpBackend) -> bool:
    """Whether each body, where all are distinct, came under one uid however often it came."""
    pairs = {(arrival.body, arrival.uid) for arrival in backend.arrivals}
    return len(pairs) == len({body for body, _ in pairs}) == len({uid for _, uid in pairs})


def _decompressed(asked: Asked) -> bytes:
    """The request's bytes; like most receivers it reads one gzip member and drops what follows."""
    encoding = asked.headers.get("content-encoding", "")
    if not encoding:
        return asked.body
    assert encoding == "gzip", encoding
    return zlib.decompressobj(wbits=31).decompress(asked.body)


def _arrivals(request: ExportLogsServiceRequest) -> Iterator[Arrival]:
    for resource in request.resource_logs:
        service = _texts(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = _texts(record.attributes)
                uid = attributes["log.record.uid"]
                yield Arrival(uid, record.body.string_value, service, attributes, record)


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Attributes as text, whatever their type."""
    return {one.key: _text(one.value) for one in attributes}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return "" if kind is None else str(getattr(value, kind))
