"""Entries as fal prints them, and what a mapper with some rules makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from bridge.mapping import Mapper
from bridge.mapping.shaping import Rules
from bridge.model import SECOND, Encoded, Identified, Json
from bridge.payload import Request, records_of
from bridge.source.decode import entry_of

TIME = "2025-09-19T12:16:10.599608"
NOON = 1_758_284_170_599_608
OBSERVED = NOON + SECOND


def uid(number: int) -> bytes:
    """The fingerprint of an entry by number, spread as hashes are."""
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


def identified(raw: Json, number: int = 0, tick: int = NOON) -> Identified:
    """An entry as the source hands it over."""
    return Identified(entry_of(raw), tick, uid(number))


def printed(
    message: Json,
    number: int = 0,
    *,
    level: str = "STDERR",
    job: str = "job-1",
    after: float = 0.0,
    **labels: Json,
) -> Identified:
    """A line that an app printed, with its labels as fal gives them."""
    raw = {
        "timestamp": TIME,
        "level": level,
        "message": message,
        "app": "an-app",
        "revision": "r1",
        "labels": {"fal_job_id": job, "level": level, "message": message, "source": "user"}
        | labels,
    }
    return identified(raw, number, NOON + round(after * SECOND))


def lines(*messages: str, job: str = "job-1", start: int = 0) -> list[Identified]:
    """Messages that one job printed one after another."""
    return [printed(text, start + n, job=job, after=n / 1000) for n, text in enumerate(messages)]


def mapper(rules: Rules | None = None, **options: Any) -> Mapper:
    """A mapper with some rules and nothing else configured."""
    plain: dict[str, Any] = {
        "app": "app",
        "service": None,
        "fallback_service": "app",
        "resource": {},
    }
    return Mapper(**plain | options, rules=rules)


def records(encoded: Sequence[Encoded]) -> list[LogRecord]:
    """The records of encoded requests."""
    return [record for _, _, record in records_of(Request(tuple(encoded)).raw)]


def shaped(rules: Rules, *found: Identified, **options: Any) -> list[LogRecord]:
    """The records that entries become under some rules."""
    return records(mapper(rules, **options).encode(found, OBSERVED))


def bodies(rules: Rules, *found: Identified) -> list[str]:
    """What those records say."""
    return [record.body.string_value for record in shaped(rules, *found)]


def attributes(record: LogRecord) -> dict[str, Any]:
    """A record's attributes by key, as plain values where they are plain."""
    found = {pair.key: plain(pair.value) for pair in record.attributes}
    assert len(found) == len(record.attributes)
    return found


def plain(value: AnyValue) -> Any:
    """A value of Python for one of OTLP."""
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
