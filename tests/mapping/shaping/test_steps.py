"""Each step of shaping by itself: escapes, JSON messages, levels, attributes left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shaping import TIME, attributes, bodies, identified, mapper, printed, shaped

from bridge.mapping.shaping import Rules
from bridge.mapping.shaping.ansi import strip_ansi
from bridge.mapping.shaping.json_message import MAX_FIELDS, MAX_LENGTH, json_message
from bridge.mapping.shaping.levels import level_of_json, level_of_text
from bridge.payload import Request, records_of

PARSE = Rules(parse_json=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m and \x1b[1;38;5;9mmore\x1b[m", "red and more"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://h/x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[2K\x1b[1Gprogress 10 %\r\x1b[?25l", "progress 10 %\r"),
        ("\x1b(B\x1bMx\x1b=", "x"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x1b]0;no end, so not a title", "0;no end, so not a title"),
        ("plain [31m text \t\n", "plain [31m text \t\n"),
        ("", ""),
    ],
)
def test_escapes_leave_the_text(text: str, expected: str) -> None:
    """Colours, titles, links and movements go; everything else stays."""
    assert strip_ansi(text) == expected


@given(st.text("\x1b\x9b]P[\x07\\0;m a", max_size=200))
def test_escapes_never_fail(text: str) -> None:
    """Whatever stands there, no character is added, and text without an introducer is kept."""
    stripped = strip_ansi(text)
    assert len(stripped) <= len(text)
    if "\x1b" not in text and "\x9b" not in text:
        assert stripped == text


def test_escapes_without_an_end_take_linear_time() -> None:
    """A megabyte of beginnings is over before the test's limit."""
    assert strip_ansi("\x1b]" * 500_000) == ""
    assert strip_ansi("\x1b[" + "0" * 1_000_000).endswith("0")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("introducer", "\x90\x98\x9b\x9d\x9e\x9f")
def test_introducers_of_one_character_take_linear_time_too(introducer: str) -> None:
    """Half a megabyte of them; squared, that would take most of an hour."""
    text = introducer * 500_000
    assert strip_ansi(text) == text
    bare = "\x9c" if introducer == "\x9b" else ""
    assert strip_ansi(f"{text}a\x9c") == text[1:] + bare


def test_the_repeated_message_follows() -> None:
    """A label that repeats the message is still left out when the message was changed."""
    [record] = shaped(Rules(strip_ansi=True), printed("\x1b[31mred\x1b[0m"))
    assert record.body.string_value == "red"
    assert "fal.label.message" not in attributes(record)


def test_json_fields_become_attributes() -> None:
    """The text becomes the body, everything else an attribute with its type."""
    message = {
        "msg": "served",
        "status": 200,
        "time": "2025-01-01T00:00:00Z",
        "user": {"id": 7, "tags": ["a", None]},
        "ok": True,
        "ratio": 0.5,
        "nothing": None,
    }
    [record] = shaped(PARSE, printed(json.dumps(message)))
    assert record.body.string_value == "served"
    found = {k: v for k, v in attributes(record).items() if k.startswith("json.")}
    assert found == {f"json.{key}": value for key, value in message.items() if key != "msg"}


@pytest.mark.parametrize("key", ["message", "msg", "event"])
def test_where_the_text_is(key: str) -> None:
    """The usual names of a message's text."""
    assert bodies(PARSE, printed(json.dumps({"a": 1, key: "said"}))) == ["said"]


def test_without_a_text_the_body_stays() -> None:
    """A JSON message that says nothing in words keeps its text, and has its fields beside it."""
    text = '{"a": 1,  "message": {"b": 2}, "msg": ""}'
    [record] = shaped(PARSE, printed(text))
    assert record.body.string_value == text
    assert attributes(record)["json.message"] == {"b": 2}


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "{}",
        "[1]",
        '{"a": 1} and more',
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": ' + "[" * 20 + "]" * 20 + "}",
        '{"a": ' + "[" * 100_000 + "}",
        '{"a": ' + "9" * 10_000 + "}",
        json.dumps({str(n): n for n in range(MAX_FIELDS + 1)}),
        json.dumps({"a": "x" * MAX_LENGTH}),
    ],
)
def test_what_cannot_be_taken_apart_whole_stays(text: str) -> None:
    """No object, a key twice, too much: the message is what it was."""
    [record] = shaped(PARSE, printed(text))
    assert record.body.string_value == text
    assert not [key for key in attributes(record) if key.startswith("json.")]


def test_numbers_beyond_a_double_stay_readable() -> None:
    """What a double cannot hold arrives as it was written."""
    [record] = shaped(PARSE, printed('{"msg": "m", "n": 1e999, "i": 123456789012345678901234}'))
    found = attributes(record)
    assert (found["json.n"], found["json.i"]) == ("1e999", "123456789012345678901234")


