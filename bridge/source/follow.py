"""Follows one app for somebody who looks on: nothing is stored, and nothing moves.

Each look reads from a little below the last one up to the live edge, and now and then from further
below, for entries that came late. What was shown before is known by its fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeAlias

from bridge.clock import Clock
from bridge.model import SECOND, Gap, GapKey, Identified, Tick
from bridge.source.account import Account
from bridge.source.backlog import Backlog, Piece
from bridge.source.reader import Reader
from bridge.source.schedule import Slice, slice_target
from bridge.source.walk import Walk

_OVERLAP: Final[Tick] = 2 * SECOND
"""How far below the last look the next one begins."""
_LATE: Final[Tick] = 30 * SECOND
"""How late an entry may come and still be shown."""
_LOOK_BACK_EVERY: Final = 10.0
_REMEMBERED: Final[Tick] = 2 * _LATE
_LIVE_PAGES: Final = 8

Take: TypeAlias = Callable[[Sequence[Identified], Sequence[Gap]], None]
"""Entries that were not shown before, oldest first, and what of them cannot be proved complete."""


class Follower:
    """Reads one app from ``start`` on, look by look; ``width`` as in `Backlog`.

    ``patience`` is how many seconds one request may keep failing, None for any.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        start: Tick,
        account: Account,
        take: Take,
        width: int,
        patience: float | None,
        clock: Clock,
        random: Random,
    ) -> None:
        self._reader = reader
        self._start = start
        self._account = account
        self._take = take
        self._patience = patience
        self._clock = clock
        self._backlog = Backlog(reader, width=width, clock=clock, random=random)
        self._position: Tick | None = None
        self._looked_back = clock.monotonic()
        self._shown: dict[bytes, Tick] = {}
        self._told: set[GapKey] = set()

    async def look(self) -> bool:
        """Read what is new up to the live edge; whether there was anything.

        Raises:
            ApiError: the API refuses, or failed for as long as is waited.
        """
        began = self._clock.monotonic()
        floor, before = self._floor(began), len(self._shown)
        walk = self._reader.walk(floor, None, claims=False)
        gaps = await self._reader.read(walk, most_pages=_LIVE_PAGES, patience=self._patience)
        now = self._account.time.at(began)
        self._position = max(now, self._position or now)
        if gaps is None:
            await self._catch_up(walk, Slice(floor, self._position))
        else:
            self._show(walk, gaps)
        flowed = len(self._shown) > before
        self._forget()
        return flowed

    def _floor(self, began: float) -> Tick:
        if self._position is None:
            return self._start
        back = _OVERLAP
        if began - self._looked_back >= _LOOK_BACK_EVERY:
            self._looked_back, back = began, _LATE
        return max(self._start, self._position - back)

    async def _catch_up(self, walk: Walk, window: Slice) -> None:
        """Read what takes many pages slice by slice, so that the oldest is shown first and soon."""
        target = slice_target(walk.largest or self._reader.limit.value)
        density = walk.density
        del walk  # its pages are not needed while the rest is read
        await self._backlog.read(
            window, density=density, target=target, anchor=None, store=self._show_piece
        )

    async def _show_piece(self, piece: Piece) -> int:
        return self._show(piece.walk, piece.gaps)

    def _show(self, walk: Walk | None, gaps: Sequence[Gap]) -> int:
        """Hand over what is new of a walk; how many entries it holds."""
        found = [] if walk is None else walk.found()
        new = [item for item in found if item.uid not in self._shown]
        self._shown.update((item.uid, item.tick) for item in new)
        told = [gap for gap in gaps if gap.key not in self._told]
        self._told.update(gap.key for gap in told)
        if new or told:
            self._take(new, told)
        return len(found)

    def _forget(self) -> None:
        """Forget what no look comes back to."""
        lowest = (self._position or 0) - _REMEMBERED
        self._shown = {uid: tick for uid, tick in self._shown.items() if tick >= lowest}
