"""Request bytes: joined, taken apart, and the same each time."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Sequence

import pytest
from destinations.otlp_decoding import from_json
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from bridge.model import Batch, Encoded
from bridge.payload import (
    Request,
    alone,
    compress,
    encoded,
    halves,
    holding,
    located,
    records_of,
    singles,
    time_of,
    to_json,
    uid_of,
)

Shape = list[tuple[int, list[tuple[int, int]]]]
"""Resources, each a number and its scopes, each a number and how many records it holds."""

shapes: st.SearchStrategy[Shape] = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=3),
    ),
    max_size=4,
)


def build(shape: Shape, first: int = 0) -> Encoded:
    """A request of that shape, its records numbered from ``first``."""
    message = ExportLogsServiceRequest()
    number = first
    for resource, scopes in shape:
        group = message.resource_logs.add(schema_url=f"https://schema/{resource}")
        pair = group.resource.attributes.add(key="service.name")
        pair.value.string_value = f"service-{resource}"
        for scope, count in scopes:
            inner = group.scope_logs.add(schema_url=f"https://scope/{scope}")
            inner.scope.name = f"scope-{scope}"
            for _ in range(count):
                record = inner.log_records.add(time_unix_nano=number + 1)
                record.body.string_value = f"message {number}"
                record.attributes.add(key="log.record.uid").value.string_value = f"{number:032x}"
                number += 1
    return encoded(message.SerializeToString(deterministic=True), number - first)


def contents(requests: Sequence[Request]) -> list[tuple[bytes, str, bytes, str, bytes]]:
    """Every record in order, with all that it stands under."""
    return [
        (
            resource_logs.resource.SerializeToString(deterministic=True),
            resource_logs.schema_url,
            scope_logs.scope.SerializeToString(deterministic=True),
            scope_logs.schema_url,
            record.SerializeToString(deterministic=True),
        )
        for request in requests
        for resource_logs, scope_logs, record in records_of(request.raw)
    ]


def joined(parts: Sequence[Shape]) -> Request:
    """A request of several parts, records numbered through."""
    built: list[Encoded] = []
    for part in parts:
        built.append(build(part, sum(one.records for one in built)))
    return Request(tuple(built))


@given(st.lists(shapes, min_size=1, max_size=4))
def test_join_is_the_concatenation(parts: list[Shape]) -> None:
    """A joined request holds every part's records in order, and says their number and size."""
    request = joined(parts)
    assert contents([request]) == contents([Request((part,)) for part in request.parts])
    assert request.records == len(list(records_of(request.raw)))
    assert request.size == len(request.raw)


@given(st.lists(shapes, min_size=1, max_size=4))
def test_body_is_one_gzip_member(parts: list[Shape]) -> None:
    """One member and nothing behind it: receivers silently drop a second one."""
    request = joined(parts)
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(request.gzip) == request.raw
    assert reader.eof
    assert reader.unused_data == b""


def test_single_part_is_sent_as_it_is_stored() -> None:
    """The stored bytes go out untouched, whoever compressed them."""
    raw = gzip.decompress(build([(0, [(0, 2)])]).gzip)
    stored = gzip.compress(raw, compresslevel=9, mtime=1)
    batch = Batch(7, "app", records=2, size=len(raw), gzip=stored, journaled_at=0)
    assert Request((batch,)).gzip is stored
    assert Request((batch,)).raw == raw


@given(st.lists(shapes, min_size=1, max_size=3))
@settings(max_examples=50)
def test_halving_to_the_end_loses_and_moves_nothing(parts: list[Shape]) -> None:
    """Halves of halves, down to single records, are the request in order."""
    request = joined(parts)
    pieces, pending = [], [request]
    while pending:
        current = pending.pop()
        taken = halves(current)
        if len(taken) == 1:
            assert taken == (current,)
            pieces.append(current)
            continue
        assert sum(piece.records for piece in taken) == current.records
        pending.extend(reversed(taken))
    assert all(piece.records < 2 for piece in pieces)
    assert contents(pieces) == contents([request])


def test_halves_part_at_batch_borders_first() -> None:
    """A joined request comes apart into the batches it was made of, untouched."""
    request = joined([[(0, [(0, 3)])], [(1, [(0, 1)])], [(0, [(1, 2)])]])
    first, second = halves(request)
    assert (first.parts, second.parts) == (request.parts[:1], request.parts[1:])


