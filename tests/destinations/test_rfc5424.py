"""Records as RFC 5424 messages, read back by a parser of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from destinations.requests import NOON
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support.syslog_parser import Parsed, parse

from bridge.destinations.rfc5424 import (
    FACILITIES,
    SHORTEST,
    Layout,
    cleaned,
    messages,
    param_name,
    severity,
)
from bridge.errors import ConfigError

UID = "0123456789abcdef0123456789abcdef"
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
HOSTILE = st.text(st.sampled_from('a"\\]\n\r\t\x00\x1b\x7f\x85\u2028é漢🦀='), max_size=400)


def encoded(
    body: str = "hello",
    attributes: Mapping[str, str] | None = None,
    resource: Mapping[str, str] | None = None,
    record: LogRecord | None = None,
    uid: str = UID,
) -> bytes:
    """A request of one record."""
    message = ExportLogsServiceRequest()
    logs = message.resource_logs.add()
    for key, value in (resource or {}).items():
        logs.resource.attributes.add(key=key).value.string_value = value
    one = record or LogRecord(time_unix_nano=NOON * 1_000, severity_number=9)  # type: ignore[arg-type] # its number
    one.body.string_value = body
    one.attributes.add(key="log.record.uid").value.string_value = uid
    for key, value in (attributes or {}).items():
        one.attributes.add(key=key).value.string_value = value
    logs.scope_logs.add().log_records.append(one)
    return message.SerializeToString()


def only(raw: bytes, layout: Layout) -> Parsed:
    """The one message of a request, which keeps to its limit."""
    (message,) = messages(raw, layout)
    assert len(message) <= layout.max_message_bytes
    return parse(message)


FAL = {
    "service.name": "my-app",
    "host.id": "node-7",
    "fal.job.id": "job-1",
}


def test_a_message_byte_for_byte() -> None:
    """What a record becomes by default."""
    record = LogRecord(time_unix_nano=NOON * 1_000, severity_number=17, severity_text="ERROR")  # type: ignore[arg-type] # its number
    record.trace_id, record.span_id = bytes(range(16)), bytes(range(8))
    raw = encoded("It failed: “no” [x]", {"fal.source": "run", "k": 'a"b\\c]d'}, FAL, record)
    (message,) = messages(raw, Layout())
    assert message.decode() == (
        "<131>1 2025-09-19T12:00:00.123456Z node-7 my-app job-1 run "
        f'[fal@32473 log.record.uid="{UID}" '
        'trace_id="000102030405060708090a0b0c0d0e0f" span_id="0001020304050607" '
        'severity_text="ERROR" service.name="my-app" host.id="node-7" fal.job.id="job-1" '
        'fal.source="run" k="a\\"b\\\\c\\]d"] It failed: “no” [x]'
    )


def test_what_is_missing_is_nil() -> None:
    """No attribute, no time, no message: a dash each, and nothing after the data."""
    (message,) = messages(encoded("", record=LogRecord()), Layout())
    assert message == f'<134>1 - - - - - [fal@32473 log.record.uid="{UID}"]'.encode()


def test_the_time_of_fetch_stands_in() -> None:
    """For an entry without a time."""
    record = LogRecord(observed_time_unix_nano=NOON * 1_000)
    assert only(encoded(record=record), Layout()).timestamp == "2025-09-19T12:00:00.123456Z"


def test_fields_are_configured() -> None:
    """Each takes the first attribute that there is; facility, number and choice of data too."""
    layout = Layout(
        facility="daemon",
        hostname=("nowhere", "fal.job.id"),
        app_name=("k",),
        proc_id=(),
        msg_id=("host.id",),
        structured_data=("fal.*", "k"),
        enterprise_number="1.2.3",
    )
    parsed = only(encoded(attributes={"k": "v", "other": "x"}, resource=FAL), layout)
    assert parsed == Parsed(
        priority=3 * 8 + 6,
        timestamp="2025-09-19T12:00:00.123456Z",
        hostname="job-1",
        app_name="v",
        proc_id="-",
        msg_id="node-7",
        sd_id="fal@1.2.3",
        params=[("log.record.uid", UID), ("fal.job.id", "job-1"), ("k", "v")],
        message="hello",
        bom=False,
    )


def test_a_byte_order_mark_on_request() -> None:
    """Before every message that is not empty (RFC 5424, 6.4)."""
    assert only(encoded("é"), Layout(bom=True)).bom
    assert not only(encoded(""), Layout(bom=True)).bom
    layout = Layout(bom=True, max_message_bytes=SHORTEST, on_long="split")
    parts = [parse(message) for message in messages(encoded("é" * 2_000), layout)]
    assert len(parts) > 1
    assert all(part.bom for part in parts)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        *((0, 6), (1, 7), (5, 7), (8, 7), (9, 6), (10, 5), (13, 4), (16, 4), (17, 3), (18, 2)),
        *((19, 1), (20, 1), (21, 2), (24, 2), (99, 2)),
    ],
)
def test_severities(number: int, expected: int) -> None:
    """OTLP's numbers to syslog's; never 0, which is written to every terminal."""
    assert severity(number) == expected


def test_every_facility() -> None:
    """By the names of RFC 5424's table, in its order."""
    assert [FACILITIES[n] for n in ("kern", "daemon", "authpriv", "local0", "local7")] == [
        0,
        3,
        10,
        16,
        23,
    ]
    assert only(encoded(), Layout(facility="local7")).priority == 23 * 8 + 6


