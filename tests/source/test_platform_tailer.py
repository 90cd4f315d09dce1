"""Reading an app over the Platform API, from its start to the live edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import httpx
import pytest
from support.virtual import VirtualClock, run_virtually

from bridge.journal.memory import MemoryJournal
from bridge.model import MILLISECOND, SECOND, Encoded, Filter, Gap, Identified, Tick
from bridge.simulator.faults import Faults, Faulty, api_faults
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.platform_api import PlatformApiFake, PlatformConfig
from bridge.simulator.times import naive
from bridge.simulator.transport import CoreTransport
from bridge.source.account import Account
from bridge.source.limiter import Limiter
from bridge.source.platform import PlatformApi
from bridge.source.tailer import AppSpec, Tailer
from bridge.telemetry import Event

NOW: Tick = 1_758_284_170_000_000
KEY = "id:secret"
CAP = 100
ENTRIES = 3_000
SPEC = AppSpec(
    name="app",
    named=False,
    stream="s",
    filters="f",
    filter=Filter(app_id="app"),
    start=lambda now: now - 600 * SECOND,
    interval=1.0,
    max_interval=15.0,
    page_size=1_000,
    late_sweeps=(3 * SECOND,),
)


class Scene:
    """One app on virtual time: what is read over the simulated Platform API, and how often."""

    def __init__(self, faults: Faults, config: PlatformConfig, cap: int = CAP) -> None:
        self.clock = VirtualClock(NOW)
        self.messages: Counter[str] = Counter()
        self.gaps: list[Gap] = []
        self.events: list[Event] = []
        self.logs = LogsApiFake(self.clock, LogsApiConfig(key=KEY, cap=cap))
        self.platform = PlatformApiFake(self.logs, self.clock, config)
        self._core = Faulty(self.platform, faults, Random(1))

    def write(self, *ticks: Tick) -> None:
        """Put a numbered entry on each of these ticks."""
        for tick in ticks:
            raw = {"timestamp": naive(tick), "level": "INFO", "app": "app"}
            self.logs.write({**raw, "message": str(self.logs.kept)}, tick, visible_at=tick)

    def client(self) -> httpx.AsyncClient:
        """A client of the simulated server."""
        return httpx.AsyncClient(transport=CoreTransport(self._core, self.clock))

    def tailer(self, client: httpx.AsyncClient) -> Tailer:
        """The app's reader."""
        limiter = Limiter(self.clock, requests_per_second=1_000, concurrency=4)
        api = PlatformApi(client, base_url="http://api.test", key=lambda: KEY)
        return Tailer(
            SPEC,
            account=Account(api, limiter, self.clock),
            journal=MemoryJournal(max_bytes=10**9, clock=self.clock),
            encode=self._encode,
            clock=self.clock,
            random=Random(1),
            emit=self.events.append,
        )

    def _encode(self, found: Sequence[Identified], _: Tick, gaps: Sequence[Gap]) -> list[Encoded]:
        self.messages.update(one.entry.raw["message"] for one in found)
        self.gaps += gaps
        records = len(found) + len(gaps)
        return [Encoded(records, 10 * records, b"x" * records)]


def tied(step: Tick) -> list[Tick]:
    """As many ticks as `ENTRIES` before `NOW`, in groups of one to forty, some close together."""
    random, tick = Random(7), NOW - 2 * SECOND
    ticks: list[Tick] = []
    while len(ticks) < ENTRIES:
        tick -= random.choice([1, 2, 50, 400]) * step
        ticks += [tick] * random.randint(1, 40)
    return ticks[:ENTRIES]


CONFIGS = [
    PlatformConfig(step=step, start_inclusive=inclusive)
    for step in (1, MILLISECOND)
    for inclusive in (True, False)
]


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("config", CONFIGS)
def test_a_whole_read_is_complete_and_none_comes_twice(
    config: PlatformConfig, share: float
) -> None:
    """Ties at page borders, a tenth of each page asked for, then the live edge, then a sweep."""
    scene = Scene(api_faults(share), config)
    scene.write(*tied(MILLISECOND if config.step > 1 else 1))

    async def main() -> None:
        async with scene.client() as client:
            tailer = scene.tailer(client)
            await tailer.run_once()
            for second in range(3):
                scene.write(*[NOW + second * SECOND] * 30)
                await scene.clock.sleep(2)
                await tailer.run_once()

    run_virtually(main())
    assert scene.messages == Counter(str(number) for number in range(ENTRIES + 90))
    assert scene.gaps == []


def test_a_tick_too_crowded_for_any_page_is_told() -> None:
    """A limit beyond 1,000 is never sent; what was shown is taken, and the gap is recorded."""
    scene = Scene(Faults(), PlatformConfig(), cap=5_000)
    crowd = NOW - 5 * SECOND
    scene.write(NOW - 8 * SECOND, *[crowd] * 1_500, NOW - 2 * SECOND)

    async def main() -> None:
        async with scene.client() as client:
            await scene.tailer(client).run_once()

    run_virtually(main())
    assert {"0", "1501"} <= set(scene.messages)
    assert max(scene.messages.values()) == 1
    assert len(scene.messages) >= 1_002
    (gap,) = scene.gaps
    assert gap.floor <= crowd < gap.ceiling
    assert gap.at_least == 1_000
    assert set(scene.platform.statuses) == {200}
