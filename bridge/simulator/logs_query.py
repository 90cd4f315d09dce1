"""One ``POST /logs/`` request, checked as the document says, or the error it earns. Pure.

Source: Logs REST API, "Query Parameters", "Request Body", "Error Responses". Where the document
gives one example of a 422, the others follow its form.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

from msgspec import Struct

from bridge.model import Json, Tick
from bridge.simulator.exchange import Answer, Request, refusal
from bridge.simulator.store import Written
from bridge.simulator.times import parsed

DEFAULT_LIMIT: Final = 100
RANKS: Final = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARNING": 3, "ERROR": 4, "CRITICAL": 5}
STREAM_RANK: Final = RANKS["INFO"]
"""What a minimum level means for STDOUT and STDERR is unknown; here they count as INFO."""
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_TRUTHS: Final = {
    **dict.fromkeys(("true", "1", "on", "yes", "t", "y"), True),
    **dict.fromkeys(("false", "0", "off", "no", "f", "n"), False),
}
_LABEL_OF: Final = {
    "app_id": "app",
    "revision": "app_id",
    "job_id": "fal_job_id",
    "request_id": "fal_request_id",
    "level": "level",
}
"""The label behind each query parameter; ``labels.app_id`` is the revision, not the app."""

T = TypeVar("T")
Labels = tuple[tuple[str, str], ...]


class BodyForm(StrEnum):
    """Which body is accepted: the documented object, the bare array of fal's client, or both."""

    OBJECT = "object"
    ARRAY = "array"
    BOTH = "both"


class Selection(Struct, frozen=True):
    """What one request asks for. Bounds are exclusive; an absent one is None."""

    limit: int
    since: Tick | None
    until: Tick | None
    app_id: str | None
    revision: str | None
    search: str | None
    level: str | None
    traceback: bool
    labels: Labels
    """Label pairs to match: the body's, and those that ``job_id`` and ``request_id`` stand for."""

    def matches(self, entry: Written) -> bool:
        """Whether an entry passes every filter but the app and the bounds."""
        raw = entry.raw if isinstance(entry.raw, dict) else {}
        return (
            (self.revision is None or raw.get("revision") == self.revision)
            and (self.search is None or _contains(raw.get("message"), self.search))
            and (self.level is None or _rank(raw.get("level")) >= RANKS[self.level])
            and _has_labels(raw.get("labels"), self.labels)
        )


class Invalid(Exception):
    """The request is refused; ``answer`` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Wrong(Exception):
    """One finding of a 422."""

    def __init__(self, loc: tuple[str | int, ...], msg: str, kind: str) -> None:
        super().__init__(msg)
        self.item = {"loc": list(loc), "msg": msg, "type": kind}


def selection(request: Request, form: BodyForm, max_limit: int | None) -> Selection:
    """Check and read a request.

    Raises:
        Invalid: with every 422 finding at once, or else the 400 of a label key given twice.
    """
    wrong: list[Json] = []

    def query(name: str, read: Callable[[str], T], default: T) -> T:
        text = request.parameter(name)
        if text is None:
            return default
        try:
            return read(text)
        except _Wrong as error:
            wrong.append({**error.item, "loc": ["query", name]})
            return default

    since = query("since", _time, None)
    until = query("until", _time, None)
    limit = query("limit", lambda text: _limit(text, max_limit), DEFAULT_LIMIT)
    level = query("level", _level, None)
    traceback = query("traceback", _truth, default=False)
    try:
        labels = _filters(request, form)
    except _Wrong as error:
        wrong.append(error.item)
    if wrong:
        raise Invalid(refusal(422, wrong))
    return Selection(
        limit=limit,
        since=since,
        until=until,
        app_id=request.parameter("app_id"),
        revision=request.parameter("revision"),
        search=request.parameter("search"),
        level=level,
        traceback=traceback,
        labels=_distinct(request, labels),
    )


def _time(text: str) -> Tick:
    try:
        return parsed(text)
    except (ValueError, OverflowError):
        raise _Wrong((), "invalid datetime format", "value_error") from None


def _limit(text: str, most: int | None) -> int:
    try:
        limit = int(text)
    except ValueError:
        raise _Wrong((), "value is not a valid integer", "type_error.integer") from None
    if limit < 1:
        raise _Wrong((), "ensure this value is greater than 0", "value_error.number.not_gt")
    if most is not None and limit > most:
        msg = f"ensure this value is less than or equal to {most}"
        raise _Wrong((), msg, "value_error.number.not_le")
    return limit


def _level(text: str) -> str:
    if text not in _LEVELS:
        permitted = ", ".join(repr(level) for level in _LEVELS)
        msg = f"value is not a valid enumeration member; permitted: {permitted}"
        raise _Wrong((), msg, "type_error.enum")
    return text


def _truth(text: str) -> bool:
    truth = _TRUTHS.get(text.lower())
    if truth is None:
        raise _Wrong((), "value could not be parsed to a boolean", "type_error.bool")
    return truth


def _filters(request: Request, form: BodyForm) -> Labels:
    """The body's label filters. A body is required: every documented request has one."""
    body = _body(request)
    if isinstance(body, dict) and form is not BodyForm.ARRAY:
        return _pairs(body.get("extra_filters", []), ("body", "extra_filters"))
    if isinstance(body, list) and form is not BodyForm.OBJECT:
        return _pairs(body, ("body",))
    kind = "list" if form is BodyForm.ARRAY else "dict"
    raise _Wrong(("body",), f"value is not a valid {kind}", f"type_error.{kind}")