@pytest.mark.parametrize(
    "value",
    [
        "0.12345678901234567890123",
        "12345678901234567890.5",
        "-0",
        "1e-400",
        "1e-99999999999999999999",
        r'"\ud800"',
        r'{"\uDFFF": 1}',
        "[[0.10000000000000000001]]",
    ],
)
def test_what_no_attribute_can_say_stays_in_the_body(value: str) -> None:
    """Its nearest value is an attribute all the same, so that its type does not come and go."""
    text = f'{{"msg": "m", "n": {value}}}'
    [record] = shaped(PARSE, printed(text))
    assert record.body.string_value == text
    found = attributes(record)
    assert found["json.msg"] == "m"
    assert isinstance(found["json.n"], type(json.loads(value)))


@pytest.mark.parametrize(
    "value", ["0", "0.1", "-0.0", "1e2", "1.50", "5e-324", "0.30000000000000004", r'"\ud83e\udd80"']
)
def test_what_an_attribute_says_in_full_leaves_the_body_its_text(value: str) -> None:
    """However the number or the character was written."""
    [record] = shaped(PARSE, printed(f'{{"msg": "m", "n": {value}}}'))
    assert record.body.string_value == "m"
    assert attributes(record)["json.n"] == json.loads(value)


def test_trace_ids_of_a_json_message() -> None:
    """They become the record's own and are not said twice."""
    ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
    [record] = shaped(PARSE, printed(json.dumps({"msg": "m", **ids})))
    assert record.trace_id.hex() == ids["trace_id"]
    assert record.span_id.hex() == ids["span_id"]
    assert not [key for key in attributes(record) if key.startswith("json.")]


def test_a_traceback_in_a_json_message() -> None:
    """It becomes the exception and is not said twice."""
    stack = 'Traceback (most recent call last):\n  File "x"\nValueError: no'
    [record] = shaped(PARSE, printed(json.dumps({"msg": "m", "traceback": stack})))
    found = attributes(record)
    assert (found["exception.type"], found["exception.stacktrace"]) == ("ValueError", stack)
    assert "json.traceback" not in found


@pytest.mark.parametrize("prefix", ["", "app."])
def test_another_prefix(prefix: str) -> None:
    """Names that are taken, and those that backends take for their own, keep the mark."""
    fields = {"user": 1, "fal.source": 2, "status": 3, "json.status": 4, "": 5}
    [record] = shaped(Rules(parse_json=True, json_prefix=prefix), printed(json.dumps(fields)))
    found = attributes(record)
    if prefix:
        assert {k: v for k, v in found.items() if k.startswith(prefix)} == {
            f"app.{key}": value for key, value in fields.items()
        }
    else:
        assert found["user"] == 1
        assert (found["fal.source"], found["json.fal.source"]) == ("user", 2)
        assert (found["json.status"], found["json.json.status"], found["json."]) == (3, 4, 5)
    assert set(fields.values()) <= {v for v in found.values() if isinstance(v, int)}


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=8))
def test_every_json_field_arrives(fields: dict[str, Any]) -> None:
    """With and without a prefix, each field is the body or an attribute."""
    for prefix in ("json.", ""):
        rules = Rules(parse_json=True, json_prefix=prefix)
        [record] = shaped(rules, printed(json.dumps(fields)))
        said = {str(v) for v in attributes(record).values()} | {record.body.string_value}
        assert {str(v) for v in fields.values()} <= said


def test_reads_only_what_is_whole() -> None:
    """White space around an object is no reason against it."""
    found = json_message(' {"a": 1}\n')
    assert found is not None
    assert found.text is None


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("ERROR: it broke", "ERROR"),
        ("Warning: old", "WARNING"),
        ("[WARN] old", "WARN"),
        ("[ info ] started", "INFO"),
        ("<debug> x", "DEBUG"),
        ("INFO:     127.0.0.1:5 - GET / 200", "INFO"),
        ("INFO:root:started", "INFO"),
        ("2024-01-01 12:00:00,123 INFO started", "INFO"),
        ("2024-01-01T12:00:00.123Z ERROR broke", "ERROR"),
        ("[2024-01-01 12:00:00 +0000] [7] [INFO] Booting", "INFO"),
        ("[2024-01-01 12:00:00] WARNING in app: x", "WARNING"),
        ("2024-01-01 12:00:00,123 - my.app - CRITICAL - x", "CRITICAL"),
        ("2024-01-01 12:00:00.123 | DEBUG    | mod:fn:1 - x", "DEBUG"),
        ("12:00:00 PM ERROR x", "ERROR"),
        ("my.app - INFO - x", "INFO"),
        ("E0102 12:00:00.000001 1 file.cc:1] x", "ERROR"),
        ('time="2024-01-01T00:00:00Z" level=warning msg="x"', "WARNING"),
        ('ts=1 lvl="error" x', "ERROR"),
        ("Error while it ran", None),
        ("INFORMATION", None),
        ("ERRORS: 5", None),
        ("the level=debug", "DEBUG"),
        ("level=high", None),
        ("errors happen", None),
        ("", None),
        ("71 seconds of sleep remaining", None),
        ("Traceback (most recent call last):", None),
    ],
)
def test_levels_of_lines(line: str, level: str | None) -> None:
    """A leading level word, in the forms that loggers write."""
    assert level_of_text(line) == level


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "line", ["1" + "-" * 511, "1111" + "-" * 508, "1111" + " " * 40 + "-" * 468]
)
def test_lines_of_dashes_hold_nothing_up(line: str) -> None:
    """A line that nearly has the form, again and again, costs what any other does."""
    assert {level_of_text(f"{line}{number}") for number in range(1_000)} == {None}


