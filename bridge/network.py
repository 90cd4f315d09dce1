"""HTTP over asyncio's own connections: what every client of the bridge is built with.

httpx's own way to the network costs twice as much CPU for large answers: 64 KiB at a time, cut from
what came in, through a second framework (docs/decisions/0025). Only that is replaced here, by the
public means of httpx and httpcore; requests, pooling and HTTP/1.1 stay theirs, and so does the way
through a proxy.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from http.cookiejar import CookieJar
from typing import Any, Final, NoReturn, cast

import httpcore
import httpx

from bridge.errors import proxy_error

UNREAD: Final = 1_048_576
"""Bytes that may have come in unread before a connection stops listening; a page is as large."""
_NEXT_ADDRESS: Final = 0.25
"""Seconds that one address of a host is tried before the next joins in (RFC 8305, 5)."""

_TOO_EARLY: Final = "an answer came before its request"

_POOLED: Final = 100
_KEPT: Final = 20
_KEPT_FOR: Final = 5.0
"""A pool's connections, those of them that may be idle, and seconds that they may: as httpx's."""


def client(
    network: ssl.SSLContext | httpx.AsyncBaseTransport,
    *,
    headers: Mapping[str, str],
    timeout: httpx.Timeout | float,
    on_response: Sequence[Callable[[httpx.Response], Awaitable[None]]] = (),
) -> httpx.AsyncClient:
    """A pooled client that follows no redirect, keeps no cookie and obeys the proxy variables.

    Args:
        network: How to trust servers, or what stands in for the network.
        headers: Sent with every request.
        timeout: In seconds, for each step.
        on_response: Called with each answer's head.

    Raises:
        ConfigError: the environment's proxy cannot be used.
    """
    direct = Direct(network) if isinstance(network, ssl.SSLContext) else None
    try:
        return httpx.AsyncClient(
            headers=headers,
            timeout=timeout,
            cookies=_NoCookies(),
            follow_redirects=False,
            event_hooks={"response": list(on_response)},
            verify=network if isinstance(network, ssl.SSLContext) else True,
            transport=None if isinstance(network, ssl.SSLContext) else network,
            # Where a proxy variable has something to say on a URL, its mount comes before this.
            mounts={"all://*": direct} if direct else None,
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise proxy_error(error) from error


class Direct(httpx.AsyncBaseTransport):
    """The way to servers without a proxy."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=_POOLED,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_FOR,
            network_backend=_Network(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        url = request.url
        with _errors_of_httpx():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=cast("httpx.AsyncByteStream", request.stream),
                    extensions=request.extensions,
                )
            )
            await _check_asked(answer)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=dict(answer.extensions),
        )

    async def aclose(self) -> None:
        """See `httpx.AsyncBaseTransport`."""
        await self._pool.aclose()


async def _check_asked(answer: httpcore.Response) -> None:
    """Refuse an answer of which nothing came after its request: it was another one's surplus.

    httpcore keeps what comes behind an answer for the next one, so that a server which answers once
    too often would acknowledge what it never saw.
    """
    stream = answer.extensions["network_stream"]
    if isinstance(stream, Connection) and not stream.heard:
        await answer.aclose()
        await stream.aclose()
        raise httpcore.RemoteProtocolError(_TOO_EARLY)


class _Body(httpx.AsyncByteStream):
    """An answer's body as it comes."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _NoCookies(CookieJar):
    """What a server wants kept is none of the bridge's business."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Take nothing."""

    def add_cookie_header(self, request: object) -> None:
        """Give nothing."""


