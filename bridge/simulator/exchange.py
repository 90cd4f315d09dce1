"""What goes into a simulated server and what comes out, without any I/O.

An `Answer` also says how the connection behaves, so that `server` can do it on the wire and
`transport` in process.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from bridge.model import Json


class Drop(Enum):
    """The connection ends without an answer: before the request was handled, or after."""

    BEFORE = auto()
    AFTER = auto()


class Request(Struct, frozen=True):
    """One HTTP request. ``query`` keeps order and repeats; header names are lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """The header's value, empty when it is absent."""
        return next((value for key, value in self.headers if key == name), "")

    def parameter(self, name: str) -> str | None:
        """The last value of a query parameter, as FastAPI takes a single-valued one."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    def with_parameter(self, name: str, value: str) -> Request:
        """The same request with one query parameter replaced."""
        others = tuple(pair for pair in self.query if pair[0] != name)
        return replace(self, query=(*others, (name, value)))


class Answer(Struct, frozen=True):
    """One HTTP answer and how it travels.

    ``delay`` is how many seconds pass before its first byte; ``drop`` ends the connection instead
    of answering; ``cut`` is how many body bytes arrive before the connection breaks, None for all.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay: float = 0.0
    drop: Drop | None = None
    cut: int | None = None

    def header(self, name: str) -> str:
        """The header's value, empty when it is absent; any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")


class Core(Protocol):
    """A simulated server: answers one request at a time, at once, without I/O."""

    def answer(self, request: Request) -> Answer:
        """Handle one request."""
        ...


def json_answer(status: int, value: Json, *headers: tuple[str, str]) -> Answer:
    """An answer whose body is a JSON value."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, (("content-type", "application/json"), *headers), body)


def refusal(status: int, detail: Json, *headers: tuple[str, str]) -> Answer:
    """An error in FastAPI's form, ``{"detail": ...}``, the only one fal documents."""
    return json_answer(status, {"detail": detail}, *headers)