def _body(request: Request) -> Json:
    if not request.body:
        raise _Wrong(("body",), "field required", "value_error.missing")
    if request.header("content-type").partition(";")[0].strip().lower() != "application/json":
        raise _Wrong(("body",), "value is not valid JSON", "type_error.json")
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError) as error:
        msg = f"invalid JSON: {error}"
        raise _Wrong(("body",), msg, "value_error.jsondecode") from None


def _pairs(filters: Any, loc: tuple[str | int, ...]) -> Labels:
    if not isinstance(filters, list):
        raise _Wrong(loc, "value is not a valid list", "type_error.list")
    return tuple(_pair(item, (*loc, at)) for at, item in enumerate(filters))


def _pair(item: Any, loc: tuple[str | int, ...]) -> tuple[str, str]:
    if not isinstance(item, dict):
        raise _Wrong(loc, "value is not a valid dict", "type_error.dict")
    return _text(item, "key", loc), _text(item, "value", loc)


def _text(item: dict[str, Any], name: str, loc: tuple[str | int, ...]) -> str:
    if name not in item:
        raise _Wrong((*loc, name), "field required", "value_error.missing")
    value = item[name]
    if not isinstance(value, str):
        raise _Wrong((*loc, name), "str type expected", "type_error.str")
    return value


def _distinct(request: Request, labels: Labels) -> Labels:
    """The body's pairs and the query's as label pairs; each key may be filtered on only once."""
    asked = {name: request.parameter(name) for name in _LABEL_OF}
    filtered = [_LABEL_OF[name] for name, value in asked.items() if value is not None]
    counts = Counter([*filtered, *(key for key, _ in labels)])
    for key, count in counts.items():
        if count > 1:
            raise Invalid(refusal(400, f"Duplicate label key found: {key}"))
    own = ((_LABEL_OF[name], asked[name]) for name in ("job_id", "request_id"))
    return (*labels, *((key, value) for key, value in own if value is not None))


def _contains(message: Json, term: str) -> bool:
    return isinstance(message, str) and term.casefold() in message.casefold()


def _rank(level: Json) -> int:
    """A level's place in order; an unknown one is below all and passes no minimum."""
    name = level.upper() if isinstance(level, str) else ""
    return STREAM_RANK if name in {"STDOUT", "STDERR"} else RANKS.get(name, -1)


def _has_labels(labels: Json, wanted: Labels) -> bool:
    has = labels if isinstance(labels, dict) else {}
    return all(has.get(key) == value for key, value in wanted)
