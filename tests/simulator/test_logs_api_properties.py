"""The fake Logs API against the plainest possible model of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator.exchange import Request
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.simulator.store import Written
from bridge.simulator.times import naive

HEADERS = (("authorization", "Key k"), ("content-type", "application/json"))
OFFSETS = st.integers(min_value=-6, max_value=6)


@dataclass(frozen=True)
class Asked:
    """One request, in offsets from noon."""

    since: int | None
    until: int | None
    limit: int
    app: str | None


APPS = st.sampled_from("ab")
ASKED = st.builds(
    Asked,
    since=OFFSETS,
    until=st.none() | OFFSETS,
    limit=st.integers(min_value=1, max_value=12),
    app=st.none() | APPS,
)
ENTRIES = st.lists(st.tuples(OFFSETS, APPS, st.integers(min_value=-1, max_value=2)), max_size=25)


def model(entries: list[Written], asked: Asked, cap: int, now: int) -> list[int]:
    """What the document says, by filtering and sorting everything."""
    kept = [
        (entry.tick, number)
        for number, entry in enumerate(entries)
        if entry.visible_at <= now
        and (asked.since is None or entry.tick > NOON + asked.since)
        and (asked.until is None or entry.tick < NOON + asked.until)
        and (asked.app is None or entry.app == asked.app)
    ]
    newest_first = sorted(kept, reverse=True)
    return [number for _, number in newest_first][: min(cap, asked.limit)]


def parameters(asked: Asked) -> tuple[tuple[str, str], ...]:
    """The query of a request."""
    bounds = {"since": asked.since, "until": asked.until}
    named = {name: naive(NOON + at) for name, at in bounds.items() if at is not None}
    app = {"app_id": asked.app} if asked.app else {}
    return tuple({**named, **app, "limit": str(asked.limit)}.items())


@settings(deadline=None)  # a busy machine is no failure
@given(
    ENTRIES,
    st.lists(ASKED, min_size=1, max_size=4),
    st.integers(min_value=1, max_value=12),
    st.integers(min_value=0, max_value=25),
)
def test_pages_are_what_the_model_says(
    drawn: list[tuple[int, str, int]], asked: list[Asked], cap: int, early: int
) -> None:
    """Bounds, order, ties, limits, caps and lateness, in any order of writing and asking."""
    clock = ManualClock(NOON)
    fake = LogsApiFake(clock, LogsApiConfig(key="k", cap=cap))
    entries = [
        Written({"app": app, "n": number}, NOON + offset, NOON + late)
        for number, (offset, app, late) in enumerate(drawn)
    ]
    for written in (entries[:early], entries[early:]):
        fake.add(*written)
        known = entries[: fake.kept]
        for each in asked:
            answer = fake.answer(Request("POST", "/logs/", parameters(each), HEADERS, b"{}"))
            shown = [item["n"] for item in json.loads(answer.body)]
            assert shown == model(known, each, cap, clock.now())
        clock.tick += 1
