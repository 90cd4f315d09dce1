"""What goes into the body of an OTLP request: its coding, and how large it may be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal, TypeAlias

from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict
from bridge.payload import compress

Compression: TypeAlias = Literal["gzip", "none", "zstd"]
Coder: TypeAlias = Callable[[bytes], bytes]


def coder(compression: Compression, *, name: str) -> Coder:
    """What compresses a body; equal input gives equal bytes.

    Args:
        compression: The content coding.
        name: The destination's, for an error.

    Raises:
        ConfigError: zstd is not installed.
    """
    if compression == "none":
        return lambda body: body
    return compress if compression == "gzip" else _zstd(name)


def too_large(size: int, largest: int | None) -> Outcome | None:
    """The verdict on a body of that many bytes before compression, None if it may go."""
    if largest is None or size <= largest:
        return None
    return Outcome(Verdict.TOO_LARGE, f"{size} bytes are more than max_payload, which is {largest}")


def _zstd(name: str) -> Coder:
    """The standard library has it from Python 3.14 on; the extra brings the same to older ones."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - a build may lack it
        else:
            from backports import zstd  # noqa: PLC0415 - an extra that may be missing
    except ImportError as error:
        raise ConfigError(
            "compression zstd is not installed",
            where=f"destination {name}",
            hint="pip install 'fal-log-bridge[zstd]', or use compression: gzip",
        ) from error
    return zstd.compress
