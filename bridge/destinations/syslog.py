"""Syslog: RFC 5424 messages over UDP, TCP, TLS or RELP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from msgspec.structs import replace

from bridge.destinations.datagram import LARGEST, Datagrams
from bridge.destinations.endpoint import Dialer, Failed, parse_endpoint
from bridge.destinations.relp import WINDOW, Relp
from bridge.destinations.rfc5424 import Layout, messages
from bridge.destinations.stream import Framing, Stream
from bridge.destinations.tls import Tls
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict
from bridge.payload import Request


class Carrier(Protocol):
    """One way to carry messages; used by one task at a time."""

    async def carry(self, messages: Iterator[bytes], seconds: float) -> bool:
        """Return once all of them are with the receiver, as far as the protocol can tell.

        False if there was nothing to be sent, since it had acknowledged all of them before.

        Raises:
            Failed: they are not.
        """
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class Syslog:
    """One syslog receiver and the one connection to it; requests take turns.

    ``acknowledged`` says what DELIVERED means: over RELP, that the receiver confirmed every
    message; over UDP, TCP and TLS, which have no answer, that they were handed over and that no
    end of the connection was seen. That is best effort: what a receiver had in its memory when it
    died is lost.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        *,
        layout: Layout,
        timeout: float,
        tls: Tls,
        framing: Framing = "octet-counting",
        window: int = WINDOW,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            name: The configured name.
            endpoint: ``udp://``, ``tcp://``, ``tls://``, ``relp://`` or ``relps://``, host, port.
            layout: What goes where in a message.
            timeout: Seconds to connect, and seconds without any progress while sending.
            tls: How to trust a ``tls://`` or ``relps://`` receiver.
            framing: How ``tcp://`` and ``tls://`` tell messages apart.
            window: Messages that may be unacknowledged over RELP.

        Raises:
            ConfigError: the endpoint or a certificate file cannot be used, or a message could be
                too large for a datagram.
        """
        self._name = name
        self._timeout = timeout
        self._turn = asyncio.Lock()
        dialer = Dialer(parse_endpoint(endpoint), tls)
        self._acknowledged = dialer.endpoint.acknowledged
        by_lines = framing == "lf" and dialer.endpoint.scheme in {"tcp", "tls"}
        self._layout = replace(layout, line_breaks=False) if by_lines else layout
        self._carrier: Carrier
        if dialer.endpoint.acknowledged:
            self._carrier = Relp(dialer, window)
        elif dialer.endpoint.scheme == "udp":
            if layout.max_message_bytes > LARGEST:
                raise ConfigError(
                    f"a datagram cannot hold max_message_bytes {layout.max_message_bytes}",
                    where=f"destination {name}",
                    hint=f"at most {LARGEST} over UDP",
                )
            self._carrier = Datagrams(dialer)
        else:
            self._carrier = Stream(dialer, framing)

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._name

    @property
    def acknowledged(self) -> bool:
        """Whether the receiver confirms what it took; else delivery is best effort."""
        return self._acknowledged

    def too_large(self, request: Request) -> Outcome | None:  # noqa: ARG002 - messages are cut
        """See `Destination.too_large`."""
        return None

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        patience = self._timeout * request.patience
        return await self._carried(messages(request.raw, self._layout), patience)

    async def probe(self) -> Outcome:
        """See `Destination.probe`: connects, over RELP with an ``open`` that is answered."""
        outcome = await self._carried(iter(()), self._timeout)
        if outcome.verdict is Verdict.DELIVERED and isinstance(self._carrier, Datagrams):
            return replace(outcome, reason="over UDP nothing tells whether anybody listens")
        return outcome

    async def aclose(self) -> None:
        """See `Destination.aclose`."""
        async with self._turn:
            await self._carrier.close()

    async def _carried(self, carried: Iterator[bytes], seconds: float) -> Outcome:
        async with self._turn:
            try:
                sent = await self._carrier.carry(carried, seconds)
            except Failed as failed:
                return failed.outcome
        return Outcome(Verdict.DELIVERED, unsent=not sent)
