"""The cores on a loopback port: real HTTP, and faults that are real on the wire."""

from __future__ import annotations

import asyncio
import logging
import signal
from random import Random

import httpx
import pytest

from bridge.clock import SystemClock
from bridge.errors import ConfigError
from bridge.payload import compress
from bridge.simulator.exchange import Answer, Core, Drop, Request
from bridge.simulator.faults import Dropped, Fault, Faults, Faulty, Reply, Slow, Truncated, script
from bridge.simulator.logs_api import LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.server import serving

HEADERS = {"Authorization": "Key key-id:key-secret"}


class Echo:
    """Answers with what it got."""

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        text = f"{request.method} {request.path} {request.query} {request.header('x-a')} "
        return Answer(200, (("X-B", "b"),), text.encode() + request.body)


async def posted(core: Core, times: int = 1, timeout: float = 5.0) -> list[httpx.Response | str]:  # noqa: ASYNC109 - the client's own
    """So many requests over one client; an error stands as its type's name."""
    got: list[httpx.Response | str] = []
    async with serving(core) as url, httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
        for _ in range(times):
            try:
                got.append(
                    await client.post(
                        f"{url}/logs/",
                        params=[("a", "1+2"), ("a", "é")],
                        headers={**HEADERS, "X-A": "x"},
                        json={},
                    )
                )
            except httpx.TransportError as error:
                got.append(type(error).__name__)
    return got


def statuses(got: list[httpx.Response | str]) -> list[int | str]:
    """Statuses, and names of errors."""
    return [each if isinstance(each, str) else each.status_code for each in got]


def test_a_request_arrives_as_it_was_sent() -> None:
    """Method, path, decoded repeated parameters, header, body; the core's headers come back."""
    (response,) = asyncio.run(posted(Echo()))
    assert isinstance(response, httpx.Response)
    assert response.text == "POST /logs/ (('a', '1+2'), ('a', 'é')) x {}"
    assert response.headers["x-b"] == "b"
    assert "date" not in response.headers
    assert "server" not in response.headers


def test_the_fake_api_over_http() -> None:
    """A page with the fake's own date, and the redirect to the path with a slash."""
    fake = LogsApiFake(SystemClock())
    fake.write({"app": "alpha", "message": "lone \ud800"}, SystemClock().now())

    async def run() -> tuple[httpx.Response, httpx.Response]:
        async with (
            serving(fake) as url,
            httpx.AsyncClient(trust_env=False, follow_redirects=True) as client,
        ):
            since = {"since": "2025-01-01T00:00:00Z"}
            page = await client.post(f"{url}/logs", params=since, headers=HEADERS, json={})
            bad = await client.post(f"{url}/logs/?limit=x", headers=HEADERS, json={})
            return page, bad

    page, bad = asyncio.run(run())
    assert page.json() == [{"app": "alpha", "message": "lone \ud800"}]
    assert page.headers["date"].endswith("GMT")
    assert [response.status_code for response in page.history] == [307]
    assert (bad.status_code, bad.json()["detail"][0]["loc"]) == (422, ["query", "limit"])


@pytest.mark.parametrize("status", [200, 204])
def test_the_backend_over_http(status: int) -> None:
    """Keeps exact bytes; No Content has no body."""
    backend = OtlpBackend(BackendConfig(path="/logs/", status=status, keep_requests=True))
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}

    async def run() -> httpx.Response:
        async with serving(backend) as url, httpx.AsyncClient(trust_env=False) as client:
            return await client.post(f"{url}/logs/", headers=headers, content=compress(b""))

    response = asyncio.run(run())
    assert (response.status_code, response.content) == (status, b"")
    assert [request.body for request in backend.requests] == [compress(b"")]


WIRE: list[tuple[Fault, set[int | str]]] = [
    (Dropped(Drop.BEFORE), {"RemoteProtocolError", "ReadError"}),
    (Dropped(Drop.AFTER), {"RemoteProtocolError", "ReadError"}),
    (Truncated(), {"RemoteProtocolError"}),
    (Truncated(0.0), {"RemoteProtocolError"}),
    (Slow(60.0), {"ReadTimeout"}),
    (Reply(503), {503}),
    (Reply(302, headers=(("location", "/"),)), {302}),
]


@pytest.mark.parametrize(("fault", "expected"), WIRE)
def test_faults_are_real_on_the_wire(
    fault: Fault, expected: set[int | str], caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees the broken connection, the next request is well, the server is silent."""
    core = Faulty(Echo(), Faults(schedule=script(None, fault)), Random(1))
    with caplog.at_level(logging.WARNING):
        got = asyncio.run(posted(core, 3, timeout=0.2 if isinstance(fault, Slow) else 5.0))
    first, struck, after = statuses(got)
    assert (first, after) == (200, 200)
    assert struck in expected
    assert caplog.records == []


def test_closing_does_not_wait_for_a_slow_answer() -> None:
    """A minute's delay ends with the server."""

    async def run() -> float:
        arrived = asyncio.Event()

        def schedule(_: int, __: Request) -> Fault:
            arrived.set()
            return Slow(60.0)

        core = Faulty(Echo(), Faults(schedule=schedule), Random(1))
        started = asyncio.get_running_loop().time()
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
            async with serving(core) as url:
                pending = asyncio.create_task(client.post(f"{url}/logs/", json={}))
                await arrived.wait()
            with pytest.raises(httpx.TransportError):
                await pending
        return asyncio.get_running_loop().time() - started

    assert asyncio.run(run()) < 10


def test_many_clients_at_once() -> None:
    """Each gets its own answer."""

    async def run() -> list[str]:
        async with serving(Echo()) as url, httpx.AsyncClient(trust_env=False) as client:
            calls = (client.post(f"{url}/{n}", content=str(n)) for n in range(50))
            return [response.text for response in await asyncio.gather(*calls)]

    texts = asyncio.run(run())
    assert texts == [f"POST /{n} ()  {n}" for n in range(50)]


def test_all_addresses_of_a_machine() -> None:
    """As a container needs it."""

    async def run() -> str:
        async with serving(Echo(), host="0.0.0.0") as url, httpx.AsyncClient() as client:
            assert url.startswith("http://0.0.0.0:")
            port = url.rpartition(":")[2]
            return (await client.post(f"http://127.0.0.1:{port}/a", content="b")).text

    assert asyncio.run(run()) == "POST /a ()  b"


def test_a_taken_port_is_a_clear_error() -> None:
    """It names the place and a way out."""

    async def run() -> None:
        async with serving(Echo()) as url:
            port = int(url.rpartition(":")[2])
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot listen"):
                await serving(Echo(), port).__aenter__()

    asyncio.run(run())


def test_signals_are_left_to_whoever_runs_it() -> None:
    """The server installs no handlers of its own."""

    async def run() -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        async with serving(Echo()) as url, httpx.AsyncClient(trust_env=False) as client:
            await client.post(url)
            during = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        assert before == during

    asyncio.run(run())
