"""Dead letters for people: looked at, sent again, given up or taken elsewhere.

Works beside a running bridge or without one. What a letter says was written by strangers.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from bridge import proto, settings
from bridge.destinations import plain
from bridge.errors import ConfigError, JournalError
from bridge.journal import rules
from bridge.journal.ledger import KeptLetter, Ledger
from bridge.journal.orders import Orders
from bridge.model import DeadLetter, Json
from bridge.payload import Located, records_of, to_json
from bridge.timestamps import format_tick

_SHORTEST: Final = 8
_FEW: Final = 64
_PAGE: Final = 100


class Listing(Struct, frozen=True):
    """The oldest dead letters, and how many there are in all."""

    letters: tuple[KeptLetter, ...]
    total: int


class Marked(Struct, frozen=True):
    """What an order to send letters again came to.

    ``held``: a bridge runs. Of such letters' destinations ``paused`` send nothing now and
    ``missing`` are not configured; ``going`` are the others.
    """

    letters: int
    held: bool
    going: tuple[str, ...]
    paused: tuple[str, ...]
    missing: tuple[str, ...]


def listed(config: settings.Settings, *, destination: str | None, limit: int) -> Listing:
    """The oldest dead letters of a destination, or of all.

    Raises:
        JournalError: there is no such destination.
        JournalUnusable: there is no journal, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        total = _total(ledger, destination)
        return Listing(ledger.dead_letters(destination=destination, limit=limit), total)


def shown(config: settings.Settings, uid: str, *, destination: str | None) -> list[KeptLetter]:
    """The dead letters of one uid, or of the one that begins so; one for each destination.

    Raises:
        ConfigError: too little of a uid, or the beginning of several.
        JournalError: there is none.
        JournalUnusable: there is no journal, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        _total(ledger, destination)
        return _matching(ledger, uid, destination)


def replay(config: settings.Settings, uids: Sequence[str], *, destination: str | None) -> Marked:
    """Mark dead letters to be sent again: those of the uids, or all, of a destination or all.

    Raises:
        ConfigError: too little of a uid, or the beginning of several.
        JournalError: there is none.
        JournalUnusable: there is no journal, or it cannot be used.
    """
    with Ledger.open(config.journal.path) as ledger, Orders.open(config.journal.path) as orders:
        chosen = _chosen(ledger, uids, destination)
        marked = orders.replay(destination=destination, uids=chosen)
        names = _destinations_of(ledger, chosen, destination)
        missing = names - {one.name for one in config.destinations}
        paused = {one.name for one in ledger.destinations() if one.paused} & names - missing
        going = names - missing - paused
        return Marked(
            marked, ledger.held, *(tuple(sorted(some)) for some in (going, paused, missing))
        )


def count(config: settings.Settings, uids: Sequence[str], *, destination: str | None) -> int:
    """How many letters `drop` would give up.

    Raises:
        ConfigError, JournalError, JournalUnusable: see `replay`.
    """
    with Ledger.open(config.journal.path) as ledger:
        chosen = _chosen(ledger, uids, destination)
        if chosen is None:
            return _total(ledger, destination)
        return sum(len(_matching(ledger, uid, destination)) for uid in set(chosen))


def drop(config: settings.Settings, uids: Sequence[str], *, destination: str | None) -> int:
    """Give dead letters up for good, chosen as in `replay`; how many.

    Raises:
        ConfigError, JournalError, JournalUnusable: see `replay`.
    """
    with Ledger.open(config.journal.path) as ledger, Orders.open(config.journal.path) as orders:
        return orders.drop(destination=destination, uids=_chosen(ledger, uids, destination))


def exported(config: settings.Settings, *, destination: str | None) -> Iterator[str]:
    """Every dead letter as one line of JSON, with its record as OTLP/JSON.

    Read page by page: a slow reader holds back nothing of a running bridge.

    Raises:
        JournalError: there is no such destination.
        JournalUnusable: there is no journal, or it cannot be read.
    """
    with Ledger.open(config.journal.path) as ledger:
        _total(ledger, destination)
        after = 0
        while page := ledger.dead_letters(destination=destination, after=after, limit=_PAGE):
            yield from (_line(one) for one in page)
            after = page[-1].place


def record_of(letter: DeadLetter) -> Located | None:
    """The record with its resource and scope; None where the stored bytes cannot be read."""
    raw = _raw(letter)
    try:
        return None if raw is None else next(records_of(raw), None)
    except proto.DecodeError:
        return None


def message_of(letter: DeadLetter) -> str:
    """The record's message, empty where the stored bytes cannot be read."""
    located = record_of(letter)
    return "" if located is None else _text(plain.plain(located[2].body))


