"""What will happen in a simulated world, as values; `draw.plan` makes one of a seed."""

from __future__ import annotations

from msgspec import Struct

from bridge.model import Tick
from bridge.simulator.faults import Spell
from bridge.simulator.logs_api import LogsApiConfig
from bridge.simulator.otlp_backend import Refusals
from bridge.simulator.store import Written

KEY = "id:secret"
HOUR = 3600.0
START = "2025-09-19T11:00:00Z"
"""The same start for a first life however late it comes."""


class BackendPlan(Struct, frozen=True):
    """One destination: its faults, when it is down, and what it does not take.

    ``refuses`` one record in so many, in the way of ``refusals``; 0 for none.
    """

    name: str
    share: float
    trouble: tuple[Spell, ...]
    max_bytes: int
    compression: str
    refuses: int = 0
    refusals: Refusals = Refusals.WHOLE


class Setup(Struct, frozen=True):
    """How the bridge is configured for one life; no apps: the whole account."""

    apps: tuple[str, ...]
    backends: tuple[str, ...]
    page_size: int
    concurrency: int
    sweeps: tuple[str, ...] = ("3s", "8s")
    labels: tuple[tuple[str, str], ...] = ()
    interval: str = "1s"
    max_interval: str = "15s"
    requests_per_second: float = 50.0


class Outage(Struct, frozen=True):
    """The API fails from the ``nth`` request for a closed window on, a slice or a sweep.

    For all requests, or without ``everything`` for those of closed windows only.
    """

    nth: int
    seconds: float
    everything: bool = False


class Life(Struct, frozen=True):
    """One run of the bridge: ends at a time or by a crash or fault, whichever comes first.

    A crash comes at a step of the loop, or so many steps after a request for a closed window (a
    slice or a sweep) by their number; a ``fault`` strikes at a statement. An ``outage`` of the API
    begins within it.
    """

    setup: Setup
    seconds: float
    crash_at_step: int | None = None
    crash_at_closed: tuple[int, int] | None = None
    fault_at_statement: int | None = None
    fault: BaseException | None = None
    downtime: float = 0.0
    outage: Outage | None = None


class Change(Struct, frozen=True):
    """From ``at`` on the API shows at most ``cap`` entries and refuses more than ``max_limit``."""

    at: Tick
    cap: int | None
    max_limit: int | None


class Plan(Struct, frozen=True):
    """Everything that will happen.

    ``cut`` is the step to which the API cuts bounds. ``skew`` and ``steps`` are what the bridge's
    wall clock is wrong by (`VirtualClock`); ``dates`` befall the API's ``Date``.
    """

    seed: int
    setup: Setup
    entries: tuple[Written, ...]
    api: LogsApiConfig
    backends: tuple[BackendPlan, ...]
    seconds: int = 5
    start: str = START
    changes: tuple[Change, ...] = ()
    cut: Tick | None = None
    api_share: float = 0.0
    api_trouble: tuple[Spell, ...] = ()
    poison: tuple[Spell, ...] = ()
    latency: float = 0.0
    max_bytes: int = 10**8
    disk_full: tuple[tuple[float, float], ...] = ()
    skew: Tick = 0
    steps: tuple[tuple[float, Tick], ...] = ()
    dates: tuple[Spell, ...] = ()
    lives: tuple[Life, ...] = ()

    @property
    def setups(self) -> tuple[Setup, ...]:
        """The configurations in order; the last is that of the calm life at the end."""
        return (*(life.setup for life in self.lives), self.setup)

    @property
    def apps(self) -> tuple[str, ...]:
        """The apps that write."""
        return tuple(sorted({w.raw["app"] for w in self.entries}))
