"""More entries on one tick than any page shows: read in parts, by what tells the entries apart.

The API has no way to page within a tick, but it filters: by job, by request, by revision, by any
label. So a crowd is read once for each value of such a key, with values from the crowd itself,
from its neighbourhood and from what was found on the way, until no new value turns up. A value
nobody has seen stays hidden from that, and entries without the key do too; therefore a crowd
counts as whole only when two partitions by independent keys show the same entries. Keys are
independent when neither follows from the other: a job and the worker named after it would miss
the same entries. What cannot be shown to be whole is taken as found, and is a gap.

A key that the app filters on already is never used: the API refuses it (Logs REST API, "Error
Responses": "Duplicate label key found"). One that it refuses for another reason is not used again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Final, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from bridge.errors import ApiRefused
from bridge.model import Entry, Filter
from bridge.source.fingerprint import content_hash
from bridge.source.walk import Crowd, Walk

Drive = Callable[[Walk, Filter], Awaitable[None]]
"""Reads a walk over a narrower selection to its end; `ApiRefused` if that is no selection."""


class PatientDrive(Protocol):
    """The same, given the patience of one request in seconds."""

    def __call__(self, walk: Walk, selection: Filter, *, patience: float | None) -> Awaitable[None]:
        """Read it."""
        ...


_PARAMETERS: Final[Mapping[str, str]] = {
    "fal_job_id": "job_id",
    "fal_request_id": "request_id",
    "app_id": "revision",  # `labels.app_id` is the revision, not the app
}
"""Labels that the API also takes as a parameter of its own."""

_NEVER: Final = frozenset({"message", "logged_at", "app"})
"""Labels that repeat the entry: as many values as entries, or one for all."""

_MOST_VALUES: Final = 100
_MOST_CELLS: Final = 200
_DEEPEST: Final = 3
_ROUNDS: Final = 3

Contents = Counter[bytes]


class _Part(Struct):
    """What a read of a crowd, or of one cell of it, has shown; ``whole`` if all of the selection.

    That ``whole`` is as good as the values it was read by, and those are of ``keys``.
    """

    contents: Contents = field(default_factory=Counter)
    whole: bool = True
    keys: set[str] = field(default_factory=set)


class Crowds:
    """Resolves the crowds of one app's walks."""

    def __init__(self, selection: Filter, drive: PatientDrive) -> None:
        self._selection = selection
        self._drive = drive

    async def resolve(self, walk: Walk, crowd: Crowd, *, patience: float | None) -> bool:
        """Add to the walk what can be found of one of its crowds; whether that is all, proved.

        ``patience`` is how many seconds one request may keep failing before that is raised.
        """
        crowded = _Crowded(walk, crowd, self._selection, partial(self._drive, patience=patience))
        for _ in range(_ROUNDS):
            before = len(crowded.shown)
            if await crowded.agrees():
                return True
            if len(crowded.shown) == before or crowded.spent:
                break
        return False


