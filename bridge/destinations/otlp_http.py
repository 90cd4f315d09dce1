"""OTLP over HTTP, in protobuf or JSON (OTLP specification 1.11, "OTLP/HTTP")."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from ssl import SSLContext
from typing import Final, Literal, TypeAlias, cast

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from bridge import __version__, network
from bridge.coding import UndecodableError, decoded
from bridge.destinations.masking import Mask
from bridge.destinations.otlp_answer import NOT_REACHED, one_line, read_answer, shown
from bridge.destinations.otlp_body import Compression, coder, too_large
from bridge.destinations.tls import Renewable, Tls, refusal_in
from bridge.errors import ConfigError, network_error_in
from bridge.model import Outcome, Verdict
from bridge.payload import Request

Protocol: TypeAlias = Literal["http/protobuf", "http/json"]

LARGEST_ANSWER: Final = 4 * 1_048_576
"""Bytes of an answer that are read (OTLP specification, "OTLP/HTTP Response"), and of what they
decode to."""

_BROKEN: Final = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""A connection that was lost once there was one; the request may have been the cause."""

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TYPES: Final[dict[Protocol, str]] = {
    "http/protobuf": "application/x-protobuf",
    "http/json": "application/json",
}


_NO_ACCEPTANCE: Final = 300


class _Received(Struct):
    """What came of an answer so far; nothing before its status."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    @property
    def decides(self) -> bool:
        """Whether it says enough: half an acceptance does not, its rest may tell of refusals."""
        return self.whole or self.status >= _NO_ACCEPTANCE


class OtlpHttp:
    """One OTLP/HTTP endpoint; connections are kept and used again.

    Redirects are not followed, since a POST would arrive as a GET: they block, by name.
    Proxies come from the usual variables.
    """

    acknowledged: Final = True

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        *,
        compression: Compression,
        timeout: float,
        tls: Tls | SSLContext,
        protocol: Protocol = "http/protobuf",
        max_payload: int | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            name: The configured name.
            url: The whole URL that logs are posted to.
            headers: Sent with every request; their values are taken as secrets.
            compression: Of protobuf, ``gzip`` sends the stored bytes as they are.
            timeout: Seconds for one send from first to last, connecting included.
            tls: How to trust the endpoint.
            protocol: The encoding.
            max_payload: The most bytes of a body, before compression.
            transport: Stands in for the network.

        Raises:
            ConfigError: a header, a certificate file or the environment's proxy cannot be used,
                or zstd is not installed.
        """
        self._name = name
        self._url = url
        self._json = protocol == "http/json"
        self._stored = protocol == "http/protobuf" and compression == "gzip"
        self._code = coder(compression, name=name)
        self._max_payload = max_payload
        self._timeout = timeout
        self._mask = Mask(headers)
        override = tls.server_name_override if isinstance(tls, Tls) else None
        self._extensions = {"sni_hostname": override} if override else {}
        sent = self._headers(headers)
        sent["Content-Type"] = _TYPES[protocol]
        if compression != "none":
            sent["Content-Encoding"] = compression
        self._renewable: Renewable | None = None
        if isinstance(tls, Tls):
            self._renewable = Renewable(tls, url)
            trust = self._renewable.context
        else:
            trust = tls
        self._failed = False
        self._no_certificate = (
            url.startswith("https:") and isinstance(tls, Tls) and tls.cert_file is None
        )
        self._client = network.client(
            transport or trust,
            headers=sent,
            timeout=timeout,
            on_response=[_set_location_aside],
        )

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._name

    def too_large(self, request: Request) -> Outcome | None:
        """The verdict on a request over ``max_payload``, without asking; None if it may go."""
        return too_large(len(request.json) if self._json else request.size, self._max_payload)

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        if self._failed and self._renewable:
            self._renewable.renew()
        self._failed = False
        seconds = self._timeout * request.patience
        answer = _Received()
        try:
            if over := self.too_large(request):
                return over
            # The client's own timeout starts anew with every byte; this one does not.
            async with asyncio.timeout(seconds):
                await self._post(self._body(request), seconds, answer)
        except (TimeoutError, httpx.TimeoutException):
            if not answer.decides:
                why = f"no answer from {shown(self._url)} within {seconds:g} s"
                return Outcome(Verdict.RETRY, why, own_fault=True)
        except Exception as error:  # noqa: BLE001 - httpx lets TLS and stream errors of others through
            if not answer.decides:
                return self._failure(error)
        return self._outcome(answer)

    async def probe(self) -> Outcome:
        """See `Destination.probe`: a request without a record, which some refuse as empty."""
        return await self.send(Request(()))

    async def aclose(self) -> None:
        """See `Destination.aclose`."""
        await self._client.aclose()

    def _body(self, request: Request) -> bytes:
        if self._stored:
            return request.gzip
        return self._code(request.json if self._json else request.raw)

    async def _post(self, content: bytes, seconds: float, answer: _Received) -> None:
        """Send, and note what comes as it comes."""
        async with self._client.stream(
            "POST", self._url, content=content, timeout=seconds, extensions=self._extensions
        ) as response:
            location = response.extensions.get("location", "")
            answer.headers = {**response.headers, "location": location}
            answer.status = response.status_code
            # As it came: httpx would decode it, to whatever length.
            async for chunk in cast("httpx.AsyncByteStream", response.stream):
                answer.body += chunk
                if len(answer.body) > LARGEST_ANSWER:
                    del answer.body[LARGEST_ANSWER:]
                    break
            answer.whole = True

    def _outcome(self, answer: _Received) -> Outcome:
        """What the answer came to.

        Its status is the backend's word: a body that cannot be decoded takes nothing of it back,
        nor does one that breaks off after an error.
        """
        coding = answer.headers.get("content-encoding", "")
        body, flaw = bytes(answer.body), "" if answer.whole else "broke off"
        try:
            body = decoded(body, coding, most=LARGEST_ANSWER)
        except UndecodableError as error:
            body, flaw = b"", flaw or str(error)
        return read_answer(
            answer.status, answer.headers, body, self._url, mask=self._mask, flaw=flaw
        )

    def _failure(self, error: Exception) -> Outcome:
        """No answer: the network's trouble passes, a refused certificate or setting does not."""
        self._failed = True
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
            if isinstance(error, httpx.ConnectError):
                why += f" ({NOT_REACHED})"
            if self._no_certificate and isinstance(error, _BROKEN):
                # Over TLS 1.3 the alert of who misses a certificate may be lost behind a reset.
                why += " (does it ask for a client certificate? set tls.cert_file)"
            outcome = Outcome(
                Verdict.RETRY,
                f"no answer from {shown(self._url)}: {why}",
                own_fault=isinstance(error, _BROKEN),
            )
        else:
            outcome = Outcome(
                Verdict.BLOCKED,
                f"a request to {shown(self._url)} failed: {type(error).__name__}: {error}",
            )
        return replace(outcome, reason=one_line(self._mask.text(outcome.reason)))

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
        headers["User-Agent"] = f"fal-log-bridge/{__version__}"
        headers["Accept-Encoding"] = "identity"
        headers.pop("Content-Encoding", None)
        return headers


async def _set_location_aside(response: httpx.Response) -> None:
    """Keep httpx from reading where a redirect leads, since it fails where that is no URL."""
    response.extensions["location"] = response.headers.pop("location", "")
