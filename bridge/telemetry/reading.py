"""Events of reading: one line when an app's state changes, none for each retry."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar, Self

from bridge.gaps import sentence
from bridge.model import Gap, GapKind, Tick
from bridge.telemetry import Event
from bridge.timestamps import format_tick


@dataclass(frozen=True, slots=True)
class AppStarted(Event):
    """An app was read for the first time; its start is committed."""

    app: str
    start: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: new, reading from {format_tick(self.start)}"


@dataclass(frozen=True, slots=True)
class AppResumed(Event):
    """An app goes on from its journaled position."""

    app: str
    position: Tick

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: resuming from {format_tick(self.position)}"


@dataclass(frozen=True, slots=True)
class FiltersChanged(Event):
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


@dataclass(frozen=True, slots=True)
class AppTroubled(Event):
    """Reading an app fails; it is retried, its position waits, the other apps go on."""

    level: ClassVar[int] = logging.ERROR
    app: str
    reason: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: cannot read: {self.reason}; trying again, nothing is skipped"


@dataclass(frozen=True, slots=True)
class AppRecovered(Event):
    """Reading an app works again."""

    app: str
    seconds: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: reading again after {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class BacklogFound(Event):
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


@dataclass(frozen=True, slots=True)
class BacklogRead(Event):
    """A backlog is journaled; the live edge goes on."""

    app: str
    entries: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: caught up, {self.entries:,} entries"


@dataclass(frozen=True, slots=True)
class ReadingPaused(Event):
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


@dataclass(frozen=True, slots=True)
class ReadingResumed(Event):
    """The journal has room again."""

    app: str

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: the journal has room again, reading goes on"


@dataclass(frozen=True, slots=True)
class LateEntriesFound(Event):
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


@dataclass(frozen=True, slots=True)
class EntriesShaped(Event):
    """An app's own rules dropped or changed entries; ``counts`` are (rule, entries)."""

    app: str
    counts: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        """See `Event.text`."""
        told = ", ".join(f"{rule} {entries:,}" for rule, entries in self.counts)
        return f"{self.app}: entries shaped by rule: {told}"


@dataclass(frozen=True, slots=True)
class GapFound(Event):
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


@dataclass(frozen=True, slots=True)
class GapClosed(Event):
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


@dataclass(frozen=True, slots=True)
class NothingShown(Event):
    """A new app's first complete read showed no entry at all: a quiet app, or a wrong id."""

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


@dataclass(frozen=True, slots=True)
class AppSilent(Event):
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


@dataclass(frozen=True, slots=True)
class AppHeard(Event):
    """Entries of an app that was silent come again."""

    app: str
    seconds: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.app}: entries come again, after {self.seconds:,.0f} s of silence"


@dataclass(frozen=True, slots=True)
class BehaviourChanged(Event):
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


@dataclass(frozen=True, slots=True)
class BackfillBegun(Event):
    """A backfill is worked on, from its beginning or from where it was."""

    backfill: str
    apps: tuple[str, ...]
    share: float

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"backfill {self.backfill}: reading, {self.share:.0%} done ({', '.join(self.apps)})"


@dataclass(frozen=True, slots=True)
class BackfillEnded(Event):
    """A backfill is not worked on any more: it is done, or was stopped by command."""

    backfill: str
    entries: int

    @property
    def text(self) -> str:
        """See `Event.text`."""
        return f"backfill {self.backfill}: over, {self.entries:,} entries journaled this time"
