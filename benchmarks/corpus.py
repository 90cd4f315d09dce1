"""The entries that every contestant carries: of fal's documented shape, about 930 bytes each.

Equal arguments give equal entries. Every message bears a running number, so that whoever counts
what arrived can tell each entry from every other, whatever a contestant made of it.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, Generic, TypeVar
from uuid import UUID

from bridge.model import MILLISECOND, Tick
from bridge.timestamps import format_tick

APP: Final = "acme-image-generator"
LONGEST_STEP: Final[Tick] = 10 * MILLISECOND
"""The most time between two entries, so that a corpus's length bounds its span."""

_JOBS: Final = 8
_TIES: Final = 0.1
"""Entries that share the timestamp before them, as lines printed at once do."""
_LEVELS: Final = ("INFO", "INFO", "INFO", "INFO", "STDOUT", "STDOUT", "DEBUG", "WARNING", "ERROR")
_TEXT: Final = """
loading weights of the text encoder from cache, scheduler ready, denoising latents at step,
guidance scale, moved pipeline to device, decoded image and uploaded it to the bucket,
queue position, warm start after idle, inference finished within budget, memory reserved
"""
_WORDS: Final = tuple(_TEXT.split())

T = TypeVar("T")


def app_names(count: int) -> list[str]:
    """So many apps; one is `APP`."""
    return [APP, *(f"{APP}-{number}" for number in range(1, count))]


def entries(count: int, begin: Tick, app: str = APP) -> Iterator[tuple[Tick, bytes]]:
    """An app's entries as JSON, oldest first, with their times: none before ``begin``."""
    random = Random(count)
    jobs = [_job(random, app) for _ in range(_JOBS)]
    tick = begin
    for number in range(count):
        if random.random() >= _TIES:
            tick += random.randint(1, LONGEST_STEP)
        level = random.choice(_LEVELS)
        words = " ".join(random.choices(_WORDS, k=random.randint(4, 24)))
        message = f"[{number}] {words} ({random.randint(1, 9_999)} ms)"
        raw = _entry(random.choice(jobs), tick, level, message, random)
        yield tick, json.dumps(raw, separators=(",", ":")).encode()


class Timeline(Generic[T]):
    """Things in time order, shown as the Logs API shows entries."""

    def __init__(self, items: Sequence[tuple[Tick, T]]) -> None:
        self._ticks = [tick for tick, _ in items]
        self._items = [item for _, item in items]

    def newest(self, since: Tick, until: Tick | None, limit: int) -> list[T]:
        """At most ``limit`` items between the exclusive bounds, newest first."""
        low = bisect_right(self._ticks, since)
        high = len(self._ticks) if until is None else bisect_left(self._ticks, until)
        return self._items[max(low, high - limit) : high][::-1]


def line(app: str, tick: Tick, number: int) -> tuple[Tick, bytes]:
    """One entry of an app at a time, of about the same size as the others, as JSON."""
    random = Random(number)
    message = f"[{number}] {' '.join(random.choices(_WORDS, k=14))}"
    raw = _entry(_job(Random(app), app), tick, "INFO", message, random)
    return tick, json.dumps(raw, separators=(",", ":")).encode()


def _job(random: Random, app: str) -> dict[str, str]:
    """The labels that all entries of one job share."""
    job = _uuid(random)
    return {
        "app": app,
        "app_id": _uuid(random),
        "fal_endpoint": "/v1/generate",
        "fal_env": "prod",
        "fal_job_id": job,
        "fal_multiplexing_app": "1",
        "fal_node_id": _uuid(random),
        "fal_public_logs": "1",
        "fal_user_nickname": "acme",
        "fal_worker_id": f"fal-jobs/S/{job}",
        "isolate_source": "USER",
        "source": "gateway",
    }


def moment(tick: Tick) -> str:
    """A time as an entry says it: with all six digits and no zone."""
    return f"{format_tick(tick).rstrip('Z'):0<26}"


def _entry(
    job: dict[str, str], tick: Tick, level: str, message: str, random: Random
) -> dict[str, object]:
    said = moment(tick)
    return {
        "timestamp": said,
        "level": level,
        "message": message,
        "app": job["app"],
        "revision": job["app_id"],
        "labels": {
            **job,
            "fal_request_id": _uuid(random),
            "level": level,
            "logged_at": f"{said}+00:00",
            "message": message,
        },
    }


def _uuid(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))
