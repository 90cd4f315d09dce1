"""Both ends of a bridge that runs as a process of its own: an account that writes, a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from bridge.clock import SystemClock
from bridge.model import SECOND
from bridge.simulator.account import Account
from bridge.simulator.exchange import Answer, Core, Request
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.server import serving

KEY = "an-id:a-secret"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the two ends are served, without a path."""

    api: str
    backend: str


@dataclass(frozen=True, slots=True)
class _Slow:
    """A backend that answers some seconds after it took what came."""

    core: Core
    delay: float

    def answer(self, request: Request) -> Answer:
        return replace(self.core.answer(request), delay=self.delay)


class Ends:
    """An account with a minute of logs, and a backend that says when the first and the last came.

    Args:
        rate: Entries a second.
        page: The most entries that the API shows at once.
        backend: How the backend behaves.
        delay: Seconds until it answers.
    """

    def __init__(
        self,
        *,
        rate: float = 5,
        page: int | None = None,
        backend: BackendConfig | None = None,
        delay: float = 0,
    ) -> None:
        self.backend = OtlpBackend(backend, on_record=lambda _: self._look())
        self.first, self.all = asyncio.Event(), asyncio.Event()
        self.written = 0
        self._clock = SystemClock()
        self._api = LogsApiFake(self._clock, LogsApiConfig(key=KEY, cap=page))
        start = self._clock.now() - 60 * SECOND
        self._account = Account(seed=1, start=start, rate=rate, late=0)
        self._until = 0
        self._delay = delay
        self.write()

    def write(self) -> None:
        """Add what the apps have written since the last time."""
        now = self._clock.now()
        entries = list(self._account.entries_between(self._until, now))
        self._api.add(*entries)
        self.written += len(entries)
        self._until = now
        self.all.clear()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Addresses]:
        """Serve both on loopback."""
        slow = _Slow(self.backend, self._delay)
        async with serving(self._api) as api, serving(slow) as backend:
            yield Addresses(api, backend)

    def _look(self) -> None:
        self.first.set()
        if len(self.backend.uids) == self.written:
            self.all.set()


async def until(
    event: asyncio.Event, process: asyncio.subprocess.Process
) -> asyncio.Task[tuple[bytes, bytes]]:
    """Wait for what a process is to bring about; the task gives its output when it has ended.

    Raises:
        AssertionError: it ended before, and this is what it said.
    """
    said = asyncio.create_task(process.communicate())
    reached = asyncio.create_task(event.wait())
    await asyncio.wait({said, reached}, return_when=asyncio.FIRST_COMPLETED)
    if not reached.done():
        reached.cancel()
        raise AssertionError(b"".join(filter(None, await said)).decode())
    return said
