"""A fal account behind `POST /logs/`, written from the Logs REST API's page alone.

It reads that page in its own way where it leaves a choice, and knows nothing of the bridge or of
the bridge's simulator: bounds are what `datetime.fromisoformat` makes of them, unknown parameters
are a 422, ties come in any order that a `Quirks` asks for.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import cycle
from random import Random
from time import time
from typing import Any, Final, TypeVar

from msgspec.structs import replace
from support.acceptance_http import Answer, Asked, LoopbackServer, Sent

T = TypeVar("T")

KEY: Final = "4b1c9c1e-key-id:5f2e8d7c6b5a4938-key-secret"

_SECOND: Final = 1_000_000
_KNOWN: Final = frozenset(
    [
        "limit",
        "since",
        "until",
        "app_id",
        "revision",
        "traceback",
        "search",
        "level",
        "job_id",
        "request_id",
    ]
)
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """One entry: where it stands (µs since 1970), from when it is shown (Unix time), its JSON."""

    at: int
    app: str
    json: bytes
    labels: dict[str, str] = field(default_factory=dict)
    message: str = ""
    level: str = "INFO"
    shown_from: float = 0.0


class Trouble(Enum):
    """What can be wrong with an answer that should have been a page."""

    ERROR = "500"
    THROTTLED = "429 with Retry-After"
    DROPPED = "no answer, the connection ends"
    TRUNCATED = "the connection ends half way"
    CUT = "a whole answer whose JSON ends half way"
    HTML = "200 with a web page"


@dataclass(frozen=True, slots=True)
class Quirks:
    """How this server reads the page, where it leaves a choice.

    Attributes:
        cap: No page is larger, whatever ``limit`` says, and nothing tells.
        cut_bounds: ``since`` and ``until`` lose what is below the millisecond.
        coarse: The entries' own times lose it too when they are compared with the bounds.
        bare_array: The body must be the array of filters itself.
        shuffled_ties: Entries of one microsecond come in another order each time.
    """

    cap: int | None = None
    cut_bounds: bool = False
    coarse: bool = False
    bare_array: bool = False
    shuffled_ties: bool = False


def micros(moment: float | None = None) -> int:
    """A Unix time, by default now, as whole microseconds."""
    return int((time() if moment is None else moment) * _SECOND)


def stamp(at: int) -> str:
    """A time as the page's example shows it: naive, as `datetime.isoformat` writes it."""
    return (_EPOCH + timedelta(microseconds=at)).replace(tzinfo=None).isoformat()


