"""The OTLP/gRPC destination: what goes out, TLS, and what becomes of the network's troubles."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from destinations.otlp_grpc_server import Call, GrpcReceiver
from destinations.requests import joined, request
from destinations.test_otlp_grpc_answer import details
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # it has no types
from msgspec.structs import replace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from support import certificates
from support.loopback import serving

from bridge import __version__
from bridge.destinations.otlp_grpc import Endpoint, GrpcCompression, OtlpGrpc, parse
from bridge.destinations.tls import Tls
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict
from bridge.payload import Request

DELIVERED = Outcome(Verdict.DELIVERED)
SECRET = "hunter2-hunter2"
OPENSSL = pytest.mark.server("openssl")


def otlp(
    endpoint: str,
    headers: dict[str, str] | None = None,
    *,
    compression: GrpcCompression = "gzip",
    tls: Tls | None = None,
    max_payload: int | None = None,
) -> OtlpGrpc:
    """A destination."""
    return OtlpGrpc(
        *("backend", endpoint, headers or {}),
        compression=compression,
        timeout=30,
        tls=tls or Tls(),
        max_payload=max_payload,
    )


async def sent_to(destination: OtlpGrpc, sent: Request | None = None) -> Outcome:
    """Send once and close."""
    try:
        return await destination.send(sent or request("u"))
    finally:
        await destination.aclose()


async def accept(_: Call) -> bytes:
    """All is well."""
    return b""


def exchanged(
    answer: Callable[[Call], Awaitable[bytes]], sent: Request | None = None, **settings: Any
) -> Outcome:
    """What one send comes to at a server that answers like this."""

    async def main() -> Outcome:
        async with GrpcReceiver(answer) as receiver:
            return await sent_to(otlp(f"http://127.0.0.1:{receiver.port}", **settings), sent)

    return asyncio.run(main())


def test_the_stored_bytes_and_the_headers_go_out() -> None:
    """Joined batches as they are; headers as lower-case metadata; patience is the deadline."""
    calls: list[tuple[Call, float]] = []

    async def keep(call: Call) -> bytes:
        calls.append((call, call.time_left()))
        return b""

    sent = replace(joined(["a"], ["b", "c"]), patience=4.0)
    headers = {"X-Scope-OrgID": "tenant", "user-agent": "mine", "Content-Type": "text/plain"}
    assert exchanged(keep, sent, headers=headers) == DELIVERED
    [(call, left)] = calls
    assert call.body == sent.raw
    assert call.metadata["x-scope-orgid"] == "tenant"
    assert str(call.metadata["user-agent"]).startswith(f"fal-log-bridge/{__version__} ")
    assert "content-type" not in call.metadata
    assert 100 < left < 125  # the library rounds up


@pytest.mark.parametrize(("compression", "most"), [("gzip", 20_000), ("none", 1_100_000)])
def test_messages_are_compressed_as_configured(compression: GrpcCompression, most: int) -> None:
    """Seen by who passes the bytes on."""
    passed = 0

    async def main() -> None:
        async with GrpcReceiver(accept) as receiver:

            async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                inner, outer = await asyncio.open_connection("127.0.0.1", receiver.port)
                back = asyncio.create_task(_copy(inner, writer))
                nonlocal passed
                passed += await _copy(reader, outer)
                await back

            async with serving(passing) as port:
                destination = otlp(f"http://127.0.0.1:{port}", compression=compression)
                body = "x" * 1_048_576
                assert await sent_to(destination, request("a", body=body)) == DELIVERED

    asyncio.run(main())
    assert most / 20 < passed < most


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Pass everything on; how much it was."""
    passed = 0
    while data := await reader.read(65_536):
        passed += len(data)
        writer.write(data)
    writer.close()
    return passed


def test_retry_info_is_obeyed() -> None:
    """It comes in a trailer."""

    async def slow(call: Call) -> bytes:
        trailers = details(RetryInfo(retry_delay=Duration(seconds=3)))
        await call.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", trailers[-1])

    outcome = exchanged(slow)
    assert (outcome.verdict, outcome.retry_after) == (Verdict.RETRY, 3.0)


def test_a_partial_success_is_read_from_a_large_answer() -> None:
    """Past the library's own 4 MiB, which would make it look like a request too large."""
    partial = ExportLogsPartialSuccess(rejected_log_records=1, error_message="x" * 5_000_000)

    async def partly(_: Call) -> bytes:
        return ExportLogsServiceResponse(partial_success=partial).SerializeToString()

    outcome = exchanged(partly)
    assert (outcome.verdict, outcome.refused) == (Verdict.DELIVERED, 1)


def test_a_servers_own_limit_is_too_large() -> None:
    """Said by the library, before any service sees the request."""

    async def main() -> Outcome:
        limit = ("grpc.max_receive_message_length", 300_000)
        async with GrpcReceiver(accept, None, limit) as receiver:
            destination = otlp(f"http://127.0.0.1:{receiver.port}", compression="none")
            return await sent_to(destination, request("a", body="x" * 400_000))

    assert asyncio.run(main()).verdict is Verdict.TOO_LARGE


