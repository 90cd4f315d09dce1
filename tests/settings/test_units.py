"""Durations, sizes and starting points."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import SECOND
from bridge.settings import (
    StartAt,
    StartBack,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    parse_start,
)
from bridge.settings.units import DURATION_PATTERN, SIZE_PATTERN
from bridge.timestamps import EARLIEST, LATEST


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10m", 600),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("2h30m", 9_000),
        ("1d", 86_400),
        ("1m30s", 90),
        ("1s250ms", 1.25),
        ("0s", 0),
        (" 5s ", 5),
        ("15", 15),
        ("0.5", 0.5),
        (15, 15),
        (0.5, 0.5),
        (1e-05, 0.00001),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    """Durations are read as people write them; a bare number counts seconds."""
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        *("", "m", "10 m", "10x", "-5s", -5, "1m2h", "1m1m", "nan", "inf", float("nan")),
        *(True, None, [], "1e9", "\u0661s", "99999999999999999d", "5s\n5s"),
    ],
)
def test_what_is_no_duration(written: object) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@given(st.floats(min_value=0, max_value=2**53, allow_nan=False))
def test_durations_round_trip(seconds: float) -> None:
    """What is written back is read as the same number, and has the documented form."""
    written = format_duration(seconds)
    assert parse_duration(written) == seconds
    assert re.search(DURATION_PATTERN, written)


@given(st.integers(min_value=1, max_value=10**6))
def test_whole_durations_are_short(seconds: int) -> None:
    """Whole seconds are written in units, never as one long number of seconds."""
    assert not re.search(r"\d{3}", format_duration(float(seconds)))


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("1GiB", 1024**3),
        ("512MB", 512 * 10**6),
        ("512 MB", 512 * 10**6),
        ("1gib", 1024**3),
        ("1Gi", 1024**3),
        ("1G", 10**9),
        ("1.5KiB", 1536),
        ("100B", 100),
        ("100", 100),
        (100, 100),
        ("2TB", 2 * 10**12),
    ],
)
def test_sizes(written: object, count: int) -> None:
    """Sizes are read as people write them; a bare number counts bytes."""
    assert parse_size(written) == count


@pytest.mark.parametrize("written", ["", "GiB", "-1", "1PB", "1 G iB", True, None, "1e3", "9" * 30])
def test_what_is_no_size(written: object) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="size"):
        parse_size(written)


@given(st.integers(min_value=0, max_value=2**53))
def test_sizes_round_trip(count: int) -> None:
    """What is written back is read as the same number, and has the documented form."""
    written = format_size(count)
    assert parse_size(written) == count
    assert re.search(SIZE_PATTERN, written)


@given(st.integers(1, 999), st.sampled_from(["KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB"]))
def test_sizes_in_units_stay_short(number: int, unit: str) -> None:
    """A size given in a unit is never written back longer."""
    assert len(format_size(parse_size(f"{number}{unit}"))) <= len(f"{number}{unit}")


NOW = 1_758_284_170_599_608


@pytest.mark.parametrize(
    ("written", "tick"),
    [
        ("now", NOW),
        ("10m", NOW - 600 * SECOND),
        (30, NOW - 30 * SECOND),
        ("0s", NOW),
        ("2025-09-19T12:16:10.599608Z", NOW),
        ("2025-09-19T12:16:10.599608", NOW),
        ("2025-09-19T14:16:10.599608+02:00", NOW),
        ("2025-09-19 12:16:10.599608", NOW),
        ("2025-09-19", 1_758_240_000 * SECOND),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_starts(written: object, tick: int) -> None:
    """A start is now, a duration back, or a time, which without a zone is UTC."""
    assert parse_start(written).resolve(NOW) == tick


@pytest.mark.parametrize("written", ["", "yesterday", "2025-13-01", "-10m", None, True])
def test_what_is_no_start(written: object) -> None:
    """Anything else is refused, and the message shows all three forms."""
    with pytest.raises(ValueError, match=r"'now', a duration back .* or a time"):
        parse_start(written)


@pytest.mark.parametrize("written", ["36526d", "200000000d", "9999999999h"])
def test_a_start_before_all_logs_is_a_slip(written: str) -> None:
    """It would be no time that anything can store."""
    with pytest.raises(ValueError, match="is the unit right"):
        parse_start(written)
    assert parse_start("36525d").resolve(NOW) < 0


@given(
    st.one_of(
        st.integers(EARLIEST, LATEST).map(StartAt),
        st.integers(0, 10**9).map(lambda n: StartBack(n / 1000)),
    )
)
def test_starts_round_trip(start: StartAt | StartBack) -> None:
    """What is written back means the same."""
    assert parse_start(str(start)) == start
    assert parse_start(start) is start
