"""TLS towards a backend, with real certificates on a loopback port."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from destinations.requests import request
from msgspec.structs import replace
from support.loopback import OK, read_request, serving

from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.tls import Renewable, Tls, context, context_for
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict

OPENSSL = pytest.mark.server("openssl")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, a server's certificate for collector.test, and a client's."""
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", "-x509", *curve, "-subj", "/CN=test CA", "-days", "2"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", "ca.key", "-out", "ca.pem"),
    )
    for name, host in (("server", "collector.test"), ("client", "client.test")):
        openssl(
            *("req", "-x509", *curve, "-subj", f"/CN={name}", "-days", "2"),
            *("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{host}"),
            *("-addext", "basicConstraints=critical,CA:false"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
    return folder


def server_side(keys: Path, *, demands_client: bool = False) -> ssl.SSLContext:
    """How the backend speaks TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / "server.pem", keys / "server.key")
    if demands_client:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(keys / "ca.pem")
    return tls


async def acknowledge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say 200 to one request."""
    await read_request(reader)
    writer.write(OK)
    await writer.drain()


async def sent_to(port: int, tls: Tls) -> Outcome:
    """What one send over TLS comes to."""
    url = f"https://127.0.0.1:{port}/v1/logs"
    destination = OtlpHttp("backend", url, {}, compression="gzip", timeout=10, tls=tls)
    try:
        return await destination.send(request("u"))
    finally:
        await destination.aclose()


def outcome_of(keys: Path, tls: Tls, *, demands_client: bool = False) -> Outcome:
    """What one send to a healthy backend comes to."""

    async def main() -> Outcome:
        context = server_side(keys, demands_client=demands_client)
        async with serving(acknowledge, context) as port:
            return await sent_to(port, tls)

    return asyncio.run(main())


@contextmanager
def alerting(keys: Path) -> Iterator[int]:
    """A backend that turns away who shows no certificate, with an alert and an orderly end.

    TLS 1.3 lets the client finish its side first; `asyncio` would reset the connection.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def turn_away() -> None:
            connection, _ = listener.accept()
            tls = server_side(keys, demands_client=True)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            side = tls.wrap_bio(incoming, outgoing, server_side=True)
            refused = False
            with connection:
                while data := connection.recv(65_536):
                    incoming.write(data)
                    try:
                        if not refused:
                            side.do_handshake()
                    except ssl.SSLWantReadError:
                        connection.sendall(outgoing.read())
                    except ssl.SSLError:
                        refused = True
                        connection.sendall(outgoing.read())
                        connection.shutdown(socket.SHUT_WR)
            assert refused

        ended = pool.submit(turn_away)
        yield listener.getsockname()[1]
        ended.result()


def trusting(keys: Path) -> Tls:
    """Settings that reach the backend."""
    return Tls(ca_file=keys / "ca.pem", server_name_override="collector.test")


@OPENSSL
def test_a_backend_of_our_own_ca_is_reached(keys: Path) -> None:
    """With its CA and the name in its certificate."""
    assert outcome_of(keys, trusting(keys)) == Outcome(Verdict.DELIVERED)


@OPENSSL
def test_the_usual_variables_name_the_ca(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE is trusted where no ca_file is given."""
    monkeypatch.setenv("SSL_CERT_FILE", str(keys / "ca.pem"))
    assert outcome_of(keys, replace(trusting(keys), ca_file=None)) == Outcome(Verdict.DELIVERED)


@OPENSSL
def test_an_unknown_ca_blocks(keys: Path) -> None:
    """The certificate's trouble is named; it does not pass by itself (trap 21)."""
    outcome = outcome_of(keys, replace(trusting(keys), ca_file=None))
    assert outcome.verdict is Verdict.BLOCKED
    assert outcome.reason.endswith(
        "certificate verification failed: unable to get local issuer certificate"
    )


@OPENSSL
def test_a_certificate_for_another_name_blocks(keys: Path) -> None:
    """Verification means the name, too, and the override is verified like a host."""
    for name in (None, "other.test"):
        outcome = outcome_of(keys, replace(trusting(keys), server_name_override=name))
        assert outcome.verdict is Verdict.BLOCKED
        assert "certificate is not valid for" in outcome.reason


@OPENSSL
def test_verification_can_be_switched_off(keys: Path) -> None:
    """Only by saying so."""
    assert outcome_of(keys, Tls(insecure_skip_verify=True)) == Outcome(Verdict.DELIVERED)


@OPENSSL
def test_a_demanded_client_certificate(keys: Path) -> None:
    """With it the records go; without it the backend's alert is named and blocks."""
    shown = replace(trusting(keys), cert_file=keys / "client.pem", key_file=keys / "client.key")
    assert outcome_of(keys, shown, demands_client=True) == Outcome(Verdict.DELIVERED)
    with alerting(keys) as port:
        missing = asyncio.run(sent_to(port, trusting(keys)))
    assert missing.verdict is Verdict.BLOCKED
    assert "CERTIFICATE_REQUIRED" in missing.reason


def test_tls_to_a_plain_port_blocks() -> None:
    """Https where http is spoken is a setting to mend."""

    async def plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async def main() -> Outcome:
        async with serving(plainly) as port:
            return await sent_to(port, Tls())

    outcome = asyncio.run(main())
    assert outcome.verdict is Verdict.BLOCKED
    assert "TLS with https://127.0.0.1" in outcome.reason


def test_missing_files_stop_the_start(tmp_path: Path) -> None:
    """The error names the file, whichever it is."""
    missing = tmp_path / "missing.pem"
    for tls in (Tls(ca_file=missing), Tls(cert_file=missing), Tls(key_file=missing)):
        with pytest.raises(ConfigError, match=r"missing\.pem"):
            context(tls)


def test_files_that_hold_no_certificate_stop_the_start(tmp_path: Path) -> None:
    """The error names the file and says what it should be."""
    odd = tmp_path / "odd.pem"
    odd.write_text("not a certificate")
    for tls in (Tls(ca_file=odd), Tls(cert_file=odd), Tls(cert_file=odd, key_file=odd)):
        with pytest.raises(ConfigError, match="PEM"):
            context(tls)


@OPENSSL
def test_a_key_with_a_password_stops_the_start(keys: Path, tmp_path: Path) -> None:
    """Nobody is asked for it on the terminal."""
    locked = tmp_path / "locked.key"
    openssl = shutil.which("openssl")
    assert openssl
    subprocess.run(
        [openssl, "ec", "-aes256", "-passout", "pass:x", "-out", locked, "-in", "client.key"],
        cwd=keys,
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigError, match="without a password"):
        context(Tls(cert_file=keys / "client.pem", key_file=locked))


@OPENSSL
def test_a_key_of_another_certificate_stops_the_start(keys: Path) -> None:
    """They must match."""
    with pytest.raises(ConfigError, match=r"server\.key"):
        context(Tls(cert_file=keys / "client.pem", key_file=keys / "server.key"))


@OPENSSL
def test_a_backend_that_breaks_off_may_miss_a_client_certificate(keys: Path) -> None:
    """Its alert may be lost behind a reset over TLS 1.3: the mend is hinted at, if there is one."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.abort()

    async def main(tls: Tls) -> Outcome:
        async with serving(hang_up, server_side(keys)) as port:
            return await sent_to(port, tls)

    shown = replace(trusting(keys), cert_file=keys / "client.pem", key_file=keys / "client.key")
    for tls, hinted in ((trusting(keys), True), (shown, False)):
        outcome = asyncio.run(main(tls))
        assert outcome.verdict is Verdict.RETRY
        assert ("set tls.cert_file" in outcome.reason) is hinted


def test_plain_http_needs_no_certificates() -> None:
    """None are read for it, and a context that has none trusts nobody."""
    plain = context_for("http://127.0.0.1:4318/v1/logs")
    assert plain.cert_store_stats()["x509_ca"] == 0
    assert plain.verify_mode is ssl.CERT_REQUIRED
    assert plain.check_hostname
    assert context_for("https://127.0.0.1:4318/v1/logs").cert_store_stats()["x509_ca"] > 0


def test_files_for_plain_http_are_looked_at(tmp_path: Path) -> None:
    """Who names a file of certificates is told that it is missing, used or not."""
    with pytest.raises(ConfigError, match="cannot use the CA certificates"):
        context_for("http://127.0.0.1:4318/v1/logs", Tls(ca_file=tmp_path / "missing.pem"))


@OPENSSL
def test_files_are_read_again_when_they_were_mended(keys: Path, tmp_path: Path) -> None:
    """A context in use takes a ca_file and a client certificate that were put right in place."""
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    for copy, name in ((ca, "ca.pem"), (cert, "server.pem"), (key, "server.key")):
        shutil.copy(keys / name, copy)
    renewable = Renewable(Tls(ca_file=ca, cert_file=cert, key_file=key))
    trusted = renewable.context.cert_store_stats()["x509"]
    ca.write_bytes((keys / "ca.pem").read_bytes() + (keys / "server.pem").read_bytes())
    renewable.renew()
    assert renewable.context.cert_store_stats()["x509"] == trusted + 1
    cert.write_text("half")
    renewable.renew()  # left as it was
    shutil.copy(keys / "client.pem", cert)
    shutil.copy(keys / "client.key", key)
    renewable.renew()
    side = server_side(keys, demands_client=True)
    assert peer_of(renewable.context, side) == (keys / "client.pem").read_text()


def peer_of(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """The certificate that a client shows, PEM."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="collector.test")
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (one, other, one, other):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return ssl.DER_cert_to_PEM_cert(other.getpeercert(binary_form=True) or b"")
