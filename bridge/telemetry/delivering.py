"""What delivery has to say: a line when a destination's state changes, never one a retry."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

from bridge.telemetry import Event


class DestinationRetrying(Event, frozen=True):
    """A destination has not accepted for longer than a hiccup; the bridge keeps trying."""

    level: ClassVar[int] = logging.WARNING

    destination: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: trying again, nothing is lost: {self.reason}"


class DestinationBlocked(Event, frozen=True):
    """A destination refuses what it is sent; everything is held until someone mends it."""

    level: ClassVar[int] = logging.ERROR

    destination: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: held, nothing is lost and nothing arrives: {self.reason}"


class DestinationRecovered(Event, frozen=True):
    """A destination that was reported retrying or blocked accepts again."""

    destination: str
    held: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: accepts again after {self.held:.1f} s"


class RequestSplit(Event, frozen=True):
    """A request is too large for a destination, or refused for some of it, and goes in two."""

    level: ClassVar[int] = logging.DEBUG

    destination: str
    records: int
    size: int
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.destination}: a request of {self.records} records ({self.size} bytes) goes in "
            f"two: {self.reason}"
        )


class RecordDeadLettered(Event, frozen=True):
    """A lone record that a destination will not take, though it takes others, is set aside."""

    level: ClassVar[int] = logging.ERROR

    destination: str
    uid: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: record {self.uid} is kept as a dead letter: {self.reason}"


class WitnessSent(Event, frozen=True):
    """A record that was accepted before went once more, since others are refused.

    ``accepted``: so was it this time, and what is refused beside it is at fault itself.
    """

    destination: str
    uid: str
    accepted: bool

    @property
    def text(self) -> str:
        """See `Event.text`."""
        answer = "still accepted" if self.accepted else "refused now too"
        return (
            f"{self.destination}: others are refused; record {self.uid}, sent once more for "
            f"comparison, is {answer}"
        )


class DeadLetterDelivered(Event, frozen=True):
    """A dead letter was sent again by a person's wish, and accepted."""

    destination: str
    uid: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: record {self.uid}, a dead letter until now, is delivered"


class DestinationPaused(Event, frozen=True):
    """A person asked that nothing be sent to a destination."""

    level: ClassVar[int] = logging.WARNING

    destination: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: paused as asked, nothing is lost and nothing is sent"


class DestinationResumed(Event, frozen=True):
    """A person asked that a destination be sent to again."""

    destination: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: resumed as asked"


class PartialSuccess(Event, frozen=True):
    """A destination accepted a request but refused some of its records, without saying which."""

    level: ClassVar[int] = logging.ERROR

    destination: str
    refused: int
    records: int
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.destination}: refused {self.refused} of {self.records} records without saying "
            f"which; a copy of all of them is kept as dead letters: {self.reason}"
        )


class OddAnswer(Event, frozen=True):
    """A destination accepts with an answer that is not what OTLP asks for; said once."""

    level: ClassVar[int] = logging.WARNING

    destination: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: taken as delivered, said once: {self.reason}"


class CursorNotStored(Event, frozen=True):
    """The journal cannot store how far a destination is; a restart would send again from before."""

    level: ClassVar[int] = logging.ERROR

    destination: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: cannot store its cursor, trying on: {self.reason}"


class BatchesNotRead(Event, frozen=True):
    """The journal cannot give a destination its next batches."""

    level: ClassVar[int] = logging.ERROR

    destination: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: cannot read its next batches, trying on: {self.reason}"


class WishesNotRead(Event, frozen=True):
    """The journal cannot say what a person asked of a destination; the last that is known holds."""

    level: ClassVar[int] = logging.ERROR

    destination: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.destination}: cannot read whether it is paused or to replay, trying on: "
            f"{self.reason}"
        )


class JournalRecovered(Event, frozen=True):
    """The journal serves a destination again."""

    destination: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: the journal serves it again"


class RecordsTooOld(Event, frozen=True):
    """Records were over a destination's ``max_age`` when it was their turn.

    ``fate`` is what became of them: ``dead_letter``, ``restamp`` or ``send``.
    """

    level: ClassVar[int] = logging.WARNING
    _WHAT: ClassVar[Mapping[str, str]] = {
        "dead_letter": "kept as dead letters",
        "restamp": "sent with the present as their time",
        "send": "sent all the same",
    }

    destination: str
    records: int
    fate: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: {self.records} records over max_age: {self._WHAT[self.fate]}"
