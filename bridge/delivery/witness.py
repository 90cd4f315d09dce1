"""A record that a destination has accepted, to be sent once more as the contrast to refused ones.

A refusal is held against a record only if another one is accepted after it. Where no other is left
to be sent, the newest that was accepted serves again: the same bytes, so the same uid. It is
another record, it proves more than an empty request or an acceptance before the refusal would, and
at least once is kept. What it costs is a copy at the backend.
"""

from __future__ import annotations

from bridge.clock import Clock
from bridge.delivery.selection import Selection
from bridge.delivery.split import Piece
from bridge.model import Encoded
from bridge.payload import Request, alone, located, uid_of


class Witness:
    """The newest accepted record of one destination, as long as it is fit to be sent again."""

    def __init__(self, selection: Selection, clock: Clock) -> None:
        self._selection = selection
        self._clock = clock
        self._part: Encoded | None = None

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return self._part is not None

    def keep(self, piece: Piece) -> None:
        """Remember a piece that was accepted whole; it is cut to one record when that is asked."""
        part = piece.request.parts[0]
        self._part = Encoded(records=part.records, size=part.size, gzip=part.gzip)

    def drop(self) -> None:
        """Forget it: it is not accepted any more."""
        self._part = None

    def call(self) -> tuple[str, Request] | None:
        """Its uid and the request; None where there is none, or where it has become too old."""
        if self._part is None:
            return None
        found = min(located(self._part), key=lambda one: one[2].ByteSize())
        if self._part.records > 1:  # else it goes as the bytes that it was
            self._part = alone(found)
        request = Request((self._part,))
        if self._selection.expired(request, self._clock.now()):
            self.drop()
            return None
        return uid_of(found[2]), request