@pytest.mark.parametrize(
    "odd",
    [
        {"facility": "local8"},
        {"enterprise_number": "fal"},
        {"enterprise_number": "1" * 40},
        {"max_message_bytes": SHORTEST - 1},
    ],
)
def test_what_cannot_be_used_stops_the_start(odd: dict[str, str]) -> None:
    """The error says what would do."""
    with pytest.raises(ConfigError) as error:
        Layout(**odd)  # type: ignore[arg-type] # a mistake on purpose
    assert error.value.hint


@given(
    body=TEXT | HOSTILE,
    attributes=st.dictionaries(TEXT | HOSTILE, TEXT | HOSTILE, max_size=6),
    resource=st.dictionaries(st.sampled_from(sorted(FAL)), TEXT | HOSTILE),
    uid=TEXT | HOSTILE,
    scale=st.integers(1, 300),
    size=st.integers(SHORTEST, 5_000),
    bom=st.booleans(),
    line_breaks=st.booleans(),
)
@example(
    body="x",
    attributes={},
    resource={"host.id": "\\" * 999},
    uid="]" * 999,
    scale=300,
    size=SHORTEST,
    bom=True,
    line_breaks=True,
)
@example(
    body="x" * 99,
    attributes={letter * 40: "" for letter in "abcdefghijklmnopqrstuvwxyz"},
    resource={},
    uid="",
    scale=300,
    size=SHORTEST,
    bom=True,
    line_breaks=True,
)
def test_whatever_a_record_holds_the_message_is_valid(
    *,
    body: str,
    attributes: dict[str, str],
    resource: dict[str, str],
    uid: str,
    scale: int,
    size: int,
    bom: bool,
    line_breaks: bool,
) -> None:
    """It parses, keeps to its limit, and what it leaves out it says."""
    attributes = {key: value * (1 + scale % 7) for key, value in attributes.items()}
    attributes.pop("log.record.uid", None)
    layout = Layout(max_message_bytes=size, bom=bom, line_breaks=line_breaks)
    parsed = only(encoded(body * scale, attributes, resource, uid=uid), layout)
    whole = cleaned(body * scale, line_breaks=line_breaks)
    head, mark, rest = parsed.message.rpartition("… [cut: ")
    if parsed.message != whole:
        assert mark
        assert whole.startswith(head)
        missing = int(rest.removesuffix(" bytes left out]"))
        assert len(head.encode()) + missing == len(whole.encode())
    shown = [value for name, value in parsed.params if name == param_name("log.record.uid")]
    assert len(shown) == 1
    values = {**resource, **attributes}
    counts = [int(value) for name, value in parsed.params if name == "bridge.cut"]
    told = parsed.params[1 : len(parsed.params) - len(counts)]
    expected = [(param_name(k), cleaned(v, line_breaks=False)) for k, v in values.items()]
    if not counts:
        assert told == expected
    else:
        assert counts == [len(expected) - sum(param in expected for param in told)]
        for name, value in told:
            beginnings = [whole for key, whole in expected if key == name]
            assert any(w == value or w.startswith(value.removesuffix("…")) for w in beginnings)


@given(HOSTILE, st.integers(1, 200), st.integers(SHORTEST, 3_000), st.booleans())
def test_parts_make_the_whole(body: str, scale: int, size: int, bom: bool) -> None:
    """Split, every part is numbered and has the uid; together they are the message."""
    layout = Layout(max_message_bytes=size, on_long="split", bom=bom)
    found = list(messages(encoded(body * scale, {"k": "v" * 3_000}, FAL), layout))
    assert all(len(message) <= size for message in found)
    parts = [parse(message) for message in found]
    assert "".join(part.message for part in parts) == cleaned(body * scale, line_breaks=True)
    assert {part.uid for part in parts} == {UID}
    assert {part.proc_id for part in parts} == {"job-1"}
    if len(parts) > 1:
        assert [part.param("bridge.part") for part in parts] == [
            f"{n}/{len(parts)}" for n in range(1, len(parts) + 1)
        ]


