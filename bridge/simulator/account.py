"""A little fal account of several apps that writes believable logs at a rate, told by a seed.

Time is cut into chapters of `CHAPTER` entries, each told by one worker of one app; workers take
turns. A chapter is a pure function of the account and its number, so what the account writes
depends on its seed, start, rate and apps alone, and never on how or how often it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from random import Random
from typing import Any, Final

from msgspec import Struct

from bridge.model import SECOND, Tick
from bridge.simulator.store import Written
from bridge.simulator.stories import Line, Pace, tell, uuid_of
from bridge.simulator.times import naive

CHAPTER: Final = 16
APPS: Final = ("acme-image-studio", "acme-whisper", "acme-upscaler")
_LIFE: Final = 12
"""Chapters that a worker lives before a new one takes its place with a cold start."""
_WORKERS_PER_APP: Final = 2
_HOUSE: Final = 8
"""One chapter in so many that a worker tells by itself snaps lines to whole seconds."""


class Account(Struct, frozen=True):
    """An account that begins to write at ``start`` and writes ``rate`` entries a second.

    A share ``late`` of the entries is shown only after a delay of ``late_by`` seconds (the least
    and the most).
    """

    seed: int
    start: Tick
    rate: float
    apps: tuple[str, ...] = APPS
    late: float = 0.02
    late_by: tuple[float, float] = (0.5, 20.0)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate must be more than 0 entries a second, not {self.rate}")
        if not self.apps:
            raise ValueError("an account needs at least one app")

    def entries_between(self, a: Tick, b: Tick) -> Iterator[Written]:
        """What is written in ``[a, b)``, in order of chapters; nothing before ``start``."""
        a = max(a, self.start)
        first = max(0, int((a - self.start) * self.rate / (SECOND * CHAPTER)) - 1)
        for number in count(first):
            if self.tick_of(number * CHAPTER) >= b:
                return
            yield from (entry for entry in _chapter(self, number) if a <= entry.tick < b)

    def tick_of(self, nth: int) -> Tick:
        """When the n-th entry is due."""
        return self.start + int(nth * SECOND / self.rate)


def crowd(account: Account, tick: Tick, size: int) -> tuple[Written, ...]:
    """So many lines of the first app that are alike in everything, on one tick.

    No filter tells them apart: a server that shows fewer of them than there are hides the rest.
    """
    worker = _worker(account.seed, account.apps[0], 0, 0)
    line = Line("retrying connection", "STDERR")
    return tuple(_written(line, tick, worker, tick) for _ in range(size))


class _Worker(Struct, frozen=True):
    """Who speaks; ``labels`` are those that all its entries share."""

    app: str
    revision: str
    labels: dict[str, Any]


@lru_cache(maxsize=64)
def _chapter(account: Account, number: int) -> tuple[Written, ...]:
    """The entries of one chapter, oldest first; all fall between its first and the next's."""
    turn, seat = divmod(number, len(account.apps) * _WORKERS_PER_APP)
    random = Random(f"{account.seed}/chapter/{number}")  # noqa: S311 - believable, not secret
    worker = _worker(account.seed, account.apps[seat % len(account.apps)], seat, turn // _LIFE)
    lines = tell(random, CHAPTER, starting=turn % _LIFE == 0)
    ticks = _ticks(account, number, lines, random)
    return tuple(
        _written(line, tick, worker, _visible_at(account, tick, random))
        for line, tick in zip(lines, ticks, strict=True)
    )


@lru_cache(maxsize=1024)
def _worker(seed: int, app: str, seat: int, life: int) -> _Worker:
    revision = uuid_of(Random(f"{seed}/app/{app}"))  # noqa: S311 - as above
    random = Random(f"{seed}/worker/{seat}/{life}")  # noqa: S311 - as above
    job = uuid_of(random)
    labels = {
        "app": app,
        "app_id": revision,
        "fal_env": "prod" if seat % 3 else "staging",
        "fal_job_id": job,
        "fal_multiplexing_app": "1",
        "fal_node_id": uuid_of(random),
        "fal_public_logs": "1",
        "fal_user_nickname": "acme",
        "fal_worker_id": f"fal-jobs/S/{job}",
    }
    return _Worker(app, revision, labels)


def _ticks(account: Account, number: int, lines: list[Line], random: Random) -> list[Tick]:
    """When each line comes: never before the one above it, always within the chapter."""
    end = account.tick_of((number + 1) * CHAPTER)
    step = SECOND / account.rate
    ticks: list[Tick] = []
    for at, line in enumerate(lines):
        before = ticks[-1] if ticks else account.tick_of(number * CHAPTER)
        due = account.tick_of(number * CHAPTER + at) + int(random.random() * step)
        tick = max(before, _snapped(due, before, random))
        if ticks and line.pace is Pace.TIE:
            tick = before
        elif ticks and line.pace is Pace.CLOSE:
            tick = before + random.randint(1, 9)
        ticks.append(max(before, min(tick, end - 1)))
    return ticks


def _snapped(due: Tick, before: Tick, random: Random) -> Tick:
    """Now and then a whole second or millisecond, so that short fractions occur."""
    grid = random.choice((SECOND, 1_000)) if random.randrange(_HOUSE) == 0 else 1
    return due - due % grid if due - due % grid >= before else due


def _visible_at(account: Account, tick: Tick, random: Random) -> Tick:
    late = random.random() < account.late
    return tick + int(random.uniform(*account.late_by) * SECOND) if late else tick


def _written(line: Line, tick: Tick, worker: _Worker, visible_at: Tick) -> Written:
    """The entry in the shape and order of the document's example."""
    stamp = naive(tick)
    call = line.call
    about = {"fal_request_id": call.request_id, "fal_endpoint": call.endpoint} if call else {}
    raw = {
        "timestamp": stamp,
        "level": line.level,
        "message": line.message,
        "app": worker.app,
        "revision": worker.revision,
        "labels": {
            **worker.labels,
            **about,
            "isolate_source": line.isolate_source,
            "level": line.level,
            "logged_at": f"{stamp}+00:00",
            "message": line.message,
            "source": line.source,
        },
    }
    return Written(raw, tick, visible_at, line.traceback)
