"""OTLP over gRPC (OTLP specification 1.11, "OTLP/gRPC").

Importing this imports gRPC, which is heavy: import it where such a destination is built.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import grpc
from grpc import aio
from msgspec import Struct
from msgspec.structs import replace

from bridge import __version__
from bridge.destinations.masking import Mask
from bridge.destinations.otlp_answer import one_line, shown
from bridge.destinations.otlp_body import too_large
from bridge.destinations.otlp_grpc_answer import read_response, read_status
from bridge.destinations.tls import Files, Tls, pem
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict
from bridge.payload import Request

GrpcCompression: TypeAlias = Literal["gzip", "none"]

LOGS: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_PORTS: Final = {"http": 80, "https": 443}
_CODES: Final = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}
_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_BROKEN_OFF: Final = ("Socket closed", "reset by peer", "Broken pipe")
_THE_PROTOCOLS: Final = frozenset({"content-encoding", "content-type", "te", "user-agent"})
_OPTIONS: Final = (
    ("grpc.primary_user_agent", f"fal-log-bridge/{__version__}"),
    # An answer past the library's 4 MiB would fail like a request that is too large.
    ("grpc.max_receive_message_length", 64 * 1_048_576),
    # The forwarder decides when to try again; a connection is to be there when it does.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    # A peer that vanished is noticed while requests wait for it; servers take idle pings amiss.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
)


class Endpoint(Struct, frozen=True):
    """Where a channel leads: gRPC's ``target``, whether by TLS, and the URL as it is shown."""

    target: str
    secure: bool
    url: str


