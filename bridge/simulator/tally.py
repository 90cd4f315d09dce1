"""Written against delivered, entry by entry: what is missing, what came twice. Pure.

An entry and its record are matched by what the mapping carries through unchanged: the time, the
body and the service name. Equal entries are counted, so this compares multisets. A record whose
uid was seen before is a repeat, whatever it holds; so a genuine repeat that was wrongly given its
twin's uid shows as missing, and a re-read that was wrongly given a new uid shows as unexpected.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from typing import Final, NamedTuple

from msgspec import Struct

from bridge.model import Tick
from bridge.simulator.otlp_backend import Received
from bridge.simulator.store import Written

_NANOS: Final = 1_000


class Identity(NamedTuple):
    """What entry and record have in common; time in nanoseconds since the epoch."""

    time_unix_nano: int
    body: str
    service: str


class Standing(Struct, frozen=True):
    """The tally at one moment.

    ``written`` counts the entries that the API shows by now; ``hidden`` those it does not show
    yet; ``missing`` is ``written`` less ``delivered``: on the way, or lost. ``repeated`` counts
    records whose uid came before, ``unexpected`` new uids that match no outstanding entry.
    """

    written: int
    hidden: int
    delivered: int
    missing: int
    repeated: int
    unexpected: int

    @property
    def complete(self) -> bool:
        """Everything written has arrived, and nothing that was not."""
        return not (self.missing or self.hidden or self.unexpected)

    def __str__(self) -> str:
        line = (
            f"written {self.written:,} · delivered {self.delivered:,}"
            f" · missing {self.missing:,} · repeated {self.repeated:,}"
        )
        return f"{line} · unexpected {self.unexpected:,}" if self.unexpected else line


class Tally:
    """Counts both sides. Memory holds what is outstanding and the latest ``remember`` uids."""

    def __init__(self, remember: int = 1_000_000) -> None:
        self._remember = remember
        self._outstanding: Counter[Identity] = Counter()
        self._hidden: list[Tick] = []
        self._uids: OrderedDict[str, None] = OrderedDict()
        self._written = self._delivered = self._repeated = self._unexpected = 0

    def write(self, written: Written) -> None:
        """An app wrote an entry."""
        self._written += 1
        self._outstanding[identity_of(written)] += 1
        heapq.heappush(self._hidden, written.visible_at)

    def deliver(self, received: Received) -> None:
        """A backend accepted a record."""
        if self._known(received.uid):
            self._repeated += 1
            return
        identity = Identity(received.time_unix_nano, received.body, received.service)
        if self._outstanding[identity] > 1:
            self._outstanding[identity] -= 1
            self._delivered += 1
        elif self._outstanding.pop(identity, 0):
            self._delivered += 1
        else:
            self._unexpected += 1

    def standing(self, now: Tick) -> Standing:
        """How the two sides compare; ``now`` decides which late entries count as written."""
        while self._hidden and self._hidden[0] <= now:
            heapq.heappop(self._hidden)
        hidden = len(self._hidden)
        return Standing(
            written=self._written - hidden,
            hidden=hidden,
            delivered=self._delivered,
            missing=self._written - hidden - self._delivered,
            repeated=self._repeated,
            unexpected=self._unexpected,
        )

    def outstanding(self) -> Counter[Identity]:
        """What was written and has not arrived, hidden entries included."""
        return self._outstanding.copy()

    def _known(self, uid: str) -> bool:
        """Whether a uid came before; an absent uid never did."""
        known = uid in self._uids
        if uid:
            self._uids[uid] = None
            self._uids.move_to_end(uid)
        if len(self._uids) > self._remember:
            self._uids.popitem(last=False)
        return known


def identity_of(written: Written) -> Identity:
    """The identity of an entry whose ``app`` and ``message`` are strings, as accounts write them.

    Its time is ``tick``, which is also its ``timestamp`` and ``labels.logged_at``.
    """
    return Identity(written.tick * _NANOS, written.raw["message"], written.app or "")
