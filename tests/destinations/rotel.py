"""A real OTLP receiver on loopback ports, with the records it has printed."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from destinations.contract.harness import Decide, Rig, takes
from support.ports import free_port

from bridge.destinations import Destination

_UID = re.compile(rb"log\.record\.uid: Str\(([^)]*)\)")
_BODY = b"Body: Str("
_PATIENCE = 30


class Rotel:
    """A `Peer` in a process of its own; it keeps its ports and output when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.decide: Decide = takes
        self.grpc, self.http = free_port(), free_port()
        self._output = folder / "received"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """See `Peer.start`."""
        found = importlib.util.find_spec("rotel")
        assert found is not None
        assert found.origin is not None
        command = [
            str(Path(found.origin).parent / "rotel-agent"),
            "start",
            *("--otlp-grpc-endpoint", f"127.0.0.1:{self.grpc}"),
            *("--otlp-http-endpoint", f"127.0.0.1:{self.http}"),
            *("--exporter", "blackhole"),
            *("--debug-log", "logs", "--debug-log-verbosity", "detailed"),
        ]
        with self._output.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
        await _eventually(lambda: _listens(self.http) and _listens(self.grpc), "it does not start")

    async def stop(self) -> None:
        """See `Peer.stop`."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def reached(self) -> None:
        """See `Peer.reached`."""
        raise NotImplementedError("it cannot be directed, so nothing waits for that")

    async def arrived(self, records: int) -> list[str]:
        """See `Peer.arrived`."""
        await _eventually(lambda: len(self._uids()) >= records, "records are missing")
        return self._uids()

    async def shown(self, uid: str) -> str:
        """See `Peer.shown`."""
        before, _, _ = self._output.read_bytes().partition(
            b"log.record.uid: Str(%b)" % uid.encode()
        )
        body, _, _ = before[before.rindex(_BODY) + len(_BODY) :].partition(b")\nAttributes:")
        return body.decode()

    def _uids(self) -> list[str]:
        # In bytes: what is being written may end within a character.
        return [uid.decode() for uid in _UID.findall(self._output.read_bytes())]


@asynccontextmanager
async def rotel(folder: Path, *, build: Callable[[Rotel], Destination]) -> AsyncIterator[Rig]:
    """Rotel and a destination that leads to it."""
    peer = Rotel(folder)
    await peer.start()
    destination = build(peer)
    try:
        yield Rig(destination, peer)
    finally:
        await destination.aclose()
        await peer.stop()


async def _eventually(holds: Callable[[], bool], what: str) -> None:
    """Another process can only be waited for in real time."""
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
