"""The account that writes: reproducible, at its rate, and with everything that makes logs hard."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model import SECOND
from bridge.simulator.account import Account
from bridge.simulator.manual_clock import NOON
from bridge.simulator.store import Written
from bridge.simulator.times import parsed

MINUTE = 60 * SECOND
SPAN = 6 * SECOND


def written(account: Account, seconds: float) -> list[Written]:
    """Everything of the account's first seconds."""
    return list(account.entries_between(NOON, NOON + int(seconds * SECOND)))


@given(
    st.integers(min_value=0, max_value=3),
    st.sampled_from([0.3, 7.0, 333.3]),
    st.lists(st.integers(min_value=0, max_value=SPAN), max_size=8),
)
@settings(max_examples=30, deadline=None)  # a busy machine is no failure
def test_how_often_it_is_asked_changes_nothing(seed: int, rate: float, cuts: list[int]) -> None:
    """Pieces of any size join to the same whole, entry by entry."""
    account = Account(seed, NOON, rate)
    edges = [NOON, *(NOON + cut for cut in sorted(cuts)), NOON + SPAN]
    pieces = [entry for a, b in pairwise(edges) for entry in account.entries_between(a, b)]
    whole = written(account, SPAN / SECOND)
    assert sorted(pieces, key=lambda e: (e.tick, e.text)) == sorted(
        whole, key=lambda e: (e.tick, e.text)
    )


def test_the_seed_decides() -> None:
    """Equal accounts write equal logs, another seed other ones."""
    assert written(Account(1, NOON, 50), 10) == written(Account(1, NOON, 50), 10)
    one, two = (written(Account(seed, NOON, 50), 10) for seed in (1, 2))
    assert {entry.text for entry in one}.isdisjoint(entry.text for entry in two)


@pytest.mark.parametrize("rate", [0.5, 5.0, 128.0, 5_000.0])
def test_the_rate_holds(rate: float) -> None:
    """Within one chapter of what was asked."""
    assert abs(len(written(Account(3, NOON, rate), 10)) - 10 * rate) <= 16


def test_nothing_before_the_start() -> None:
    """And windows are half-open."""
    account = Account(1, NOON, 5)
    assert list(account.entries_between(NOON - MINUTE, NOON)) == []
    first = min(entry.tick for entry in written(account, 60))
    assert list(account.entries_between(NOON, first)) == []
    assert next(account.entries_between(first, first + 1)).tick == first


@pytest.mark.parametrize(("rate", "apps"), [(0.0, ("a",)), (-1.0, ("a",)), (1.0, ())])
def test_an_account_needs_a_rate_and_an_app(rate: float, apps: tuple[str, ...]) -> None:
    """Said at once, not later by silence."""
    with pytest.raises(ValueError, match=r"rate|app"):
        Account(1, NOON, rate, apps)


def test_entries_look_like_the_documents() -> None:
    """The fields in order, times that agree, a revision as ``labels.app_id``."""
    for entry in written(Account(5, NOON, 100), 10):
        raw = entry.raw
        assert list(raw) == ["timestamp", "level", "message", "app", "revision", "labels"]
        labels = raw["labels"]
        assert parsed(raw["timestamp"]) == entry.tick == parsed(labels["logged_at"])
        assert labels["logged_at"] == raw["timestamp"] + "+00:00"
        assert labels["app_id"] == raw["revision"]
        same = ("app", "level", "message")
        assert [labels[name] for name in same] == [raw[name] for name in same]
        assert all(isinstance(value, str) for value in labels.values())
        assert labels["fal_worker_id"].endswith(labels["fal_job_id"])


def test_it_writes_everything_that_makes_logs_hard() -> None:
    """Requests, cold starts, ties, genuine repeats, the traceback forms, levels, lateness."""
    entries = written(Account(7, NOON, 100), 100)
    messages = Counter(entry.raw["message"] for entry in entries)
    assert messages["Starting worker"]
    assert messages["Traceback (most recent call last):"]
    assert any(entry.traceback for entry in entries)
    assert any(set(_json(message)) == {"traceback"} for message in messages)
    assert any("trace_id" in _json(message) for message in messages)
    assert any("fal_request_id" in entry.raw["labels"] for entry in entries)
    levels = {entry.raw["level"] for entry in entries}
    assert levels >= {"INFO", "info", "STDOUT", "stdout", "STDERR", "ERROR", "WARNING", "debug"}
    assert max(Counter((e.tick, e.app) for e in entries).values()) >= 4
    assert max(Counter(entry.text for entry in entries).values()) >= 2
    assert any("." not in entry.raw["timestamp"] for entry in entries)
    apps = Counter(entry.app for entry in entries)
    assert len(apps) == 3
    assert min(apps.values()) > len(entries) / 4


def _json(message: str) -> dict[str, str]:
    found = json.loads(message) if message.startswith("{") else {}
    assert isinstance(found, dict)
    return found


def test_lateness_is_a_share_within_its_range() -> None:
    """None, all, or some; the rest shows at its own time."""
    none, everything = (written(Account(1, NOON, 50, late=late), 20) for late in (0.0, 1.0))
    assert all(entry.visible_at == entry.tick for entry in none)
    delays = [entry.visible_at - entry.tick for entry in everything]
    assert min(delays) >= SECOND // 2
    assert max(delays) <= 20 * SECOND
    some = written(Account(1, NOON, 50, late=0.2), 100)
    assert 0.15 < sum(entry.visible_at > entry.tick for entry in some) / len(some) < 0.25
