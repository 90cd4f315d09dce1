"""A real OTLP receiver takes what we send, whole."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from destinations.requests import joined

from bridge.destinations.otlp_http import Compression, OtlpHttp
from bridge.destinations.tls import Tls
from bridge.model import Outcome, Verdict
from bridge.payload import Request

pytestmark = pytest.mark.server("rotel")

_UID = re.compile(r"log\.record\.uid: Str\(([^)]*)\)")
_PATIENCE = 30


@dataclass(frozen=True)
class Receiver:
    """Rotel on a loopback port, with the records it has printed."""

    url: str
    output: Path

    def uids(self) -> list[str]:
        """The uids of everything it has received."""
        return _UID.findall(self.output.read_text())


def _eventually(holds: Callable[[], bool], what: str) -> None:
    """Another process can only be waited for in real time."""
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A fresh receiver."""
    found = importlib.util.find_spec("rotel")
    assert found is not None
    assert found.origin is not None
    grpc, http = _free_port(), _free_port()
    output = tmp_path / "received"
    command = [
        str(Path(found.origin).parent / "rotel-agent"),
        "start",
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http}"),
        *("--exporter", "blackhole"),
        *("--debug-log", "logs", "--debug-log-verbosity", "detailed"),
    ]
    with output.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            _eventually(lambda: _listens(http), "the receiver does not start")
            yield Receiver(f"http://127.0.0.1:{http}/v1/logs", output)
        finally:
            process.terminate()


def _send(receiver: Receiver, sent: Request, compression: Compression) -> Outcome:
    async def main() -> Outcome:
        destination = OtlpHttp(
            "rotel", receiver.url, {}, compression=compression, timeout=30, tls=Tls()
        )
        try:
            return await destination.send(sent)
        finally:
            await destination.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_joined_requests_arrive_whole(receiver: Receiver, compression: Compression) -> None:
    """Forty batches in one request: each record once, none left behind a first member (trap 27)."""
    groups = [[f"{n}-{m}" for m in range(1 + n % 3)] for n in range(40)]
    uids = sorted(uid for group in groups for uid in group)
    assert _send(receiver, joined(*groups), compression) == Outcome(Verdict.DELIVERED)
    _eventually(lambda: len(receiver.uids()) >= len(uids), "records are missing")
    assert sorted(receiver.uids()) == uids
