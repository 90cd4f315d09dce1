"""The last entries that were journaled, for whoever looks at the status page.

They are kept as what the journal was given anyway: encoded, compressed, after the app's rules, so
that what is masked stays masked. Keeping them is one reference for each batch; nobody decodes
anything until somebody asks.
"""

from __future__ import annotations

import gzip
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Final

from msgspec import Struct

from bridge.admin import Wanted
from bridge.destinations.plain import SERVICE, mapping, plain, severity_of, time_of
from bridge.mapping import Mapper
from bridge.mapping.json_text import json_text
from bridge.mapping.severity import UNSPECIFIED
from bridge.model import Encoded, Gap, Identified, Json, Tick
from bridge.payload import Located, records_of

MOST_RECORDS: Final = 20_000
MOST_BYTES: Final = 16 << 20
"""Of the batches before compression: what a search through all of them has to look at."""
MOST_SHOWN: Final = 200
LONGEST_MESSAGE: Final = 2_000
"""Characters of a message that are shown; how long it really is, is said beside it."""
_LONGEST_WORD: Final = 64
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_TO_MILLISECONDS: Final = len("YYYY-MM-DDTHH:MM:SS.fff")


class _Kept(Struct, frozen=True):
    """A batch of an app whose first record has this number."""

    app: str | None
    first: int
    batch: Encoded

    @property
    def end(self) -> int:
        return self.first + self.batch.records


class Snapshot(Struct, frozen=True):
    """The kept batches at one moment; may be searched in any thread."""

    run: str
    end: int
    kept: tuple[_Kept, ...]

    def find(self, wanted: Wanted) -> Json:
        """The newest matching entries, the newest first, and how to go on from here.

        ``left_out`` counts the entries since ``after`` that were not looked at: there were more
        than are shown, or than are kept.
        """
        after = self._number(wanted.after)
        start = 0 if after is None else after
        found: list[Json] = []
        looked_from = self.end
        for one in reversed(self.kept):
            if one.end <= start or len(found) == MOST_SHOWN:
                break
            for number, located in _newest_first(one):
                if number < start or len(found) == MOST_SHOWN:
                    break
                looked_from = number
                if _matches(located, wanted):
                    found.append(_entry(number, one.app, located))
        # Apps are journaled one after the other; people read by time.
        found.sort(key=lambda entry: entry["time"][:_TO_MILLISECONDS], reverse=True)
        left_out = 0 if after is None else looked_from - start
        return {"entries": found, "next": f"{self.run}.{self.end}", "left_out": max(0, left_out)}

    def _number(self, after: str) -> int | None:
        """The first number that was not seen yet; None where nothing was, of this process."""
        run, _, number = after.rpartition(".")
        if run != self.run or not _NUMBER.fullmatch(number):
            return None
        return min(int(number), self.end)


class Recent:
    """The newest batches, bounded in records and in bytes; the oldest one goes first."""

    def __init__(self, *, most_records: int = MOST_RECORDS, most_bytes: int = MOST_BYTES) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._run = token_hex(4)  # so that numbers of another process are not taken for ours
        self._kept: deque[_Kept] = deque()
        self._end = 0
        self._bytes = 0

    def add(self, app: str | None, batches: Sequence[Encoded]) -> None:
        """Keep batches that were journaled; ``app`` is None where entries say whose they are."""
        for batch in batches:
            self._kept.append(_Kept(app, self._end, batch))
            self._end += batch.records
            self._bytes += batch.size
            while self._kept and self._is_over():
                self._bytes -= self._kept.popleft().batch.size

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._bytes = 0

    def snapshot(self) -> Snapshot:
        """What is kept now."""
        return Snapshot(self._run, self._end, tuple(self._kept))

    def _is_over(self) -> bool:
        records = self._end - self._kept[0].first
        return records > self._most_records or self._bytes > self._most_bytes


class Watched:
    """A mapper whose batches are kept once they are journaled, without its knowing."""

    def __init__(self, app: str | None, mapper: Mapper, recent: Recent) -> None:
        self._app = app
        self._mapper = mapper
        self._recent = recent
        self._made: Sequence[Encoded] = ()

    def encode(
        self, found: Sequence[Identified], observed: Tick, gaps: Sequence[Gap] = ()
    ) -> list[Encoded]:
        """See `Mapper.encode`."""
        made = self._mapper.encode(found, observed, gaps)
        self._made = made
        return made

    def settle(self) -> Mapping[str, int]:
        """See `Mapper.settle`: what was made last is journaled."""
        self._recent.add(self._app, self._made)
        self._made = ()
        return self._mapper.settle()


def _newest_first(one: _Kept) -> Iterator[tuple[int, Located]]:
    if not one.batch.records:
        return
    records = list(records_of(gzip.decompress(one.batch.gzip)))
    yield from zip(range(one.end - 1, one.first - 1, -1), reversed(records), strict=True)


def _matches(located: Located, wanted: Wanted) -> bool:
    record = located[2]
    if UNSPECIFIED < record.severity_number < wanted.min_severity:
        return False
    return not wanted.text or wanted.text.casefold() in _message(located).casefold()


def _entry(number: int, app: str | None, located: Located) -> Json:
    logs, _, record = located
    message = _message(located)
    name = mapping(logs.resource.attributes).get(SERVICE, "") if app is None else app
    level = severity_of(record) if record.severity_text or record.severity_number else ""
    return {
        "number": number,
        "time": time_of(record),
        "severity": record.severity_number,
        "level": level[:_LONGEST_WORD],
        "app": str(name)[:_LONGEST_WORD],
        "message": message[:LONGEST_MESSAGE],
        "length": len(message),
    }


def _message(located: Located) -> str:
    body = plain(located[2].body)
    return body if isinstance(body, str) else json_text(body)
