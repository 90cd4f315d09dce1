"""Events of reading: one line when an app's state changes, none for each retry."""

from __future__ import annotations

import logging
from typing import ClassVar, Self

from bridge.gaps import sentence
from bridge.model import Gap, GapKind, Tick
from bridge.telemetry import Event
from bridge.timestamps import format_tick


class AppStarted(Event, frozen=True):
    """An app was read for the first time; its start is committed."""

    app: str
    start: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: new, reading from {format_tick(self.start)}"


class AppResumed(Event, frozen=True):
    """An app goes on from its journaled position."""

    app: str
    position: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: resuming from {format_tick(self.position)}"


class FiltersChanged(Event, frozen=True):
    """The configured filters differ from those the position was reached with."""

    level: ClassVar[int] = logging.WARNING
    app: str
    position: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.app}: its filters changed; from {format_tick(self.position)} on the new ones "
            "apply, and what they would have selected before is not read again"
        )


class AppTroubled(Event, frozen=True):
    """Reading an app fails; it is retried, its position waits, the other apps go on."""

    level: ClassVar[int] = logging.ERROR
    app: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: cannot read: {self.reason}; trying again, nothing is skipped"


class AppRecovered(Event, frozen=True):
    """Reading an app works again."""

    app: str
    seconds: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: reading again after {self.seconds:.0f} s"


class BacklogFound(Event, frozen=True):
    """More stands between the position and now than a few pages: read in slices, oldest first."""

    app: str
    floor: Tick
    ceiling: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.app}: catching up from {format_tick(self.floor)} to "
            f"{format_tick(self.ceiling)}, oldest first"
        )


class BacklogRead(Event, frozen=True):
    """A backlog is journaled; the live edge goes on."""

    app: str
    entries: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: caught up, {self.entries:,} entries"


class ReadingPaused(Event, frozen=True):
    """The journal is full; reading waits for the destination that holds it."""

    level: ClassVar[int] = logging.ERROR
    app: str
    held_by: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.app}: reading pauses, the journal is full; it is held by the destination "
            f"{self.held_by or '(none attached)'}"
        )


class ReadingResumed(Event, frozen=True):
    """The journal has room again."""

    app: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: the journal has room again, reading goes on"


class LateEntriesFound(Event, frozen=True):
    """Entries became visible after their stretch of time was read; the sweeps have fetched them.

    ``latest`` is the age in seconds at which the latest of them was found, an upper bound.
    """

    app: str
    entries: int
    latest: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.app}: {self.entries:,} entries came late, up to {self.latest:,.0f} s after "
            "their time; they are fetched"
        )


class EntriesShaped(Event, frozen=True):
    """An app's own rules dropped or changed entries; ``counts`` are (rule, entries)."""

    app: str
    counts: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        """See `Event.text`."""
        told = ", ".join(f"{rule} {entries:,}" for rule, entries in self.counts)
        return f"{self.app}: entries shaped by rule: {told}"


class GapFound(Event, frozen=True):
    """A stretch cannot be proved complete; it is recorded, and told downstream by one record."""

    level: ClassVar[int] = logging.ERROR
    app: str
    kind: GapKind
    floor: Tick
    ceiling: Tick
    at_least: int

    @classmethod
    def of(cls, app: str, gap: Gap) -> Self:
        """The event for a gap."""
        return cls(app, gap.kind, gap.floor, gap.ceiling, gap.at_least)

    @property
    def text(self) -> str:
        """See `Event.text`."""
        gap = Gap(self.kind, self.floor, self.ceiling, self.at_least)
        return f"{self.app}: a gap cannot be ruled out: {sentence(gap)}"


class GapClosed(Event, frozen=True):
    """A stretch that was recorded as a gap has been read completely after all."""

    app: str
    floor: Tick
    ceiling: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.app}: no longer a gap: {format_tick(self.floor)} to "
            f"{format_tick(self.ceiling)} has been read completely"
        )


class NothingShown(Event, frozen=True):
    """No entry of an app was ever shown, up to the first complete read of this process.

    It is a quiet app, or a wrong id.
    """

    level: ClassVar[int] = logging.WARNING
    app: str
    start: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.app}: the API shows no entry since {format_tick(self.start)}; "
            "if it should, check app_id and filters"
        )


class AppSilent(Event, frozen=True):
    """No entry of an app has come for its ``expect_every``, although it could be read.

    ``since`` is when the last one was journaled, by the server's time, or when this bridge began;
    ``seconds`` is how long ago that is.
    """

    level: ClassVar[int] = logging.WARNING
    app: str
    since: Tick
    seconds: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.app}: silent: it can be read, and no entry has come for {self.seconds:,.0f} s, "
            f"since {format_tick(self.since)}; see whether the app runs, and check app_id and "
            "filters"
        )


class AppHeard(Event, frozen=True):
    """Entries of an app that was silent come again."""

    app: str
    seconds: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: entries come again, after {self.seconds:,.0f} s of silence"


class BehaviourChanged(Event, frozen=True):
    """The API behaves otherwise than it did, or than was expected at the first look.

    ``now`` completes "the API now ..."; ``before`` is what it did, ``means`` what follows.
    """

    level: ClassVar[int] = logging.WARNING
    trait: str
    now: str
    before: str
    means: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"the API now {self.now} ({self.before}); {self.means}"


class BackfillBegun(Event, frozen=True):
    """A backfill is worked on, from its beginning or from where it was."""

    backfill: str
    apps: tuple[str, ...]
    share: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"backfill {self.backfill}: reading, {self.share:.0%} done ({', '.join(self.apps)})"


class BackfillEnded(Event, frozen=True):
    """A backfill is not worked on any more: it is done, or was stopped by command."""

    backfill: str
    entries: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"backfill {self.backfill}: over, {self.entries:,} entries journaled this time"
