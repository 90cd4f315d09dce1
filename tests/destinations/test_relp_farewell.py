"""RELP: what was acknowledged before a connection ended is not sent again."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import ssl
import struct
import termios
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import pytest
from destinations.requests import request
from support import certificates
from support.relp_receiver import OPENED
from support.syslog_parser import parse

from bridge.destinations.rfc5424 import Layout
from bridge.destinations.syslog import Syslog
from bridge.destinations.tls import Tls
from bridge.model import Outcome, Verdict

How = Literal["close", "reset"]

THOUSAND = [f"u{n:03}" for n in range(1000)]
EVERY = 250
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that has a connection end with a reset."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    return certificates.make(tmp_path_factory.mktemp("keys"))


def server_side(keys: Path) -> ssl.SSLContext:
    """How the receiver speaks TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / "server.pem", keys / "server.key")
    return tls


@dataclass
class Quitter:
    """Acknowledges; does not read every 250th message but ends the connection at once.

    It runs in a thread of its own with blocking sockets, so that answers and the end are in the
    other's kernel together. What it has not read turns its plain close into a reset, too, and a
    reset drops what its own kernel has not sent: so it waits until the other's has its answers.
    """

    how: How
    tls: ssl.SSLContext | None = None
    every: int = EVERY
    seen: int = 0
    acknowledged: list[str] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Connections one after the other, until the listener is shut down."""
        with suppress(OSError):
            while True:
                opened, _ = listener.accept()
                with suppress(OSError):
                    self._session(
                        self.tls.wrap_socket(opened, server_side=True) if self.tls else opened
                    )

    def _session(self, opened: socket.socket) -> None:
        with opened, opened.makefile("rb") as reading:
            while head := _head(reading):
                number, command, size = head.split()
                data = reading.read(int(size))
                reading.read(1 if int(size) else 0)
                answer = OPENED if command == b"open" else b"200 OK"
                if command == b"syslog":
                    self.seen += 1
                    if self.seen % self.every == 0:
                        while struct.unpack("i", fcntl.ioctl(opened, termios.TIOCOUTQ, b"\0" * 4))[
                            0
                        ]:
                            pass
                        if self.how == "reset":
                            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        return
                    self.acknowledged.append(parse(data).uid)
                opened.sendall(b"%b rsp %d %b\n" % (number, len(answer), answer))
                if command == b"close":
                    return


def _head(reading: BinaryIO) -> bytes:
    """A frame up to its data, or to its end where it has none; empty at the end of all."""
    head = reading.read(1)
    while head and head.count(b" ") < 3 and not head.endswith(b"\n"):
        head += reading.read(1)
    return head


@contextmanager
def serving(quitter: Quitter) -> Iterator[int]:
    """Have it listen on a loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(quitter.serve, listener)
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            ended.result()


def outcomes(quitter: Quitter, tls: Tls) -> list[Outcome]:
    """What it takes to have a request of a thousand messages delivered."""

    async def main(port: int) -> list[Outcome]:
        scheme = "relps" if quitter.tls else "relp"
        to = Syslog("r", f"{scheme}://127.0.0.1:{port}", layout=Layout(), timeout=10, tls=tls)
        sent = request(*THOUSAND)
        told = [await to.send(sent)]
        while told[-1].verdict is Verdict.RETRY and len(told) < 20:
            told.append(await to.send(sent))
        await to.aclose()
        return told

    with serving(quitter) as port:
        return asyncio.run(main(port))


@pytest.mark.server("openssl")
@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_what_was_acknowledged_is_not_sent_again(
    how: How, over_tls: bool, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the receiver closes or resets with answers unread; and nothing is lost."""
    tls = Tls(ca_file=keys / "ca.pem", server_name_override=certificates.HOST)
    quitter = Quitter(how, server_side(keys) if over_tls else None)
    with caplog.at_level(logging.WARNING):
        told = outcomes(quitter, tls)
    assert told[-1] == Outcome(Verdict.DELIVERED)
    assert len(told) == 1 + quitter.seen // EVERY
    assert all(outcome.progress for outcome in told[:-1])
    assert [uid for uid, times in Counter(quitter.acknowledged).items() if times > 1] == []
    assert sorted(quitter.acknowledged) == THOUSAND
    assert caplog.records == []


def test_a_try_without_an_acknowledgement_makes_no_progress() -> None:
    """It is said of those alone that had one."""
    quitter = Quitter("close", every=1)
    told = outcomes(quitter, Tls())
    assert {(one.verdict, one.progress) for one in told} == {(Verdict.RETRY, False)}
    assert quitter.acknowledged == []
