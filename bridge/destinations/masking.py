"""Keeps what a destination's headers hold out of every text that people see. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

_SHORTEST_SECRET: Final = 6


class Mask:
    """Blots out header values wherever a backend or a library quotes them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._secrets = tuple(_secrets(headers))

    def text(self, text: str) -> str:
        """A text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "*" * len(secret))
        return text

    def body(self, body: bytes) -> bytes:
        """The same of an answer's bytes; equal length keeps its protobuf readable."""
        for secret in self._secrets:
            for form in {secret.encode("latin-1"), secret.encode()}:
                body = body.replace(form, b"*" * len(form))
        return body


def _secrets(headers: Mapping[str, str]) -> Iterator[str]:
    """Header values, and the credential of a scheme."""
    for value in headers.values():
        credential = value.rpartition(" ")[2]
        yield from (secret for secret in (value, credential) if len(secret) >= _SHORTEST_SECRET)
