"""What the rooms count while they work, as a port: the metrics are built elsewhere.

What a room's state says by itself (a position, a count of entries) is not here: that is looked at
when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bridge.model import Verdict


class Meter:
    """Counts nothing; the one that does is `bridge.telemetry.registry.Registry`.

    Called once for a request, a walk or a send, never once for an entry.
    """

    def answered(self, app: str, status: str) -> None:
        """One request to the API for an app: the answer's HTTP status, `NO_ANSWER` without one."""

    def late(self, app: str, ages: Sequence[float]) -> None:
        """The sweeps found entries that came late: the age in seconds of each when it was found."""

    def gap(self, app: str) -> None:
        """A stretch of an app that cannot be proved complete was recorded."""

    def sent(self, destination: str, verdict: Verdict, waited: Sequence[float]) -> None:
        """One send to a destination, and what it came to.

        ``waited`` are the seconds since each batch that was delivered by it had been journaled.
        """


NO_METER: Final = Meter()

NO_ANSWER: Final = "none"
"""The status of a request without a whole answer."""
