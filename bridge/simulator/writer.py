"""An account that writes as time goes by: the loop between `account` and whatever takes entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bridge.clock import Clock
from bridge.model import Tick
from bridge.simulator.account import Account
from bridge.simulator.store import Written

_EVERY: Final = 0.1


async def keep_writing(
    account: Account,
    clock: Clock,
    put: Callable[[Written], object],
    *,
    since: Tick | None = None,
    every: float = _EVERY,
) -> None:
    """Hand over what the account writes, each entry once, until cancelled.

    Begins with what was written from ``since`` (the account's start by default) until now, and
    looks ``every`` so many seconds.
    """
    done = account.start if since is None else since
    while True:
        now = clock.now()
        for entry in account.entries_between(done, now):
            put(entry)
        done = max(done, now)
        await clock.sleep(every)
