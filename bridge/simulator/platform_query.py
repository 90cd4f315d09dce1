"""One ``POST /v1/serverless/logs/history`` request, checked, or why it is refused. Pure.

Source: fal Platform API, "Logs history". The document shows the form of an error, not which one a
wrong parameter earns: here it is a 400 of type ``validation_error``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct

from bridge.model import Json, Tick
from bridge.simulator.exchange import Request
from bridge.simulator.logs_query import RANKS, Selection
from bridge.simulator.store import Written
from bridge.simulator.times import parsed

DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 1_000
_MOST_APPS: Final = 50
_TRUTHS: Final = {"true": True, "false": False}
_CONDITIONS: Final = ("equals", "in", "not_equals", "not_in")
_DAY_LENGTH: Final = len("2025-01-01")

T = TypeVar("T")


class Refused(Exception):
    """The request is not accepted; the text says which parameter and why."""


class Condition(Struct, frozen=True):
    """One label filter of the body."""

    key: str
    values: tuple[str, ...]
    negated: bool

    def holds(self, entry: Written) -> bool:
        """Whether an entry's labels pass it; a label that is absent equals nothing."""
        labels = entry.raw.get("labels") if isinstance(entry.raw, dict) else None
        value = labels.get(self.key) if isinstance(labels, dict) else None
        return (value in self.values) is not self.negated


class Wanted(Struct, frozen=True):
    """What one request asks for; ``apps`` empty means all, an absent bound is None."""

    selection: Selection
    apps: tuple[str, ...]
    conditions: tuple[Condition, ...]

    def matches(self, entry: Written) -> bool:
        """Whether an entry passes every filter but the bounds."""
        return (
            (not self.apps or entry.app in self.apps)
            and self.selection.matches(entry)
            and all(condition.holds(entry) for condition in self.conditions)
        )


def wanted(request: Request, largest_limit: int = LARGEST_LIMIT) -> Wanted:
    """Check and read a request; ``largest_limit`` is the most it may ask for.

    Raises:
        Refused: naming the first parameter that is wrong.
    """

    def query(name: str, read: Callable[[str], T], default: T) -> T:
        text = request.parameter(name)
        try:
            return default if text is None else read(text)
        except (ValueError, OverflowError) as error:
            raise Refused(f"{name}: {error}") from None

    if request.parameter("run_source") is not None:
        raise Refused("run_source: the simulated account does not tell its entries' run sources")
    end = query("end", _time, None)
    cursor = query("cursor", _time, None)
    selection = Selection(
        limit=query("limit", lambda text: _limit(text, largest_limit), DEFAULT_LIMIT),
        since=query("start", _time, None),
        until=min((bound for bound in (end, cursor) if bound is not None), default=None),
        app_id=None,
        revision=request.parameter("revision"),
        search=request.parameter("search"),
        level=query("level", _level, None),
        traceback=query("traceback", _truth, default=False),
        labels=_own_labels(request),
    )
    return Wanted(selection, _apps(request), _conditions(request))


def _limit(text: str, largest: int) -> int:
    limit = int(text)
    if not 1 <= limit <= largest:
        raise ValueError(f"must be between 1 and {largest}")
    return limit


def _time(text: str) -> Tick:
    """A time, or a day, which stands for its midnight."""
    try:
        return parsed(f"{text}T00:00:00Z" if len(text) == _DAY_LENGTH else text)
    except ValueError:
        raise ValueError("must be an ISO 8601 date or time") from None


def _level(text: str) -> str:
    if text.upper() not in RANKS:
        raise ValueError("must be a log level")
    return text.upper()


def _truth(text: str) -> bool:
    if text not in _TRUTHS:
        raise ValueError("must be true or false")
    return _TRUTHS[text]


def _apps(request: Request) -> tuple[str, ...]:
    """The apps' own names, of ``<owner>/<name>`` or the name alone, repeated or with commas."""
    texts = [value for key, value in request.query if key == "app_id"]
    names = [part.strip() for text in texts for part in text.split(",")]
    if len(names) > _MOST_APPS or not all(names):
        raise Refused(f"app_id: must be 1 to {_MOST_APPS} app ids")
    return tuple(name.rpartition("/")[2] for name in names)


def _own_labels(request: Request) -> tuple[tuple[str, str], ...]:
    asked = (
        ("fal_job_id", request.parameter("job_id")),
        ("fal_request_id", request.parameter("request_id")),
    )
    return tuple((label, value) for label, value in asked if value is not None)


def _conditions(request: Request) -> tuple[Condition, ...]:
    try:
        body = json.loads(request.body or b"[]")
    except (ValueError, RecursionError):
        raise Refused("body: must be JSON") from None
    if not isinstance(body, list):
        raise Refused("body: must be an array of label filters")
    return tuple(_condition(item) for item in body)


def _condition(item: Json) -> Condition:
    fields = item if isinstance(item, dict) else {}
    key, kind = fields.get("key"), fields.get("condition_type", "equals")
    if not isinstance(key, str) or kind not in _CONDITIONS:
        raise Refused("body: each filter needs a key, a value and a known condition_type")
    several = kind in ("in", "not_in")
    values = fields.get("value") if several else [fields.get("value")]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Refused(
            f"body: the value for {key} must be {'a list of texts' if several else 'text'}"
        )
    return Condition(key, tuple(values), negated=kind.startswith("not"))
