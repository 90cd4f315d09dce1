"""Which ways of treating a bound are still possible, and what to ask to tell them apart. Pure.

Each way a server may treat a bound predicts which answers show a known entry; the ways that
predicted wrongly are out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bridge.model import MILLISECOND, SECOND, Tick
from bridge.source.traits import STEPS
from bridge.timestamps import ceil_to


class Way(Struct, frozen=True):
    """A way to treat a bound: cut down to a step, and show what stands on it or not."""

    step: Tick
    inclusive: bool

    def shows(self, tick: Tick, bound: Tick, side: int) -> bool:
        """Whether an entry passes a lower (side 1) or upper (side -1) bound."""
        inside = (tick - (bound - bound % self.step)) * side
        return inside > 0 or (inside == 0 and self.inclusive)


WAYS: Final = tuple(Way(step, inclusive) for step in STEPS for inclusive in (False, True))


class Side(Struct):
    """One bound under question: the ways that are left, and the questions asked."""

    name: str
    side: int
    ways: Sequence[Way] = WAYS
    asked: int = 0
    unclear: int = 0

    def open(self, tick: Tick, bound: Tick) -> bool:
        """Whether an answer would tell the ways that are left apart."""
        return len({way.shows(tick, bound, self.side) for way in self.ways}) > 1

    def learn(self, tick: Tick, bound: Tick, *, shown: bool) -> None:
        """Strike out the ways that predicted another answer."""
        self.ways = [w for w in self.ways if w.shows(tick, bound, self.side) == shown]


def telling(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """The entries to ask about: one whose time shows every cut, then one that no cut moves.

    Of those that serve, the one with the fewest others above it in its second.
    """
    crowd = {tick: sum(tick <= t < ceil_to(tick + 1, SECOND) for t in ticks) for tick in set(ticks)}

    def dull(tick: Tick) -> bool:
        bare = tick % MILLISECOND in (0, MILLISECOND - 1)
        return bare or ceil_to(tick + 1, MILLISECOND) % SECOND == 0

    first = min(crowd, key=lambda t: (dull(t), crowd[t], t), default=None)
    whole = [tick for tick in crowd if tick % MILLISECOND == 0 and tick != first]
    second = min(whole, key=lambda t: (t % SECOND != 0, crowd[t], t), default=None)
    return tuple(tick for tick in (first, second) if tick is not None)


def questions(known: Sequence[Tick]) -> list[tuple[Tick, tuple[Tick, ...]]]:
    """Bounds around the first known entry, then one exactly on the second."""
    bounds = [(tick, tick + 1, ceil_to(tick + 1, MILLISECOND)) for tick in known[:1]]
    exact = [(tick,) for tick in known[1:]]
    return list(zip(known, [*bounds, *exact], strict=True))
