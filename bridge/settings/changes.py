"""What sets one configuration apart from another, in words. Pure.

Keys are named, values never: what stands in a filter or a URL may have come out of a placeholder
as well as a header does.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from bridge.model import Filter
from bridge.settings.section import Section
from bridge.settings.sections import App, Destination, Settings

_FILTERS: Final = frozenset(Filter.__struct_fields__) - {"app_id"}
_LISTS: Final = ("apps", "destinations")


def changes(before: Settings, after: Settings) -> tuple[str, ...]:
    """One sentence for each thing that differs, with what it means; none where nothing does.

    The order of apps and of destinations means nothing, and is no difference.
    """
    return tuple(
        chain(
            _sections(before, after),
            _apps(before.apps, after.apps),
            _destinations(before.destinations, after.destinations),
        )
    )


def _sections(before: Settings, after: Settings) -> Iterator[str]:
    for name in Settings.model_fields:
        if name in _LISTS:
            continue
        keys = _different(getattr(before, name), getattr(after, name))
        if keys:
            yield f"{name}: {_listed(keys)} changed"
    if before.journal.path != after.journal.path:
        yield (
            f"journal.path: positions, and what has still to be delivered, stay in "
            f"{before.journal.path}; {after.journal.path} has its own"
        )


def _apps(before: Sequence[App], after: Sequence[App]) -> Iterator[str]:
    old, new = {app.name: app for app in before}, {app.name: app for app in after}
    for name in _only(new, old):
        yield f"app {name}: added; read from its position, or from its start if it has none"
    for name in _only(old, new):
        yield f"app {name}: removed; its position is kept for when it is put back"
    for name in (name for name in old if name in new):
        keys = _different(old[name], new[name])
        if keys:
            yield f"app {name}: {_listed(keys)} changed{''.join(_app_meanings(keys))}"


def _app_meanings(keys: Sequence[str]) -> Iterator[str]:
    """What changed keys of an app mean for what was read, and will be."""
    if "app_id" in keys:
        yield "; another stream is read, from the position of the one before"
    if _FILTERS.intersection(keys):
        yield (
            "; the new filters apply from its position on, and what they would have selected "
            "before is not read again"
        )
    if "start" in keys:
        yield "; start counts only while an app has no position"


def _destinations(before: Sequence[Destination], after: Sequence[Destination]) -> Iterator[str]:
    old, new = {one.name: one for one in before}, {one.name: one for one in after}
    for name in _only(new, old):
        yield f"destination {name}: added; goes on from its place, or from its start if it has none"
    for name in _only(old, new):
        yield (
            f"destination {name}: removed; it keeps its place and what it has still to get, until "
            f"`fal-log-bridge destinations forget` gives that up"
        )
    for name in (name for name in old if name in new):
        if old[name].type != new[name].type:
            yield f"destination {name}: is of another type now, and goes on from its place"
        elif keys := _different(old[name], new[name]):
            start = "; start counts only for a new one" if "start" in keys else ""
            yield f"destination {name}: {_listed(keys)} changed{start}"


def _only(these: Iterable[str], others: Container[str]) -> list[str]:
    return [name for name in these if name not in others]


def _different(before: Section, after: Section) -> list[str]:
    """The keys of two sections of one kind that differ."""
    return [key for key in type(before).model_fields if getattr(before, key) != getattr(after, key)]


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(keys)
