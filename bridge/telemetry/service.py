"""Events of the process itself."""

from __future__ import annotations

import logging
import traceback as tracebacks
from typing import ClassVar, Self

from bridge.telemetry import Event


class Started(Event, frozen=True):
    """The bridge reads and delivers from now on. ``journal`` is the journal's file."""

    version: str
    apps: tuple[str, ...]
    destinations: tuple[str, ...]
    journal: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"fal-log-bridge {self.version} reads {_listed(self.apps, 'app')}, delivers to "
            f"{_listed(self.destinations, 'destination')}, keeps its journal in {self.journal}"
        )


class Stopping(Event, frozen=True):
    """A signal asked the bridge to stop: no more reading, what is in flight is finished."""

    signal: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"stopping on {self.signal}: finishing what is in flight"


class HungUp(Event, frozen=True):
    """A SIGHUP came; the destinations in ``files`` open their files anew."""

    files: tuple[str, ...]

    @property
    def text(self) -> str:
        """See `Event.text`."""
        if not self.files:
            return "SIGHUP: no destination is a file, nothing to open anew"
        return f"SIGHUP: {_listed(self.files, 'destination')} opens its file anew"


class ConfigUnchanged(Event, frozen=True):
    """A SIGHUP came, and the configuration is what it was."""

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return "SIGHUP: nothing changed in the configuration"


class ConfigChanged(Event, frozen=True):
    """One thing that the configuration to be taken has otherwise; keys are named, no values."""

    change: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"configuration: {self.change}"


class Reloading(Event, frozen=True):
    """A changed configuration is usable: the bridge drains, then goes on with it."""

    changes: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        what = "1 change" if self.changes == 1 else f"{self.changes} changes"
        return f"reloading the configuration, {what}: finishing what is in flight"


class ReloadRefused(Event, frozen=True):
    """A changed configuration cannot be used. ``error`` is what a start with it would say."""

    level: ClassVar[int] = logging.ERROR
    error: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"SIGHUP: not reloaded, the old configuration goes on: {_one_line(self.error)}"


class ReloadFailed(Event, frozen=True):
    """No bridge could be built from a configuration that looked usable: back to the old one."""

    level: ClassVar[int] = logging.ERROR
    error: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"the reload failed, back to the old configuration: {_one_line(self.error)}"


class Stopped(Event, frozen=True):
    """The bridge has stopped; ``waiting`` records are in the journal for the next start."""

    waiting: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        if not self.waiting:
            return "stopped; everything read is delivered"
        return f"stopped; {self.waiting:,} undelivered entries wait in the journal"


class CaughtUp(Event, frozen=True):
    """``--once`` is done: everything up to the start is delivered or dead-lettered."""

    read: int
    dead_lettered: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        kept = f"; kept as dead letters: {self.dead_lettered:,}" if self.dead_lettered else ""
        return f"caught up: {self.read:,} entries read, everything is delivered{kept}"


class NotCaughtUp(Event, frozen=True):
    """``--once`` gave up: something stood in the way for longer than its timeout."""

    level: ClassVar[int] = logging.ERROR
    obstacle: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"not caught up: {self.obstacle}"


class ConfigWarning(Event, frozen=True):
    """The settings hold something that was accepted but deserves a word."""

    level: ClassVar[int] = logging.WARNING
    warning: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"configuration: {self.warning}"


class DestinationsNotConfigured(Event, frozen=True):
    """Destinations that the journal knows hold entries, and the settings do not have them."""

    level: ClassVar[int] = logging.WARNING
    destinations: tuple[str, ...]
    waiting: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"no longer configured, and entries are kept for them until the journal is full "
            f"({self.waiting:,} by now): {', '.join(self.destinations)}; put them back or run "
            "`fal-log-bridge destinations forget NAME`"
        )


class Progress(Event, frozen=True):
    """How it goes: rates in entries a second, and the worst lag on either side in seconds.

    ``app`` is the app whose position is furthest behind, ``destination`` the one whose oldest
    undelivered batch is the oldest; either is empty, with a lag of 0, when none is behind.
    ``backlog`` counts the records that the slowest destination has still to take.
    """

    read_per_second: float
    delivered_per_second: float
    app: str
    app_lag: float
    destination: str
    destination_lag: float
    backlog: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        parts = [
            f"read {self.read_per_second:,.1f}/s, delivered {self.delivered_per_second:,.1f}/s"
        ]
        if self.app:
            parts.append(f"{self.app} is {self.app_lag:,.1f}s behind")
        if self.destination:
            parts.append(
                f"{self.destination} is {self.destination_lag:,.1f}s behind "
                f"with {self.backlog:,} entries to take"
            )
        return "; ".join(parts)


class AdminListening(Event, frozen=True):
    """The admin server answers at ``address``, as host:port."""

    address: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"the status page, health and metrics are at http://{self.address}"


class AdminMoved(Event, frozen=True):
    """Nobody chose the admin server's address and the usual one is taken: it is at another."""

    level: ClassVar[int] = logging.WARNING
    wanted: str
    address: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.wanted} is taken; the status page, health and metrics are at "
            f"http://{self.address} (set admin.listen to choose)"
        )


class TelemetryHeld(Event, frozen=True):
    """The bridge's own telemetry cannot be exported; it keeps trying, the logs are not concerned.

    ``what`` is ``metrics`` or ``spans``.
    """

    level: ClassVar[int] = logging.WARNING
    what: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"telemetry: the bridge's own {self.what} are not taken: {self.reason}"


class TelemetryRecovered(Event, frozen=True):
    """The bridge's own telemetry is exported again. ``what`` is ``metrics`` or ``spans``."""

    what: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"telemetry: the bridge's own {self.what} are taken again"


class InternalError(Event, frozen=True):
    """A defect of the bridge itself. ``traceback`` is its Python traceback."""

    level: ClassVar[int] = logging.ERROR
    where: str
    error: str
    traceback: str

    @classmethod
    def of(cls, where: str, error: BaseException) -> Self:
        """The event for an exception that nothing expected."""
        lines = tracebacks.format_exception(error)
        return cls(where, f"{type(error).__name__}: {error}", "".join(lines))

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"internal error in {self.where}: {self.error}"


def _one_line(error: str) -> str:
    """A message that lists several problems, as one sentence."""
    first, *others = (line.strip() for line in error.splitlines())
    return f"{first}: {'; '.join(others)}" if others else first


def _listed(names: tuple[str, ...], what: str) -> str:
    """Up to three names, else how many there are."""
    if len(names) <= 3:  # noqa: PLR2004 - a line for people stays short
        return ", ".join(names)
    return f"{len(names)} {what}s"
