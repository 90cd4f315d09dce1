"""What holds for any entry, and how entries are put into requests."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from bridge import __version__
from bridge.mapping import Mapper
from bridge.model import Encoded, Identified, Json
from bridge.payload import Request, records_of, uid_of
from bridge.source.decode import entry_of

OBSERVED = 1_758_284_171_000_001
TIME = "2025-09-19T12:16:10.599608"
FORBIDDEN = {"message", "level", "status", "ddtags", "service", "host", "source"}

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | any_text
    | st.sampled_from(["INFO", "stderr", TIME, "\ud800", "a\x00b", '{"traceback": "x"}'])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
label_keys = any_text | st.sampled_from(
    [
        "app",
        "app_id",
        "fal_env",
        "fal_job_id",
        "fal_node_id",
        "fal_request_id",
        "fal_user_nickname",
        "level",
        "logged_at",
        "message",
        "source",
        "span_id",
        "status",
        "trace_id",
        "traceback",
        "traceparent",
    ]
)
labels = st.dictionaries(label_keys, values, max_size=6)
field_keys = any_text | st.sampled_from(["status", "ddtags", "host"])
entries = st.builds(
    lambda known, labels, more: more | known | labels,
    st.fixed_dictionaries(
        {},
        optional={
            "timestamp": st.just(TIME) | values,
            "level": values,
            "message": any_text | values,
            "app": any_text | values,
            "revision": values,
        },
    ),
    st.fixed_dictionaries({}, optional={"labels": labels | values}),
    st.dictionaries(field_keys, values, max_size=3),
)


def mapper(**options: Any) -> Mapper:
    """A mapper without configuration of its own."""
    return Mapper(
        **{"app": "app", "service": None, "fallback_service": "app", "resource": {}} | options
    )


def identified(raw: Json, number: int = 0) -> Identified:
    """An entry as the source hands it over."""
    return Identified(entry_of(raw), 0, number.to_bytes(16, "big"))


def decoded(encoded: Sequence[Encoded]) -> list[LogRecord]:
    """The records of encoded requests."""
    return [record for _, _, record in records_of(Request(tuple(encoded)).raw)]


def mapped(raw: Json) -> LogRecord:
    """The one record that an entry becomes."""
    [record] = decoded(mapper().encode([identified(raw)], OBSERVED))
    return record


def attributes(record: LogRecord) -> dict[str, AnyValue]:
    """A record's attributes by key."""
    found = {pair.key: pair.value for pair in record.attributes}
    assert len(found) == len(record.attributes)
    return found


