"""How far a destination's refusals are believed: less while it takes some of them back."""

from __future__ import annotations

from typing import Final

from bridge.clock import Clock

_PROOF: Final = 1
_PROOF_WHILE_LOST: Final = 5
_MOST_PROOF: Final = 10
_LOST_FOR: Final = 600.0


class Trust:
    """Says how often a record must be refused by itself, in contrast to others, to be a bad one.

    Once as a rule. A destination that accepts what it had refused does not mean the record: one of
    its nodes may be ill, or it fails now and then. For ten minutes more is asked then, the more the
    oftener it happened, and each time a step of the back-off later.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic()
        self._disproved = 0

    @property
    def lost(self) -> bool:
        """Whether something was accepted of late that had been refused before."""
        return self._clock.monotonic() < self._until

    @property
    def proof(self) -> int:
        """How many refusals in contrast are proof now."""
        if not self.lost:
            return _PROOF
        return min(_PROOF_WHILE_LOST + self._disproved, _MOST_PROOF)

    def lose(self) -> None:
        """A refusal was disproved."""
        self._disproved = self._disproved + 1 if self.lost else 1
        self._until = self._clock.monotonic() + _LOST_FOR
