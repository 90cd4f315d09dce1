"""Syslog over TCP and TLS (RFC 6587, RFC 5425): no answers, so delivery is best effort."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Final, Literal

from bridge.destinations.endpoint import Dialer
from bridge.destinations.link import Link

Framing = Literal["octet-counting", "lf"]

_CHUNK: Final = 65_536
"""Bytes that are written together."""


def framed(message: bytes, framing: Framing) -> bytes:
    """A message as TCP carries it (RFC 6587, 3.4.1 and 3.4.2)."""
    return b"%d %s" % (len(message), message) if framing == "octet-counting" else message + b"\n"


class Stream:
    """One connection; messages are written to it and nothing is heard."""

    def __init__(self, dialer: Dialer, framing: Framing) -> None:
        """Prepare; nothing is opened yet."""
        self._dialer = dialer
        self._framing = framing
        self._link: Link | None = None

    async def carry(self, messages: Iterator[bytes], seconds: float) -> bool:
        """See `Carrier.carry`: until the other machine has taken all and the connection lives.

        After any failure the connection is given up: where it broke off, nobody knows.
        """
        done = False
        try:
            link = await self._connected(seconds)
            for chunk in _chunks(messages, self._framing):
                link.write(chunk)
                await self._within(seconds, link.flushed())
                link.take()
                await asyncio.sleep(0)
            await self._within(seconds, link.taken())
            if link.ended:
                raise self._dialer.ended(link)
            done = True
        finally:
            if not done:
                self._abandon()
        return True

    async def close(self) -> None:
        """See `Carrier.close`."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _connected(self, seconds: float) -> Link:
        """The connection, a new one where there is none that lives."""
        if self._link is not None:
            await self._link.settled(0)
            if not self._link.ended:
                return self._link
            self._abandon()
        self._link = await self._dialer.dial(seconds)
        return self._link

    async def _within(self, seconds: float, waiting: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError as error:
            raise self._dialer.silent("nothing more was taken by", seconds) from error

    def _abandon(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abort()


def _chunks(messages: Iterator[bytes], framing: Framing) -> Iterator[bytes]:
    """Framed messages, some together."""
    together: list[bytes] = []
    size = 0
    for message in messages:
        together.append(framed(message, framing))
        size += len(together[-1])
        if size >= _CHUNK:
            yield b"".join(together)
            together, size = [], 0
    if together:
        yield b"".join(together)
