"""Where a syslog receiver listens, and what is said when it cannot be reached."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from bridge.destinations.link import Link, connected
from bridge.destinations.otlp_answer import NOT_REACHED, excerpt, one_line
from bridge.destinations.tls import Renewable, Tls, refusal_in
from bridge.errors import ConfigError, network_error_in
from bridge.model import Outcome, Verdict

Scheme = Literal["udp", "tcp", "tls", "relp", "relps"]

SCHEMES: Final = ("udp", "tcp", "tls", "relp", "relps")
_OVER_TLS: Final = frozenset({"tls", "relps"})
_USUAL_PORTS: Final = {"udp": 514, "tls": 6514}
"""RFC 5426, 3.3, and RFC 5425, 4.1; the others have no port of their own."""
_SETTLE: Final = 0.5
"""Seconds that a new TLS 1.3 connection has to be turned away before anything is sent on it."""
_EXAMPLE: Final = "such as tcp://logs.example.com:514 or relp://localhost:2514"


class Endpoint(Struct, frozen=True):
    """A syslog receiver's address; ``url`` is how it is shown."""

    scheme: Scheme
    host: str
    port: int

    @property
    def url(self) -> str:
        """As it is configured."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def over_tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme in _OVER_TLS

    @property
    def acknowledged(self) -> bool:
        """Whether the receiver confirms each message; else delivery is best effort."""
        return self.scheme in {"relp", "relps"}


def parse_endpoint(text: str) -> Endpoint:
    """Read ``scheme://host[:port]``.

    Raises:
        ConfigError: it is none, or says more than that.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"cannot read the endpoint: {error}", hint=_EXAMPLE) from error
    if parts.scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ConfigError(
            "a syslog endpoint begins with one of " + schemes, where=_shown(text), hint=_EXAMPLE
        )
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment or "@" in text:
        raise ConfigError(
            "a syslog endpoint is a scheme, a host and a port", where=_shown(text), hint=_EXAMPLE
        )
    port = port or _USUAL_PORTS.get(parts.scheme)
    if port is None:
        raise ConfigError("the endpoint names no port", where=_shown(text), hint=_EXAMPLE)
    return Endpoint(cast("Scheme", parts.scheme), parts.hostname, port)


class Failed(Exception):
    """A send that came to nothing; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.reason)

    def after(self, *, progress: bool) -> Failed:
        """The same, told of a try that got somewhere before it failed, or of one that did not."""
        progress = progress and self.outcome.verdict is Verdict.RETRY
        return Failed(replace(self.outcome, progress=progress))


class Dialer:
    """Connects to one endpoint and puts into words what becomes of its connections."""

    def __init__(self, endpoint: Endpoint, tls: Tls) -> None:
        """Prepare; nothing is opened yet.

        Raises:
            ConfigError: a certificate file cannot be used.
        """
        self.endpoint = endpoint
        self._trust = Renewable(tls) if endpoint.over_tls else None
        self._server_name = tls.server_name_override
        self._shows_certificate = tls.cert_file is not None

    async def dial(self, seconds: float) -> Link:
        """Connect within so many seconds, by TLS files as they are now.

        Raises:
            Failed: no connection.
        """
        host, port = self.endpoint.host, self.endpoint.port
        if self._trust is not None:
            self._trust.renew()
        trust = self._trust.context if self._trust is not None else None
        try:
            async with asyncio.timeout(seconds) as limit:
                link = await connected(host, port, trust, self._server_name)
        except OSError as error:
            if limit.expired():
                raise self.silent("no connection to", seconds) from error
            raise self.failure(error, mend=f" ({NOT_REACHED})") from error
        if self.endpoint.over_tls and (link.ended or link.is_tls_1_3):
            await self._let_settle(link)
        return link

    async def _let_settle(self, link: Link) -> None:
        """Wait for a receiver to turn this client away; writing first would hide its alert."""
        kept = False
        try:
            await link.settled(_SETTLE)
            if link.ended:
                raise self.turned_away(link)
            kept = True
        finally:
            if not kept:
                link.abort()

    def failure(self, error: Exception, mend: str = "") -> Failed:
        """What an error of the network comes to: a refused certificate holds, others pass."""
        if refusal := refusal_in(error):
            return self._failed(Verdict.BLOCKED, f"TLS with {self.endpoint.url}: {refusal}")
        why = network_error_in(error) or str(error) or type(error).__name__
        return self._failed(Verdict.RETRY, f"no connection to {self.endpoint.url}: {why}{mend}")

    def closing(self) -> Failed:
        """What it comes to that a receiver says it closes."""
        return self._failed(Verdict.RETRY, f"{self.endpoint.url} closes the session")

    def ended(self, link: Link) -> Failed:
        """What the end of a connection in use comes to."""
        if link.error is not None:
            return self.failure(link.error)
        return self._failed(Verdict.RETRY, f"{self.endpoint.url} closed the connection")

    def turned_away(self, link: Link) -> Failed:
        """What the end of a connection comes to before anything was said on it.

        Over TLS 1.3 a client learns only now that its certificate was missed or refused
        (RFC 8446, 4.4.2), and some receivers close without the alert that would say so.
        """
        failed = self.ended(link)
        if not self.endpoint.over_tls or failed.outcome.verdict is Verdict.BLOCKED:
            return failed
        asked = "not accept this client's" if self._shows_certificate else "demand a client"
        return self._failed(
            Verdict.BLOCKED,
            f"{failed.outcome.reason} right after the TLS handshake: it may {asked} certificate "
            "(tls.cert_file)",
        )

    def silent(self, what: str, seconds: float, *, own_fault: bool = False) -> Failed:
        """What it comes to that something did not happen in time."""
        why = f"{what} {self.endpoint.url} within {seconds:g} s"
        return self._failed(Verdict.RETRY, why, own_fault=own_fault)

    def blocked(self, why: str) -> Failed:
        """What it comes to that the receiver is not what it should be."""
        return self._failed(Verdict.BLOCKED, f"{self.endpoint.url} {why}")

    def refused(self, why: str) -> Failed:
        """What it comes to that the receiver did not accept a message."""
        reason = one_line(f"{self.endpoint.url} {why}")
        return Failed(Outcome(Verdict.RETRY, reason, own_fault=True, answer=excerpt(why)))

    def _failed(self, verdict: Verdict, reason: str, *, own_fault: bool = False) -> Failed:
        return Failed(Outcome(verdict, one_line(reason), own_fault=own_fault))


def _shown(text: str) -> str:
    """An endpoint without a user and password."""
    return one_line(text.rpartition("@")[2])
