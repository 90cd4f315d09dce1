"""The service as a process: runs the bridge until a signal, or until it has caught up."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack

from bridge import __version__, settings
from bridge.app.parts import build, real_world
from bridge.telemetry import Emit
from bridge.telemetry.service import (
    CaughtUp,
    ConfigWarning,
    NotCaughtUp,
    Started,
    Stopped,
    Stopping,
)


async def run(config: settings.Settings, emit: Emit) -> int:
    """The service: forward until SIGTERM or SIGINT; the exit code."""
    from bridge.app.overseen import overseeing  # noqa: PLC0415 - heavy, and of no use to --once

    stop = _stop_on_signals(emit)
    async with AsyncExitStack() as stack:
        overseen = await overseeing(config, emit, stop, stack)
        bridge = await build(config, real_world(overseen.emit, overseen.meter), stack)
        _say_started(config, emit)
        async with overseen.looking_after(bridge):
            await bridge.run(stop)
        waiting = await bridge.waiting()
    emit(Stopped(waiting))
    return 0


async def run_once(config: settings.Settings, emit: Emit, patience: float) -> int:
    """Forward everything up to now; the exit code."""
    stop = _stop_on_signals(emit)
    async with AsyncExitStack() as stack:
        bridge = await build(config, real_world(emit), stack)
        _say_started(config, emit)
        obstacles = await bridge.run_once(patience, stop)
    for obstacle in obstacles:
        emit(NotCaughtUp(obstacle))
    if not obstacles:
        dead = sum(f.state.dead_lettered for f in bridge.forwarders)
        emit(CaughtUp(sum(t.read for t in bridge.tailers), dead))
    return 1 if obstacles else 0


def _say_started(config: settings.Settings, emit: Emit) -> None:
    for warning in config.warnings:
        emit(ConfigWarning(warning))
    emit(
        Started(
            version=__version__,
            apps=tuple(app.name for app in config.apps),
            destinations=tuple(one.name for one in config.destinations),
            journal=str(config.journal.path),
        )
    )


def _stop_on_signals(emit: Emit) -> asyncio.Event:
    """Set by the first signal, which drains; a second one does not wait for that."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)  # as process 1 nothing else ends us; the journal is safe
        emit(Stopping(number.name))
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, received, number)
    return stop
