"""Asks for the pages that one app's walks need, however long it takes.

What it learns of the server on the way, the largest page and how coarsely bounds are cut, serves
the walks that follow.
"""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from random import Random
from typing import Final

from msgspec import Struct

from bridge.clock import Clock
from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiRefused,
    ApiThrottled,
    ApiUnauthorized,
    ApiUnavailable,
    BridgeError,
)
from bridge.model import MILLISECOND, SECOND, Anchor, Filter, Gap, GapKind, Page, Query, Tick
from bridge.source.account import Account
from bridge.source.ahead import Ahead
from bridge.source.crowds import Crowds
from bridge.source.limiter import Kind
from bridge.source.schedule import PageLimit
from bridge.source.trouble import Patience, Trouble, may_pass
from bridge.source.walk import FAR_BACK, Walk, density_of
from bridge.telemetry import Emit
from bridge.timestamps import ceil_to, floor_to

LARGEST_WALK: Final = 8 * 1024 * 1024
"""Bytes of answers after which a walk that may be given up is given up: memory is bounded."""

_REMEMBERED: Final = 3600.0
_SURELY_KEPT: Final[Tick] = 3600 * SECOND
_MOST_DOUBTS: Final = 6


class Learned(Struct):
    """What is known of the server by now, for all readers of an app.

    ``grain`` is how coarsely it cuts bounds, ``largest_page`` the largest page of late: what it
    shows at once. ``newest`` is the newest entry that was shown, and the monotonic moment of it.
    """

    limit: PageLimit
    grain: Tick = MILLISECOND
    fine: bool = False
    largest_page: int = 0
    doubts: int = 0
    newest: tuple[Tick, float] = (0, float("-inf"))


