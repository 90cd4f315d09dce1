"""A plain HTTP server on loopback, from the standard library alone, for both fakes."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, time
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct, field


class Sent(Enum):
    """How much of an answer goes out before the connection ends or goes on."""

    WHOLE = "all of it"
    HALF = "half of the promised body, then the connection ends"
    NONE = "nothing, the connection ends"


class Asked(Struct, frozen=True):
    """One request as it came; ``number`` counts from 0."""

    number: int
    at: float
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes


class Answer(Struct, frozen=True):
    """What to answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    sent: Sent = Sent.WHOLE


class LoopbackServer:
    """Serves `answer` on a free port of 127.0.0.1, one thread a connection.

    Whoever waits for something to happen here waits on a condition that every request wakes. An
    exception in `answer` is the fake's own defect and comes up when the server closes, so that it
    is never taken for the bridge's. ``skew`` is by how many seconds its clock is ahead.
    """

    def __init__(
        self, *, listening: bool = True, keep_alive: bool = True, skew: float = 0.0
    ) -> None:
        self.skew = skew
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.defects: list[BaseException] = []
        self._count = 0
        handler = _KeepAlive if keep_alive else _Handler
        self._server = _Server(("127.0.0.1", 0), handler, bind_and_activate=False)
        self._server.fake = self
        self._server.server_bind()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        if listening:
            self.listen()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def listen(self) -> None:
        """Take connections from now on; until then they are refused."""
        self._server.server_activate()
        self._thread.start()

    def wait_for(self, happened: Callable[[], bool], seconds: float = 30.0) -> bool:
        """Wait until something is so; False if it is not within so many seconds."""
        with self.changed:
            return self.changed.wait_for(happened, seconds)

    def answer(self, asked: Asked) -> Answer:
        """Answer one request; called in the connection's own thread."""
        raise NotImplementedError

    def answered(self, asked: Asked) -> None:
        """The answer to a request is on its way, whole."""

    def close(self) -> None:
        """Stop serving."""
        self.closing.set()
        with self.changed:
            self.changed.notify_all()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        if self.defects:
            raise self.defects[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next_number(self) -> int:
        """Number the requests in the order in which they came."""
        with self.changed:
            self._count += 1
            return self._count - 1


class _Server(ThreadingHTTPServer):
    fake: LoopbackServer
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the hook's
        """A peer that went away is part of the play; anything else is a defect of the fake."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.fake.defects.append(error)


class _Handler(BaseHTTPRequestHandler):
    # Else the body waits until the client has acknowledged the head, which it delays.
    disable_nagle_algorithm = True

    @property
    def fake(self) -> LoopbackServer:
        return cast("_Server", self.server).fake

    def do_POST(self) -> None:
        """Read the whole request, answer it."""
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the client went away")
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
        number = self.fake.next_number()
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(number, monotonic(), parts.path, query, headers, body)
        try:
            answer = self.fake.answer(asked)
            self._send(answer)
            if answer.sent is Sent.WHOLE:
                self.fake.answered(asked)
        finally:
            with self.fake.changed:
                self.fake.changed.notify_all()

    def _send(self, answer: Answer) -> None:
        if answer.sent is Sent.NONE:
            self.close_connection = True
            return
        self.send_response(answer.status, answer.reason)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        body = answer.body
        if answer.sent is Sent.HALF:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
        with contextlib.suppress(OSError):
            self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The server's own clock, for its ``Date``."""
        return super().date_time_string(
            (time() if timestamp is None else timestamp) + self.fake.skew
        )

    def log_message(self, *_: object) -> None:
        """Say nothing: the fakes keep their own account."""


class _KeepAlive(_Handler):
    protocol_version = "HTTP/1.1"
