"""OTLP over HTTP, in protobuf (OTLP specification 1.11, "OTLP/HTTP")."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ssl import SSLContext
from typing import Final, Literal

import httpx

from bridge import __version__
from bridge.destinations.otlp_answer import one_line, read_answer, shown
from bridge.destinations.tls import Tls, context, network_error_in, refusal_in
from bridge.errors import ConfigError, proxy_error
from bridge.model import Outcome, Verdict
from bridge.payload import Request

Compression = Literal["gzip", "none"]

LARGEST_ANSWER: Final = 4 * 1_048_576
"""Bytes of an answer that are read (OTLP specification, "OTLP/HTTP Response")."""

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SHORTEST_SECRET: Final = 6


class OtlpHttp:
    """One OTLP/HTTP endpoint; connections are kept and used again.

    Redirects are not followed, since a POST would arrive as a GET: they block, by name.
    Proxies come from the usual variables.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        *,
        compression: Compression,
        timeout: float,
        tls: Tls | SSLContext,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            name: The configured name.
            url: The whole URL that logs are posted to.
            headers: Sent with every request; their values are taken as secrets.
            compression: ``gzip`` sends the stored bytes as they are.
            timeout: Seconds for one send from first to last, connecting included.
            tls: How to trust the endpoint.
            transport: Stands in for the network.

        Raises:
            ConfigError: a header, a certificate file or the environment's proxy cannot be used.
        """
        self._name = name
        self._url = url
        self._gzip = compression == "gzip"
        self._timeout = timeout
        self._secrets = tuple(_secrets(headers))
        override = tls.server_name_override if isinstance(tls, Tls) else None
        self._extensions = {"sni_hostname": override} if override else {}
        sent, trust = self._headers(headers), context(tls) if isinstance(tls, Tls) else tls
        try:
            self._client = httpx.AsyncClient(
                headers=sent,
                verify=trust,
                timeout=timeout,
                follow_redirects=False,
                transport=transport,
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise proxy_error(error) from error

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._name

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        seconds = self._timeout * request.patience
        try:
            # The client's own timeout starts anew with every byte; this one does not.
            async with asyncio.timeout(seconds):
                return await self._post(request.gzip if self._gzip else request.raw, seconds)
        except (TimeoutError, httpx.TimeoutException):
            why = f"no answer from {shown(self._url)} within {seconds:g} s"
            return Outcome(Verdict.RETRY, why, own_fault=True)
        except Exception as error:  # noqa: BLE001 - httpx lets TLS and stream errors of others through
            return self._failure(error)

    async def aclose(self) -> None:
        """See `Destination.aclose`."""
        await self._client.aclose()

    async def _post(self, content: bytes, seconds: float) -> Outcome:
        async with self._client.stream(
            "POST", self._url, content=content, timeout=seconds, extensions=self._extensions
        ) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    del body[LARGEST_ANSWER:]
                    break
        answered = {name: self._masked(value) for name, value in response.headers.items()}
        return read_answer(response.status_code, answered, self._masked_bytes(body), self._url)

    def _failure(self, error: Exception) -> Outcome:
        """No answer: the network's trouble passes, a refused certificate or setting does not."""
        if refusal := refusal_in(error):
            outcome = Outcome(Verdict.BLOCKED, f"TLS with {shown(self._url)}: {refusal}")
        elif isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
            # Their texts quote the request, headers included.
            outcome = Outcome(
                Verdict.BLOCKED,
                f"a request to {shown(self._url)} cannot be made ({type(error).__name__}): "
                "check its URL and headers",
            )
        elif isinstance(error, (httpx.TransportError, OSError)):
            said = network_error_in(error) or str(error)
            why = f"{type(error).__name__}{': ' if said else ''}{said}"
            outcome = Outcome(Verdict.RETRY, f"no answer from {shown(self._url)}: {why}")
        else:
            outcome = Outcome(
                Verdict.BLOCKED,
                f"a request to {shown(self._url)} failed: {type(error).__name__}: {error}",
            )
        return replace(outcome, reason=one_line(self._masked(outcome.reason)))

    def _headers(self, given: Mapping[str, str]) -> httpx.Headers:
        """The configured headers, under the ones that the protocol sets."""
        for name, value in given.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or value != value.strip():
                raise ConfigError(
                    f"header {one_line(name)!r} cannot be sent over HTTP",
                    where=f"destination {self._name}",
                    hint="no line breaks, no spaces around the value, Latin-1 characters only",
                )
        headers = httpx.Headers(
            [(name.encode("ascii"), value.encode("latin-1")) for name, value in given.items()]
        )
        headers["Content-Type"] = "application/x-protobuf"
        headers["User-Agent"] = f"fal-log-bridge/{__version__}"
        headers["Accept-Encoding"] = "identity"
        headers.pop("Content-Encoding", None)
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
        return headers

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "*" * len(secret))
        return text

    def _masked_bytes(self, body: bytearray) -> bytes:
        """The same in an answer; equal length keeps its protobuf readable."""
        masked = bytes(body)
        for secret in self._secrets:
            for form in {secret.encode("latin-1"), secret.encode()}:
                masked = masked.replace(form, b"*" * len(form))
        return masked


def _secrets(headers: Mapping[str, str]) -> Iterator[str]:
    """What an answer must not be quoted with: header values, and the credential of a scheme."""
    for value in headers.values():
        credential = value.rpartition(" ")[2]
        yield from (secret for secret in (value, credential) if len(secret) >= _SHORTEST_SECRET)
