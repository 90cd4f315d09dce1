"""Whether an app that should write does so. Pure."""

from __future__ import annotations


class Silence:
    """How long an app has shown nothing although it could be read; all times in seconds.

    It counts from its making, and anew from each entry that is journaled: ``since``. Time in which
    the app cannot be read tells nothing of it and does not count.
    """

    def __init__(self, expect_every: float, now: float) -> None:
        self.silent = False
        self.since = now
        self._expect_every = expect_every
        self._looked = now
        self._counted = 0.0
        self._read = 0

    def look(self, *, read: int, works: bool, now: float) -> float | None:
        """Take in how many entries were read so far, and whether that works.

        To be called often: what came since the last look is taken to have come now.

        Returns:
            If `silent` changed by it, for how long nothing had come.
        """
        before, lasted = self.silent, now - self.since
        if read != self._read:
            self._read, self._counted, self.since, self.silent = read, 0.0, now, False
        elif works:
            self._counted += now - self._looked
            self.silent = self._counted >= self._expect_every
        self._looked = now
        return lasted if self.silent != before else None