def test_halves_share_resources_and_scopes() -> None:
    """Records that stood under one resource and scope still share them, so pieces stay small."""
    request = joined([[(0, [(0, 4), (1, 4)]), (1, [(0, 8)])]])
    first, second = halves(request)
    message = ExportLogsServiceRequest.FromString(first.raw)
    assert [len(r.scope_logs) for r in message.resource_logs] == [2]
    assert [len(s.log_records) for s in message.resource_logs[0].scope_logs] == [4, 4]
    message = ExportLogsServiceRequest.FromString(second.raw)
    assert [len(r.scope_logs) for r in message.resource_logs] == [1]


@given(shapes)
def test_halving_is_deterministic(shape: Shape) -> None:
    """Halving twice in the same way gives the same bytes."""
    request = Request((build(shape),))
    again = Request((build(shape),))
    assert [piece.gzip for piece in halves(request)] == [piece.gzip for piece in halves(again)]


@given(st.lists(shapes, min_size=1, max_size=3))
@settings(max_examples=50)
def test_singles_are_every_record_alone(parts: list[Shape]) -> None:
    """Each record stands alone, named by its uid, under its own resource and scope."""
    request = joined(parts)
    alone = list(singles(request))
    assert [uid for uid, _ in alone] == [f"{n:032x}" for n in range(request.records)]
    assert all(piece.records == 1 for _, piece in alone)
    assert contents([Request((piece,)) for _, piece in alone]) == contents([request])


def test_single_record_cannot_be_halved() -> None:
    """One record comes back whole."""
    request = joined([[(0, [(0, 1)])]])
    assert halves(request) == (request,)


@given(st.binary(max_size=2_000))
def test_compression_is_deterministic(raw: bytes) -> None:
    """Equal input gives equal bytes, and no time stamp is in them."""
    once = compress(raw)
    assert once == compress(raw)
    assert once[4:8] == bytes(4)
    assert encoded(raw, 3) == Encoded(records=3, size=len(raw), gzip=once)


def test_record_without_uid() -> None:
    """A record that carries no uid has an empty one."""
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add().attributes.add(key="other")
    [(_, _, record)] = records_of(message.SerializeToString())
    assert uid_of(record) == ""


@pytest.mark.parametrize(
    ("time", "observed", "tick"),
    [
        (5_000, 9_000, 5),
        (5_999, 9_000, 5),
        (0, 9_000, 9),
        (5_000, 0, 5),
        (0, 0, None),
        (999, 9_000, None),
    ],
)
def test_time_of_a_record(time: int, observed: int, tick: int | None) -> None:
    """When it happened, else when it was observed, in whole ticks; nothing where neither says."""
    record = LogRecord(time_unix_nano=time, observed_time_unix_nano=observed)
    assert time_of(record) == tick


def test_oldest_record_of_a_request() -> None:
    """The least time of any part; none where no record has one, or there is no record."""
    first, second = _timed(7_000, 0), _timed(9_000, 3_000, 8_000)
    assert Request((first, second)).oldest == 3
    assert Request((first,)).oldest == 7
    assert Request((_timed(0),)).oldest is None
    assert Request((_timed(),)).oldest is None


def _timed(*times: int) -> Encoded:
    message = ExportLogsServiceRequest()
    scope = message.resource_logs.add().scope_logs.add()
    for time in times:
        scope.log_records.add(time_unix_nano=time)
    return encoded(message.SerializeToString(), len(times))


@settings(deadline=None)  # a busy machine is no failure
@given(shapes, st.data())
def test_holding_some_records(shape: Shape, data: st.DataObject) -> None:
    """A batch that holds some of its records is that batch, with those and their resources."""
    whole = build(shape)
    batch = Batch(7, "app", whole.records, whole.size, whole.gzip, journaled_at=3)
    found = located(batch)
    chosen = [one for one in found if data.draw(st.booleans())]
    kept = holding(batch, chosen)
    assert (kept.seq, kept.app, kept.journaled_at) == (7, "app", 3)
    assert (kept.records, kept.size) == (len(chosen), len(Request((kept,)).raw))
    every = contents([Request((alone(one),)) for one in chosen])
    assert contents([Request((kept,))]) == every