def entry(
    at: int, message: str, *, app: str, labels: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    """An entry in the form of the page's example; ``fields`` take the place of its own."""
    own = {
        "app": app,
        "app_id": "e6a6cf77-e803-4435-a647-7d9100ef79d9",
        "fal_env": "prod",
        "fal_job_id": "41512b2d-d821-4d62-a98b-9472c9d43941",
        "isolate_source": "USER",
        "level": "INFO",
        "logged_at": f"{stamp(at)}+00:00",
        "message": message,
        "source": "gateway",
    }
    return {
        "timestamp": stamp(at),
        "level": "INFO",
        "message": message,
        "app": app,
        "revision": "e6a6cf77-e803-4435-a647-7d9100ef79d9",
        "labels": own | (labels or {}),
        **fields,
    }


def line(
    at: int,
    message: str,
    *,
    app: str = "app",
    labels: dict[str, str] | None = None,
    shown_from: float = 0.0,
) -> Line:
    """An ordinary entry in its place."""
    value = entry(at, message, app=app, labels=labels)
    return Line(at, app, _json(value), value["labels"], message, "INFO", shown_from)


def odd_line(at: int, value: Any, *, app: str = "app") -> Line:
    """Anything at all in an entry's place."""
    return Line(at, app, _json(value))


def tied(
    count: int, *, since: int, app: str = "app", seed: int = 1, most: int = 30, gap: int = 40_000
) -> list[Line]:
    """Distinct entries of which up to ``most`` share a microsecond.

    From one such tick to the next it is from 1 up to ``gap`` µs.
    """
    random, at, lines = Random(seed), since, list[Line]()
    while len(lines) < count:
        at += random.choice((1, random.randint(1, gap), gap))
        size = min(random.choice((1, 1, 2, 7, most)), count - len(lines))
        lines += [line(at, f"{app} line {len(lines) + n:05}", app=app) for n in range(size)]
    return lines


def three_in_ten(troubles: Sequence[T]) -> Callable[[int], T | None]:
    """Of the numbers from 0 on, something for three in ten, each of the troubles in its turn."""
    turns = cycle(troubles)
    return lambda number: next(turns) if number % 10 in (1, 4, 8) else None


class FalAccount(LoopbackServer):
    """The account: what was logged, who may read it, how it misbehaves.

    ``trouble`` says by a request's number what goes wrong with it; ``before`` is called with each
    request before it is answered, and may write entries.
    """

    def __init__(
        self,
        lines: Iterable[Line] = (),
        *,
        quirks: Quirks | None = None,
        trouble: Callable[[int], Trouble | None] = lambda _: None,
        before: Callable[[Asked], object] = lambda _: None,
        listening: bool = True,
        keep_alive: bool = True,
        skew: float = 0.0,
    ) -> None:
        self.quirks = quirks or Quirks()
        self.keys = {KEY}
        self.forbidden: set[str] = set()
        self.echoes_key = False
        self.hangs = False
        self.asked: list[Asked] = []
        self.statuses: list[int] = []
        self.largest_page = 0
        self.troubles: list[Trouble] = []
        self._trouble = trouble
        self._before = before
        self._lines: dict[str, list[Line]] = {}
        self._everything: list[Line] = []
        self._random = Random(7)
        self.write(lines)
        super().__init__(listening=listening, keep_alive=keep_alive, skew=skew)

    def write(self, lines: Iterable[Line]) -> None:
        """Log some entries."""
        for one in lines:
            for shelf in (self._lines.setdefault(one.app, []), self._everything):
                insort(shelf, one, key=lambda other: other.at)

    def answer(self, asked: Asked) -> Answer:
        """See `LoopbackServer.answer`."""
        self._before(asked)
        with self.changed:
            self.asked.append(asked)
            self.changed.notify_all()
            trouble = self._trouble(asked.number)
            if trouble is not None:
                self.troubles.append(trouble)
        if self.hangs:
            self.closing.wait()
            return Answer(sent=Sent.NONE)
        page = self._page(asked)
        answer = page if trouble is None else _troubled(page, trouble)
        with self.changed:
            self.statuses.append(answer.status)
        return answer

    def _page(self, asked: Asked) -> Answer:
        refusal = self._refusal(asked)
        if refusal is not None:
            return refusal
        query, filters = asked.query, _filters(asked.body, bare_array=self.quirks.bare_array)
        if filters is None:
            return _invalid("body", "value is not a valid list")
        keys = [one["key"] for one in filters]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            return _detail(400, f"Duplicate label key found: {twice}")
        try:
            limit = int(query.get("limit", "100"))
            since, until = (self._bound(query.get(name)) for name in ("since", "until"))
        except ValueError:
            return _invalid("since", "invalid datetime format")
        if limit < 1:
            return _invalid("limit", "ensure this value is greater than 0")
        limit = min(limit, self.quirks.cap or limit)
        with self.changed:
            shown = self._select(query, filters, since, until, limit)
            self.largest_page = max(self.largest_page, len(shown))
        return Answer(200, b"[" + b",".join(one.json for one in shown) + b"]", _JSON)

    def _refusal(self, asked: Asked) -> Answer | None:
        """What is wrong with a request before its values are looked at."""
        scheme, _, key = asked.headers.get("authorization", "").partition(" ")
        if scheme != "Key" or key not in self.keys:
            said = f" (got {asked.headers.get('authorization')})" if self.echoes_key else ""
            return _detail(401, f"Authentication is required to access this endpoint{said}")
        if asked.query.get("app_id") in self.forbidden:
            return _detail(403, "This key may not read the logs of that application")
        if asked.path != "/logs/":
            return _detail(404, "Not Found")
        unknown = sorted(asked.query.keys() - _KNOWN)
        return _invalid(unknown[0], "extra fields not permitted") if unknown else None

    def _bound(self, text: str | None) -> int | None:
        """A bound in µs; naive means UTC, as in the page's answers."""
        if text is None:
            return None
        moment = datetime.fromisoformat(text)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
        at = since // timedelta(microseconds=1)
        return at // 1000 * 1000 if self.quirks.cut_bounds else at

    def _select(
        self,
        query: dict[str, str],
        filters: list[dict[str, str]],
        since: int | None,
        until: int | None,
        limit: int,
    ) -> list[Line]:
        """The newest entries strictly between the bounds, newest first."""
        shelf = self._everything
        if "app_id" in query:
            shelf = self._lines.get(query["app_id"], [])
        first = 0 if since is None else bisect_right(shelf, since, key=self._compared)
        end = len(shelf) if until is None else bisect_left(shelf, until, key=self._compared)
        now, shown = time(), []
        for one in self._newest_first(shelf[first:end]):
            if one.shown_from <= now and _selected(one, query, filters):
                shown.append(one)
                if len(shown) == limit:
                    break
        return shown

    def _compared(self, one: Line) -> int:
        return one.at // 1000 * 1000 if self.quirks.coarse else one.at

    def _newest_first(self, lines: Sequence[Line]) -> Iterable[Line]:
        if not self.quirks.shuffled_ties:
            return reversed(lines)
        keyed = [(-one.at, self._random.random(), number) for number, one in enumerate(lines)]
        return [lines[number] for _, _, number in sorted(keyed)]


_JSON: Final = {"Content-Type": "application/json"}


def _json(value: Any) -> bytes:
    """JSON in ASCII: a lone surrogate stays one, as an escape."""
    return json.dumps(value).encode("ascii")


def _detail(status: int, detail: Any) -> Answer:
    return Answer(status, _json({"detail": detail}), _JSON)


def _invalid(place: str, text: str) -> Answer:
    loc = ["body"] if place == "body" else ["query", place]
    return _detail(422, [{"loc": loc, "msg": text, "type": "value_error"}])


def _filters(body: bytes, *, bare_array: bool) -> list[dict[str, str]] | None:
    """The label filters of a body; None where it does not have the form that is asked for."""
    value = json.loads(body)
    if bare_array:
        return value if isinstance(value, list) else None
    if not isinstance(value, dict) or value.keys() - {"extra_filters"}:
        return None
    found = value.get("extra_filters", [])
    return found if isinstance(found, list) else None


def _selected(one: Line, query: dict[str, str], filters: list[dict[str, str]]) -> bool:
    if query.get("search", "") not in one.message:
        return False
    wanted = query.get("level")
    if wanted and _LEVELS.index(one.level) < _LEVELS.index(wanted):
        return False
    return all(one.labels.get(each["key"]) == each["value"] for each in filters)


def _troubled(page: Answer, trouble: Trouble) -> Answer:
    if trouble is Trouble.ERROR:
        return _detail(500, "Internal Server Error")
    if trouble is Trouble.THROTTLED:
        busy = _detail(429, "Too many requests")
        return replace(busy, headers={**_JSON, "Retry-After": "1"})
    if trouble is Trouble.DROPPED:
        return Answer(sent=Sent.NONE)
    if trouble is Trouble.TRUNCATED:
        return replace(page, sent=Sent.HALF)
    if trouble is Trouble.CUT:
        return replace(page, body=page.body[: max(1, len(page.body) // 2)])
    return Answer(200, b"<!DOCTYPE html><title>Sign in</title>", {"Content-Type": "text/html"})
