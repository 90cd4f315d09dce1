"""A core behind an httpx client in the same process, on an injected clock.

No threads, no sockets, no real time: waits are `Clock.sleep`, broken connections are the httpx
exceptions that a socket would have raised, and a read timeout of the client holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx

from bridge.clock import Clock
from bridge.simulator.exchange import Answer, Core, Drop, Request

_CHUNK: Final = 64 * 1024


def _no_time() -> float:
    return 0.0


class CoreTransport(httpx.AsyncBaseTransport):
    """Carries requests to a core.

    ``latency`` gives the seconds that a request takes to reach the core, asked once a request.
    """

    def __init__(self, core: Core, clock: Clock, latency: Callable[[], float] = _no_time) -> None:
        self._core = core
        self._clock = clock
        self._latency = latency

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request there and its answer back.

        Raises:
            httpx.ConnectError: the connection was dropped before the request was handled.
            httpx.ReadError: it was dropped after that.
            httpx.ReadTimeout: the first byte took longer than the client waits.
        """
        body = await request.aread()
        patience = request.extensions.get("timeout", {}).get("read")
        latency = self._latency()
        await self._wait(latency, patience, request)
        answer = self._core.answer(_request(request, body))
        remaining = None if patience is None else patience - latency
        await self._wait(answer.delay, remaining, request)
        if answer.drop is Drop.BEFORE:
            raise httpx.ConnectError("simulated: connection refused", request=request)
        if answer.drop is Drop.AFTER:
            raise httpx.ReadError("simulated: connection reset", request=request)
        return _response(request, answer)

    async def _wait(self, seconds: float, patience: float | None, request: httpx.Request) -> None:
        if patience is not None and seconds > patience:
            await self._clock.sleep(patience)
            raise httpx.ReadTimeout("simulated: no answer in time", request=request)
        await self._clock.sleep(seconds)


class _Stream(httpx.AsyncByteStream):
    """A body in chunks, broken off where the answer is cut."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = self._answer.body[: self._answer.cut]
        for at in range(0, len(body), _CHUNK):
            yield body[at : at + _CHUNK]
        if self._answer.cut is not None:
            raise httpx.RemoteProtocolError(
                "simulated: peer closed connection without sending complete message body"
            )


def _request(request: httpx.Request, body: bytes) -> Request:
    return Request(
        method=request.method,
        path=request.url.path,
        query=tuple(request.url.params.multi_items()),
        headers=tuple((key.lower(), value) for key, value in request.headers.multi_items()),
        body=body,
    )


def _response(request: httpx.Request, answer: Answer) -> httpx.Response:
    length = () if answer.status == 204 else (("content-length", str(len(answer.body))),)  # noqa: PLR2004 - No Content has no length
    return httpx.Response(
        answer.status,
        headers=[*answer.headers, *length],
        stream=_Stream(answer),
        request=request,
    )