def test_max_payload_is_judged_without_asking() -> None:
    """Before compression, to the byte."""
    sent = request("a", body="x" * 10_000)

    async def never(_: Call) -> bytes:
        raise AssertionError

    outcome = exchanged(never, sent, max_payload=sent.size - 1)
    assert outcome.verdict is Verdict.TOO_LARGE
    assert str(sent.size) in outcome.reason
    assert exchanged(accept, sent, max_payload=sent.size) == DELIVERED


def test_a_service_that_is_not_there_blocks() -> None:
    """A server that takes no logs is a setting to mend."""

    async def main() -> Outcome:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await sent_to(otlp(f"http://127.0.0.1:{port}"))
        finally:
            await server.stop(None)

    outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.BLOCKED
    assert "UNIMPLEMENTED" in outcome.reason
    assert "does it take logs?" in outcome.reason


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [("http://127.0.0.1:1", "Connection refused"), ("http://nowhere.invalid:1", "nowhere.invalid")],
)
def test_no_connection_passes(endpoint: str, said: str) -> None:
    """Nobody listens, or the name is not known: named, and tried again."""
    outcome = asyncio.run(sent_to(otlp(endpoint)))
    assert outcome.verdict is Verdict.RETRY
    assert f"{endpoint}" in outcome.reason
    assert said in outcome.reason


async def plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP/1.1 server."""
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("scheme", "verdict", "mend"),
    [
        ("http", Verdict.RETRY, "is it the port for gRPC, usually 4317?"),
        ("https", Verdict.BLOCKED, "is it http:// rather than https://?"),
    ],
)
def test_the_port_of_http_is_told_with_its_mend(scheme: str, verdict: Verdict, mend: str) -> None:
    """4318 in place of 4317."""

    async def main() -> Outcome:
        async with serving(plainly) as port:
            return await sent_to(otlp(f"{scheme}://127.0.0.1:{port}"))

    outcome = asyncio.run(main())
    assert outcome.verdict is verdict
    assert mend in outcome.reason


def test_secrets_that_a_backend_quotes_are_not_shown() -> None:
    """Reasons end up in logs."""

    async def quoting(call: Call) -> bytes:
        said = f"no {call.metadata['authorization']!r}"
        await call.fail(grpc.StatusCode.UNAUTHENTICATED, said)

    outcome = exchanged(quoting, headers={"Authorization": f"Bearer {SECRET}"})
    assert outcome.verdict is Verdict.BLOCKED
    assert SECRET not in outcome.reason
    assert "***" in outcome.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Key", "a\r\nX-Other: b"),
        ("X-Key", " padded"),
        ("X-Key", "schlüssel"),
        ("X Key", "a"),
        ("", "a"),
        (":path", "a"),
        ("x-trace-bin", "AAAA"),
        ("grpc-timeout", "1S"),
    ],
)
def test_a_header_that_cannot_be_sent_stops_the_start(name: str, value: str) -> None:
    """The error names the header and never its value."""
    with pytest.raises(ConfigError, match="cannot be sent over gRPC") as caught:
        otlp("http://collector.test", {name: value})
    assert "destination backend" in str(caught.value)
    assert value not in str(caught.value).partition(" (")[0] or value == "a"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://h:4317", Endpoint("dns:///h:4317", secure=False, url="http://h:4317")),
        ("http://h:4317/", Endpoint("dns:///h:4317", secure=False, url="http://h:4317/")),
        ("https://h:4317", Endpoint("dns:///h:4317", secure=True, url="https://h:4317")),
        ("https://h", Endpoint("dns:///h:443", secure=True, url="https://h")),
        ("http://h", Endpoint("dns:///h:80", secure=False, url="http://h")),
        ("h:4317", Endpoint("dns:///h:4317", secure=True, url="https://h:4317")),
        ("localhost:1", Endpoint("dns:///localhost:1", secure=True, url="https://localhost:1")),
        ("http://[::1]:1", Endpoint("dns:///[::1]:1", secure=False, url="http://[::1]:1")),
    ],
)
def test_endpoints_are_read_as_users_write_them(written: str, meant: Endpoint) -> None:
    """With and without a scheme and a port."""
    assert parse(written, where="destination backend") == meant


@pytest.mark.parametrize(
    "written",
    [
        *("", "http://", "ftp://h:1", "unix:///run/otlp", "h:99999", "h:0", "h:port"),
        *("http://h:1/v1/logs", "http://h:1?x=1", "http://h:1#x", f"http://u:{SECRET}@h:1"),
    ],
)
def test_what_is_no_endpoint_stops_the_start(written: str) -> None:
    """The error says how to write one, and shows no password."""
    with pytest.raises(ConfigError, match="http://host:4317") as caught:
        parse(written, where="destination backend")
    assert SECRET not in str(caught.value)


def test_closing_in_the_middle_is_no_cancellation() -> None:
    """A send that was not cancelled itself comes to an outcome, also one that comes too late."""

    async def main() -> None:
        came = asyncio.Event()

        async def hold(call: Call) -> bytes:
            came.set()
            await call.never()

        async with GrpcReceiver(hold) as receiver:
            destination = otlp(f"http://127.0.0.1:{receiver.port}")
            sending = asyncio.create_task(destination.send(request("a")))
            await came.wait()
            await destination.aclose()
            assert (await sending).verdict is Verdict.RETRY
            late = await destination.send(request("b"))
            assert late.verdict is not Verdict.DELIVERED
            assert late.reason.isprintable()

    asyncio.run(main())


def test_grpc_is_imported_only_when_used() -> None:
    """It is heavy, and most have no use for it."""
    look = "import sys, bridge.app; sys.exit('grpc' in sys.modules)"
    subprocess.run([sys.executable, "-c", look], check=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates."""
    return certificates.make(tmp_path_factory.mktemp("keys"))


