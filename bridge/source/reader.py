"""Asks for the pages that one app's walks need, however long it takes.

What it learns of the server on the way, the largest page and how coarsely bounds are cut, serves
the walks that follow.
"""

from __future__ import annotations

from random import Random
from typing import Final

from bridge.clock import Clock
from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiThrottled,
    ApiUnauthorized,
    BridgeError,
)
from bridge.model import MILLISECOND, SECOND, Anchor, Filter, Gap, GapKind, Page, Query, Tick
from bridge.source.account import Account
from bridge.source.crowds import Crowds
from bridge.source.schedule import PageLimit
from bridge.source.trouble import Patience, Trouble
from bridge.source.walk import Walk
from bridge.telemetry import Emit

LARGEST_WALK: Final = 8 * 1024 * 1024
"""Bytes of answers after which a walk that may be given up is given up: memory is bounded."""


class Reader:
    """Drives the walks of one app, any number of them at a time."""

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
    ) -> None:
        self.limit = PageLimit(page_size)
        self.grain: Tick = MILLISECOND
        self._fine = False
        self._app = app
        self._filter = selection
        self._account = account
        self._clock = clock
        self._random = random
        # Answers and what is read from them fail apart: a page that comes ends only the first.
        self._asking = Trouble(app, clock=clock, emit=emit)
        self._taking = Trouble(app, clock=clock, emit=emit)
        self._crowds = Crowds(selection, self._read_cell)

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
            grain=self.grain,
            fine=self._fine,
            claims=claims,
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

    async def page(self, query: Query, *, patience: float | None = None) -> Page:
        """One page, however long it takes: a failed request does not spoil the walk it is for.

        Raises:
            ApiLimitRefused, ApiAnswerTooLarge: to be asked for with a smaller limit.
            ApiError: the request kept failing for ``patience`` seconds.
        """
        pauses, began = Patience(self._random), self._clock.monotonic()
        while True:
            try:
                page = await self._account.page(self._app, query, troubled=bool(pauses.tries))
            except (ApiLimitRefused, ApiAnswerTooLarge):
                raise
            except ApiError as error:
                self._asking.note(error)
                pause = pauses.after(error)
                if patience is not None and self._clock.monotonic() - began >= patience:
                    raise
                await self._clock.sleep(pause)
            else:
                self._asking.over()
                return page

    async def answers(self) -> bool:
        """Whether the API answers this app at all just now: one small question, asked once."""
        query = Query(self._filter, self._account.time.now() - SECOND, None, 1)
        try:
            await self._account.page(self._app, query, troubled=True)
        except ApiError:
            return False
        return True

    async def shows_older(self, than: Tick, back: Tick) -> bool:
        """Whether the account shows anything in the ``back`` ticks before a moment."""
        page = await self.page(Query(Filter(), than - back, than, 1))
        return bool(page.entries)

    async def _read_cell(self, walk: Walk, selection: Filter, *, patience: float | None) -> None:
        await self._drive(walk, selection, None, patience)

    async def _drive(
        self, walk: Walk, selection: Filter, most_pages: int | None, patience: float | None
    ) -> bool:
        while not walk.done:
            large = most_pages is not None and walk.pages and walk.size >= LARGEST_WALK
            if large or (most_pages is not None and walk.pages >= most_pages):
                return False
            bounds = walk.bounds
            query = Query(selection, bounds.since, bounds.until, bounds.limit)
            try:
                page = await self.page(query, patience=patience)
            except ApiLimitRefused as error:
                self.limit.refused(bounds.limit)
                _shrink(walk, error)
            except ApiAnswerTooLarge as error:
                self.limit.too_large(bounds.limit)
                _shrink(walk, error)
            else:
                walk.take(page)
                self.grain = max(self.grain, walk.grain)
                self._fine = self._fine or walk.fine
        self.limit.completed()
        return True


def concerns_one_request(error: ApiError) -> bool:
    """Whether others may succeed while this one fails: not when key or budget are refused."""
    return not isinstance(error, ApiThrottled | ApiUnauthorized)


def _shrink(walk: Walk, error: ApiError) -> None:
    if not walk.shrink():
        raise error
