"""What the lines of one worker share, read and encoded once for all of them.

An entry has a dozen and a half labels, and all but a few are the same on every line of a worker.
Those are looked up together, by all their values at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, TypeAlias

from bridge.mapping.attributes import label_attributes
from bridge.mapping.conventions import (
    REPEATING_LABELS,
    RESOURCE_FIELDS,
    RESOURCE_LABELS,
    TRACEBACK_HEADER,
    WORKER_LABELS,
)
from bridge.model import Json

_LAYOUTS: Final = 256
_KEPT: Final = 4_096
_LONGEST: Final = 2_048
"""Of all values together."""
_KEPT_TYPES: Final = frozenset({str, type(None)})
"""Values of other types may be equal and yet not the same: 1, 1.0 and true."""

_Values: TypeAlias = Callable[[Mapping[str, Json]], tuple[Json, ...]]


class Layout:
    """Which labels are a worker's and which an entry's own, where an entry has these labels.

    ``repeating`` ones and ``logged_at`` are the entry's own only if they say another thing than
    its fields.
    """

    __slots__ = ("has_logged_at", "own", "repeating", "values", "worker")

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.worker = tuple(key for key in keys if key in WORKER_LABELS)
        self.values = _values_of(self.worker)
        self.repeating = tuple(key for key in keys if key in REPEATING_LABELS)
        self.has_logged_at = "logged_at" in keys
        others = {*self.worker, *self.repeating, "logged_at"}
        self.own = tuple(key for key in keys if key not in others)


layout_of: Final = lru_cache(_LAYOUTS)(Layout)


class Provenance:
    """Where an entry comes from.

    ``identity`` are the values that make the resource: of `RESOURCE_FIELDS` and `RESOURCE_LABELS`.
    ``attributes`` is what the worker's labels make on the record, None where they have to be read
    one by one with the entry's own.
    """

    __slots__ = ("attributes", "identity")

    def __init__(self, identity: tuple[Json, ...], attributes: bytes | None) -> None:
        self.identity = identity
        self.attributes = attributes


NOWHERE: Final = Provenance((None,) * (len(RESOURCE_FIELDS) + len(RESOURCE_LABELS)), b"")
"""Of what says nothing of where it comes from."""


def provenance_of(
    layout: Layout, fields: Mapping[str, Json], labels: Mapping[str, Json]
) -> Provenance:
    """The provenance of an entry; for lines of one worker the same object each time."""
    try:
        return _kept(layout, fields.get("app"), fields.get("revision"), layout.values(labels))
    except TypeError:
        identity = (*map(fields.get, RESOURCE_FIELDS), *map(labels.get, RESOURCE_LABELS))
        return Provenance(identity, None)


@lru_cache(_KEPT)
def _kept(layout: Layout, app: Json, revision: Json, values: tuple[Json, ...]) -> Provenance:
    """The same from its parts.

    Raises:
        TypeError: it may not be kept. That is also what a cache raises on lists and objects.
    """
    if not _may_be_kept((app, revision, *values)):
        raise TypeError
    labels = dict(zip(layout.worker, values, strict=True))
    identity = (app, revision, *map(labels.get, RESOURCE_LABELS))
    return Provenance(identity, label_attributes(labels))


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
