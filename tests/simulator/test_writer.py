"""The writing loop: everything once, in spite of a clock that steps back."""

from __future__ import annotations

import asyncio

from bridge.model import SECOND, Tick
from bridge.simulator.account import Account
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.simulator.store import Written
from bridge.simulator.writer import keep_writing


class Enough(Exception):
    """Time is up."""


class JumpyClock(ManualClock):
    """Steps back two seconds now and then, and ends at a moment."""

    def __init__(self, end: Tick, every: int) -> None:
        super().__init__()
        self.end = end
        self.every = every

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await super().sleep(seconds)
        if len(self.slept) % self.every == 0:
            self.tick -= 2 * SECOND
        if self.tick >= self.end:
            raise Enough


def put(account: Account, clock: ManualClock, *, since: Tick | None = None) -> list[Written]:
    """What the loop hands over until the clock ends it."""
    got: list[Written] = []

    async def run() -> None:
        try:
            await keep_writing(account, clock, got.append, since=since)
        except Enough:
            return

    asyncio.run(run())
    return got


def test_writes_history_and_the_present_once() -> None:
    """Backward steps of the clock neither repeat nor lose."""
    account = Account(1, NOON - 10 * SECOND, 20)
    got = put(account, JumpyClock(NOON + 30 * SECOND, every=50))
    until = max(entry.tick for entry in got) + 1
    whole = list(account.entries_between(account.start, until))
    assert sorted(e.text for e in got) == sorted(e.text for e in whole)
    assert until > NOON + 25 * SECOND


def test_may_begin_later_than_the_account() -> None:
    """What was handed over before stays out."""
    account = Account(1, NOON - 10 * SECOND, 20)
    got = put(account, JumpyClock(NOON + SECOND, every=1_000), since=NOON)
    assert got
    assert min(entry.tick for entry in got) >= NOON
