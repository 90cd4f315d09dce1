"""Whether a journal's file could be used, found out without making or changing anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bridge.errors import JournalUnusable
from bridge.journal import lock, opening

_WRITABLE: Final = os.W_OK | os.X_OK
_BOTH: Final = os.R_OK | os.W_OK


def tried(path: Path) -> str:
    """Look at a journal's file and folder; a few words on what was found.

    Raises:
        JournalUnusable: a start would fail on them. Damage within the file is not looked for.
    """
    path = path.absolute()
    with opening.usable(path):
        folder = next(one for one in path.parents if one.exists())
        if not folder.is_dir():
            raise _unusable(folder, "is not a folder")
        if not os.access(folder, _WRITABLE):
            raise _unusable(folder, "cannot be written to")
        if not path.exists():
            return "will be made at the first start"
        if not os.access(path, _BOTH):
            raise _unusable(path, "cannot be read and written")
        opening.check_header(path)
        return "in use by a running bridge" if lock.is_held(path) else "can be used"


def _unusable(path: Path, what: str) -> JournalUnusable:
    return JournalUnusable(what, where=str(path), hint=opening.WRITABLE)
