"""The in-process transport: the same cores behind httpx, on a clock that nobody waits for."""

from __future__ import annotations

import asyncio
from random import Random

import httpx
import pytest

from bridge.simulator.exchange import Answer, Core, Drop, Request
from bridge.simulator.faults import Dropped, Faults, Faulty, Slow, Truncated, script
from bridge.simulator.logs_api import LogsApiFake
from bridge.simulator.manual_clock import ManualClock
from bridge.simulator.transport import CoreTransport

HEADERS = {"Authorization": "Key key-id:key-secret"}


class Echo:
    """Answers with what it got."""

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        text = f"{request.method} {request.path} {request.query} {request.header('x-a')}"
        return Answer(200, (("X-B", "b"),), text.encode() + request.body)


def post(
    core: Core, clock: ManualClock, *, latency: float = 0.0, timeout: float | None = 5.0
) -> httpx.Response:
    """One request with a body, a header and a repeated parameter."""

    async def run() -> httpx.Response:
        transport = CoreTransport(core, clock, lambda: latency)
        async with httpx.AsyncClient(transport=transport, timeout=timeout) as client:
            return await client.post(
                "http://fal.test/logs/",
                params=[("a", "1+2"), ("a", "é")],
                headers={**HEADERS, "X-A": "x"},
                json={},
            )

    return asyncio.run(run())


def faulty(*faults: Slow | Dropped | Truncated, core: Core | None = None) -> Faulty:
    """An echo whose first requests go wrong."""
    return Faulty(core or Echo(), Faults(schedule=script(*faults)), Random(1))


def test_a_request_arrives_as_it_was_sent() -> None:
    """Method, path, decoded repeated parameters, header, body; and the answer comes back."""
    clock = ManualClock()
    response = post(Echo(), clock)
    assert response.status_code == 200
    assert response.headers["x-b"] == "b"
    assert response.text == "POST /logs/ (('a', '1+2'), ('a', 'é')) x{}"


def test_the_fake_api_answers_through_it() -> None:
    """The core of the served simulator, without a server."""
    clock = ManualClock()
    fake = LogsApiFake(clock)
    fake.write({"app": "alpha", "message": "lone \ud800"}, clock.now())
    assert post(fake, clock).json() == [{"app": "alpha", "message": "lone \ud800"}]


def test_latency_and_delay_pass_on_the_clock() -> None:
    """The request travels, then the answer is slow; no real time passes."""
    clock = ManualClock()
    before = clock.now()
    assert post(faulty(Slow(3.0)), clock, latency=1.5).status_code == 200
    assert clock.now() - before == 4_500_000


@pytest.mark.parametrize(("latency", "slow"), [(6.0, 0.0), (0.0, 6.0), (3.0, 3.0)])
def test_a_read_timeout_holds(latency: float, slow: float) -> None:
    """After exactly the client's patience."""
    clock = ManualClock()
    before = clock.now()
    with pytest.raises(httpx.ReadTimeout):
        post(faulty(Slow(slow)), clock, latency=latency)
    assert clock.now() - before == 5_000_000


def test_without_a_timeout_it_waits() -> None:
    """However long it takes."""
    clock = ManualClock()
    assert post(faulty(Slow(3_600.0)), clock, timeout=None).status_code == 200


def test_a_timeout_after_handling_leaves_the_request_handled() -> None:
    """Slow answers are how acknowledgements get lost."""
    clock = ManualClock()
    fake = LogsApiFake(clock)
    with pytest.raises(httpx.ReadTimeout):
        post(faulty(Slow(10.0), core=fake), clock)
    assert fake.statuses == {200: 1}


@pytest.mark.parametrize(
    ("when", "error", "handled"),
    [(Drop.BEFORE, httpx.ConnectError, 0), (Drop.AFTER, httpx.ReadError, 1)],
)
def test_dropped_connections(when: Drop, error: type[httpx.TransportError], handled: int) -> None:
    """As the exceptions a socket would have raised."""
    clock = ManualClock()
    fake = LogsApiFake(clock)
    with pytest.raises(error):
        post(faulty(Dropped(when), core=fake), clock)
    assert fake.statuses.total() == handled


def test_a_truncated_body_breaks_while_it_is_read() -> None:
    """The status was fine; the body is not whole."""
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        post(faulty(Truncated()), ManualClock())


def test_a_large_body_comes_whole() -> None:
    """In several chunks."""
    clock = ManualClock()
    fake = LogsApiFake(clock)
    fake.write({"message": "x" * 300_000}, clock.now())
    assert len(post(fake, clock).json()[0]["message"]) == 300_000