class _Crowded:
    """One crowd while it is read in parts."""

    def __init__(self, walk: Walk, crowd: Crowd, selection: Filter, drive: Drive) -> None:
        self._walk = walk
        self._crowd = crowd
        self._selection = selection
        self._drive = drive
        self._cells = 0
        self._refused: set[str] = set()

    @property
    def shown(self) -> list[Entry]:
        """What is known of the crowd by now."""
        return self._walk.shown(self._crowd.floor, self._crowd.ceiling)

    @property
    def spent(self) -> bool:
        """Whether it has cost all that a crowd may cost."""
        return self._cells >= _MOST_CELLS

    async def agrees(self) -> bool:
        """Read the crowd by one key after another until two partitions show the same."""
        parts: list[_Part] = []
        for key in keys_for(self._selection, self._walk.shown()):
            used = {k for part in parts if part.whole for k in part.keys}
            if self.spent or key in self._refused or not self._new(key, used):
                continue
            parts.append(await self._by_key(self._selection, key, frozenset(used)))
            everything = _contents(self.shown)
            if sum(p.whole and p.contents == everything for p in parts) > 1:
                return True
        return False

    def _new(self, key: str, used: Collection[str]) -> bool:
        """Whether a key tells something that no used one does."""
        return all(key != other and independent(key, other, self.shown) for other in used)

    async def _by_key(self, selection: Filter, key: str, used: frozenset[str]) -> _Part:
        """Read a selection of the crowd value by value until no new value turns up."""
        total, done = _Part(keys={key}), set[str]()
        while waiting := sorted(values_of(key, self._walk.shown()) - done):
            for value in waiting:
                if self.spent or len(done) >= _MOST_VALUES:
                    total.whole = False
                    return total
                done.add(value)
                try:
                    cell = await self._cell(narrowed(selection, key, value), used | {key})
                except ApiRefused:  # not a key to filter by, here or in this selection
                    self._refused.add(key)
                    total.whole = False
                    return total
                total.contents += cell.contents
                total.whole = total.whole and cell.whole
                total.keys |= cell.keys
        return total

    async def _cell(self, selection: Filter, used: frozenset[str]) -> _Part:
        """Read one value's share; in parts again where that is a crowd too."""
        self._cells += 1
        floor, ceiling = self._crowd.floor, self._crowd.ceiling
        cell = Walk(
            floor=floor,
            ceiling=ceiling,
            anchor=None,
            limit=self._walk.bounds.limit,
            grain=self._walk.grain,
            fine=self._walk.fine,
        )
        await self._drive(cell, selection)
        entries = cell.shown(floor, ceiling)
        self._walk.absorb(entries)
        if not cell.crowds:
            return _Part(_contents(entries))
        best = _Part(_contents(entries), whole=False)
        for key in keys_for(selection, entries):
            if self.spent or len(used) >= _DEEPEST:
                break
            if key in self._refused or not self._new(key, used):
                continue
            part = await self._by_key(selection, key, used)
            if part.whole and part.contents >= best.contents:
                return part
            best.contents |= part.contents
        return best


def keys_for(selection: Filter, entries: Iterable[Entry]) -> list[str]:
    """The label keys to tell entries apart by, the most telling first.

    A key is promising when it has several values, not too many, and most entries carry it.
    """
    taken = _filtered(selection)
    values: dict[str, Counter[str]] = {}
    for entry in entries:
        for key, value in _labels(entry).items():
            if key not in taken and key not in _NEVER and isinstance(value, str):
                values.setdefault(key, Counter())[value] += 1
    several = {k: v for k, v in values.items() if 1 < len(v) <= _MOST_VALUES}
    return sorted(several, key=lambda k: (-several[k].total(), max(several[k].values()), k))


def values_of(key: str, entries: Iterable[Entry]) -> set[str]:
    """The values that entries show for a key."""
    return {value for entry in entries if (value := _label(entry, key)) is not None}


def narrowed(selection: Filter, key: str, value: str) -> Filter:
    """The selection, and of it only entries whose label ``key`` is ``value``."""
    if key == "fal_job_id":
        return replace(selection, job_id=value)
    if key == "fal_request_id":
        return replace(selection, request_id=value)
    if key == "app_id":
        return replace(selection, revision=value)
    return replace(selection, labels=(*selection.labels, (key, value)))


def independent(one: str, other: str, entries: Iterable[Entry]) -> bool:
    """Whether two keys divide entries differently: neither says what the other is.

    Keys of which one follows from the other, as a job's worker or node does, hide the same
    entries: a value of the one that nobody has seen comes with an unseen value of the other.
    """
    pairs = {(_label(e, one), _label(e, other)) for e in entries}
    return len(pairs) > max(len({a for a, _ in pairs}), len({b for _, b in pairs}))


def _filtered(selection: Filter) -> frozenset[str]:
    """The keys that the selection filters on already."""
    by_parameter = {
        label for label, name in _PARAMETERS.items() if getattr(selection, name) is not None
    }
    level = {"level"} if selection.level else set()
    return frozenset(by_parameter | level | {key for key, _ in selection.labels})


def _labels(entry: Entry) -> Mapping[str, object]:
    labels = entry.raw.get("labels") if isinstance(entry.raw, dict) else None
    return labels if isinstance(labels, dict) else {}


def _label(entry: Entry, key: str) -> str | None:
    value = _labels(entry).get(key)
    return value if isinstance(value, str) else None


def _contents(entries: Iterable[Entry]) -> Contents:
    return Counter(content_hash(entry) for entry in entries)