def test_damaged_bytes_are_an_error() -> None:
    """A stored batch that does not decompress is never taken for an empty one."""
    stored = build([(0, [(0, 2)])]).gzip
    with pytest.raises((EOFError, gzip.BadGzipFile, zlib.error)):
        _ = Request((Encoded(2, 10, stored[:-9]),)).raw


def one(record: LogRecord) -> bytes:
    """A request of that record."""
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.append(record)
    return message.SerializeToString()


def test_json_is_written_as_the_specification_says() -> None:
    """Hex ids, integer enums, 64-bit integers as strings, base64 bytes, lowerCamelCase names."""
    record = LogRecord(
        time_unix_nano=2**63 + 1,
        severity_number=SeverityNumber.SEVERITY_NUMBER_INFO,
        severity_text="INFO",
        trace_id=bytes(range(16)),
        span_id=b"\xff" * 8,
        flags=1,
        dropped_attributes_count=2,
        body=AnyValue(bytes_value=b"\x00\xff"),
    )
    for key, value in {
        "int": AnyValue(int_value=-(2**63)),
        "zero": AnyValue(int_value=0),
        "nan": AnyValue(double_value=float("nan")),
        "text": AnyValue(string_value="\x00 \u20ac \U0010ffff"),
        "nothing": AnyValue(),
    }.items():
        record.attributes.add(key=key).value.CopyFrom(value)
    decoded = json.loads(to_json(one(record)))
    [written] = decoded["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert written == {
        "timeUnixNano": "9223372036854775809",
        "severityNumber": 9,
        "severityText": "INFO",
        "traceId": "000102030405060708090a0b0c0d0e0f",
        "spanId": "ffffffffffffffff",
        "flags": 1,
        "droppedAttributesCount": 2,
        "body": {"bytesValue": "AP8="},
        "attributes": [
            {"key": "int", "value": {"intValue": "-9223372036854775808"}},
            {"key": "zero", "value": {"intValue": "0"}},
            {"key": "nan", "value": {"doubleValue": "NaN"}},
            {"key": "text", "value": {"stringValue": "\x00 \u20ac \U0010ffff"}},
            {"key": "nothing", "value": {}},
        ],
    }


@given(st.lists(shapes, min_size=1, max_size=3))
@settings(max_examples=50)
def test_json_says_the_same(parts: list[Shape]) -> None:
    """Joined protobuf in other words, the same bytes each time."""
    request = joined(parts)
    back = Request((Encoded(request.records, 0, gzip.compress(from_json(request.json))),))
    assert contents([back]) == contents([request])
    assert request.json == to_json(b"".join(Request((part,)).raw for part in request.parts))


values: st.SearchStrategy[AnyValue] = st.one_of(
    st.text(max_size=20).map(lambda text: AnyValue(string_value=text)),
    st.binary(max_size=20).map(lambda data: AnyValue(bytes_value=data)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: AnyValue(int_value=number)),
    st.floats(allow_nan=False).map(lambda number: AnyValue(double_value=number)),
    st.booleans().map(lambda yes: AnyValue(bool_value=yes)),
)


@given(values, st.binary(min_size=16, max_size=16), st.integers(0, 24))
def test_any_record_survives_json(value: AnyValue, trace_id: bytes, severity: int) -> None:
    """What comes back is the record that went in."""
    body = AnyValue()
    body.array_value.values.append(value)
    body.array_value.values.add().kvlist_value.values.add(key="k").value.CopyFrom(value)
    record = LogRecord(
        body=body, trace_id=trace_id, severity_number=SeverityNumber.ValueType(severity)
    )
    raw = one(record)
    assert ExportLogsServiceRequest.FromString(from_json(to_json(raw))) == (
        ExportLogsServiceRequest.FromString(raw)
    )


def test_gzip_without_isal() -> None:
    """Where ISA-L is not built, zlib makes the one member."""
    code = (
        "import sys; sys.modules['isal'] = None\n"
        "from bridge.payload import compress\n"
        "sys.stdout.buffer.write(compress(b'entry ' * 1_000))"
    )
    made = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    assert gzip.decompress(made) == b"entry " * 1_000
    assert made[4:8] == bytes(4), "a time stamp would make equal input unequal"
    assert gzip.decompress(compress(b"entry " * 1_000)) == b"entry " * 1_000
    assert compress(b"entry")[4:8] == bytes(4)