class _Network(httpcore.AsyncNetworkBackend):
    """Connects by asyncio."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`; several addresses are tried side by side."""
        how = (timeout, local_address, socket_options or ())
        connecting = asyncio.ensure_future(self._connect(host, port, *how))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            # Cancelled in its last turns, asyncio would forget the connection that it has made.
            connecting.add_done_callback(_let_go)
            raise

    async def sleep(self, seconds: float) -> None:
        """See `httpcore.AsyncNetworkBackend`."""
        await asyncio.sleep(seconds)

    async def _connect(
        self,
        host: str,
        port: int,
        seconds: float | None,
        local_address: str | None,
        options: Iterable[httpcore.SOCKET_OPTION],
    ) -> Connection:
        with _errors_of_httpcore(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(seconds):
                transport, connection = await asyncio.get_running_loop().create_connection(
                    Connection,
                    host,
                    port,
                    local_addr=(local_address, 0) if local_address else None,
                    happy_eyeballs_delay=_NEXT_ADDRESS,
                )
            for option in options:
                transport.get_extra_info("socket").setsockopt(*option)
        return connection


class Connection(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One TCP or TLS connection, which listens all the time and hands over whole what came in.

    What came before an error is read before it, since it may be the answer that explains it. What
    came before a request is no answer to it: ``heard`` says whether anything came since.
    """

    def __init__(self) -> None:
        self.heard = True
        self._transport: asyncio.Transport
        self._socket: socket.socket
        self._unread: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 - httpcore's interface; its HTTP/1.1 takes any size
        """See `httpcore.AsyncNetworkStream`; empty at the end. ``max_bytes`` cuts nothing."""
        if not (self._unread or self._ended):
            self._news.clear()
            await self._within(timeout, self._news, httpcore.ReadTimeout)
        self.heard = True
        data = b"".join(self._unread)
        self._unread.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._error and not data:
            self._broken(self._error)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's interface
        """See `httpcore.AsyncNetworkStream`: waits for room, not for what it writes itself."""
        if self.heard and self._unread:
            raise httpcore.RemoteProtocolError(_TOO_EARLY)
        self.heard = False
        await self._within(timeout, self._writable, httpcore.WriteTimeout)
        if self._ended:
            raise httpcore.WriteError(str(self._error or "the other side has ended it"))
        self._transport.write(buffer)

    async def aclose(self) -> None:
        """See `httpcore.AsyncNetworkStream`; to who still reads, it is no end of an answer."""
        self.abort()
        await asyncio.sleep(0)  # in which the loop lets go of the socket

    def abort(self) -> None:
        """Close it at once."""
        self._error = self._error or ConnectionAbortedError("closed by this side")
        self._ended = True
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkStream`."""
        if self._unread or self._ended:  # nothing that came in the open may pass for secured
            raise httpcore.ConnectError("the other side spoke or left before the TLS handshake")
        plain, loop = self._transport, asyncio.get_running_loop()
        try:
            with _errors_of_httpcore(httpcore.ConnectTimeout, httpcore.ConnectError):
                async with asyncio.timeout(timeout):
                    secured = await loop.start_tls(
                        plain, self, ssl_context, server_hostname=server_hostname
                    )
        except BaseException:
            plain.abort()
            raise
        if secured is None:  # it was over as soon as it was done
            raise httpcore.ConnectError("the other side ended it after the TLS handshake")
        self._transport = secured
        return self

    def get_extra_info(self, info: str) -> Any:
        """See `httpcore.AsyncNetworkStream`."""
        if info == "is_readable":  # asked of idle ones: has it ended, or said what nobody asked?
            return self._ended or bool(self._unread) or self._has_just_heard()
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return self._transport.get_extra_info(name)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._unread.append(data)
        self._size += len(data)
        if self._size >= UNREAD:
            self._paused = True
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`: a side that says no more is taken for gone."""
        self._ended = True
        self._news.set()
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._ended = True
        self._error = self._error or exc
        self._news.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.set()

    def _broken(self, error: Exception) -> NoReturn:
        """Raise it as httpcore's, which keeps the context of its errors but not their causes."""
        try:
            raise error  # noqa: TRY301 - an error's context is only set where it is being handled
        except Exception as why:
            raise httpcore.ReadError(str(why)) from why

    def _has_just_heard(self) -> bool:
        """Whether something has come in that the loop has not seen yet."""
        opened = self._socket.fileno()
        if opened < 0:
            return True
        look = select.poll()
        look.register(opened, select.POLLIN)
        return bool(look.poll(0))

    async def _within(
        self, seconds: float | None, event: asyncio.Event, late: type[httpcore.TimeoutException]
    ) -> None:
        if event.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError as error:
            if not event.is_set():  # in time is in time, however late the loop gets to it
                raise late from error


def _let_go(connecting: asyncio.Task[Connection]) -> None:
    """Close a connection that came when nobody wanted it any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().abort()


@contextmanager
def _errors_of_httpcore(
    late: type[httpcore.TimeoutException], failed: type[httpcore.NetworkError]
) -> Iterator[None]:
    """Name what asyncio raises as httpcore does."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except (OSError, UnicodeError) as error:  # the latter of what cannot be the name of a host
        raise failed(str(error)) from error


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Name httpcore's errors as httpx does, which has all of them by the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
