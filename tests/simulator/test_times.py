"""How ticks look at fal, and which times its parameters accept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model import SECOND
from bridge.simulator.manual_clock import NOON
from bridge.simulator.times import http_date, naive, parsed

TICKS = st.integers(min_value=0, max_value=4_102_444_800 * SECOND)


def test_a_zero_fraction_is_dropped() -> None:
    """Python's isoformat, as fal prints it: both forms occur."""
    assert naive(NOON) == "2025-09-19T12:00:00"
    assert naive(NOON + 1) == "2025-09-19T12:00:00.000001"


def test_a_date_header_is_in_whole_seconds_rounded_down() -> None:
    """Never later than the real moment."""
    assert http_date(NOON + SECOND - 1) == "Fri, 19 Sep 2025 12:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("2025-09-19T12:00:00Z", 0),
        ("2025-09-19T12:00:00", 0),
        ("2025-09-19T12:00:00.123Z", 123_000),
        ("2025-09-19T12:00:00.000001", 1),
        ("2025-09-19T14:00:00+02:00", 0),
        ("2025-09-19T12:00:00.5+00:00", 500_000),
    ],
)
def test_accepts_iso_8601(text: str, offset: int) -> None:
    """Naive is UTC; an offset and any fraction up to microseconds count."""
    assert parsed(text) == NOON + offset


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2025-09-19", "2025-09-19T12:00:00 00:00", "1758283200", "2025-13-01T"],
)
def test_refuses_what_is_no_time(text: str) -> None:
    """An unescaped plus arrives as a space, and that is no time either."""
    with pytest.raises(ValueError, match=r".*"):
        parsed(text)


@settings(deadline=None)  # a busy machine is no failure
@given(TICKS)
def test_printing_and_reading_agree(tick: int) -> None:
    """Every tick survives the way to text and back."""
    assert parsed(naive(tick)) == tick
