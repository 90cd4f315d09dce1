"""What each stage of the bridge costs by itself, so that a regression shows where it is.

Every stage runs on the same entries in slices as the bridge cuts them, a few rounds; the best
round counts, since all that disturbs a measurement makes it slower.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from benchmarks.corpus import APP, LONGEST_STEP, Timeline, entries
from benchmarks.fakes import KEY
from benchmarks.processes import BenchmarkFailed, Remote, fake
from bridge.clock import SystemClock
from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.tls import Tls
from bridge.journal.sqlite import SqliteJournal
from bridge.mapping import Mapper
from bridge.model import (
    SECOND,
    Anchor,
    Append,
    AppRecord,
    Encoded,
    Entry,
    Filter,
    Gap,
    Identified,
    Page,
    Query,
    Read,
    ReadKind,
    Tick,
    Verdict,
)
from bridge.payload import Request, compress
from bridge.source.decode import decode_entries
from bridge.source.rest import RestApi
from bridge.source.walk import Walk

_MOST: Final = 30_000
_ROUNDS: Final = 5
_PAGE: Final = 1_000
_SLICE: Final = 3 * _PAGE


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU (all threads) and time, in microseconds an entry."""

    cpu_us: float
    wall_us: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu_us - other.cpu_us, self.wall_us - other.wall_us)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one walk found, and what of that no walk before had found."""

    found: Sequence[Identified]
    fresh: Sequence[Identified]


@dataclass(frozen=True, slots=True)
class Material:
    """The entries in the forms that the stages take them in, all oldest first."""

    count: int
    begin: Tick
    shown: Sequence[tuple[Tick, bytes]]
    pages: Sequence[bytes]
    timeline: Timeline[Entry]
    slices: Sequence[Slice]
    requests: Sequence[Sequence[Encoded]]


def measure(count: int) -> dict[str, Cost]:
    """Measure every stage; by name, in the order that an entry passes them."""
    return asyncio.run(_measure(min(count, _MOST)))


async def _measure(count: int) -> dict[str, Cost]:
    begin = int(time.time()) * SECOND - count * LONGEST_STEP - 60 * SECOND
    it = _material(count, begin)

    async def decode() -> None:
        for body in it.pages:
            decode_entries(body)

    async def walk() -> None:
        _walk(it.timeline, it.shown)

    async def encode() -> None:
        mapper = _mapper()
        for piece in it.slices:
            mapper.encode(piece.fresh, begin)

    raw = [gzip.decompress(one.gzip) for requests in it.requests for one in requests]

    async def squeeze() -> None:
        for one in raw:
            compress(one)

    decoding, compressing = await _best(decode, count), await _best(squeeze, count)
    with fake("api", "--entries", str(count), "--begin", str(begin)) as api:
        fetching = await _fetching(api, it)
    with fake("sink") as sink:
        sending = await _sending(sink, it)
    return {
        "fetch": fetching - decoding,
        "decode": decoding,
        "fingerprint and walk": await _best(walk, count),
        "map and encode": await _best(encode, count) - compressing,
        "compress": compressing,
        "journal append": await _best(lambda: _append(it), count),
        "send": sending,
    }


def _material(count: int, begin: Tick) -> Material:
    shown = list(entries(count, begin))
    pages = [_page(shown[at : at + _PAGE]) for at in range(0, count, _PAGE)]
    decoded = [entry for body in pages for entry in reversed(decode_entries(body))]
    timeline = Timeline([(tick, entry) for (tick, _), entry in zip(shown, decoded, strict=True)])
    slices = _walk(timeline, shown)
    requests = [_mapper().encode(piece.fresh, begin) for piece in slices]
    return Material(count, begin, shown, pages, timeline, slices, requests)


def _page(shown: Sequence[tuple[Tick, bytes]]) -> bytes:
    return b"[%b]" % b",".join(text for _, text in reversed(shown))


def _mapper() -> Mapper:
    return Mapper(app=APP, service=None, fallback_service=APP, resource={})


async def _best(stage: Callable[[], Awaitable[None]], count: int) -> Cost:
    costs = []
    for _ in range(_ROUNDS):
        cpu, wall = time.process_time(), time.perf_counter()
        await stage()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        costs.append(Cost(cpu / count * 1e6, wall / count * 1e6))
    return min(costs, key=lambda cost: cost.cpu_us)


def _walk(timeline: Timeline[Entry], shown: Sequence[tuple[Tick, bytes]]) -> list[Slice]:
    """Read slice by slice as the tailer does: each down to the newest entry of the one before."""
    slices: list[Slice] = []
    floor = shown[0][0]
    anchor = Anchor(floor, frozenset())
    for ceiling in [*islice((tick for tick, _ in shown), _SLICE, None, _SLICE), shown[-1][0] + 1]:
        walk = Walk(floor=floor, ceiling=ceiling, anchor=anchor, limit=_PAGE)
        while not walk.done:
            asked = walk.bounds
            walk.take(Page(tuple(timeline.newest(asked.since, asked.until, asked.limit)), None))
        found = walk.found()
        slices.append(Slice(found, [one for one in found if one.uid not in anchor.uids]))
        floor = found[-1].tick
        anchor = Anchor(floor, frozenset(one.uid for one in found if one.tick == floor))
    return slices


async def _append(it: Material) -> None:
    """One transaction a slice, with its fsync; the requests are encoded beforehand."""
    with TemporaryDirectory(prefix="fal-log-bridge-bench-") as folder:
        path = Path(folder, "journal.sqlite")
        journal = SqliteJournal.open(path, max_bytes=1 << 30, clock=SystemClock())
        await journal.attach("sink")
        await journal.begin(AppRecord(APP, "{}", "{}", it.begin))
        for piece, requests in zip(it.slices, it.requests, strict=True):
            position = piece.found[-1].tick
            read = Read(ReadKind.BACKLOG, it.begin, position, position, 1)
            ready = partial(_ready, requests)
            await journal.append(Append(APP, piece.found, position, ready, read))
        await journal.aclose()


def _ready(
    requests: Sequence[Encoded], _: Sequence[Identified], __: Sequence[Gap]
) -> Sequence[Encoded]:
    return requests


async def _fetching(api: Remote, it: Material) -> Cost:
    async with httpx.AsyncClient() as client:
        rest = RestApi(client, base_url=api.url, key=lambda: KEY)

        async def fetch() -> None:
            until = None
            for at in range(it.count, 0, -_PAGE):
                page = await rest.page(Query(Filter(app_id=APP), it.begin, until, _PAGE))
                until = it.shown[max(0, at - _PAGE)][0]
                if not page.entries:
                    raise BenchmarkFailed("a page is empty")

        return await _best(fetch, it.count)


async def _sending(sink: Remote, it: Material) -> Cost:
    destination = OtlpHttp(
        "sink", f"{sink.url}/v1/logs", {}, compression="gzip", timeout=10.0, tls=Tls()
    )

    async def send() -> None:
        for requests in it.requests:
            for one in requests:
                outcome = await destination.send(Request((one,)))
                if outcome.verdict is not Verdict.DELIVERED:
                    raise BenchmarkFailed(outcome.reason)

    try:
        return await _best(send, it.count)
    finally:
        await destination.aclose()
