"""One TCP or TLS connection: it knows at any moment whether it has ended, and why."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from ssl import SSLContext, SSLObject
from typing import Final, cast

_GLANCE: Final = 0.005
"""Seconds between two looks at what the other machine has taken."""
_FAREWELL: Final = 1.0
"""Seconds that the other side has to see a connection end orderly."""
_PIECE: Final = 16_384
"""Bytes that are read together of what is left; TLS always has room for them."""
_READ_AHEAD: Final = 262_144
"""Bytes that are kept unread at most; a peer that says more is not listened to any further."""


class Link(asyncio.Protocol):
    """What came in, whether more may be written, and whether the connection has ended.

    For one task at a time. ``error`` is why it ended, None where the other side ended it orderly.
    """

    def __init__(self) -> None:
        self.ended = False
        self.error: Exception | None = None
        self._raw: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None
        self._incoming = bytearray()
        self._news = asyncio.Event()
        self._paused = False
        self._gone = asyncio.Event()

    @property
    def has_unread(self) -> bool:
        """Whether something has come in that was not taken."""
        return bool(self._incoming)

    @property
    def is_tls_1_3(self) -> bool:
        """Whether the client's certificate is only looked at after its handshake is over."""
        tls: SSLObject | None = self._own().get_extra_info("ssl_object")
        return tls is not None and tls.version() == "TLSv1.3"

    def write(self, data: bytes) -> None:
        """Hand over bytes; see `flushed`. They are dropped where the connection is ending."""
        if not (self.ended or self._own().is_closing()):
            self._own().write(data)

    def take(self) -> bytes:
        """What has come in since the last call, perhaps nothing."""
        data = bytes(self._incoming)
        self._incoming.clear()
        return data

    async def flushed(self) -> None:
        """Wait until this machine has taken everything, or the connection has ended."""
        await self._until(lambda: not self._paused)

    async def heard(self) -> None:
        """Wait until something has come in, or the connection has ended."""
        await self._until(lambda: bool(self._incoming))

    async def taken(self) -> None:
        """Wait until the other machine has taken everything, or the connection has ended.

        Its kernel has then; whether its program ever reads it, only an answer could say.
        """
        await self.flushed()
        while not self.ended and self._on_its_way():
            await self.settled(_GLANCE)
        await self.settled(0)

    async def settled(self, seconds: float) -> None:
        """Wait that long, or until the connection has ended; what has come in meanwhile is seen."""
        try:
            async with asyncio.timeout(seconds):
                await self._until(lambda: False)
        except TimeoutError:
            # A task goes on before what the socket has to say in the same turn of the loop.
            await asyncio.sleep(0)

    def abort(self) -> None:
        """End it at once; what was not written yet is dropped."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End it orderly, and soon in any case."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._gone.wait()
        except TimeoutError:
            self.abort()

    async def secure(self, tls: SSLContext, server_name: str) -> None:
        """Speak TLS from now on; the connection may have ended with the end of the handshake.

        Raises:
            OSError: the handshake failed; an `ssl.SSLError` if a certificate was refused.
        """
        loop = asyncio.get_running_loop()
        over = await loop.start_tls(self._own(), self, tls, server_hostname=server_name)
        if over is None:  # it has ended again already; let `connection_lost` say why
            await asyncio.sleep(0)
            self._end(None)
            return
        # TLS's transport pauses at its limit, where others do beyond it.
        over.set_write_buffer_limits(high=1, low=0)
        self._transport = over
        assert self._raw is not None  # noqa: S101 - it is what TLS was just begun on
        self._raw.set_protocol(_Underneath(self._raw))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._raw = self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        opened: socket.socket = transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if len(self._incoming) < _READ_AHEAD:
            self._incoming += data
        self._news.set()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`: a side that says no more is taken for gone."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`; what the other side said before a failed write is kept."""
        if exc is not None and self._raw is not None and self._raw is self._transport:
            for data in _left(self._raw):
                self.data_received(data)
        self._end(exc)
        self._gone.set()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._paused = False
        self._news.set()

    def _on_its_way(self) -> bool:
        raw = self._raw
        if raw is None or raw.get_write_buffer_size():
            return raw is not None
        return _unacknowledged(raw.get_extra_info("socket")) > 0

    def _own(self) -> asyncio.Transport:
        assert self._transport is not None  # noqa: S101 - a link is only given out connected
        return self._transport

    def _end(self, error: Exception | None) -> None:
        self.ended = True
        self.error = self.error or error
        self._news.set()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not (self.ended or holds()):
            self._news.clear()
            await self._news.wait()


class _Underneath(asyncio.BufferedProtocol):
    """What stands between a transport and the TLS on it.

    A failed write ends a connection with what came in before unread: TLS is given that, too.
    """

    def __init__(self, raw: asyncio.Transport) -> None:
        self._raw = raw
        self._tls = cast("asyncio.BufferedProtocol", raw.get_protocol())

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._tls.get_buffer(sizehint))

    def buffer_updated(self, nbytes: int) -> None:
        self._tls.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        return self._tls.eof_received()

    def pause_writing(self) -> None:
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        self._tls.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            for data in _left(self._raw):
                self.get_buffer(len(data))[: len(data)] = data
                self._tls.buffer_updated(len(data))
        self._tls.connection_lost(exc)


async def connected(
    host: str, port: int, tls: SSLContext | None, server_name: str | None = None
) -> Link:
    """Connect, TLS handshake included.

    Args:
        host: A name or an address.
        port: The TCP port.
        tls: How to speak TLS, None for plain TCP.
        server_name: The name that the certificate is for, where it is not the host.

    Raises:
        OSError: no connection; an `ssl.SSLError` among them.
    """
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(Link, host, port)
    try:
        if tls is not None:
            await link.secure(tls, server_name or host)
    except BaseException:
        link.abort()
        raise
    return link


def _left(raw: asyncio.Transport) -> Iterator[bytes]:
    """What has come in on a connection that is lost and was not read (its socket is still open).

    Linux keeps it, also from a reset.
    """
    kept: socket.socket = raw.get_extra_info("socket")
    with suppress(OSError):
        while data := os.read(kept.fileno(), _PIECE):
            yield data


def _unacknowledged(opened: socket.socket) -> int:
    """Bytes that the other machine has not acknowledged (tcp(7), SIOCOUTQ); 0 if unknown."""
    try:
        answer = fcntl.ioctl(opened.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0
    count: int = struct.unpack("i", answer)[0]
    return count
