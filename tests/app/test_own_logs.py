"""The bridge as a fal app that it reads itself: its own lines arrive, and make no more of them."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from support.virtual import VirtualClock, VirtualLoop, run_virtually

from bridge import settings
from bridge.app.parts import World, build
from bridge.journal.sqlite import SqliteJournal
from bridge.model import SECOND
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.transport import CoreTransport
from bridge.telemetry import Event
from bridge.telemetry.log import json_line
from bridge.timestamps import format_tick

NOON = 1_758_283_200 * SECOND
KEY = "id:secret"
THIRD = 1_200 * SECOND


@pytest.mark.parametrize("late", [0, 40], ids=["at once", "late"])
def test_own_lines_do_not_multiply(tmp_path: Path, late: int) -> None:
    """Read back with the whole account, late too, while a backend refuses: their number stays."""
    clock = VirtualClock(NOON)
    logs = LogsApiFake(clock, LogsApiConfig(key=KEY))
    backends = {
        "works": OtlpBackend(BackendConfig()),
        "refuses": OtlpBackend(BackendConfig(status=401)),
    }
    told: Counter[int] = Counter()

    def emit(event: Event) -> None:
        now = clock.now()
        told[(now - NOON) // THIRD] += 1
        raw = {
            "timestamp": format_tick(now),
            "level": "STDERR",
            "message": json_line(event, now).strip(),
            "app": "log-bridge",
        }
        logs.write(raw, now, visible_at=now + late * SECOND)

    config = settings.Settings.model_validate(
        {
            "fal": {"base_url": "http://api.test", "key": KEY},
            "apps": [{"name": "all"}],
            "journal": {"path": str(tmp_path / "journal.sqlite")},
            "destinations": [
                {"name": name, "type": "otlp", "endpoint": f"http://{name}.test"}
                for name in backends
            ],
        }
    )
    world = World(
        clock=clock,
        random=Random(1),
        emit=emit,
        out=io.BytesIO(),
        open_journal=lambda place, clock: SqliteJournal.open(
            place.path, max_bytes=place.max_bytes, clock=clock, inline=True
        ),
        api_transport=CoreTransport(logs, clock),
        otlp_transport=lambda name: CoreTransport(backends[name], clock),
    )

    async def main() -> None:
        stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            bridge = await build(config, world, stack)
            asyncio.get_running_loop().call_later(3_600, stop.set)
            await bridge.run(stop)

    run_virtually(main(), loop=VirtualLoop())
    # A line of progress every 30 seconds, and little else: none is made by another.
    assert 40 <= told[2] <= told[0] <= 100
    assert len(backends["works"].records) > 0.9 * told.total()