@pytest.mark.parametrize(
    "time", ["12:00:00 ", "2024-01-01T12:00:00Z ", "[12:00:00] ", "12", "3:00 PM "]
)
@pytest.mark.parametrize("word", ["TRACE", "INFO", "ERROR"])
def test_a_time_leaves_the_level_alone(time: str, word: str) -> None:
    """Even one that ends like a word that begins with a letter of times."""
    assert level_of_text(f"{time}{word} served") == word


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"level": "warn"}, ("level", "WARN")),
        ({"levelname": "ERROR"}, ("levelname", "ERROR")),
        ({"severity": "Notice", "level": "x"}, ("severity", "NOTICE")),
        ({"level": 50}, ("level", "ERROR")),
        ({"level": True}, None),
        ({"level": 7}, None),
        ({"level": "stderr"}, None),
        ({"level": []}, None),
        ({}, None),
    ],
)
def test_levels_of_json(fields: dict[str, Any], expected: tuple[str, str] | None) -> None:
    """The level of a structured line, by its usual names, and pino's numbers."""
    assert level_of_json(fields) == expected


@given(st.text(max_size=80))
def test_levels_never_fail(line: str) -> None:
    """Any line has one of the levels that are known, or none."""
    [record] = shaped(Rules(infer_level=True), printed(line))
    assert record.severity_text == "STDERR" or record.severity_number


def test_a_level_takes_the_streams_place() -> None:
    """The severity is the line's own; the stream is still told."""
    [record] = shaped(Rules(infer_level=True), printed("ERROR: it broke", level="STDOUT"))
    assert (record.severity_text, record.severity_number) == ("ERROR", 17)
    found = attributes(record)
    assert found["log.iostream"] == "stdout"
    assert "fal.label.level" not in found


@pytest.mark.parametrize("parse", [True, False])
def test_a_level_in_json(parse: bool) -> None:
    """It counts with and without parsed fields, and is said once."""
    rules = Rules(infer_level=True, parse_json=parse)
    [record] = shaped(rules, printed('{"level": "warn", "msg": "m"}'))
    assert (record.severity_text, record.severity_number) == ("WARN", 13)
    assert "json.level" not in attributes(record)


def test_a_number_for_a_level_is_kept() -> None:
    """It says what its word does not."""
    [record] = shaped(Rules(infer_level=True, parse_json=True), printed('{"level": 50}'))
    assert (record.severity_text, attributes(record)["json.level"]) == ("ERROR", 50)


def test_other_levels_are_left_alone() -> None:
    """A line that was logged has its level already."""
    [record] = shaped(Rules(infer_level=True), printed("ERROR: it broke", level="INFO"))
    assert record.severity_text == "INFO"


def test_attributes_left_out() -> None:
    """By their names at fal and by those that they arrive under; identity and service stay."""
    rules = Rules(
        parse_json=True,
        drop_attributes=("fal_job_id", "fal.label.a*", "host.id", "json.x?", "revision", "s*e*"),
    )
    found = printed(
        '{"msg": "m", "xy": 1, "z": 2}', fal_node_id="node", fal_env="prod", abc="1", b="2"
    )
    done = mapper(rules, resource={"host.id": "mine"})
    [encoded] = done.encode([found], 0)
    [(resource_logs, _, record)] = records_of(Request((encoded,)).raw)
    kept = attributes(record)
    assert set(kept) == {"log.record.uid", "log.iostream", "fal.label.b", "json.z"}
    resource = {pair.key: pair.value.string_value for pair in resource_logs.resource.attributes}
    assert resource == {
        "service.name": "an-app",
        "faas.name": "an-app",
        "cloud.provider": "fal",
        "cloud.platform": "fal_serverless",
        "deployment.environment.name": "prod",
        "host.id": "mine",
    }
    assert done.settle() == {"parse_json": 1, "drop_attributes": 1}


def test_everything_left_out() -> None:
    """A record keeps who it is and what it says."""
    [record] = shaped(Rules(drop_attributes=("*",)), printed("text"))
    assert set(attributes(record)) == {"log.record.uid"}
    assert (record.body.string_value, record.severity_text) == ("text", "STDERR")


@pytest.mark.parametrize("raw", [None, [], "text", {"labels": 5}, {"timestamp": TIME}])
def test_attributes_left_out_of_anything(raw: Any) -> None:
    """Whatever the entry is."""
    [record] = shaped(Rules(drop_attributes=("fal.malformed",)), identified(raw))
    assert "fal.malformed" not in attributes(record)
