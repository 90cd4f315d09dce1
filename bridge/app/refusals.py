"""Why destinations refused entries for good: each reason once, with how often it was given."""

from __future__ import annotations

from typing import Final

from bridge import settings
from bridge.journal.ledger import Ledger
from bridge.model import Json
from bridge.timestamps import format_tick

_MOST: Final = 50
_LONGEST: Final = 500


def dead_letters_json(config: settings.Settings) -> Json:
    """The commonest reasons of the dead letters, by destination; read from the journal.

    Raises:
        JournalUnusable: there is no journal, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        return [
            {
                "destination": one.destination,
                "reason": one.reason[:_LONGEST],
                "letters": one.letters,
                "newest": format_tick(one.newest),
            }
            for one in ledger.refusal_reasons(limit=_MOST)
        ]
