"""The demo: a simulated account and an OTLP receiver on loopback, and the real bridge between.

Nothing is short-cut: the bridge is built from a config file, asks over HTTP, journals in SQLite
and delivers over OTLP/HTTP; the receiver decodes what arrives, and the tally compares it with
what was written, entry by entry.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bridge import settings
from bridge.app.parts import build, real_world
from bridge.clock import Clock, SystemClock
from bridge.model import SECOND
from bridge.simulator.account import APPS, Account
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.server import serving
from bridge.simulator.store import Written
from bridge.simulator.tally import Standing, Tally
from bridge.simulator.writer import keep_writing
from bridge.telemetry.log import LogWriter

_KEY: Final = "demo-key-id:demo-key-secret"
_HISTORY: Final = 20 * SECOND
_TALLY_EVERY: Final = 1.0
_SETTLE: Final = 30.0
"""Seconds that the last entries have to arrive after the account has stopped writing."""

_CONFIG: Final = """\
fal: {{base_url: "{api}", key: "{key}"}}
apps: [{apps}]
poll: {{interval: 500ms, max_interval: 2s, requests_per_second: 20, late_sweeps: [2s, 5s]}}
journal: {{path: "{folder}/journal.sqlite"}}
destinations:
  - {{name: receiver, type: otlp, endpoint: "{otlp}"}}
  - {{name: console, type: console}}
"""


async def run_demo(*, seconds: float | None, rate: float, seed: int) -> int:
    """Run until Ctrl-C or for so many seconds; 0 if nothing is missing in the end."""
    clock = SystemClock()
    account = Account(seed, clock.now() - _HISTORY, rate, APPS, late=0.03, late_by=(0.3, 4.5))
    logs = LogsApiFake(clock, LogsApiConfig(key=_KEY))
    tally = Tally()
    receiver = OtlpBackend(BackendConfig(keep_records=False), on_record=tally.deliver)

    def put(written: Written) -> None:
        logs.add(written)
        tally.write(written)

    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="fal-log-bridge-demo-"))
        api = await stack.enter_async_context(serving(logs))
        otlp = await stack.enter_async_context(serving(receiver))
        emit = LogWriter(sys.stderr, clock, human=sys.stderr.isatty())
        config = _load(Path(folder), api, otlp)
        bridge = await build(config, real_world(emit), stack)
        stop, stopped, hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
        _on_signals(stopped, hurry)
        _say(
            f"A simulated fal account of {len(APPS)} apps writes {rate:g} entries a second; "
            "the bridge reads them and delivers them here and to an OTLP receiver that counts. "
            "Ctrl-C ends it."
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bridge.run(stop))
            writing = group.create_task(keep_writing(account, clock, put))
            showing = group.create_task(_show(tally, clock))
            await _until_stopped(seconds, stopped)
            writing.cancel()
            _say("waiting for the last entries; Ctrl-C again leaves at once")
            await _settle(tally, clock, hurry)
            showing.cancel()
            stop.set()
            leaving = group.create_task(hurry.wait())
            await asyncio.wait((running, leaving), return_when=asyncio.FIRST_COMPLETED)
            running.cancel()
            leaving.cancel()
    standing = tally.standing(clock.now())
    _say(_coloured(str(standing)))
    return 0 if standing.complete else 1


def _load(folder: Path, api: str, otlp: str) -> settings.Settings:
    """The demo's settings, from a config file like anybody's."""
    apps = ", ".join(f"{{app_id: {app}, start: 1h}}" for app in APPS)
    text = _CONFIG.format(api=api, otlp=otlp, key=_KEY, apps=apps, folder=folder)
    file = folder / "config.yaml"
    file.write_text(text)
    return settings.load(file, {})


def _on_signals(stopped: asyncio.Event, hurry: asyncio.Event) -> None:
    """A signal stops the writing; once that is stopped, one ends the wait for the rest."""
    loop = asyncio.get_running_loop()

    def received() -> None:
        (hurry if stopped.is_set() else stopped).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)


async def _until_stopped(seconds: float | None, stopped: asyncio.Event) -> None:
    """Wait for a signal, or for the time to be over, which stops as well."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()
    stopped.set()


async def _settle(tally: Tally, clock: Clock, hurry: asyncio.Event) -> None:
    """Give what was written last the time to arrive."""
    deadline = clock.monotonic() + _SETTLE
    while not (tally.standing(clock.now()).complete or hurry.is_set()):
        if clock.monotonic() >= deadline:
            return
        await clock.sleep(0.1)


async def _show(tally: Tally, clock: Clock) -> None:
    while True:
        await clock.sleep(_TALLY_EVERY)
        _say(_coloured(_running(tally.standing(clock.now()))))


def _running(standing: Standing) -> str:
    """The tally before the end, when what has not arrived is not missing yet."""
    return str(standing).replace("missing", "on the way")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the demo's display


def _coloured(text: str) -> str:
    return f"\x1b[1;36m{text}\x1b[0m" if sys.stdout.isatty() else text
