"""A logs API in a few lines, for tests of reading alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.model import Anchor, Entry, Identified, Page, Tick
from bridge.source.walk import Bounds, Walk
from bridge.timestamps import format_tick

T0: Tick = 1_758_284_170_000_000


def make_entry(tick: Tick, message: str = "m", **extra: object) -> Entry:
    """An entry as the API gives it."""
    raw = {"timestamp": format_tick(tick), "level": "INFO", "message": message, **extra}
    return Entry(raw, tick)


@dataclass
class Server:
    """Entries behind exclusive bounds, newest first, with a cap that may change by request.

    ``caps`` gives the cap of each request in turn, the last one for ever; ``cut`` truncates
    bounds to that many ticks, and where it is ``coarse`` the entries' times that it compares too.
    """

    entries: Sequence[Entry]
    caps: Sequence[int] = (1_000_000,)
    cut: Tick = 1
    coarse: bool = False
    requests: list[Bounds] = field(default_factory=list)

    def page(self, bounds: Bounds) -> Page:
        """Answer one request."""
        cap = self.caps[min(len(self.requests), len(self.caps) - 1)]
        self.requests.append(bounds)
        since = bounds.since - bounds.since % self.cut
        until = None if bounds.until is None else bounds.until - bounds.until % self.cut
        inside = [
            e
            for e in self.entries
            if e.tick is not None
            and self._compared(e.tick) > since
            and (until is None or self._compared(e.tick) < until)
        ]
        inside.sort(key=lambda e: -(e.tick or 0))
        return Page(tuple(inside[: min(cap, bounds.limit)]), None)

    def _compared(self, tick: Tick) -> Tick:
        return tick - tick % self.cut if self.coarse else tick


def walked(
    server: Server,
    floor: Tick,
    ceiling: Tick | None = None,
    *,
    anchor: Anchor | None = None,
    limit: int = 1000,
    documented_page: int = 100,
) -> Walk:
    """Drive a walk to its end."""
    walk = Walk(
        floor=floor, ceiling=ceiling, anchor=anchor, limit=limit, documented_page=documented_page
    )
    for _ in range(10_000):
        if walk.done:
            return walk
        walk.take(server.page(walk.bounds))
    raise AssertionError("the walk does not end")


def read(
    server: Server, floor: Tick, ceiling: Tick | None = None, **options: Any
) -> list[Identified]:
    """What a walk finds that leaves no gap."""
    walk = walked(server, floor, ceiling, **options)
    assert walk.crowds == []
    return walk.found()
