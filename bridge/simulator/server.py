"""A core on a port: Starlette reads the request, uvicorn speaks HTTP/1.1.

Broken connections are real: a dropped one is aborted without a byte of answer, a truncated one
closes in the middle of a body whose ``Content-Length`` promised more.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from msgspec import Struct, field
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from bridge.errors import ConfigError
from bridge.simulator.exchange import Answer, Core, Request

LOOPBACK: Final = "127.0.0.1"
_TRANSPORT: Final = "transport"


class Application(Struct, frozen=True):
    """The ASGI application over a core; once ``closing`` is set no answer is waited for."""

    core: Core
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        incoming = HttpRequest(scope, receive)
        transport: asyncio.Transport = scope["state"][_TRANSPORT]
        answer = self.core.answer(await _request(incoming))
        if answer.delay:
            await self._wait(answer.delay)
        if answer.drop or self.closing.is_set():
            transport.abort()
        else:
            await _send(answer, send)
        if answer.cut is not None:
            transport.close()
        if transport.is_closing():
            await _gone(receive)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return


async def _request(incoming: HttpRequest) -> Request:
    return Request(
        method=incoming.method,
        path=incoming.url.path,
        query=tuple(incoming.query_params.multi_items()),
        headers=tuple(incoming.headers.items()),
        body=await incoming.body(),
    )


async def _send(answer: Answer, send: Send) -> None:
    """Send an answer, or its beginning: without ``more_body`` the promise stays unkept."""
    headers = [(key.lower().encode(), value.encode()) for key, value in answer.headers]
    if answer.status != 204:  # noqa: PLR2004 - No Content has no length (RFC 9110, 8.6)
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    whole = answer.cut is None
    body = answer.body[: answer.cut]
    await send({"type": "http.response.body", "body": body, "more_body": not whole})


async def _gone(receive: Receive) -> None:
    """Wait until the server has noticed the end of the connection, so that it reports no error."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Protocol(H11Protocol):
    """Shows the application the connection it serves, in the state of the request's scope."""

    def connection_made(  # type: ignore[override] # as in uvicorn itself
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(core: Core, port: int = 0, host: str = LOOPBACK) -> AsyncIterator[str]:
    """Serve a core, on loopback unless told otherwise; port 0 takes any free one.

    Yields:
        Its base URL.

    Raises:
        ConfigError: the address cannot be had.
    """
    listener = _listener(host, port)
    application = Application(core)
    server = _Server(
        uvicorn.Config(
            application,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]), name="simulated server")
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        application.closing.set()
        server.should_exit = True
        await task


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # connections wait here until the server takes them
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen: {error.strerror or error}",
            where=f"{host}:{port}",
            hint="choose another port, or 0 for any free one",
        ) from error
    return listener
