"""What the lines of one worker share, read and encoded once for all of them.

An entry has a dozen and a half labels, and all but a few are the same on every line of a worker.
Those are looked up together, by all their values at once: where an entry is plain, once for its
identity and its record, when it is decoded; else when it is mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Final, TypeAlias

from bridge.mapping.attributes import label_attributes
from bridge.mapping.conventions import (
    REPEATING_LABELS,
    TRACEBACK_HEADER,
    WORKER_LABELS,
)
from bridge.model import Json, Provenance, Tick
from bridge.timestamps import parse_again

_LAYOUTS: Final = 256
_KEPT: Final = 4_096
_LONGEST: Final = 2_048
"""Of all values together, and of all keys of an entry's own labels."""
_KEPT_TYPES: Final = frozenset({str, type(None)})
"""Values of other types may be equal and yet not the same: 1, 1.0 and true."""

_Values: TypeAlias = Callable[[Mapping[str, Json]], tuple[Json, ...]]


class Layout:
    """Which labels are a worker's and which an entry's own, where an entry has these labels.

    ``repeating`` ones and ``logged_at`` are the entry's own only if they say another thing than
    its fields. What is ``short`` may be kept with every worker.
    """

    __slots__ = ("has_logged_at", "own", "repeating", "short", "values", "worker")

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.worker = tuple(key for key in keys if key in WORKER_LABELS)
        self.values = _values_of(self.worker)
        self.repeating = tuple(key for key in keys if key in REPEATING_LABELS)
        self.has_logged_at = "logged_at" in keys
        others = {*self.worker, *self.repeating, "logged_at"}
        self.own = tuple(key for key in keys if key not in others)
        self.short = sum(map(len, self.own)) <= _LONGEST


layout_of: Final = lru_cache(_LAYOUTS)(Layout)


NOWHERE: Final = Provenance(None, None, MappingProxyType({}), (), b"")
"""Of what says nothing of where it comes from."""


def provenance_of_plain(raw: Mapping[str, Json], tick: Tick) -> Provenance | None:
    """The provenance of an entry that is plain, else None.

    It is where its worker's labels are short texts, and all labels that may repeat its fields do:
    then its own labels, those of the worker and its fields are all there is to say.
    """
    labels = raw.get("labels")
    if type(labels) is not dict:
        return None
    layout = layout_of(tuple(labels))
    if not layout.short:
        return None
    for key in layout.repeating:
        value = labels[key]
        if type(value) is not str or value != raw.get(key):
            return None
    if (
        layout.has_logged_at
        and parse_again(labels["logged_at"], raw.get("timestamp"), tick) != tick
    ):
        return None
    try:
        return _kept(layout, raw.get("app"), raw.get("revision"), layout.values(labels))
    except TypeError:
        return None


def provenance_of(
    layout: Layout, fields: Mapping[str, Json], labels: Mapping[str, Json]
) -> Provenance:
    """The provenance of an entry; for lines of one worker the same object each time."""
    app, revision, values = fields.get("app"), fields.get("revision"), layout.values(labels)
    try:
        return (_kept if layout.short else _made)(layout, app, revision, values)
    except TypeError:
        theirs = dict(zip(layout.worker, values, strict=True))
        return Provenance(app, revision, theirs, layout.own, None)


def _made(layout: Layout, app: Json, revision: Json, values: tuple[Json, ...]) -> Provenance:
    """The same from its parts.

    Raises:
        TypeError: it may not be kept. That is also what a cache raises on lists and objects.
    """
    if not _may_be_kept((app, revision, *values)):
        raise TypeError
    labels = dict(zip(layout.worker, values, strict=True))
    return Provenance(app, revision, labels, layout.own, label_attributes(labels))


_kept = lru_cache(_KEPT)(_made)


def _may_be_kept(values: Sequence[Json]) -> bool:
    """Whether these are but texts of usual length, of which none bears a traceback."""
    if not _KEPT_TYPES.issuperset(map(type, values)):
        return False
    text = "\n".join(value for value in values if value)
    return len(text) <= _LONGEST and TRACEBACK_HEADER not in text


def _values_of(keys: tuple[str, ...]) -> _Values:
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda labels: tuple(labels[key] for key in keys)
