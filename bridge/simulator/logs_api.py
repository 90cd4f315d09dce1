"""A faithful fake of fal's Logs REST API, ``POST /logs/``.

Every rule follows the document ("Logs REST API"): the key, the query parameters, exclusive bounds,
newest first, 100 entries unless asked otherwise, and the error forms. What the document leaves
open (the largest page, the body's form, rate limits, retention) is `LogsApiConfig`, so that a
reader can be tried against each way it may turn out.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import replace

from bridge.clock import Clock
from bridge.model import SECOND, Json, Tick
from bridge.simulator.exchange import Answer, Request, refusal
from bridge.simulator.logs_query import BodyForm, Invalid, Selection, selection
from bridge.simulator.rate_limit import Gate, RateLimit
from bridge.simulator.store import Store, Written
from bridge.simulator.times import http_date

PATH: Final = "/logs/"


class TracebackPlace(StrEnum):
    """Where a traceback appears: the document says labels, fal's own tests expect the message."""

    LABELS = "labels"
    MESSAGE = "message"


class LogsApiConfig(Struct, frozen=True):
    """How the API behaves where the document leaves it open.

    ``cap`` silently lowers every limit, ``max_limit`` refuses a larger one with 422. ``recent`` is
    how far back a request without a time range sees, ``retention`` how long entries are kept at
    all; both in ticks.
    """

    key: str = "key-id:key-secret"
    cap: int | None = None
    max_limit: int | None = None
    body: BodyForm = BodyForm.OBJECT
    tracebacks: TracebackPlace = TracebackPlace.LABELS
    rate: RateLimit | None = None
    recent: Tick = 15 * 60 * SECOND
    retention: Tick | None = None


class LogsApiFake:
    """The API over a `Store`.

    ``config`` may be replaced while it runs: a key that starts to work, a cap that falls.
    ``statuses`` counts the answers, ``served`` the entries in them; ``requests`` keeps the latest.
    """

    def __init__(self, clock: Clock, config: LogsApiConfig | None = None) -> None:
        self.config = config or LogsApiConfig()
        self.statuses: Counter[int] = Counter()
        self.served = 0
        self.requests: deque[Request] = deque(maxlen=1_000)
        self._clock = clock
        self._store = Store()
        self._gate = Gate(clock)

    @property
    def kept(self) -> int:
        """How many entries there are, visible or not."""
        return len(self._store)

    def add(self, *entries: Written) -> None:
        """Put entries into the account's logs, anywhere in time."""
        for entry in entries:
            self._store.add(entry)

    def write(
        self,
        raw: Json,
        tick: Tick,
        *,
        visible_at: Tick | None = None,
        traceback: str | None = None,
    ) -> None:
        """Put one JSON value of any kind into the logs, at any tick; by default it shows now."""
        shown = self._clock.now() if visible_at is None else visible_at
        self.add(Written(raw, tick, shown, traceback))

    def visible(self, app: str | None, since: Tick | None, until: Tick | None) -> Iterator[Written]:
        """The entries kept and shown now, strictly between the bounds, newest first."""
        now = self._clock.now()
        if self.config.retention is not None:
            self._store.forget(now - self.config.retention)
        entries = self._store.newest_first(app, since, until)
        return (entry for entry in entries if entry.visible_at <= now)

    def shown(self, entry: Written, *, traceback: bool) -> Json:
        """The JSON value of an entry, with its traceback where that is asked for."""
        if entry.traceback is None or not traceback or not isinstance(entry.raw, dict):
            return entry.raw
        if self.config.tracebacks is TracebackPlace.MESSAGE:
            return {**entry.raw, "message": entry.traceback}
        labels = entry.raw.get("labels")
        own = labels if isinstance(labels, dict) else {}
        return {**entry.raw, "labels": {**own, "traceback": entry.traceback}}

    def throttled(self) -> tuple[tuple[str, str], ...] | None:
        """Count a request against the account's rate; the headers of a 429 beyond it."""
        rate = self.config.rate
        wait = self._gate.wait(rate) if rate else 0.0
        return rate.headers(wait) if rate and wait else None

    def answer(self, request: Request) -> Answer:
        """Answer one request as the API would now."""
        answer = self._handled(request)
        self.requests.append(request)
        self.statuses[answer.status] += 1
        date = ("date", http_date(self._clock.now()))
        return replace(answer, headers=(date, *answer.headers))

    def _handled(self, request: Request) -> Answer:
        if request.path == PATH.rstrip("/"):
            return _redirected(request)
        if request.path != PATH:
            return refusal(404, "Not Found")
        if request.method != "POST":
            return refusal(405, "Method Not Allowed", ("allow", "POST"))
        if request.header("authorization") != f"Key {self.config.key}":
            return refusal(401, "Authentication failed: the key is missing, unknown or revoked")
        throttled = self.throttled()
        if throttled is not None:
            return refusal(429, "Too many requests", *throttled)
        return self._listed(request)

    def _listed(self, request: Request) -> Answer:
        try:
            wanted = selection(request, self.config.body, self.config.max_limit)
        except Invalid as invalid:
            return invalid.answer
        limit = min(wanted.limit, self.config.cap or wanted.limit)
        page = tuple(islice(self._found(wanted), limit))
        self.served += len(page)
        body = b"[%b]" % b",".join(self._text(entry, wanted) for entry in page)
        return Answer(200, (("content-type", "application/json"),), body)

    def _found(self, wanted: Selection) -> Iterator[Written]:
        since = wanted.since
        if since is None and wanted.until is None:
            since = self._clock.now() - self.config.recent
        entries = self.visible(wanted.app_id, since, wanted.until)
        return (entry for entry in entries if wanted.matches(entry))

    def _text(self, entry: Written, wanted: Selection) -> bytes:
        shown = self.shown(entry, traceback=wanted.traceback)
        if shown is entry.raw:
            return entry.text
        return json.dumps(shown, separators=(",", ":")).encode()


def _redirected(request: Request) -> Answer:
    """To the path with its slash, as FastAPI does."""
    query = f"?{urlencode(request.query)}" if request.query else ""
    return Answer(307, (("location", f"{PATH}{query}"),))
