"""Finding the newest entries with a text, and which of its equals each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from bridge.model import Entry, Filter, Query, Tick
from bridge.source.audit import PATIENCE, read_again
from bridge.source.fingerprint import content_hash, uid
from bridge.source.reader import Reader

_MOST_PAGES: Final = 100
_PAGE: Final = 100


async def newest_with(
    text: str, reader: Reader, selection: Filter, floor: Tick, most: int
) -> tuple[list[tuple[bytes, Entry]], bool]:
    """The newest entries with the text, with their uids; and whether all was looked through.

    An app that searches for something itself is searched here, page by page: the API takes one
    term only.

    Raises:
        ApiError: a page cannot be had.
    """
    by_api = selection.search is None
    asked = replace(selection, search=text) if by_api else selection
    found: list[tuple[bytes, Entry]] = []
    done: set[Tick] = set()
    until: Tick | None = None
    for _ in range(_MOST_PAGES):
        query = Query(asked, floor - 1, until, min(_PAGE, reader.limit.value))
        page = await reader.page(query, patience=PATIENCE)
        matching = [e for e in page.entries if by_api or _has(e, text)]
        # One without a time has no tick whose other entries count: it is taken for the first.
        found += [(uid(content_hash(e), 0), e) for e in matching if e.tick is None]
        contents = frozenset(content_hash(entry) for entry in matching)
        for tick in dict.fromkeys(e.tick for e in matching if e.tick is not None):
            if tick not in done and len(found) < most:
                done.add(tick)
                found += await _on_tick(reader, tick, text, contents)
        ticks = [entry.tick for entry in page.entries if entry.tick is not None]
        if len(found) >= most or not ticks:
            return found[:most], True
        until = min(ticks)
    return found, False


async def _on_tick(
    reader: Reader, tick: Tick, text: str, contents: frozenset[bytes]
) -> Sequence[tuple[bytes, Entry]]:
    """Those of a tick with the text or of these contents; equals are counted over all of it."""
    walk, _ = await read_again(reader, tick, tick + 1)
    return [
        (item.uid, item.entry)
        for item in walk.found()
        if item.entry.tick == tick
        and (content_hash(item.entry) in contents or _has(item.entry, text))
    ]


def _has(entry: Entry, text: str) -> bool:
    message = entry.raw.get("message") if isinstance(entry.raw, dict) else None
    return isinstance(message, str) and text.casefold() in message.casefold()
