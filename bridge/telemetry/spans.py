"""What the rooms trace while they work, as a port, and the contract of the spans. Pure.

A span says how long one look, one request or one send took and what it came to. Its attributes are
names from the configuration, numbers, statuses and outcomes: nothing out of an entry, no URL, no
message of a server.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeAlias

from msgspec import Struct

Value: TypeAlias = str | int
Note: TypeAlias = Callable[[str, Value], None]
"""Adds an attribute, by its short name, to the span that is under way."""


class SpanKind(Struct, frozen=True):
    """One kind of span. ``attributes`` are given without their prefix; ``client`` if it asks."""

    name: str
    attributes: tuple[str, ...]
    help: str
    client: bool = False


POLL: Final = SpanKind(
    "poll",
    ("app", "entries"),
    "One look at an app: its live edge or the way there; `entries` were journaled.",
)
SWEEP: Final = SpanKind(
    "sweep",
    ("app", "entries"),
    "One slice of an app's past, read again; `entries` had come late.",
)
REQUEST: Final = SpanKind(
    "request",
    ("app", "status"),
    "One request to fal's API, part of a poll or a sweep; `status` is HTTP's, `none` without a "
    "whole answer.",
    client=True,
)
SEND: Final = SpanKind(
    "send",
    ("destination", "records", "bytes", "outcome"),
    "One request to a destination, `bytes` before compression; `outcome` as in `sends_total`.",
    client=True,
)
SPANS: Final = (POLL, SWEEP, REQUEST, SEND)


class Tracer:
    """Traces nothing; the one that does is `bridge.telemetry.tracing.Tracing`."""

    def span(self, kind: SpanKind, **attributes: Value) -> AbstractContextManager[Note]:
        """A span for as long as the context lasts; an exception that leaves it marks it failed."""
        del kind, attributes
        return _NOTHING


def _unheard(name: str, value: Value) -> None:
    """Nobody listens."""


_NOTHING: Final = nullcontext[Note](_unheard)

NO_TRACER: Final = Tracer()
