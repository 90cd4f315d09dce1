"""A Logs API and a sink for more entries than fit into memory: rendered, and counted, as they pass.

Entries come a millisecond apart. Every message bears its number, as in `benchmarks.corpus`.
"""

from __future__ import annotations

import gzip
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from benchmarks.corpus import APP, line, moment
from bridge.model import MILLISECOND, Tick
from bridge.timestamps import parse_tick

STEP: Final[Tick] = MILLISECOND
_TEMPLATES: Final = 256
_MARK: Final[Tick] = 1_000_000_000_123_456
_MARKED: Final = moment(_MARK).encode()
_NUMBER: Final = re.compile(rb"\[(\d+)\] ")


class EndlessApi:
    """``POST /logs/`` for one app: exclusive bounds, newest first."""

    content_type = "application/json"

    def __init__(self, count: int, begin: Tick) -> None:
        self._count = count
        self._begin = begin
        self._templates = [_template(number) for number in range(_TEMPLATES)]
        self._tally = {"entries": count, "requests": 0, "served": 0}

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[HTTPStatus, bytes]:
        """One page."""
        del body
        query = dict(parse_qsl(urlsplit(request.path).query))
        since, until = parse_tick(query["since"]) or 0, parse_tick(query.get("until"))
        low = max(0, (since - self._begin) // STEP + 1)
        high = self._count if until is None else -((self._begin - until) // STEP)
        high = max(low, min(self._count, high))
        low = max(low, high - int(query["limit"]))
        page = [self._entry(number) for number in range(high - 1, low - 1, -1)]
        self._tally["requests"] += 1
        self._tally["served"] += len(page)
        return HTTPStatus.OK, b"[%b]" % b",".join(page)

    def tally(self) -> dict[str, int]:
        """See `benchmarks.fakes.Fake.tally`."""
        return self._tally

    def _entry(self, number: int) -> bytes:
        said = moment(self._begin + number * STEP).encode()
        text, digits = self._templates[number % _TEMPLATES], b"[%d] " % number
        return text.replace(b"\1", said).replace(b"\2", digits)


class Counter:
    """``POST /v1/logs``: counts records by the numbers in their messages, and keeps nothing."""

    content_type = "application/x-protobuf"

    def __init__(self) -> None:
        self._tally = {"records": 0, "numbers": 0}

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[HTTPStatus, bytes]:
        """Accept."""
        del request
        numbers = [int(digits) for digits in _NUMBER.findall(gzip.decompress(body))]
        self._tally["records"] += len(numbers)
        self._tally["numbers"] += sum(numbers)
        return HTTPStatus.OK, b""

    def tally(self) -> dict[str, int]:
        """How many records came, and the sum of their numbers: of each once, ``n (n - 1) / 2``."""
        return self._tally


def _template(number: int) -> bytes:
    """A rendered entry with control characters, which JSON has not, for its time and number."""
    _, text = line(APP, _MARK, number)
    return text.replace(_MARKED, b"\1").replace(b"[%d] " % number, b"\2")
