"""Syslog over UDP (RFC 5426): one message a datagram, no answers, so delivery is best effort."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Final

from bridge.destinations.endpoint import Dialer
from bridge.destinations.otlp_answer import NOT_REACHED

LARGEST: Final = 65_507
"""Bytes that a datagram can hold: 65,535 less the headers of IP and UDP."""

_BURST: Final = 32
"""Messages that are sent without a pause."""
_PAUSE: Final = 0.001
"""Seconds between bursts, for a receiver to empty its buffer."""
_GLANCE: Final = 0.02
"""Seconds in which a machine that has no receiver says so (ICMP, port unreachable)."""


class Datagrams:
    """A connected socket, so that the system tells when nobody listens."""

    def __init__(self, dialer: Dialer) -> None:
        """Prepare; nothing is opened yet."""
        self._dialer = dialer
        self._socket: socket.socket | None = None

    async def carry(self, messages: Iterator[bytes], seconds: float) -> bool:
        """See `Carrier.carry`: until all are sent and no refusal has come back."""
        done = False
        try:
            async with asyncio.timeout(seconds) as limit:
                opened = await self._opened()
                await self._send_all(opened, messages, limit)
            done = True
        except OSError as error:
            if limit.expired():
                raise self._dialer.silent("nothing more was taken for", seconds) from error
            if error.errno == errno.EMSGSIZE:
                raise self._dialer.blocked(
                    "cannot be sent so large a datagram: lower max_message_bytes"
                ) from error
            raise self._dialer.failure(error, mend=f" ({NOT_REACHED})") from error
        finally:
            if not done:
                await self.close()
        return True

    async def close(self) -> None:
        """See `Carrier.close`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _send_all(
        self, opened: socket.socket, messages: Iterator[bytes], limit: asyncio.Timeout
    ) -> None:
        loop = asyncio.get_running_loop()
        seconds = (limit.when() or 0.0) - loop.time()
        for number, message in enumerate(messages, start=1):
            await loop.sock_sendall(opened, message)
            if number % _BURST == 0:
                limit.reschedule(loop.time() + seconds)
                await asyncio.sleep(_PAUSE)
        await asyncio.sleep(_GLANCE)
        if refusal := opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(refusal, "")

    async def _opened(self) -> socket.socket:
        """The socket, connected to the first address of the host that can be."""
        if self._socket is not None:
            return self._socket
        host, port = self._dialer.endpoint.host, self._dialer.endpoint.port
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        unreachable = OSError(errno.EADDRNOTAVAIL, "")
        for family, kind, protocol, _, address in found:
            opened = socket.socket(family, kind, protocol)
            opened.setblocking(False)
            try:
                opened.connect(address)
            except OSError as error:
                opened.close()
                unreachable = error
            else:
                self._socket = opened
                return opened
        raise unreachable
