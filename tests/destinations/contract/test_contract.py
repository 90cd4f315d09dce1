"""What every destination keeps, fakes included."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest
from delivery.fakes import DOWN, Answer, Backend, refusing
from destinations.requests import joined, request

from bridge.clock import SystemClock
from bridge.destinations import Destination
from bridge.destinations.console import Console
from bridge.destinations.otlp_http import Compression, OtlpHttp
from bridge.destinations.tls import Tls
from bridge.model import Outcome, Verdict
from bridge.simulator.exchange import Drop
from bridge.simulator.faults import LOGIN_PAGE, Dropped, Faults, Faulty, Reply
from bridge.simulator.otlp_backend import OtlpBackend
from bridge.simulator.server import serving
from bridge.simulator.transport import CoreTransport

HOST = "http://collector.test:4318"
DELIVERED = Outcome(Verdict.DELIVERED)


@dataclass(frozen=True)
class Rig:
    """A destination, what has arrived behind it, and a way to break and mend what is there."""

    destination: Destination
    arrived: Callable[[], list[str]]
    broken: Callable[[bool], None]


Open = Callable[[], AbstractAsyncContextManager[Rig]]


class Stream(io.BytesIO):
    """A stream that can be full."""

    full = False

    def flush(self) -> None:
        """Fail while it is full."""
        if self.full:
            raise OSError(28, "No space left on device")


@asynccontextmanager
async def console() -> AsyncIterator[Rig]:
    """Standard output, read back."""
    out = Stream()

    def broken(full: bool) -> None:
        out.full = full

    yield Rig(
        Console("backend", out),
        lambda: [json.loads(line)["uid"] for line in out.getvalue().splitlines()],
        broken,
    )


@asynccontextmanager
async def fake() -> AsyncIterator[Rig]:
    """The fake that the forwarder is tested with."""
    backend = Backend()

    def broken(down: bool) -> None:
        backend.decide = lambda _: refusing(DOWN, 0) if down else Answer(seconds=0)

    broken(False)
    yield Rig(backend, lambda: list(backend.kept.elements()), broken)


def failing() -> Faults:
    """Down in turns: refused connections, 503, a login page, acceptances whose answer is lost."""
    faults = (Dropped(Drop.BEFORE), Reply(503), Reply(200, LOGIN_PAGE), Reply(504, handled=True))
    return Faults(schedule=lambda number, _: faults[number % len(faults)])


@asynccontextmanager
async def otlp(compression: Compression, *, loopback: bool) -> AsyncIterator[Rig]:
    """A receiver that really decodes, in this process or behind a real socket."""
    backend = OtlpBackend()
    faulty = Faulty(backend, Faults(), Random(1))

    def broken(down: bool) -> None:
        faulty.faults = failing() if down else Faults()

    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(faulty)) if loopback else HOST
        destination = OtlpHttp(
            "backend",
            f"{url}/v1/logs",
            {"X-Key": "hunter2-hunter2"},
            compression=compression,
            timeout=30,
            tls=Tls(),
            transport=None if loopback else CoreTransport(faulty, SystemClock()),
        )
        yield Rig(destination, lambda: list(backend.uids.elements()), broken)
        await destination.aclose()
        assert not backend.violations


DESTINATIONS: dict[str, Open] = {
    "fake": fake,
    "console": console,
    "otlp gzip": partial(otlp, "gzip", loopback=False),
    "otlp plain": partial(otlp, "none", loopback=False),
    "otlp gzip on loopback": partial(otlp, "gzip", loopback=True),
    "otlp plain on loopback": partial(otlp, "none", loopback=True),
}


@pytest.fixture(params=DESTINATIONS)
def opened(request: pytest.FixtureRequest) -> Open:
    """One of the destinations."""
    return DESTINATIONS[request.param]


def play(opened: Open, scene: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    """Run a scene with a destination."""

    async def main() -> None:
        async with opened() as rig:
            await scene(rig)

    asyncio.run(main())


def test_it_has_its_configured_name(opened: Open) -> None:
    """The name labels metrics and names the cursor."""

    async def scene(rig: Rig) -> None:
        assert rig.destination.name == "backend"

    play(opened, scene)


def test_what_is_delivered_has_arrived_once(opened: Open) -> None:
    """Every record of a joined request, and no word about it."""

    async def scene(rig: Rig) -> None:
        assert await rig.destination.send(joined(["a", "b"], ["c"], ["d", "e"])) == DELIVERED
        assert sorted(rig.arrived()) == ["a", "b", "c", "d", "e"]

    play(opened, scene)


def test_a_request_can_be_sent_again(opened: Open) -> None:
    """Sending changes nothing about a request: the same bytes, the same uids."""

    async def scene(rig: Rig) -> None:
        sent = joined(["a"], ["b"])
        before = (sent.raw, sent.gzip)
        assert [await rig.destination.send(sent) for _ in range(2)] == [DELIVERED] * 2
        assert (sent.raw, sent.gzip) == before
        assert sorted(rig.arrived()) == ["a", "a", "b", "b"]

    play(opened, scene)


def test_sends_may_overlap(opened: Open) -> None:
    """Several requests in flight do not mix."""

    async def scene(rig: Rig) -> None:
        uids = [[f"{n}-{m}" for m in range(3)] for n in range(8)]
        outcomes = await asyncio.gather(*(rig.destination.send(joined(u)) for u in uids))
        assert outcomes == [DELIVERED] * 8
        assert sorted(rig.arrived()) == sorted(uid for group in uids for uid in group)

    play(opened, scene)


def test_trouble_is_an_outcome_and_passes(opened: Open) -> None:
    """Nothing raises, nothing is called delivered, and no restart is needed (trap 9)."""

    async def scene(rig: Rig) -> None:
        rig.broken(True)
        for number in range(8):
            outcome = await rig.destination.send(request(f"lost {number}"))
            assert outcome.verdict in {Verdict.RETRY, Verdict.BLOCKED}
            assert outcome.reason.isprintable()
            assert "hunter2" not in outcome.reason
        rig.broken(False)
        assert await rig.destination.send(request("a")) == DELIVERED
        assert rig.arrived()[-1] == "a"

    play(opened, scene)


def test_odd_records_arrive(opened: Open) -> None:
    """A megabyte, control characters, every plane of Unicode."""

    async def scene(rig: Rig) -> None:
        for uid, body in (("big", "x" * 1_048_576), ("odd", "\x00\x1b[31m\r\n\u2028\U0010ffff")):
            assert await rig.destination.send(request(uid, body=body)) == DELIVERED
        assert rig.arrived() == ["big", "odd"]

    play(opened, scene)


def test_it_can_be_closed_twice(opened: Open) -> None:
    """Shutting down is idempotent."""

    async def scene(rig: Rig) -> None:
        await rig.destination.send(request("a"))
        for _ in range(2):
            await rig.destination.aclose()

    play(opened, scene)
