"""The resource a record comes from: the app, its revision and the machine that ran it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from bridge.mapping.conventions import RESOURCE_FIELDS, RESOURCE_LABELS
from bridge.mapping.json_text import is_plain, json_text
from bridge.mapping.wire import framed, key_value, printable, tag
from bridge.model import Json, Provenance

Scalar: TypeAlias = str | int | float | bool

_SERVICE_NAME: Final = "service.name"
_CONSTANTS: Final[Mapping[str, str]] = {
    "cloud.provider": "fal",
    "cloud.platform": "fal_serverless",
}
_NAMES: Final = (*RESOURCE_FIELDS.values(), *RESOURCE_LABELS.values())
_ATTRIBUTE: Final = tag(1)
_CACHED: Final = 64


class Origins:
    """Makes the origin of each entry of one app: its encoded ``Resource``.

    Later ones win: constants, what the entry says, ``service`` as ``service.name``, the app's
    configured ``resource``. ``fallback`` names an entry that does not name its app. ``left_out``
    tells the names that an entry's own attributes must not have.
    """

    def __init__(
        self,
        *,
        service: str | None,
        fallback: str,
        resource: Mapping[str, Scalar],
        left_out: Callable[[str], bool] | None = None,
    ) -> None:
        self._fixed: dict[str, Scalar] = {**({_SERVICE_NAME: service} if service else {})}
        self._fixed.update(resource)
        self._fallback = fallback
        self._left_out = left_out
        self._origin = lru_cache(_CACHED)(self._build)

    def of(self, provenance: Provenance) -> bytes:
        """The origin of an entry."""
        return self._origin(provenance)[0]

    def reduces(self, provenance: Provenance) -> bool:
        """Whether a rule leaves something out of it."""
        return self._origin(provenance)[1]

    def _build(self, provenance: Provenance) -> tuple[bytes, bool]:
        attributes: dict[str, Scalar] = {_SERVICE_NAME: self._fallback, **_CONSTANTS}
        says = (provenance.app, provenance.revision, *map(provenance.labels.get, RESOURCE_LABELS))
        for names, value in zip(_NAMES, says, strict=True):
            word = _word(value)
            if word is not None:
                attributes.update(dict.fromkeys(names, word))
        kept = attributes
        if self._left_out is not None:
            kept = {name: v for name, v in attributes.items() if not self._left_out(name)}
        every = (kept | self._fixed).items()
        origin = b"".join([framed(_ATTRIBUTE, key_value(key, value)) for key, value in every])
        return origin, len(kept) < len(attributes)


def _word(value: Json) -> str | None:
    """A value as one text, for these conventions are of type string; None if it is none."""
    if type(value) is str:
        return printable(value) or None
    return json_text(value) if is_plain(value) else None
