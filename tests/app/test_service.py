"""What signals do to the running service."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial

import pytest

from bridge.app.service import _Signals
from bridge.telemetry import Event
from bridge.telemetry.service import Stopping


def signalled(*numbers: signal.Signals, between: Callable[[], None] = lambda: None) -> list[str]:
    """What happens in the order it does, when this process gets these signals."""
    happened: list[str] = []

    def emit(event: Event) -> None:
        happened.append(event.text)

    async def main() -> None:
        signals = _Signals(emit)
        signals.on_hang_up(lambda: happened.append("hung up"))
        for number in numbers:
            between()
            before = len(happened)
            os.kill(os.getpid(), number)
            while len(happened) == before:  # noqa: ASYNC110 - the loop hears of it in its own time
                await asyncio.sleep(0)
        happened.append("stops" if signals.stop.is_set() else "goes on")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)

    asyncio.run(main())
    return happened


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops(number: signal.Signals) -> None:
    """The first one drains."""
    assert signalled(number) == [Stopping(number.name).text, "stops"]


def test_sighup_stops_nothing() -> None:
    """Each is answered, and the service goes on."""
    assert signalled(signal.SIGHUP, signal.SIGHUP) == ["hung up", "hung up", "goes on"]


def test_a_closed_terminal_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal this was started on is gone: SIGHUP says just that, and nobody reads on."""
    terminal, process = os.openpty()
    isatty = os.isatty
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 0 and isatty(process))
    steps = iter((lambda: None, partial(os.close, terminal)))

    def step() -> None:
        next(steps)()

    happened = signalled(signal.SIGHUP, signal.SIGHUP, between=step)
    os.close(process)
    assert happened == ["hung up", Stopping("SIGHUP").text, "stops"]
