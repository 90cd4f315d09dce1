"""Timestamps to ticks and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.timestamps import EARLIEST, LATEST, format_tick, parse_tick

SECOND_OF = 1_758_284_170_000_000  # 2025-09-19T12:16:10Z


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2025-09-19T12:16:10.599608", 599_608),
        ("2025-09-19T12:16:10", 0),
        ("2025-09-19T12:16:10Z", 0),
        ("2025-09-19T12:16:10.000000Z", 0),
        ("2025-09-19T12:16:10.000001", 1),
        ("2025-09-19T12:16:10.5Z", 500_000),
        ("2025-09-19T12:16:10.59960z", 599_600),
        ("2025-09-19T12:16:10.5996089Z", 599_608),
        ("2025-09-19T12:16:10.599608999", 599_608),
        ("2025-09-19T12:16:10.599608999999999999+00:00", 599_608),
        ("2025-09-19T14:16:10.599608+02:00", 599_608),
        ("2025-09-19T08:46:10.599608-0330", 599_608),
        ("2025-09-19T11:16:10.599-01", 599_000),
        ("2025-09-19T12:16:10-00:00", 0),
        ("2025-09-19 12:16:10.599608", 599_608),
        ("2025-09-19t12:16:10.599608z", 599_608),
    ],
)
def test_readable_forms(text: str, microseconds: int) -> None:
    """Every form of RFC 3339, a missing zone and a shortened one are read; the rest is cut off."""
    assert parse_tick(text) == SECOND_OF + microseconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1_758_284_170,
        1_758_284_170.5,
        b"2025-09-19T12:16:10",
        ["2025-09-19T12:16:10"],
        {},
        "",
        "yesterday",
        "2025-09-19",
        "2025-09-19T12:16",
        "2025-09-19T12:16:10.",
        "2025-09-19T12:16:10,5",
        "2025-09-19T12:16:10 Z",
        " 2025-09-19T12:16:10",
        "2025-09-19T12:16:10\n",
        "2025-09-19x12:16:10",
        "20250919T121610Z",
        "2025-W38-5T12:16:10.599608",
        "2025-09-19T12-16:10.599608",
        "2025-09-19T12:16+10.599608",
        "2025-02-30T00:00:00",
        "2025-09-19T24:00:00",
        "2025-09-19T12:16:60",
        "2025-09-19T12:16:10+24:00",
        "2025-09-19T12:16:10+01:60",
        "0000-01-01T00:00:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00",
        "2025-09-19T12:16:10.\ud80099608",
        "\u0662025-09-19T12:16:10",
        "2025-09-19T12:16:10.\u06659960\u0668",
    ],
)
def test_anything_else_is_none(value: object) -> None:
    """What is not a readable time within the years 1 to 9999 gives None."""
    assert parse_tick(value) is None


@given(st.text(max_size=40) | st.text(alphabet="0123456789-:.+TtZz ", max_size=40))
def test_garbage_never_raises(text: str) -> None:
    """Whatever string comes, it is a time within the years or None."""
    tick = parse_tick(text)
    assert tick is None or EARLIEST <= tick <= LATEST


@given(st.lists(st.tuples(st.integers(0, 25), st.sampled_from("0123456789-:.+TtZzW ")), max_size=5))
def test_damaged_common_form_is_read_as_any_other(damage: list[tuple[int, str]]) -> None:
    """The quick way for the common form reads nothing that the full one (27 characters) refuses."""
    characters = list("2025-09-19T12:16:10.599608")
    for place, character in damage:
        characters[place] = character
    text = "".join(characters)
    if text[19:20] == "." and text[20:].isdigit():
        assert parse_tick(text) == parse_tick(f"{text}0") == parse_tick(f"{text}Z")


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "2025-09-19T12:16:10.000Z"),
        (599_000, "2025-09-19T12:16:10.599Z"),
        (599_608, "2025-09-19T12:16:10.599608Z"),
        (1, "2025-09-19T12:16:10.000001Z"),
    ],
)
def test_written_form(microseconds: int, text: str) -> None:
    """Whole milliseconds take the form of the document's example, others all six digits."""
    assert format_tick(SECOND_OF + microseconds) == text


def test_years_are_written_with_four_digits_and_bounded() -> None:
    """The first and last tick are written in full, and stand for what lies beyond them."""
    assert format_tick(EARLIEST) == format_tick(EARLIEST - 1) == "0001-01-01T00:00:00.000Z"
    assert format_tick(LATEST) == format_tick(LATEST + 10**30) == "9999-12-31T23:59:59.999999Z"


@given(st.integers(EARLIEST, LATEST))
@example(EARLIEST)
@example(LATEST)
@example(-1)
def test_round_trip_of_ticks(tick: int) -> None:
    """What is written is read back as the same tick."""
    assert parse_tick(format_tick(tick)) == tick


zones: st.SearchStrategy[Any] = st.none() | st.builds(
    lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-1439, 1439)
)


moments = st.datetimes(timezones=zones).filter(lambda moment: 1 < moment.year < 9999)


@given(moments)
def test_python_isoformat_is_read(moment: datetime) -> None:
    """Python's ``isoformat``, which the API uses, gives the same instant with any offset."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_tick(moment.isoformat()) == expected
