"""Where the fal key comes from at each request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from bridge.errors import ConfigError

_Signature: TypeAlias = tuple[int, int, int]
_NONE: Final[_Signature] = (0, 0, 0)


class KeySource(Protocol):
    """Gives the fal key that is valid now."""

    def __call__(self) -> str:
        """The key, never empty."""
        ...


class FixedKey(Struct, frozen=True):
    """A key that was given in the settings."""

    key: str

    def __call__(self) -> str:
        """See `KeySource.__call__`."""
        return self.key

    def __repr__(self) -> str:
        return "FixedKey()"


class FileKey:
    """A key in a file, read again when the file's time, size or inode changes.

    While the file is away, unreadable, empty or no line of text, as it is for a moment when a
    secret is rotated, the last good key stands.
    """

    def __init__(self, path: Path) -> None:
        """Read it once.

        Raises:
            ConfigError: there is no key to begin with.
        """
        self._path = path
        self._signature = _NONE
        self._key = ""
        trouble = self._refresh()
        if not self._key:
            raise ConfigError(trouble or "has no key", where=str(path))

    def __call__(self) -> str:
        """See `KeySource.__call__`."""
        self._refresh()
        return self._key

    def __repr__(self) -> str:
        return f"FileKey({str(self._path)!r})"

    def _refresh(self) -> str:
        """Take a changed file's key if it has one; else say why not."""
        try:
            if _signature(self._path.stat()) == self._signature:
                return ""
            # The signature is of what was opened: a file swapped in between is seen next time.
            with self._path.open("rb") as file:
                signature = _signature(os.fstat(file.fileno()))
                key = file.read().decode("ascii").strip()
        except OSError as error:
            return f"cannot read the key file: {error.strerror or error}"
        except UnicodeDecodeError:
            return "the key must be one line of printable ASCII"
        except ValueError as error:  # a NUL character in its path
            return f"cannot read the key file: {error}"
        if not key or not key.isprintable():
            return "the key must be one line of printable ASCII" if key else "the file is empty"
        self._key, self._signature = key, signature
        return ""


def _signature(status: os.stat_result) -> _Signature:
    return status.st_mtime_ns, status.st_size, status.st_ino
