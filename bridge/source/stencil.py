"""Plain entries without decoding them, where the package's native part was built. Pure.

Decoding an entry, hashing and mapping it take Python ten microseconds, most of it for a dozen and
a half labels that the line before had too. The native part (``_stencil.c``) cuts out of an entry's
text what differs from line to line; what remains, its shape, is looked up whole. A stencil says
of each cut what it is, and what stands around it in the canonical entry and on the record.

Stencils are made here, by the same functions that every other entry goes through, from an entry
that those call plain. An entry that does not fit, the first ones of each shape, and everything
where the native part is missing go the general way. Both come to the same: the tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, TypeAlias

import msgspec

from bridge.mapping.attributes import label_keys
from bridge.mapping.conventions import TRACE_LABELS, WORKER_LABELS
from bridge.mapping.provenance import NOWHERE
from bridge.model import Cast, Entry, Provenance
from bridge.source.fingerprint import UID_BYTES, around_own_labels

Cuts: TypeAlias = tuple[tuple[int, bytes], ...]
"""What was cut out of an entry, in order: whether it is a label (1 or 0), and its name's text."""
Stencil: TypeAlias = tuple[
    bytes, Provenance, bytes, bytes, tuple[bytes, ...], tuple[tuple[bytes, ...], ...]
]
"""A code for each cut; the provenance; what stands behind the message in the canonical entry;
which cuts follow there, each with what stands behind it; and of each own label, in the entry's
order, the encoded keys of its attributes."""

Other: TypeAlias = Callable[[bytes, bytes | None, Cuts | None], Entry]
Scan: TypeAlias = Callable[
    [bytes, tuple[bytes, ...], dict[bytes, Stencil], Other, type[Entry], type[Cast], blake2b],
    tuple[Entry, ...] | None,
]
"""``scan(body, kept, known, other, entry, cast, hash)``: an array's entries, in its order.

None if the body is none, or oddly written. An entry whose shape is ``known`` and that fits is made
of the classes ``entry`` and ``cast``, with a copy of ``hash`` fed with its canonical form. Of any
other the result of ``other`` is taken, which is given its text; and its shape with what was cut
out, where it might have a stencil and has none. ``kept`` are the labels that are part of a shape.
"""

_FIELDS: Final = {"timestamp": b"t", "level": b"l", "message": b"m"}
_REPEATING: Final = {"level": b"L", "message": b"M", "logged_at": b"T"}
_OWN: Final = b"o"
_KEPT: Final = tuple(sorted(label.encode() for label in (*WORKER_LABELS, "app")))
_MOST: Final = 2_048
"""Shapes that are remembered; as many again that were met once."""
_LONGEST: Final = 16_384
"""Bytes of a shape that is remembered; those of fal's own labels have some seven hundred."""
_NONE: Final[Stencil] = (b"", NOWHERE, b"", b"", (), ())
"""What nothing fits."""
_hash: Final = blake2b(digest_size=UID_BYTES)


def _built() -> Scan | None:
    try:
        from bridge.source._stencil import scan  # noqa: PLC0415 - there was no compiler
    except ImportError:
        return None
    return scan


NATIVE: Final = _built()
"""The native part, where it was built."""


class Stencils:
    """What the shapes met so far are filled with; the oldest go when there are too many.

    It is for one thread, as is all that decodes pages.

    ``general`` makes an entry of its JSON text the general way, which is the only one without a
    native part to ``scan`` the text.
    """

    def __init__(self, general: Callable[[bytes], Entry], scan: Scan | None = NATIVE) -> None:
        self._general = general
        self._scan = scan
        self._known: dict[bytes, Stencil] = {}
        self._met: set[bytes] = set()

    def entries(self, body: bytes) -> tuple[Entry, ...] | None:
        """The entries of an answer that is an array; None where the general way has to judge."""
        if self._scan is None:
            return None
        try:
            return self._scan(body, _KEPT, self._known, self._other, Entry, Cast, _hash)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None

    def _other(self, text: bytes, shape: bytes | None, cuts: Cuts | None) -> Entry:
        entry = self._general(text)
        if shape is not None and cuts is not None and entry.provenance is not None:
            self._meet(shape, cuts, entry.provenance)
        return entry

    def _meet(self, shape: bytes, cuts: Cuts, provenance: Provenance) -> None:
        """Make a stencil of a shape that comes again: where none does, that would be in vain."""
        if len(shape) > _LONGEST:
            return
        if shape not in self._met:
            if len(self._met) >= _MOST:
                self._met.clear()
            self._met.add(shape)
            return
        self._met.remove(shape)
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[shape] = _stencil(cuts, provenance) or _NONE


def _stencil(cuts: Cuts, provenance: Provenance) -> Stencil | None:
    """The stencil of a plain entry; None where its record may be none, or a name comes twice."""
    names = [(label, msgspec.json.decode(b'"%b"' % name)) for label, name in cuts]
    codes = [_REPEATING.get(name, _OWN) if label else _FIELDS[name] for label, name in names]
    own = tuple(name for code, (_, name) in zip(codes, names, strict=True) if code == _OWN)
    if len({*names}) < len(names) or own != provenance.own or not TRACE_LABELS.isdisjoint(own):
        return None
    behind_message, others = around_own_labels(provenance)
    if len(others) < len(own):  # one that has no part in the canonical entry bears a traceback
        return None
    places = bytes(names.index((1, name)) for name, _ in others)
    behind = tuple(piece for _, piece in others)
    keys = tuple(label_keys(name) for name in own)
    return b"".join(codes), provenance, behind_message, places, behind, keys
