"""The log entries of the simulated account, sorted by time, hidden until they become visible."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property

from msgspec import Struct, field

from bridge.model import Json, Tick


class Written(Struct, frozen=True, dict=True):
    """One entry as an app wrote it.

    ``raw`` is the JSON value the API shows, normally an object; ``tick`` is where it stands in
    time, whatever ``raw`` says; the API shows it from ``visible_at`` on, later than ``tick`` for a
    late one. ``traceback`` is shown only on request.
    """

    raw: Json
    tick: Tick
    visible_at: Tick
    traceback: str | None = None

    @cached_property
    def text(self) -> bytes:
        """``raw`` as JSON text; lone surrogates stay escaped."""
        return json.dumps(self.raw, separators=(",", ":")).encode()

    @property
    def app(self) -> str | None:
        """The app it belongs to, None when it names none."""
        app = self.raw.get("app") if isinstance(self.raw, dict) else None
        return app if isinstance(app, str) else None


class _Shelf(Struct):
    """Entries in order of (tick, order of writing); both lists run in step."""

    ticks: list[Tick] = field(default_factory=list)
    entries: list[Written] = field(default_factory=list)

    def add(self, entry: Written) -> None:
        at = bisect_right(self.ticks, entry.tick)
        self.ticks.insert(at, entry.tick)
        self.entries.insert(at, entry)

    def newest_first(self, since: Tick | None, until: Tick | None) -> Iterator[Written]:
        bottom = 0 if since is None else bisect_right(self.ticks, since)
        top = len(self.ticks) if until is None else bisect_left(self.ticks, until)
        return (self.entries[at] for at in range(top - 1, bottom - 1, -1))

    def forget(self, below: Tick) -> None:
        gone = bisect_left(self.ticks, below)
        del self.ticks[:gone]
        del self.entries[:gone]


class Store:
    """All entries, and the entries of each app: a query for one app never scans the others."""

    def __init__(self) -> None:
        self._all = _Shelf()
        self._apps: dict[str, _Shelf] = {}

    def __len__(self) -> int:
        return len(self._all.ticks)

    def add(self, entry: Written) -> None:
        """Put an entry in its place; of entries on one tick the last written is the newest."""
        self._all.add(entry)
        if entry.app is not None:
            self._apps.setdefault(entry.app, _Shelf()).add(entry)

    def newest_first(
        self, app: str | None, since: Tick | None, until: Tick | None
    ) -> Iterator[Written]:
        """Entries strictly between the bounds, of one app or of all, visible or not."""
        shelf = self._all if app is None else self._apps.get(app, _Shelf())
        return shelf.newest_first(since, until)

    def forget(self, below: Tick) -> None:
        """Remove what is older than a tick."""
        for shelf in (self._all, *self._apps.values()):
            shelf.forget(below)