@given(st.text(max_size=50), st.booleans())
def test_cleaned_text_can_be_shown(text: str, line_breaks: bool) -> None:
    """No control character, no lone surrogate; other text as it was."""
    shown = cleaned(text, line_breaks=line_breaks)
    rest = shown.replace("\n", "").replace("\t", "") if line_breaks else shown
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in rest)
    shown.encode()
    assert cleaned(shown, line_breaks=line_breaks) == shown
    if text.isprintable():
        assert shown == text


def test_what_becomes_of_control_characters() -> None:
    """Shown, not obeyed."""
    hostile = 'a\nb\tc\r\nd\re\x00\x1b[31m\x85\u2028\ud800"]'
    assert cleaned(hostile, line_breaks=True) == (
        'a\nb\tc\nd\\re\\x00\\x1b[31m\\x85\\u2028\ufffd"]'
    )
    assert cleaned(hostile, line_breaks=False) == (
        'a\\nb\\tc\\r\\nd\\re\\x00\\x1b[31m\\x85\\u2028\ufffd"]'
    )


@given(st.text(max_size=80))
def test_param_names(key: str) -> None:
    """They are valid and say the same each time."""
    name = param_name(key)
    assert 1 <= len(name) <= 32
    assert not set(name) & set('= ]"')
    assert name.isascii()
    assert name.isprintable()
    assert param_name(name) == name


def test_long_keys_stay_apart() -> None:
    """Cut ones carry a digest of the whole."""
    names = {param_name("fal.label." + "x" * 40 + end) for end in "abc"}
    assert len(names) == 3
    assert param_name("fal.label.k") == "fal.label.k"


def test_values_of_every_kind() -> None:
    """What is no string as JSON has it."""
    record = LogRecord(time_unix_nano=1)
    record.attributes.add(key="n").value.int_value = 5
    record.attributes.add(key="t").value.bool_value = True
    record.attributes.add(key="e")
    record.attributes.add(key="a").value.array_value.values.add().string_value = "é"
    parsed = only(encoded(record=record), Layout())
    assert parsed.params[1:] == [("n", "5"), ("t", "true"), ("e", ""), ("a", '["é"]')]


def test_the_longest_attributes_give_way() -> None:
    """A stack trace does not push the others out, nor the message."""
    long = {"exception.stacktrace": "x" * 100_000, "fal.request.id": "r" * 36}
    parsed = only(encoded("m" * 3_000, long, FAL), Layout())
    assert parsed.message == "m" * 3_000
    assert parsed.param("fal.request.id") == "r" * 36
    assert parsed.param("exception.stacktrace").endswith("x…")
    assert len(parsed.param("exception.stacktrace")) > 4_000
    assert parsed.param("bridge.cut") == "1"


WRITTEN_OUT = re.compile(r"\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})")
SQUEEZED = st.tuples(
    st.integers(0, 8), st.text('a\\"]\x1b\u2028\n漢', min_size=1, max_size=12)
).map(lambda drawn: "a" * drawn[0] + drawn[1] * (5_000 // len(drawn[1])))


def assert_no_escape_is_cut(whole: str, *pieces: str) -> None:
    """The pieces are the start of a text, and none ends within an escape of it."""
    at = 0
    inside = {
        n for found in WRITTEN_OUT.finditer(whole) for n in range(found.start() + 1, found.end())
    }
    for piece in pieces:
        assert whole.startswith(piece, at)
        at += len(piece)
        assert at not in inside


@given(SQUEEZED, st.booleans())
@example("\x1b\u2028" * 3_000, False)
@example("\\" * 4_001 + "\x1b" * 900, False)
def test_a_cut_goes_through_no_escape(body: str, bare: bool) -> None:
    """Neither that of a message nor one between its parts."""
    cut = Layout(max_message_bytes=SHORTEST, line_breaks=not bare)
    whole = cleaned(body, line_breaks=not bare)
    head, mark, _ = only(encoded(body), cut).message.rpartition("… [cut: ")
    assert mark
    assert_no_escape_is_cut(whole, head)
    split = Layout(max_message_bytes=SHORTEST, on_long="split", line_breaks=not bare)
    parts = [parse(message).message for message in messages(encoded(body), split)]
    assert_no_escape_is_cut(whole, *parts)
    assert "".join(parts) == whole


@given(SQUEEZED)
@example("\x1b\u2028" * 3_000)
@example("\\" * 4_001 + "\x1b" * 900)
def test_a_value_is_cut_through_no_escape(value: str) -> None:
    """Its own are told from those of structured data."""
    parsed = only(encoded("m", {"a": value}), Layout(max_message_bytes=SHORTEST))
    shown = parsed.param("a")
    assert shown.endswith("…")
    assert len(shown) > 150
    assert_no_escape_is_cut(cleaned(value, line_breaks=False), shown[:-1])
