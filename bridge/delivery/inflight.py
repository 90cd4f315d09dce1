"""Which requests are on their way, and how far everything before them is answered for. Pure."""

from __future__ import annotations

from collections import deque


class InFlight:
    """Requests in sequence order, each known by the number of its last batch.

    Batch numbers may have holes, so what comes next is known by the order requests were started
    in and never by counting.
    """

    def __init__(self, cursor: int) -> None:
        self._prefix = cursor
        self._started: deque[int] = deque()
        self._answered: set[int] = set()

    @property
    def prefix(self) -> int:
        """The cursor: every batch up to and including this number is answered for."""
        return self._prefix

    @property
    def span(self) -> int:
        """Requests from the oldest unanswered one to the newest, answered ones among them."""
        return len(self._started)

    def started(self, last: int) -> None:
        """A request whose last batch is ``last`` goes out, after all started before.

        Raises:
            ValueError: it does not come after them.
        """
        newest = self._started[-1] if self._started else self._prefix
        if last <= newest:
            raise ValueError(f"batch {last} does not come after {newest}")
        self._started.append(last)

    def answered(self, last: int) -> None:
        """All of the request that ends with batch ``last`` is answered for.

        Raises:
            ValueError: no such request is on its way.
        """
        if last not in self._started or last in self._answered:
            raise ValueError(f"no request that ends with batch {last} is on its way")
        self._answered.add(last)
        while self._started and self._started[0] in self._answered:
            self._prefix = self._started.popleft()
            self._answered.discard(self._prefix)
