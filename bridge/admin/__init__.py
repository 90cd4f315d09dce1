"""The bridge's own web server: liveness, readiness, metrics, status, and a page that shows them.

It knows nothing of the bridge but its `View`. No answer holds a secret. What comes out of an entry,
or out of a server's answer, which may quote one, is under ``/api/`` and shown to nobody without the
token, so to nobody where none is set.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from bridge.model import Json


class Health(Struct, frozen=True):
    """Whether something is as it should be; ``reasons`` name what is not, one sentence each.

    There may be reasons although it is ``ok`` on the whole.
    """

    ok: bool
    reasons: tuple[str, ...] = ()


class Wanted(Struct, frozen=True):
    """Which of the last entries: those ``after`` the ``next`` of an earlier answer, empty for all.

    ``min_severity`` is the least severity number; ``text`` is looked for in the messages.
    """

    after: str = ""
    min_severity: int = 0
    text: str = ""


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

    async def overview(self) -> Json:
        """How all is: names, numbers and words of our own, nothing that needs the token."""
        ...

    def history(self) -> Json:
        """The numbers of the last hour; as open as the overview."""
        ...

    async def entries(self, wanted: Wanted) -> Json:
        """The newest entries that were journaled. Log content."""
        ...

    async def problems(self) -> Json:
        """The last problem of every app and destination, and why entries were refused for good.

        May quote log content.

        Raises:
            JournalError: it cannot be told now.
        """
        ...