class OtlpGrpc:
    """One OTLP/gRPC endpoint; its one channel connects, and connects again, by itself.

    Every request carries the encoded bytes as they are. Proxies come from the usual variables
    in lower case, which the gRPC library reads.
    """

    acknowledged: Final = True

    def __init__(
        self,
        name: str,
        endpoint: str,
        headers: Mapping[str, str],
        *,
        compression: GrpcCompression,
        timeout: float,
        tls: Tls,
        max_payload: int | None = None,
        method: str = LOGS,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            name: The configured name.
            endpoint: ``http://host:port``, or ``https://host:port`` for TLS, which is also what
                a bare ``host:port`` means; without a port that of the scheme.
            headers: Sent with every request as metadata; their values are taken as secrets.
            compression: Of each message.
            timeout: Seconds for one send from first to last, connecting included.
            tls: How to trust the endpoint, if by TLS.
            max_payload: The most bytes of a request, before compression.
            method: What is called with each request.

        Raises:
            ConfigError: the endpoint, a header or a TLS setting cannot be used.
        """
        self._name = name
        self._where = f"destination {name}"
        self._endpoint = parse(endpoint, where=self._where)
        self._metadata = self._checked(headers)
        self._mask = Mask(headers)
        self._compression = _CODES[compression]
        self._timeout = timeout
        self._max_payload = max_payload
        self._method = method
        self._no_certificate = self._endpoint.secure and tls.cert_file is None
        self._tls = tls
        self._files = Files(tls) if self._endpoint.secure else None
        self._failed = False
        self._credentials = self._trust(tls) if self._endpoint.secure else None
        override = tls.server_name_override if self._endpoint.secure else None
        named = (("grpc.ssl_target_name_override", override),) if override else ()
        self._options = (*_OPTIONS, *named)
        self._channel: aio.Channel | None = None

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._name

    def too_large(self, request: Request) -> Outcome | None:
        """The verdict on a request over ``max_payload``, without asking; None if it may go."""
        return too_large(request.size, self._max_payload)

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        try:
            return self.too_large(request) or await self._export(request)
        except aio.AioRpcError as error:
            return self._failure(error)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return Outcome(Verdict.RETRY, f"the channel to {self._endpoint.url} was closed")
        except Exception as error:  # noqa: BLE001 - gRPC's own have no common class
            why = f"a request to {self._endpoint.url} failed: {type(error).__name__}: {error}"
            return Outcome(Verdict.BLOCKED, one_line(self._mask.text(why)))

    async def probe(self) -> Outcome:
        """See `Destination.probe`: a request without a record, which some refuse as empty."""
        return await self.send(Request(()))

    async def aclose(self) -> None:
        """See `Destination.aclose`."""
        if self._channel is not None:
            await self._channel.close()

    async def _export(self, request: Request) -> Outcome:
        if self._failed:
            await self._renew()
        if self._channel is None:  # a channel belongs to the loop that it is opened in
            self._channel = self._open()
        export: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(self._method)
        seconds = self._timeout * request.patience
        body = await export(request.raw, timeout=seconds, metadata=self._metadata)
        return read_response(body, self._endpoint.url, mask=self._mask)

    def _failure(self, error: aio.AioRpcError) -> Outcome:
        """A status, whoever gave it."""
        self._failed = error.code() is grpc.StatusCode.UNAVAILABLE
        details = self._mask.text(error.details() or "")
        outcome = read_status(
            error.code().name, details, error.trailing_metadata(), self._endpoint.url
        )
        tried = details.partition("failed to connect")[2]
        if self._no_certificate and any(end in tried for end in _BROKEN_OFF):
            # gRPC does not tell why, when a server turns away who shows no certificate.
            mend = f"{outcome.reason} (does it ask for a client certificate? set tls.cert_file)"
            return replace(outcome, reason=one_line(mend))
        return outcome

    async def _renew(self) -> None:
        """After a failure: a channel anew, where the TLS files that it was made with have changed.

        What is still under way on the old one is tried again, as after any end of a channel.
        """
        self._failed = False
        if self._files and (found := self._files.reread(lambda: self._trust(self._tls))):
            self._credentials = found
            old, self._channel = self._channel, None
            if old is not None:
                await old.close()

    def _open(self) -> aio.Channel:
        target, options = self._endpoint.target, self._options
        if self._credentials is None:
            return aio.insecure_channel(target, options, self._compression)
        return aio.secure_channel(target, self._credentials, options, self._compression)

    def _trust(self, tls: Tls) -> grpc.ChannelCredentials:
        if tls.insecure_skip_verify:
            raise ConfigError(
                "gRPC cannot skip the check of a certificate",
                where=f"{self._where}: tls.insecure_skip_verify",
                hint="trust the backend's own by tls.ca_file, or use protocol: http/protobuf",
            )
        files = pem(tls)
        return grpc.ssl_channel_credentials(files.ca, files.key, files.cert)

    def _checked(self, headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """The configured headers as metadata, less those that the protocol sets.

        gRPC, "PROTOCOL-HTTP2", Custom-Metadata: lower-case names, printable ASCII values; names
        in ``-bin`` have binary values and ``grpc-`` is reserved.
        """
        metadata = [(key.lower(), value) for key, value in headers.items()]
        for key, value in metadata:
            good = _KEY.fullmatch(key) and _VALUE.fullmatch(value) and value == value.strip()
            if not good or key.endswith("-bin") or key.startswith("grpc-"):
                raise ConfigError(
                    f"header {one_line(key)!r} cannot be sent over gRPC",
                    where=self._where,
                    hint="printable ASCII without spaces around the value, and no name that "
                    "begins with grpc- or ends in -bin",
                )
        return tuple(pair for pair in metadata if pair[0] not in _THE_PROTOCOLS)


def parse(endpoint: str, *, where: str) -> Endpoint:
    """Read an endpoint as users write it.

    Args:
        endpoint: See `OtlpGrpc`.
        where: Whose it is, for an error.

    Raises:
        ConfigError: it is no such thing.
    """
    url = endpoint if "://" in endpoint else f"https://{endpoint}"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        host = port = None
    bare = url.rstrip("/").count("/") == 2 and not {"?", "#", "@"} & set(url)  # noqa: PLR2004 - of ://
    if not host or not port or not bare or parts.scheme not in _PORTS:
        raise ConfigError(
            f"{shown(url)!r} is not an endpoint for gRPC",
            where=where,
            hint="write http://host:4317, or https://host:4317 for TLS, without a path",
        )
    literal = f"[{host}]" if ":" in host else host
    return Endpoint(f"dns:///{literal}:{port}", parts.scheme == "https", shown(url))
