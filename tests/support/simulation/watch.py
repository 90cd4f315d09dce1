"""A journal that is looked at after every change: nothing that it keeps ever moves back.

What a reader claims with each append, its gaps above all, is noted for the end (see `claims`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from bridge.app.bridge import Bridge
from bridge.clock import Clock
from bridge.journal import Journal
from bridge.journal.sqlite import SqliteJournal
from bridge.model import Append, Appended, AppRecord, DeadLetter, Gap, GapKey, Tick


class Claim(Struct, frozen=True):
    """A gap as it was last claimed for an app, and the true time of that."""

    app: str
    gap: Gap
    at: Tick


class Watch(Struct):
    """Remembers how far everything was, from one look to the next, and every gap claimed."""

    clock: Clock
    reached: dict[tuple[str, ...], int] = field(default_factory=dict)
    claims: dict[tuple[str, GapKey], Claim] = field(default_factory=dict)

    def begin(self) -> None:
        """A life begins: what the one before only held in memory is gone."""
        for what in [what for what in self.reached if what[0] == "claimed"]:
            del self.reached[what]

    async def look(self, bridge: Bridge) -> None:
        """Nothing is further back than before."""
        for backlog in (await bridge.journal.stats()).backlogs:
            self.moved(backlog.destination, backlog.cursor)
        for tailer in bridge.tailers:
            await self.stands(bridge.journal, tailer.name)

    def claimed(self, append: Append) -> None:
        """A reader is about to store this: within its life, it claims no less than before."""
        for gap in append.gaps:
            claim = Claim(append.app, gap, self.clock.now())
            self.claims[append.app, gap.key] = claim
        self._app("claimed", append.app, append.position, append.swept.items())

    def moved(self, destination: str, cursor: int) -> None:
        """A destination's cursor was moved."""
        self._see(("cursor", destination), cursor)

    async def stands(self, journal: Journal, app: str) -> None:
        """What the journal keeps of an app."""
        record: AppRecord | None = await journal.app(app)
        if record is None:
            return
        if record.ledger_from is not None:
            self._see(("ledger", app), record.ledger_from)
        self._app("stored", app, record.position, record.swept.items())

    def _app(self, how: str, app: str, position: Tick, swept: Iterable[tuple[Tick, Tick]]) -> None:
        self._see((how, app), position)
        ages = {(how, app, str(age)): cursor for age, cursor in swept}
        # An age that is no longer swept may begin anew some day.
        for what in [w for w in self.reached if w[:2] == (how, app) and w[2:]]:
            if what not in ages:
                del self.reached[what]
        for what, cursor in ages.items():
            self._see(what, cursor)

    def _see(self, what: tuple[str, ...], figure: int) -> None:
        before = self.reached.get(what, figure)
        assert figure >= before, (what, before, figure)
        self.reached[what] = figure


class Watched(SqliteJournal):
    """The real journal, looked at after every append and every step of a cursor."""

    watch: Watch
    looking = False
    """True while the watch itself asks: no planned fault is for its statements."""

    async def append(self, append: Append) -> Appended:
        """See `Journal.append`."""
        self.watch.claimed(append)
        appended = await super().append(append)
        self.looking = True
        try:
            await self.watch.stands(self, append.app)
        finally:
            self.looking = False
        return appended

    async def advance(
        self,
        destination: str,
        cursor: int,
        dead_letters: Sequence[DeadLetter] = (),
        replayed: Sequence[str] = (),
    ) -> None:
        """See `Journal.advance`."""
        await super().advance(destination, cursor, dead_letters, replayed)
        self.watch.moved(destination, cursor)
