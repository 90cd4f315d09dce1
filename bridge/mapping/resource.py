"""The resource a record comes from: the app, its revision and the machine that ran it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.mapping.json_text import json_text
from bridge.mapping.reading import Reading
from bridge.mapping.values import is_plain, printable, put_attributes
from bridge.model import Json

Scalar: TypeAlias = str | int | float | bool

_SERVICE_NAME: Final = "service.name"
_CONSTANTS: Final[Mapping[str, str]] = {
    "cloud.provider": "fal",
    "cloud.platform": "fal_serverless",
}
RESOURCE_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "app": (_SERVICE_NAME, "faas.name"),
    "revision": ("service.version", "faas.version"),
}
RESOURCE_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "fal_env": ("deployment.environment.name",),
    "fal_job_id": ("faas.instance", "fal.job.id"),
    "fal_node_id": ("host.id",),
    "fal_user_nickname": ("fal.user.nickname",),
}
_NAMES: Final = (*RESOURCE_FIELDS.values(), *RESOURCE_LABELS.values())
_CACHED: Final = 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """A resource, and its encoded bytes, which tell one origin from another.

    ``reduced`` says that a rule left something out of it.
    """

    resource: Resource
    encoded: bytes
    reduced: bool = False


class Origins:
    """Makes the origin of each entry of one app.

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

    def of(self, reading: Reading) -> Origin:
        """The origin of an entry."""
        return self._origin(tuple(_identity(reading)))

    def _build(self, identity: tuple[str | None, ...]) -> Origin:
        attributes: dict[str, Scalar] = {_SERVICE_NAME: self._fallback, **_CONSTANTS}
        for names, value in zip(_NAMES, identity, strict=True):
            if value is not None:
                attributes.update(dict.fromkeys(names, value))
        kept = attributes
        if self._left_out is not None:
            kept = {name: v for name, v in attributes.items() if not self._left_out(name)}
        resource = Resource()
        put_attributes(resource.attributes, (kept | self._fixed).items())
        encoded = resource.SerializeToString(deterministic=True)
        return Origin(resource, encoded, reduced=len(kept) < len(attributes))


def _identity(reading: Reading) -> Iterator[str | None]:
    for key in RESOURCE_FIELDS:
        yield _word(reading.fields.get(key))
    for key in RESOURCE_LABELS:
        yield _word(reading.labels.get(key))


def _word(value: Json) -> str | None:
    """A value as one text, for these conventions are of type string; None if it is none."""
    if not is_plain(value):
        return None
    return printable(value) if isinstance(value, str) else json_text(value)