def as_json(kept: KeptLetter) -> Json:
    """A letter with its record in plain values; times are ISO 8601, UTC."""
    located = record_of(kept.letter)
    return {
        **_fields(kept),
        "record": None if located is None else json.loads(plain.json_line(located[0], located[2])),
    }


def listing_json(listing: Listing) -> Json:
    """A listing as one document."""
    return {
        "dead_letters": [
            {**_fields(one), "message": message_of(one.letter)} for one in listing.letters
        ],
        "more": listing.total - len(listing.letters),
    }


def _fields(kept: KeptLetter) -> dict[str, Json]:
    letter = kept.letter
    return {
        "destination": letter.destination,
        "uid": letter.uid,
        "refused_at": format_tick(letter.refused_at),
        "reason": letter.reason,
        "answer": letter.answer,
        "batch": letter.seq,
        "bytes": kept.size,
        "replay": kept.replay,
    }


def _line(kept: KeptLetter) -> str:
    raw = _raw(kept.letter)
    try:
        request = {} if raw is None else {"request": json.loads(to_json(raw))}
    except proto.DecodeError:
        request = {}
    if not request:
        request = {"gzip_base64": base64.b64encode(kept.letter.gzip).decode("ascii")}
    return json.dumps({**_fields(kept), **request}).replace("\x7f", "\\u007f")


def _raw(letter: DeadLetter) -> bytes | None:
    try:
        return gzip.decompress(letter.gzip)
    except (OSError, EOFError, zlib.error):
        return None


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _total(ledger: Ledger, destination: str | None) -> int:
    """How many dead letters there are, of one destination or of all."""
    known = {one.name: one.dead_letters for one in ledger.destinations()}
    if destination is None:
        return sum(known.values())
    if destination not in known:
        raise rules.not_known("destination", destination, known)
    return known[destination]


def _chosen(ledger: Ledger, uids: Sequence[str], destination: str | None) -> list[str] | None:
    """The whole uids of those that were begun; None for all there are.

    Raises:
        JournalError: there is nothing to choose from.
    """
    if not _total(ledger, destination):
        where = "" if destination is None else f"destination {destination}"
        raise JournalError("there are no dead letters", where=where)
    if not uids:
        return None
    return [_matching(ledger, uid, destination)[0].letter.uid for uid in uids]


def _destinations_of(
    ledger: Ledger, uids: Sequence[str] | None, destination: str | None
) -> set[str]:
    """Whose dead letters were chosen."""
    if destination is not None:
        return {destination}
    if uids is None:
        return {one.name for one in ledger.destinations() if one.dead_letters}
    return {one.letter.destination for uid in uids for one in _matching(ledger, uid, None)}


def _matching(ledger: Ledger, uid: str, destination: str | None) -> list[KeptLetter]:
    begun = uid.lower()
    if len(begun) < _SHORTEST:
        raise ConfigError(
            f"{uid!r} is too little of a uid", where="UID", hint=f"give {_SHORTEST} digits or more"
        )
    found = ledger.dead_letters(destination=destination, uid=begun, limit=_FEW)
    whole = sorted({one.letter.uid for one in found})
    if not whole:
        raise JournalError(f"no dead letter has a uid that begins with {begun}")
    if len(whole) > 1 and begun not in whole:
        raise ConfigError(
            f"several uids begin with {begun}: {', '.join(whole)}",
            where="UID",
            hint="give more of it",
        )
    return [one for one in found if one.letter.uid == (begun if begun in whole else whole[0])]
