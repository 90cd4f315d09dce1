"""The port to a backend, and one module for each kind."""

from __future__ import annotations

from typing import Protocol

from bridge.model import Outcome
from bridge.payload import Request


class Destination(Protocol):
    """One backend. Knows how to send one request and to read the answer, and nothing of queues."""

    @property
    def name(self) -> str:
        """The configured name: labels metrics and names the cursor."""
        ...

    @property
    def acknowledged(self) -> bool:
        """Whether DELIVERED is the backend's word; where it has none, delivery is best effort."""
        ...

    def too_large(self, request: Request) -> Outcome | None:
        """The verdict on a request that is over this destination's own limit, None if it may go.

        Nobody is asked, so this says nothing about how the backend does.
        """
        ...

    async def send(self, request: Request) -> Outcome:
        """Send once and say what it came to; never raises for what the backend or network did.

        Only an answer that acknowledges the records is `Verdict.DELIVERED`.
        """
        ...

    async def probe(self) -> Outcome:
        """Reach the backend without giving it a record.

        As `send`: DELIVERED if that works, with a reason if it does not say much.
        """
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...
