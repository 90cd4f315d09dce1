"""What the simulated apps write: lines, ties, crowds, late ones, ones stamped ahead. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import count
from random import Random
from typing import Any

from msgspec.structs import replace

from bridge.model import MILLISECOND, SECOND, Tick
from bridge.simulator.store import Written
from bridge.simulator.times import naive

NOON: Tick = 1_758_283_200 * SECOND
LATEST = 8 * SECOND
"""How late entries may become visible: by the last sweep."""

_JOBS = 8


def steady(
    random: Random, apps: Sequence[str], seconds: tuple[float, float], spells: int, kind: str
) -> Iterator[Written]:
    """Spells of different kinds within ``seconds`` of noon: drips, ties, dense milliseconds."""
    numbers = count()
    for _ in range(spells):
        app = random.choice(apps)
        tick = NOON + int(random.uniform(*seconds) * SECOND)
        step = random.choice([0, 1, 7, 300, MILLISECOND, 40 * MILLISECOND])
        many = random.choice([1, 5, 20])
        copies = random.choice([1, 1, 1, 2, 3])
        lateness = random.choice([0, 0.2, 1])
        for _ in range(many):
            late = int(random.uniform(0, LATEST)) if random.random() < lateness else 0
            raw = _raw(random, app, tick, f"{app} {kind} {next(numbers)}")
            yield from [Written(raw, tick, tick + late)] * copies
            tick += step


def burst(
    random: Random, app: str, tick: Tick, *, many: int, step: Tick, kind: str
) -> Iterator[Written]:
    """So many plain entries, evenly spaced."""
    for number in range(many):
        at = tick + number * step
        yield Written(plain(random, app, at, f"{app} {kind} {number}"), at, at)


class Crowd(Enum):
    """What tells the entries of a crowd apart."""

    JOBS = "a few jobs, each with requests of its own"
    STRANGERS = "jobs that follow each other, most of which no page shows"
    ALIKE = "nothing: all labels are equal"


def crowd(random: Random, app: str, tick: Tick, *, many: int, kind: Crowd) -> Iterator[Written]:
    """So many entries on one tick."""
    for number in range(many):
        raw = plain(random, app, tick, f"{app} crowd {kind.name} {number}")
        raw["labels"] = {"app": app, "fal_env": "prod", "source": "run"}
        if kind is Crowd.JOBS:
            job = number % _JOBS
            raw["labels"] |= _origin(job) | {
                "fal_request_id": f"request-{job}-{number // 97}",
                "isolate_source": random.choice(["USER", "BRIDGE"]),
            }
        elif kind is Crowd.STRANGERS:
            job = number * 12 // many
            raw["labels"] |= {"fal_job_id": f"{job}", "fal_request_id": f"{job}-{number % 3}"}
        yield Written(raw, tick, tick)


def shifted(entry: Written, by: Tick) -> Written:
    """The entry as a worker with a wrong clock would stamp it; never later than allowed."""
    tick = entry.tick + by
    visible_at = min(entry.visible_at, tick + LATEST)
    raw = entry.raw | {"timestamp": naive(tick)}
    return replace(entry, raw=raw, tick=tick, visible_at=visible_at)


def orderly(entry: Written) -> Written:
    """The entry as it comes when none is late and none ahead of time."""
    return replace(entry, visible_at=entry.tick)


def plain(random: Random, app: str, tick: Tick, message: str) -> dict[str, Any]:
    """An entry with the labels of fal's own."""
    labels = {
        "app": app,
        "app_id": f"revision of {app}",
        "fal_env": random.choice(["prod", "prod", "prod", "staging"]),
        **_origin(random.randrange(_JOBS)),
        "source": random.choice(["run", "gateway"]),
        "isolate_source": random.choice(["USER", "USER", "BRIDGE", "BUILDER"]),
    }
    if random.random() < 0.5:
        labels["fal_request_id"] = f"request-{random.randrange(30)}"
    return {
        "timestamp": naive(tick),
        "level": "INFO",
        "message": message,
        "app": app,
        "revision": f"revision of {app}",
        "labels": labels,
    }


def _origin(job: int) -> dict[str, str]:
    return {
        "fal_job_id": f"job-{job}",
        "fal_node_id": f"node-{job % 3}",
        "fal_worker_id": f"fal-jobs/S/job-{job}",
    }


def _raw(random: Random, app: str, tick: Tick, message: str) -> dict[str, Any]:
    """An entry as JSON; now and then an odd one, still recognisable by its message."""
    raw = plain(random, app, tick, message)
    oddity = random.random()
    if oddity < 0.02:
        raw["labels"] = random.choice([None, [], 7, {"x": 10**30, "y": {"z": [None]}}])
    elif oddity < 0.04:
        raw["level"] = random.choice([None, 3, "loud", "stderr"])
    elif oddity < 0.05:
        raw["labels"] = {"app": app, "\ud800": "\udfff"}
    return raw