class Reader:
    """Drives the walks of one app, any number of them at a time.

    ``heard`` is the monotonic moment of its last request, answer, or failure to get one.
    """

    def __init__(
        self,
        app: str,
        selection: Filter,
        *,
        page_size: int,
        account: Account,
        clock: Clock,
        random: Random,
        emit: Emit,
        persists: bool = True,
        patient: bool = False,
    ) -> None:
        """Not ``persists``: a person waits, and is told at once of what does not pass by itself.

        ``patient``: it reads with the requests that others leave over.
        """
        self.learned = Learned(PageLimit(page_size))
        self._app = app
        self._filter = selection
        self._account = account
        self._clock = clock
        self._random = random
        self._persists = persists
        self._patient = patient
        # Answers and what is read from them fail apart: a page that comes ends only the first.
        self._asking = Trouble(app, clock=clock, emit=emit)
        self._taking = Trouble(app, clock=clock, emit=emit)
        self.begin()

    def aside(self) -> Reader:
        """Another reader of the same app, that knows what this one learns."""
        other = copy(self)
        other.begin()
        return other

    def begin(self) -> None:
        """Nothing is under way yet."""
        self.heard = self._clock.monotonic()
        self._waiting = 0
        self._crowds = Crowds(self._filter, self._read_cell)

    @property
    def waits(self) -> bool:
        """Whether a request of its waits for its turn."""
        return self._waiting > 0

    @property
    def ahead(self) -> Ahead:
        """How far all apps of the account together may read ahead."""
        return self._account.ahead

    @property
    def limit(self) -> PageLimit:
        """The ``limit`` to ask for."""
        return self.learned.limit

    @property
    def trouble(self) -> str:
        """Why no walk comes to its end at the moment; empty while they do."""
        return self._asking.reason or self._taking.reason

    def failed(self, error: BridgeError) -> None:
        """Take note of what ended a walk, unless `page` has done so."""
        if str(error) != self._asking.reason:
            self._taking.note(error)

    def walk(
        self,
        floor: Tick,
        ceiling: Tick | None,
        anchor: Anchor | None = None,
        *,
        below: Tick = 0,
        claims: bool = True,
    ) -> Walk:
        """A walk by what is known of the server so far; see `Walk` for the arguments."""
        return Walk(
            floor=floor,
            ceiling=ceiling,
            anchor=anchor,
            limit=self.limit.value,
            below=below,
            grain=self.learned.grain,
            fine=self.learned.fine,
            claims=claims,
            doubts=self.learned.doubts,
        )

    async def read(
        self, walk: Walk, *, most_pages: int | None = None, patience: float | None = None
    ) -> list[Gap] | None:
        """Read a walk to its end; its gaps, or None where that takes more than it is allowed.

        ``most_pages`` bounds pages and, with them, memory; ``patience`` is how many seconds one
        request may keep failing.

        Raises:
            ApiError: a page breaks the API's contract, or a request failed for that long.
        """
        if not await self._drive(walk, self._filter, most_pages, patience):
            return None
        if walk.claims_nothing:
            await self._see_something(patience)
            walk.ask_again()
            if not await self._drive(walk, self._filter, most_pages, patience):
                return None
        self._taking.over()
        unproved = [
            crowd
            for crowd in walk.crowds
            if not await self._crowds.resolve(walk, crowd, patience=patience)
        ]
        return [
            Gap(GapKind.CROWDED, c.floor, c.ceiling, len(walk.shown(c.floor, c.ceiling)))
            for c in unproved
        ]

    async def page(
        self,
        query: Query,
        *,
        patience: float | None = None,
        at_once: type[ApiError] = ApiLimitRefused,
        walk: Walk | None = None,
    ) -> Page:
        """One page, however long it takes: a failed request does not spoil the ``walk`` it is for.

        Raises:
            ApiLimitRefused, ApiAnswerTooLarge: to be asked for with a smaller limit.
            ApiError: the request kept failing for ``patience`` seconds, or in the way ``at_once``,
                or asking again is no use.
        """
        pauses, began = Patience(self._random), self._clock.monotonic()
        while True:
            try:
                page = await self._ask(query, walk, troubled=bool(pauses.tries))
            except (ApiLimitRefused, ApiAnswerTooLarge, at_once):
                self.heard = self._clock.monotonic()
                raise
            except ApiError as error:
                self.heard = self._clock.monotonic()
                if not (self._persists or may_pass(error)):
                    raise  # told by whoever asked; no other try follows
                self._asking.note(error)
                pause = pauses.after(error)
                if patience is not None and self._clock.monotonic() - began >= patience:
                    raise
                await self._clock.sleep(pause)
            else:
                self.heard = self._clock.monotonic()
                self._asking.over()
                return page

    async def answers(self) -> bool:
        """Whether the API answers this app at all just now: one small question, asked once."""
        query = Query(self._filter, self._account.time.now() - SECOND, None, 1)
        try:
            await self._ask(query, troubled=True)
        except ApiError:
            return False
        return True

    async def _ask(self, query: Query, walk: Walk | None = None, *, troubled: bool) -> Page:
        begun = False

        def begin() -> None:
            nonlocal begun
            begun, self.heard = True, self._clock.monotonic()
            self._waiting -= 1

        self._waiting += 1
        try:
            return await self._account.page(
                *(self._app, query),
                troubled=troubled,
                kind=Kind.PATIENT if self._patient else _kind_of(walk, troubled),
                begun=begin,
            )
        finally:
            self._waiting -= not begun

    async def shows_older(self, than: Tick, *, patience: float) -> bool:
        """Whether anything is shown of the time before a moment, by the whole account.

        Or by the app, where the API refuses to speak of the account.
        """
        return await self._shows_any(than - FAR_BACK, than, (Filter(), self._filter), patience)

    def knows(self, newest: Tick) -> None:
        """An entry of this time is journaled, so it was shown once."""
        if self.learned.newest[0] < newest:
            self.learned.newest = newest, self._clock.monotonic()

    async def _see_something(self, patience: float | None) -> None:
        """Make sure that the API shows anything, before it is believed that a window is empty.

        A backend in trouble may answer with empty pages for a while, for one app or for all. The
        newest entry that is known should still be shown; where it may have left the API by age,
        anything of the account.

        Raises:
            ApiUnavailable: it is not.
        """
        newest, known_at = self.learned.newest
        if self._clock.monotonic() - known_at > _REMEMBERED:
            return
        # No wider than needed: the API may fail for what lies beyond. Bounds are exclusive, and a
        # server may compare by the millisecond: then its own millisecond hides the entry.
        since, until = floor_to(newest, MILLISECOND) - 1, ceil_to(newest + 1, SECOND)
        if await self._shows_any(since, until, (self._filter,), patience):
            return
        old = self._account.time.now() - newest > _SURELY_KEPT
        if not old or not await self._shows_any(newest - FAR_BACK, None, (Filter(),), patience):
            raise ApiUnavailable("the API no longer shows an entry that it has shown before")

    async def _shows_any(
        self,
        since: Tick,
        until: Tick | None,
        selections: tuple[Filter, ...],
        patience: float | None,
    ) -> bool:
        """Whether the first selection that the API does not refuse shows anything in a window."""
        for selection in selections:
            query = Query(selection, since, until, 1)
            with suppress(ApiRefused):
                return bool((await self.page(query, patience=patience, at_once=ApiRefused)).entries)
        return False

    async def _read_cell(self, walk: Walk, selection: Filter, *, patience: float | None) -> None:
        await self._drive(walk, selection, None, patience, at_once=ApiRefused)

    async def _drive(
        self,
        walk: Walk,
        selection: Filter,
        most_pages: int | None,
        patience: float | None,
        *,
        at_once: type[ApiError] = ApiLimitRefused,
    ) -> bool:
        while not walk.done:
            if most_pages is not None and await self._too_far(
                walk, selection, most_pages, patience
            ):
                return False
            bounds = walk.bounds
            query = Query(selection, bounds.since, bounds.until, bounds.limit)
            try:
                page = await self.page(query, patience=patience, at_once=at_once, walk=walk)
            except ApiLimitRefused as error:
                self.limit.refused(bounds.limit)
                _shrink(walk, error)
            except ApiAnswerTooLarge as error:
                self.limit.too_large(bounds.limit)
                _shrink(walk, error)
            else:
                walk.take(page)
                self._learn(walk, page)
        if walk.pages > 1:
            self.learned.largest_page = walk.largest
        self.limit.completed()
        return True

    async def _too_far(
        self, walk: Walk, selection: Filter, most_pages: int, patience: float | None
    ) -> bool:
        """Whether a walk takes more than it may; found out early, since all of it is read again.

        The first page tells how far it is if the rest is as dense, and a small one from halfway
        how dense that is: entries often come in a burst, after hours of nothing.
        """
        if not walk.pages:
            return False
        allowed = min(most_pages, walk.pages * LARGEST_WALK / max(1, walk.size))
        if walk.pages >= allowed:
            return True
        ahead = allowed - walk.pages
        if walk.pages > 1 or walk.pages_ahead(walk.density) <= ahead:
            return False
        half = walk.halfway
        page = await self.page(
            Query(selection, half.since, half.until, half.limit), patience=patience, walk=walk
        )
        return walk.pages_ahead(density_of(page, half)) > ahead

    def _learn(self, walk: Walk, page: Page) -> None:
        """What one more page of a walk says of the server."""
        learned = self.learned
        learned.grain = max(learned.grain, walk.grain)
        learned.fine = learned.fine or walk.fine
        learned.largest_page = max(learned.largest_page, len(page.entries))
        learned.doubts = min(_MOST_DOUBTS, max(learned.doubts, walk.false_empties))
        newest = next((entry.tick for entry in page.entries if entry.tick is not None), None)
        if newest is not None:
            learned.newest = newest, self._clock.monotonic()


def concerns_one_request(error: ApiError) -> bool:
    """Whether others may succeed while this one fails: not when key or budget are refused."""
    return not isinstance(error, ApiThrottled | ApiUnauthorized)


def _kind_of(walk: Walk | None, troubled: bool) -> Kind | None:
    """A live walk that has begun has seen something that waits, and holds it: it is to end soon.

    Not one whose request failed: it may fail for as long as it takes.
    """
    begun = walk is not None and walk.live and walk.pages and not troubled
    return Kind.BEGUN if begun else None


def _shrink(walk: Walk, error: ApiError) -> None:
    if not walk.shrink():
        raise error
