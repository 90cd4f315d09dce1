"""Labels, fields and attributes left out by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final

from bridge import proto
from bridge.model import Json

KEPT: Final = frozenset({"log.record.uid", "service.name"})
"""What every record needs: its identity, and whose it is."""
_NO_ATTRIBUTES: Final = frozenset({"timestamp", "level", "message", "labels"})
_REMEMBERED: Final = 4096


class Names:
    """What some globs (``*``, ``?``, ``[abc]``) name, as it is at fal or as it arrives."""

    def __init__(self, globs: Sequence[str]) -> None:
        # Only `*` and `?` repeat in a glob, and Python's translation of them does not go back.
        self._globs = [re.compile(translate(glob)) for glob in globs]
        self.left_out = lru_cache(_REMEMBERED)(self._left_out)

    def _left_out(self, name: str) -> bool:
        return name not in KEPT and any(glob.match(name) for glob in self._globs)

    def without(self, raw: Json) -> Json:
        """An entry without such labels and fields; the same object if it has none."""
        if not isinstance(raw, dict):
            return raw
        kept = {k: v for k, v in raw.items() if k in _NO_ATTRIBUTES or not self.left_out(k)}
        labels = raw.get("labels")
        if isinstance(labels, dict):
            kept_labels = {k: v for k, v in labels.items() if not self.left_out(k)}
            if len(kept_labels) != len(labels):
                return kept | {"labels": kept_labels}
        return raw if len(kept) == len(raw) else kept

    def prune(self, record: bytes) -> bytes:
        """An encoded record without such attributes; the same bytes if it has none."""
        message = proto.LogRecord.FromString(record)
        doomed = [n for n, pair in enumerate(message.attributes) if self.left_out(pair.key)]
        if not doomed:
            return record
        for number in reversed(doomed):
            del message.attributes[number]
        return message.SerializeToString(deterministic=True)
