"""What is to be said of apps, destinations and the journal: a state in words, and what to do. Pure.

Words of our own throughout: what a server said may quote a log line, and is told elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final

from msgspec import Struct

from bridge.model import Verdict

LATE: Final = 120.0
"""Seconds behind from which it is worth saying."""
_NEARLY_FULL: Final = 0.8


class Level(IntEnum):
    """How bad something is, the worst last."""

    FINE = 0
    NOTE = 1
    """Worth knowing; nothing has to be done at once."""
    WARNING = 2
    """Something is held up, or somebody chose that; look at it."""
    FAILURE = 3
    """Logs do not get through until it is mended."""


class Finding(Struct, frozen=True):
    """One thing to say: ``state`` in a word or two, a ``sentence``, and what to do about it."""

    level: Level
    state: str
    sentence: str
    mend: str = ""


class App(Struct, frozen=True):
    """An app at one moment; ``lag`` in seconds, None before its start is known."""

    name: str
    lag: float | None
    troubled: bool = False
    paused: bool = False
    silent: bool = False
    stuck: bool = False
    open_gaps: int = 0


class Destination(Struct, frozen=True):
    """A destination at one moment; ``age`` of what waits longest, in seconds."""

    name: str
    waiting: int
    age: float
    trouble: Verdict | None = None
    paused: bool = False
    stuck: bool = False
    in_use: bool = True
    dead_letters: int = 0


class Journal(Struct, frozen=True):
    """The journal at one moment, sizes in bytes; ``held_by`` is the destination furthest back.

    ``full``: somebody waits for room in it.
    """

    size: int
    max_size: int
    held_by: str = ""
    full: bool = False
    stuck: bool = False


def of_app(app: App) -> Finding:
    """How reading an app goes."""
    return _not_read(app) or _read(app)


def _not_read(app: App) -> Finding | None:
    if app.stuck:
        return Finding(
            Level.FAILURE,
            "stands still",
            f"Reading {app.name} has stopped moving.",
            "Restart the bridge; nothing is lost by it. Its log says what it did last.",
        )
    if app.troubled:
        return Finding(
            Level.FAILURE,
            "cannot be read",
            f"{app.name} cannot be read; its position waits, nothing is skipped.",
            "See its last problem below or in the bridge's log; "
            "`fal-log-bridge check` tries key and filters.",
        )
    if app.paused:
        return Finding(
            Level.WARNING,
            "waits for room",
            f"Reading {app.name} waits for room in the journal.",
            "The journal is full: see who holds it.",
        )
    return None


def _read(app: App) -> Finding:
    if app.lag is None:
        return Finding(Level.NOTE, "starting", f"{app.name} has not been read yet.")
    if app.silent:
        return Finding(
            Level.WARNING,
            "silent",
            f"{app.name} can be read, and has written nothing for longer than expected.",
            "See whether the app runs, and check its app_id and filters.",
        )
    if app.lag > LATE:
        return Finding(
            Level.NOTE, "catching up", f"{app.name} is {span(app.lag)} behind, and being read."
        )
    return Finding(Level.FINE, "reading", f"{app.name} is read.")


def of_destination(one: Destination) -> Finding:
    """How delivery to a destination goes."""
    return _not_sent_to(one) or _not_taking(one) or _taking(one)


def _waiting(one: Destination) -> str:
    return f"{one.waiting:,} {_plural(one.waiting, 'entry waits', 'entries wait')}"


def _not_sent_to(one: Destination) -> Finding | None:
    if one.stuck:
        return Finding(
            Level.FAILURE,
            "stands still",
            f"Delivery to {one.name} has stopped moving.",
            "Restart the bridge; nothing is lost by it. Its log says what it did last.",
        )
    if not one.in_use:
        return Finding(
            Level.NOTE,
            "not in use",
            f"{one.name} is no longer configured; {_waiting(one)} for it in the journal.",
            f"Put it back, or give that up: `fal-log-bridge destinations forget {one.name}`.",
        )
    if one.paused:
        return Finding(
            Level.WARNING,
            "paused",
            f"{one.name} is paused as somebody asked; {_waiting(one)}.",
            f"`fal-log-bridge destinations resume {one.name}` goes on.",
        )
    return None


def _not_taking(one: Destination) -> Finding | None:
    if one.trouble is Verdict.BLOCKED:
        return Finding(
            Level.FAILURE,
            "held",
            f"{one.name} refuses what it is sent. Nothing is lost: {_waiting(one)}.",
            "See its last error below or in the bridge's log, and mend it there; "
            "the bridge tries again by itself.",
        )
    if one.trouble is not None:
        return Finding(
            Level.WARNING,
            "retrying",
            f"{one.name} does not answer as it should. Nothing is lost: {_waiting(one)}.",
            "The bridge keeps trying; see whether the backend is up and can be reached.",
        )
    return None


def _taking(one: Destination) -> Finding:
    if one.waiting and one.age > LATE:
        return Finding(
            Level.NOTE, "catching up", f"{one.name} is {span(one.age)} behind, and taking entries."
        )
    return Finding(Level.FINE, "delivering" if one.waiting else "up to date", f"{one.name} works.")


def of_journal(journal: Journal) -> Finding:
    """How full the journal is."""
    share = journal.size / journal.max_size if journal.max_size else 0.0
    held = f", held by {journal.held_by}" if journal.held_by else ""
    mend = (
        "Mend or resume that destination, or raise journal.max_bytes."
        if journal.held_by
        else "Raise journal.max_bytes."
    )
    if journal.stuck:
        return Finding(
            Level.FAILURE,
            "stands still",
            "The journal does not answer.",
            "See whether its disk works, then restart the bridge.",
        )
    if journal.full:
        return Finding(Level.FAILURE, "full", f"The journal is full{held}; reading waits.", mend)
    if share >= _NEARLY_FULL:
        return Finding(
            Level.WARNING, "nearly full", f"The journal is {share:.0%} full{held}.", mend
        )
    return Finding(Level.FINE, "room", f"The journal has room: {share:.0%} is used.")


def on_record(apps: Iterable[App], destinations: Iterable[Destination]) -> Iterator[Finding]:
    """What happened and stays on record until somebody deals with it."""
    for app in apps:
        if app.open_gaps:
            gaps = _plural(app.open_gaps, "one stretch", f"{app.open_gaps:,} stretches")
            yield Finding(
                Level.NOTE,
                _plural(app.open_gaps, "gap", "gaps"),
                f"{gaps} of {app.name} cannot be proved complete.",
                "See the gaps below; `fal-log-bridge audit` looks again.",
            )
    for one in destinations:
        if one.dead_letters:
            letters = _plural(one.dead_letters, "one entry", f"{one.dead_letters:,} entries")
            yield Finding(
                Level.NOTE,
                "dead letters",
                f"{one.name} refused {letters} for good, kept as dead letters.",
                "`fal-log-bridge dead-letters list` shows them, `replay` sends them again.",
            )


def verdict(
    apps: Sequence[App], destinations: Sequence[Destination], journal: Journal
) -> tuple[Finding, list[Finding]]:
    """The one thing to say first, and everything else worth saying, the worst first."""
    found = [
        of_journal(journal),
        *map(of_destination, destinations),
        *map(of_app, apps),
        *on_record(apps, destinations),
    ]
    worth_saying = sorted(
        (one for one in found if one.level > Level.FINE), key=lambda one: -one.level
    )
    if worth_saying and worth_saying[0].level > Level.NOTE:
        return worth_saying[0], worth_saying[1:]
    read = _plural(len(apps), "1 app is read", f"{len(apps)} apps are read")
    used = sum(one.in_use for one in destinations)
    taken = _plural(used, "1 destination takes", f"{used} destinations take")
    return Finding(
        Level.FINE, "all is well", f"All is well: {read}, {taken} what comes."
    ), worth_saying


def span(seconds: float) -> str:
    """A time for people, in its two largest units: ``2 h 5 min``."""
    left = round(seconds)
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
