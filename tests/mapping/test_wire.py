"""What is written on the wire by hand, byte for byte against the generated classes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support.generated import put_attributes, put_text

from bridge.mapping.record import record_bytes, severity_bytes
from bridge.mapping.trace_context import TraceContext
from bridge.mapping.wire import attributes, fixed64, tag, utf8, varint
from bridge.model import Json

text = st.text(st.characters(exclude_categories=()), max_size=200)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | text
    | st.sampled_from([0, -1, 127, 128, (1 << 63) - 1, -(1 << 63), 1 << 63, 0.0, -0.0, ""])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
pairs = st.lists(st.tuples(text, values), max_size=6)
unsigned = st.integers(0, (1 << 64) - 1)
traces = st.builds(
    TraceContext,
    st.binary(min_size=16, max_size=16),
    st.just(b"") | st.binary(min_size=8, max_size=8),
    st.integers(0, 255),
    st.just(frozenset()),
)


def nested(depth: int, *, keyed: bool) -> Json:
    """A value below so many containers."""
    value: Json = "bottom"
    for _ in range(depth):
        value = {"k": value} if keyed else [value]
    return value


@given(pairs)
@example([("deep", nested(18, keyed=True)), ("deep", nested(18, keyed=False))])
@example([("", None), ("\ud800", "\udfff"), ("k", [None, {}, []]), ("long", "x" * 20_000)])
def test_attributes_are_what_the_generated_classes_write(pairs: list[tuple[str, Json]]) -> None:
    """Whatever the values are; twice, as the second time some come from the cache."""
    record = LogRecord()
    put_attributes(record.attributes, pairs)
    expected = record.SerializeToString(deterministic=True)
    assert [attributes(pairs), attributes(pairs)] == [expected, expected]


@given(
    time=st.integers(0, ((1 << 64) - 1) // 1_000),
    observed=st.integers(0, 1 << 53),
    number=st.integers(0, 24),
    level=st.text(max_size=10),
    body=text,
    trace=st.none() | traces,
    event=st.text(max_size=10),
    pairs=pairs,
)
def test_a_record_is_what_the_generated_class_writes(
    *,
    time: int,
    observed: int,
    number: int,
    level: str,
    body: str,
    trace: TraceContext | None,
    event: str,
    pairs: list[tuple[str, Json]],
) -> None:
    """Every field in its place, and none where it has its default."""
    record = LogRecord(
        time_unix_nano=time * 1_000,
        observed_time_unix_nano=observed * 1_000,
        severity_number=number,  # type: ignore[arg-type] # any number of the enum
        severity_text=level,
        event_name=event,
    )
    put_text(record.body, body)
    put_attributes(record.attributes, pairs)
    if trace is not None:
        record.trace_id, record.span_id, record.flags = trace.trace_id, trace.span_id, trace.flags
    written = record_bytes(
        time=time,
        observed=observed,
        severity=severity_bytes(number, level),
        body=utf8(body),
        attributes=attributes(pairs),
        trace=trace,
        event_name=event,
    )
    assert written == record.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (300, b"\xac\x02"),
        (-1, b"\xff" * 9 + b"\x01"),
    ],
)
def test_varints(number: int, written: bytes) -> None:
    """The examples of the encoding's own document, and a negative number."""
    assert varint(number) == written


def test_a_default_is_not_written() -> None:
    """Zero in a fixed field is what its absence says."""
    assert fixed64(tag(1, 1), 0) == b""
    assert fixed64(tag(1, 1), 1) == b"\x09\x01" + bytes(7)
