"""A fake of fal's Platform API, ``POST /v1/serverless/logs/history``, over the same account's logs.

It follows the document ("Logs history") with its unpleasant sides: ``next_cursor`` is the time of
the last entry shown and an exclusive bound, so it loses that entry's ties; ``has_more`` is said of
any full page; times are cut to milliseconds, shown ones and bounds alike; without ``end`` nothing
stamped ahead of time is shown. What the document leaves open is `PlatformConfig`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bridge.clock import Clock
from bridge.model import MILLISECOND, SECOND, Json, Tick
from bridge.simulator.exchange import Answer, Request, json_answer
from bridge.simulator.logs_api import LogsApiFake
from bridge.simulator.platform_query import LARGEST_LIMIT, Refused, Wanted, wanted
from bridge.simulator.store import Written
from bridge.simulator.times import http_date
from bridge.timestamps import format_tick, parse_tick

PREFIX: Final = "/v1/"
PATH: Final = "/v1/serverless/logs/history"
_DEFAULT_START: Final[Tick] = 24 * 3600 * SECOND


class PlatformConfig(Struct, frozen=True):
    """How this dialect behaves where the document leaves it open.

    ``step`` is what bounds and the shown timestamps are cut down to, in ticks.
    """

    step: Tick = MILLISECOND
    start_inclusive: bool = True


class PlatformApiFake:
    """The Platform API of the account whose Logs REST API is ``logs``.

    Key, cap, largest limit, rate, retention and the place of tracebacks are the account's, in
    ``logs.config``; ``statuses`` counts this dialect's answers, ``requests`` keeps the latest.
    """

    def __init__(
        self, logs: LogsApiFake, clock: Clock, config: PlatformConfig | None = None
    ) -> None:
        self.config = config or PlatformConfig()
        self.statuses: Counter[int] = Counter()
        self.requests: deque[Request] = deque(maxlen=1_000)
        self._logs = logs
        self._clock = clock

    def answer(self, request: Request) -> Answer:
        """Answer one request as the API would now."""
        answer = self._handled(request)
        self.requests.append(request)
        self.statuses[answer.status] += 1
        date = ("date", http_date(self._clock.now()))
        return replace(answer, headers=(date, *answer.headers))

    def _handled(self, request: Request) -> Answer:
        if request.path != PATH:
            return _error(404, "not_found", f"no such endpoint: {request.path}")
        if request.method != "POST":
            return _error(405, "method_not_allowed", "use POST", ("allow", "POST"))
        if request.header("authorization") != f"Key {self._logs.config.key}":
            return _error(401, "authorization_error", "Authentication required")
        throttled = self._logs.throttled()
        if throttled is not None:
            return _error(429, "rate_limited", "Too many requests", *throttled)
        try:
            return self._listed(wanted(request, self._largest_limit))
        except Refused as refused:
            return _error(400, "validation_error", str(refused))

    @property
    def _largest_limit(self) -> int:
        most = self._logs.config.max_limit
        return LARGEST_LIMIT if most is None else min(most, LARGEST_LIMIT)

    def _listed(self, asked: Wanted) -> Answer:
        limit = min(asked.selection.limit, self._logs.config.cap or asked.selection.limit)
        page = list(islice(self._found(asked), limit))
        full = len(page) == limit
        return json_answer(
            200,
            {
                "items": [self._item(entry, asked) for entry in page],
                "next_cursor": format_tick(self._cut(page[-1].tick)) if full else None,
                "has_more": full,
            },
        )

    def _found(self, asked: Wanted) -> Iterator[Written]:
        now = self._clock.now()
        since, until = asked.selection.since, asked.selection.until
        start = self._cut(now - _DEFAULT_START if since is None else since)
        end = self._cut(now if until is None else until)
        above = start - 1 if self.config.start_inclusive else start
        app = asked.apps[0] if len(asked.apps) == 1 else None
        entries = self._logs.visible(app, above, end)
        return (entry for entry in entries if asked.matches(entry))

    def _item(self, entry: Written, asked: Wanted) -> Json:
        """The entry as this dialect writes it: its time with a Z, its level in lower case."""
        raw = self._logs.shown(entry, traceback=asked.selection.traceback)
        if not isinstance(raw, dict):
            return raw
        item = dict(raw)
        tick = parse_tick(raw.get("timestamp"))
        if tick is not None:
            item["timestamp"] = format_tick(self._cut(tick))
        if isinstance(raw.get("level"), str):
            item["level"] = raw["level"].lower()
        return item

    def _cut(self, tick: Tick) -> Tick:
        return tick - tick % self.config.step


class BothApis:
    """One account's two APIs behind one address, told apart by the path."""

    def __init__(self, logs: LogsApiFake, platform: PlatformApiFake) -> None:
        self._logs = logs
        self._platform = platform

    @property
    def statuses(self) -> Counter[int]:
        """The answers of both, counted by status."""
        return self._logs.statuses + self._platform.statuses

    def answer(self, request: Request) -> Answer:
        """Answer one request in its dialect."""
        core = self._platform if request.path.startswith(PREFIX) else self._logs
        return core.answer(request)


def _error(status: int, kind: str, message: str, *headers: tuple[str, str]) -> Answer:
    """An error in the Platform API's form."""
    return json_answer(status, {"error": {"type": kind, "message": message}}, *headers)
