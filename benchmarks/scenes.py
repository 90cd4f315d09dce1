"""What a live account writes while a measurement runs: by app, each entry at its time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from benchmarks.corpus import line
from bridge.model import SECOND, Tick

Written: TypeAlias = Mapping[str, Sequence[tuple[Tick, bytes]]]

BACKLOG: Final = 300_000
"""Entries that the app with a backlog is behind by."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A live account. ``begin`` is when its live part starts, which lasts ``seconds``.

    ``settling`` seconds before, the bridge is started; ``poll`` and ``start`` are its settings,
    ``delay`` is what the API takes for an answer.
    """

    title: str
    apps: Sequence[str]
    written: Callable[[Tick], Written]
    seconds: int
    poll: str
    settling: int = 5
    start: str = "1m"
    delay: float = 0.0


def _steady(begin: Tick) -> Written:
    """Five apps, 200 entries a second in all, for 30 s."""
    apps = SCENES["latency"].apps
    step = SECOND * len(apps) // 200
    return {
        app: [line(app, begin + n * step + k, n * len(apps) + k) for n in range(30 * 40)]
        for k, app in enumerate(apps)
    }


def _asleep(begin: Tick) -> Written:
    """A thousand apps with an old entry each; every second another one wakes, for a minute."""
    apps, random = SCENES["many"].apps, Random(1)
    written = {app: [line(app, begin - 400 * SECOND, n)] for n, app in enumerate(apps)}
    for n, app in enumerate(random.sample(list(apps), 60)):
        written[app].append(line(app, begin + n * SECOND + random.randrange(SECOND), 10_000 + n))
    return written


def _behind(begin: Tick) -> Written:
    """One app with an hour's backlog, and another that writes five entries a second."""
    step = 3_600 * SECOND // BACKLOG
    past = begin - 3_700 * SECOND
    behind = [line("behind", past + n * step, n) for n in range(BACKLOG)]
    live = [line("live", begin + n * SECOND // 5, BACKLOG + n) for n in range(150)]
    return {"behind": behind, "live": live}


SCENES: Final[Mapping[str, Scene]] = {
    "latency": Scene(
        "200 entries a second from 5 apps",
        [f"app-{n}" for n in range(5)],
        _steady,
        seconds=30,
        poll="interval: 1s, requests_per_second: 20",
    ),
    "many": Scene(
        "1,000 sleeping apps, one waking each second",
        [f"app-{n}" for n in range(1_000)],
        _asleep,
        seconds=60,
        poll="requests_per_second: 50, max_interval: 15s",
        settling=150,
        start="15m",
    ),
    "fair": Scene(
        f"an app {BACKLOG:,} entries behind, beside a live one, 50 ms an answer",
        ["behind", "live"],
        _behind,
        seconds=30,
        poll="requests_per_second: 50",
        settling=3,
        start="2h",
        delay=0.05,
    ),
}