def trusting(keys: Path) -> Tls:
    """Settings that reach the backend."""
    return Tls(ca_file=keys / "ca.pem", server_name_override=certificates.HOST)


def server_side(
    keys: Path, *, name: str = "server", demands_client: bool = False
) -> grpc.ServerCredentials:
    """How the backend speaks TLS."""
    pair = ((keys / f"{name}.key").read_bytes(), (keys / f"{name}.pem").read_bytes())
    ca = (keys / "ca.pem").read_bytes()
    return grpc.ssl_server_credentials([pair], ca if demands_client else None, demands_client)


def outcome_of(tls: Tls, credentials: grpc.ServerCredentials) -> Outcome:
    """What one send over TLS comes to."""

    async def main() -> Outcome:
        async with GrpcReceiver(accept, credentials) as receiver:
            return await sent_to(otlp(f"https://127.0.0.1:{receiver.port}", tls=tls))

    return asyncio.run(main())


@OPENSSL
def test_a_backend_of_our_own_ca_is_reached(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its CA by a file, or by the usual variable, and the name in its certificate."""
    assert outcome_of(trusting(keys), server_side(keys)) == DELIVERED
    monkeypatch.setenv("SSL_CERT_FILE", str(keys / "ca.pem"))
    assert outcome_of(replace(trusting(keys), ca_file=None), server_side(keys)) == DELIVERED


@OPENSSL
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("server", {"ca_file": None}, "CERTIFICATE_VERIFY_FAILED"),
        ("server", {"ca_file": "other-ca.pem"}, "CERTIFICATE_VERIFY_FAILED"),
        ("server", {"server_name_override": None}, "Hostname Verification"),
        ("server", {"server_name_override": "other.test"}, "Hostname Verification"),
        ("expired", {}, "certificate has expired"),
    ],
)
def test_a_certificate_that_is_not_trusted_blocks(
    keys: Path, name: str, change: dict[str, str | None], said: str
) -> None:
    """It is named, and does not pass by itself (trap 21)."""
    ca = change.get("ca_file", "ca.pem")
    override = change.get("server_name_override", certificates.HOST)
    tls = Tls(ca_file=keys / ca if ca else None, server_name_override=override)
    outcome = outcome_of(tls, server_side(keys, name=name))
    assert outcome.verdict is Verdict.BLOCKED
    assert said in outcome.reason


@OPENSSL
def test_a_demanded_client_certificate(keys: Path) -> None:
    """With it the records go; without it the connection just ends, and the mend is told."""
    demanding = server_side(keys, demands_client=True)
    shown = replace(trusting(keys), cert_file=keys / "client.pem", key_file=keys / "client.key")
    assert outcome_of(shown, demanding) == DELIVERED
    missing = outcome_of(trusting(keys), demanding)
    assert missing.verdict is Verdict.RETRY
    assert "set tls.cert_file" in missing.reason


@OPENSSL
def test_a_mended_backend_is_reached_without_a_restart(keys: Path) -> None:
    """Its expired certificate is replaced while the destination is held."""

    async def main() -> None:
        first = GrpcReceiver(accept, server_side(keys, name="expired"))
        await first.start()
        destination = otlp(f"https://127.0.0.1:{first.port}", tls=trusting(keys))
        assert (await destination.send(request("a"))).verdict is Verdict.BLOCKED
        await first.stop()
        mended = GrpcReceiver(accept, server_side(keys))
        mended.port = first.port
        async with mended:
            for _ in range(200):
                if (outcome := await destination.send(request("a"))) == DELIVERED:
                    break
                await asyncio.sleep(0.02)
            assert outcome == DELIVERED
            await destination.aclose()

    asyncio.run(main())


def test_tls_settings_that_grpc_cannot_keep_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never silently less, and never silently more."""
    with pytest.raises(ConfigError, match="cannot skip") as caught:
        otlp("https://h", tls=Tls(insecure_skip_verify=True))
    assert "tls.insecure_skip_verify" in str(caught.value)
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        otlp("https://h", tls=Tls(ca_file=tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="SSL_CERT_DIR"):
        otlp("https://h")
