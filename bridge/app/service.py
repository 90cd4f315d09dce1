"""The service as a process: runs the bridge until a signal, or until it has caught up."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from bridge import __version__, settings
from bridge.app.bridge import Bridge
from bridge.app.parts import build, real_world, rehearse
from bridge.app.reloading import Succession
from bridge.journal.lock import say_task
from bridge.telemetry import Emit
from bridge.telemetry.service import (
    CaughtUp,
    ConfigWarning,
    DestinationsNotConfigured,
    NotCaughtUp,
    Started,
    Stopped,
    Stopping,
)

_OBJECTS: Final = 10_000
"""So many new ones at least are there before the garbage collector looks for any to free."""


async def run(load: Callable[[], settings.Settings], emit: Emit) -> int:
    """The service: forward until SIGTERM or SIGINT; the exit code.

    ``load`` gives the settings, at the start and again at each SIGHUP.
    """
    from bridge.app.overseen import Overseer  # noqa: PLC0415 - heavy, and of no use to --once

    config = load()
    signals = _Signals(emit)
    async with Overseer(emit) as overseer:

        async def begin(
            config: settings.Settings, halt: asyncio.Event, stack: AsyncExitStack
        ) -> Bridge:
            overseen = await overseer.begin(config, halt, stack)
            world = real_world(overseen.emit, overseen.meter, overseen.tracer, overseen.recent)
            bridge = await build(config, world, stack)
            _set_aside()
            await _say_started(config, bridge, emit)
            await stack.enter_async_context(overseen.looking_after(bridge))
            return bridge

        bridges = Succession(
            load=load,
            rehearse=partial(rehearse, world=real_world(emit)),
            begin=begin,
            emit=emit,
            stop=signals.stop,
        )
        signals.on_hang_up(bridges.hang_up)
        waiting = await bridges.run(config)
    emit(Stopped(waiting))
    return 0


async def run_once(config: settings.Settings, emit: Emit, patience: float) -> int:
    """Forward everything up to now; the exit code."""
    signals = _Signals(emit)
    async with AsyncExitStack() as stack:
        bridge = await build(config, real_world(emit), stack)
        say_task(config.journal.path, "run --once")
        _set_aside()
        signals.on_hang_up(bridge.hang_up)
        await _say_started(config, bridge, emit)
        obstacles = await bridge.run_once(patience, signals.stop)
    for obstacle in obstacles:
        emit(NotCaughtUp(obstacle))
    if not obstacles:
        dead = sum(f.state.dead_lettered for f in bridge.forwarders)
        emit(CaughtUp(sum(t.read for t in bridge.tailers), dead))
    return 1 if obstacles else 0


def _set_aside() -> None:
    """Spare the garbage collector all that is there for good: modules, and what was built.

    From here on it looks for what has become garbage meanwhile (docs/decisions/0025).
    """
    if gc.get_freeze_count():  # a bridge before this one may be garbage by now
        gc.unfreeze()
        gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS)


async def _say_started(config: settings.Settings, bridge: Bridge, emit: Emit) -> None:
    for warning in config.warnings:
        emit(ConfigWarning(warning))
    unused = (await bridge.journal.stats()).unused
    if unused:
        waiting = max(one.records for one in unused)
        emit(DestinationsNotConfigured(tuple(one.destination for one in unused), waiting))
    emit(
        Started(
            version=__version__,
            apps=tuple(app.name for app in config.apps),
            destinations=tuple(one.name for one in config.destinations),
            journal=str(config.journal.path),
        )
    )


class _Signals:
    """What signals ask for: SIGTERM and SIGINT to stop, SIGHUP what `on_hang_up` says.

    The first that stops drains; a second one does not wait for that. A SIGHUP that comes because
    the terminal of this process was closed stops it as well.
    """

    def __init__(self, emit: Emit) -> None:
        """Listen from now on."""
        self.stop = asyncio.Event()
        self._emit = emit
        self._hang_up: Callable[[], None] = lambda: None
        self._terminals = [descriptor for descriptor in range(3) if os.isatty(descriptor)]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def on_hang_up(self, do: Callable[[], None]) -> None:
        """Do this at each SIGHUP; those that came before are not made up for."""
        self._hang_up = do

    def _stopped(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            os._exit(128 + number)  # as process 1 nothing else ends us; the journal is safe
        self._emit(Stopping(number.name))
        self.stop.set()

    def _hung_up(self) -> None:
        # A terminal that was closed is none any more (tty_ioctl(4): EIO).
        if any(not os.isatty(descriptor) for descriptor in self._terminals):
            self._stopped(signal.SIGHUP)
        else:
            self._hang_up()
