"""The bridge's own web server: liveness, readiness, metrics, status.

It knows nothing of the bridge but its `View`. No answer holds a secret or anything out of an
entry; whatever comes to show such things belongs under ``/api/``, where the token is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.model import Json


@dataclass(frozen=True, slots=True)
class Health:
    """Whether something is as it should be; ``reasons`` name what is not, one sentence each.

    There may be reasons although it is ``ok`` on the whole.
    """

    ok: bool
    reasons: tuple[str, ...] = ()


class View(Protocol):
    """What the server shows."""

    def live(self) -> Health:
        """Whether the process does its work, or should be started anew."""
        ...

    def ready(self) -> Health:
        """Whether logs are read and delivered."""
        ...

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """The content type and the metrics, in a text format that ``accept`` allows."""
        ...

    async def status(self) -> Json:
        """Where every app and destination stands.

        Raises:
            JournalError: it cannot be told now.
        """
        ...
