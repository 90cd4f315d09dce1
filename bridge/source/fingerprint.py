"""Who an entry is: the API gives no ids, so identity is made of content and count. Pure.

The canonical entry is its timestamp in ticks, level in upper case, message, app, revision and
labels, less what may differ between two reads of the same entry: labels that repeat the top
level, labels that bear a traceback (they depend on the ``traceback`` parameter) and the user's
nickname. Identical entries of one tick are told apart by their ordinal, so genuine repeats all
keep an identity of their own, and a re-read of the same tick gives the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from bridge.model import Entry, Identified, Json, Provenance, Tick
from bridge.timestamps import parse_again

UID_BYTES: Final = 16
_VOLATILE_LABEL: Final = "fal_user_nickname"
_REPEATING_LABELS: Final = ("app", "message")
_TRACEBACK: Final = "traceback"
_unfed: Final = blake2b(digest_size=UID_BYTES)
_WORKERS: Final = 1_024
_HOLE_TEXT: Final = b"\0"
"""It stands in no JSON text, which says ``\\u0000`` for it."""
_HOLE: Final = msgspec.Raw(_HOLE_TEXT)
_UNFIT: Final = (UnicodeEncodeError, OverflowError, msgspec.MsgspecError)
"""What the encoder raises where UTF-8 or 64 bits cannot hold a value."""
_encode = msgspec.json.Encoder(order="deterministic").encode


def content_hash(entry: Entry) -> bytes:
    """The 128-bit hash of the canonical entry, equal for every read of it."""
    if entry.cast is not None:
        return entry.cast.content
    made = _unfed.copy()  # cheaper than a new one with its size
    made.update(canonical_bytes(entry))
    return made.digest()


def uid(content: bytes, ordinal: int) -> bytes:
    """The fingerprint of the ``ordinal``-th (from 0) entry with this content."""
    if ordinal == 0:
        return content
    return blake2b(content + ordinal.to_bytes(8, "big"), digest_size=UID_BYTES).digest()


def identify(alike: Sequence[Identified]) -> list[Identified]:
    """Number the equals among entries that each have the uid of the first of their equals.

    They must be all of each tick they touch, in order; a tick in part would give its entries the
    ordinals of others.
    """
    if len({item.uid for item in alike}) == len(alike):
        return list(alike)
    counts: dict[bytes, int] = {}
    found = []
    for item in alike:
        ordinal = counts.get(item.uid, 0)
        counts[item.uid] = ordinal + 1
        repeat = Identified(item.entry, item.tick, uid(item.uid, ordinal)) if ordinal else item
        found.append(repeat)
    return found


def canonical_bytes(entry: Entry) -> bytes:
    """The canonical entry as JSON, which its hash is taken of."""
    try:
        if entry.provenance is not None:
            return _joined(entry, entry.provenance)
    except _UNFIT:
        pass
    return _serialise(_canonical(entry))


def _joined(entry: Entry, provenance: Provenance) -> bytes:
    """The same of a plain entry, whose worker's part is written already.

    Raises:
        one of `_UNFIT`: it can only be written the slow way.
    """
    raw, (first, others) = entry.raw, around_own_labels(provenance)
    level = raw.get("level")
    level = level.upper() if isinstance(level, str) else level
    text: bytes = _encode([entry.tick, level, raw.get("message")])[:-1] + first
    for key, piece in others:
        text += _encode(raw["labels"][key]) + piece
    return text


@lru_cache(_WORKERS)
def around_own_labels(provenance: Provenance) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """What follows on the message of a plain entry, up to the first label of its own.

    Beside it those labels' keys, each with what follows on its value.
    """
    own = sorted(key for key in provenance.own if _TRACEBACK not in key)
    labels = {**provenance.labels, **dict.fromkeys(own, _HOLE)}
    labels.pop(_VOLATILE_LABEL, None)
    text = _encode([_HOLE, provenance.app, provenance.revision, labels])
    _, first, *others = text.split(_HOLE_TEXT)
    return first, tuple(zip(own, others, strict=True))


def _canonical(entry: Entry) -> Json:
    raw = entry.raw
    if not isinstance(raw, dict):
        return raw
    level = raw.get("level")
    return [
        raw.get("timestamp") if entry.tick is None else entry.tick,
        level.upper() if isinstance(level, str) else level,
        raw.get("message"),
        raw.get("app"),
        raw.get("revision"),
        _canonical_labels(raw.get("labels"), raw, entry.tick),
    ]


def _canonical_labels(labels: Json, raw: dict[str, Json], tick: Tick | None) -> Json:
    if not isinstance(labels, dict):
        return labels
    kept = labels.copy()
    kept.pop(_VOLATILE_LABEL, None)
    for key in _REPEATING_LABELS:
        if key in kept and kept[key] == raw.get(key):
            del kept[key]
    if "level" in kept and _same_level(kept["level"], raw.get("level")):
        del kept["level"]
    if "logged_at" in kept and tick is not None:
        logged_at = parse_again(kept["logged_at"], raw.get("timestamp"), tick)
        if logged_at == tick:
            del kept["logged_at"]
    if _TRACEBACK in "\n".join(kept):
        return {key: value for key, value in kept.items() if _TRACEBACK not in key}
    return kept


def _same_level(one: Json, other: Json) -> bool:
    if type(one) is str and type(other) is str and one == other:
        return True
    return str(one).upper() == str(other).upper()


def _serialise(value: Json) -> bytes:
    """Canonical bytes; the slow way only for what UTF-8 or 64 bits cannot hold."""
    try:
        return _encode(value)
    except _UNFIT:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