def utf8(text: str) -> str:
    """A string as UTF-8 can hold it."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def nested(depth: int, value: Json = "bottom", *, key: str | None = None) -> Json:
    """A value below so many arrays, or objects of one key."""
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


@given(entries | values)
@settings(max_examples=300)
def test_any_json_becomes_one_record_with_its_message(raw: Json) -> None:
    """Any decoded JSON maps to one record that protobuf reads back, with the message in it."""
    [encoded] = mapper().encode([identified(raw)], OBSERVED)
    [record] = decoded([encoded])
    message = raw.get("message") if isinstance(raw, dict) else raw
    if isinstance(message, str):
        assert record.body.string_value == utf8(message)
    elif message is None:
        assert record.body.WhichOneof("value") == "string_value"
        assert not record.body.string_value
    else:
        assert repr(json.loads(record.body.string_value)) == repr(message)
    assert uid_of(record) == "00" * 16
    assert record.observed_time_unix_nano == OBSERVED * 1000
    keys = [pair.key for pair in record.attributes]
    assert not FORBIDDEN & set(keys)
    assert all(pair.HasField("value") for pair in record.attributes)
    assert len(Request((encoded,)).raw) == encoded.size
    assert MessageToDict(record)


@given(st.lists(entries, max_size=4))
def test_requests_are_what_the_generated_classes_would_write(raws: list[Json]) -> None:
    """Read by the generated classes and written again, each is byte for byte the same."""
    found = [identified(raw, number) for number, raw in enumerate(raws)]
    for encoded in mapper().encode(found, OBSERVED):
        sent = Request((encoded,)).raw
        message = ExportLogsServiceRequest.FromString(sent)
        assert message.SerializeToString(deterministic=True) == sent


@given(entries)
def test_every_field_and_label_arrives(raw: dict[str, Json]) -> None:
    """Every string that is a label's or an unknown field's value is found in what is sent."""
    [encoded] = mapper().encode([identified(raw)], OBSERVED)
    sent = Request((encoded,)).raw
    inside = raw.get("labels")
    strings = [v for k, v in raw.items() if k not in ("timestamp", "level", "labels")]
    strings += list(inside.values()) if isinstance(inside, dict) else []
    for value in strings:
        if isinstance(value, str) and value != TIME:
            assert utf8(value).encode() in sent


@given(st.lists(entries, max_size=5))
@settings(max_examples=50)
def test_equal_input_gives_equal_bytes(raws: list[Json]) -> None:
    """Mapping is deterministic, also between mappers with and without a filled cache."""
    found = [identified(raw, number) for number, raw in enumerate(raws)]
    one = mapper()
    assert one.encode(found, OBSERVED) == one.encode(found, OBSERVED)
    assert one.encode(found, OBSERVED) == mapper().encode(found, OBSERVED)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("depth", [17, 100, 2_000, 20_000])
def test_deep_nesting_is_kept_as_text(depth: int, key: str | None) -> None:
    """However deep a label, a message, a level or an unknown field is, its bottom arrives."""
    deep = nested(depth, key=key)
    record = mapped(
        {
            "timestamp": TIME,
            "message": deep,
            "level": deep,
            "app": deep,
            "labels": {"x": deep, "message": nested(depth, key=key), "fal_env": deep},
            "more": deep,
        }
    )
    assert record.body.string_value.count("bottom") == 1
    assert len(record.body.string_value) >= 2 * depth
    assert record.severity_text == record.body.string_value
    found = attributes(record)
    assert set(found) == {
        "log.record.uid",
        "fal.label.x",
        "fal.label.fal_env",
        "fal.entry.app",
        "fal.entry.more",
    }
    assert all(b"bottom" in v.SerializeToString() for k, v in found.items() if k[:3] == "fal")


def test_deep_entry_that_is_no_object_is_kept_as_text() -> None:
    """An array nested without end, and a marked entry with one, carry their whole JSON text."""
    record = mapped(nested(50_000))
    original = attributes(record)["log.record.original"].string_value
    assert original == record.body.string_value == "[" * 50_000 + '"bottom"' + "]" * 50_000
    record = mapped(nested(50_000, key="k"))
    assert b"bottom" in attributes(record)["fal.entry.k"].SerializeToString()
    assert b"bottom" in attributes(record)["log.record.original"].SerializeToString()


def test_json_message_nested_too_deep_to_parse_is_a_plain_message() -> None:
    """A message that looks like a traceback envelope but cannot be parsed is only a body."""
    message = '{"traceback": ' + "[" * 100_000
    record = mapped({"timestamp": TIME, "message": message})
    assert record.body.string_value == message
    assert set(attributes(record)) == {"log.record.uid"}


def test_integers_too_long_for_python_arrive() -> None:
    """An integer beyond the digits that Python converts is sent in hexadecimal."""
    number = 10**6_000
    record = mapped({"timestamp": TIME, "message": [number], "labels": {"n": number}})
    assert record.body.string_value == f'["{number:#x}"]'
    assert attributes(record)["fal.label.n"].string_value == hex(number)


def test_large_messages_and_labels_pass_whole() -> None:
    """A message of 1 MiB and a label of 300 KB are not cut."""
    message, label = "é" * (1 << 19), "x" * 300_000
    record = mapped({"timestamp": TIME, "message": message, "labels": {"blob": label}})
    assert record.body.string_value == message
    assert attributes(record)["fal.label.blob"].string_value == label


def test_scope_is_the_bridge() -> None:
    """Name and version of the bridge, and nothing else."""
    [encoded] = mapper().encode([identified({"timestamp": TIME})], OBSERVED)
    [(resource_logs, scope_logs, _)] = records_of(Request((encoded,)).raw)
    assert MessageToDict(scope_logs.scope) == {"name": "fal-log-bridge", "version": __version__}
    assert (resource_logs.schema_url, scope_logs.schema_url) == ("", "")


def test_nothing_found_is_no_request() -> None:
    """An empty envelope is never made."""
    assert mapper().encode([], OBSERVED) == []


jobs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), max_size=40)


@given(jobs, st.integers(1, 12), st.integers(1, 4_000))
def test_requests_keep_their_bounds_and_all_records(
    jobs: list[tuple[int, int]], max_records: int, max_size: int
) -> None:
    """No request exceeds the bounds unless of one record; each job's records keep their order."""
    found = [
        identified(
            {"timestamp": TIME, "message": "x" * size, "labels": {"fal_job_id": f"j{job}"}}, n
        )
        for n, (job, size) in enumerate(jobs)
    ]
    requests = mapper(max_records=max_records, max_size=max_size).encode(found, OBSERVED)
    seen: list[tuple[str, int]] = []
    start = 0
    for request in requests:
        located = list(records_of(Request((request,)).raw))
        assert len(located) == request.records <= max_records
        assert request.records == 1 or request.size <= max_size
        numbers = [int(uid_of(record), 16) for _, _, record in located]
        assert sorted(numbers) == list(range(start, start + len(numbers)))
        start += len(numbers)
        groups = [id(resource_logs) for resource_logs, _, _ in located]
        names = [job_of(resource_logs.resource.attributes) for resource_logs, _, _ in located]
        assert len(set(groups)) == len(set(names))
        seen += zip(names, numbers, strict=True)
    assert start == len(jobs)
    for job in range(4):
        numbers = [number for name, number in seen if name == f"j{job}"]
        assert numbers == [n for n, (owner, _) in enumerate(jobs) if owner == job]


def test_default_bounds() -> None:
    """A thousand records, or a mebibyte, whichever comes first."""
    small = [identified({"timestamp": TIME, "message": "x"}, n) for n in range(2_001)]
    assert [r.records for r in mapper().encode(small, OBSERVED)] == [1000, 1000, 1]
    large = [identified({"timestamp": TIME, "message": "x" * 400_000}, n) for n in range(5)]
    assert [r.records for r in mapper().encode(large, OBSERVED)] == [2, 2, 1]


def job_of(pairs: Any) -> str:
    """The job a resource names."""
    return next(str(pair.value.string_value) for pair in pairs if pair.key == "fal.job.id")
