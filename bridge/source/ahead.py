"""How far all apps together read ahead of what they store next: memory is bounded by it."""

from __future__ import annotations


def in_line(width: int) -> int:
    """Slices in line where so many are read at a time: half as many more.

    So the next request need not wait until the journal has what was read before.
    """
    return width + width // 2


class Ahead:
    """So many slices, of all apps, besides the one that each of them stores next.

    A slice that was read waits for those before it. The next one of an app needs no leave, so that
    no app ever waits for another.
    """

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self) -> bool:
        """Read one more slice ahead; False where there are as many as there may be."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """One that was read ahead is stored, or given up."""
        self._free += 1
