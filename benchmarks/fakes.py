"""Both ends of a measurement, each in a process of its own: ``python -m benchmarks.fakes``.

A Logs API whose entries are rendered beforehand, and an OTLP sink that keeps the bodies and reads
them only when all is over. They do next to nothing per entry, so that the contestant between them
is what is measured; what they use is reported beside it.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from benchmarks.corpus import APP, Timeline, entries
from bridge.model import Tick
from bridge.timestamps import parse_tick

KEY: Final = "bench-id:bench-secret"
_DEFAULT_LIMIT: Final = "100"


class Fake(Protocol):
    """What stands behind one of the two servers."""

    content_type: str

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[HTTPStatus, bytes]:
        """Answer a request of the contestant's."""
        ...

    def tally(self) -> dict[str, int]:
        """What it holds, for whoever measures."""
        ...


class LogsApi:
    """``POST /logs/``: exclusive bounds, newest first, 100 entries unless asked otherwise."""

    content_type = "application/json"

    def __init__(self, count: int, begin: Tick, delay: float) -> None:
        """Answers take ``delay`` seconds."""
        shown = list(entries(count, begin))
        self._delay = delay
        self._tally = {"entries": count, "bytes": sum(len(text) for _, text in shown)}
        self._tally |= {"requests": 0, "served": 0}
        self._timeline = Timeline(shown)

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[HTTPStatus, bytes]:
        """One page."""
        if request.headers["Authorization"] != f"Key {KEY}":
            return HTTPStatus.UNAUTHORIZED, b'{"detail": "wrong key"}'
        query = dict(parse_qsl(urlsplit(request.path).query))
        since, until = parse_tick(query.get("since")), parse_tick(query.get("until"))
        if since is None or query.get("app_id", APP) != APP or json.loads(body) != {}:
            return HTTPStatus.UNPROCESSABLE_ENTITY, b'{"detail": "not a query of this benchmark"}'
        limit = int(query.get("limit", _DEFAULT_LIMIT))
        page = self._timeline.newest(since, until, limit)
        self._tally["requests"] += 1
        self._tally["served"] += len(page)
        time.sleep(self._delay)
        return HTTPStatus.OK, b"[%b]" % b",".join(page)

    def tally(self) -> dict[str, int]:
        """See `Fake.tally`."""
        return self._tally


class Sink:
    """``POST /v1/logs``: takes everything."""

    content_type = "application/x-protobuf"

    def __init__(self) -> None:
        self._bodies: list[tuple[bool, bytes]] = []

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[HTTPStatus, bytes]:
        """Accept; an empty ``ExportLogsServiceResponse`` is no bytes at all."""
        self._bodies.append((request.headers["Content-Encoding"] == "gzip", body))
        return HTTPStatus.OK, b""

    def tally(self) -> dict[str, int]:
        """Records, and how many of them differ by body and by uid; decodes everything."""
        from bridge.payload import records_of, uid_of  # noqa: PLC0415 - keeps the start quick

        records, texts, uids = 0, set(), set()
        for zipped, body in self._bodies:
            for _, _, record in records_of(gzip.decompress(body) if zipped else body):
                records += 1
                texts.add(record.body.string_value)
                uids.add(uid_of(record))
        return {"records": records, "bodies": len(texts), "uids": len(uids)}


def serve(fake: Fake) -> None:
    """Serve until killed; the first line of standard output is the URL."""
    last = time.time()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            nonlocal last
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*fake.post(self, body))
            last = time.time()

        def do_GET(self) -> None:
            """``/tally``, else the CPU seconds so far and when the last POST was answered."""
            used = {"cpu": time.process_time(), "last": last}
            answer = fake.tally() if self.path == "/tally" else used
            self._answer(HTTPStatus.OK, json.dumps(answer).encode())

        def _answer(self, status: HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", fake.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gc.freeze()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


def main() -> None:
    """Serve the fake that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fakes", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    api = kinds.add_parser("api")
    api.add_argument("--entries", type=int, required=True)
    api.add_argument("--begin", type=int, required=True)
    api.add_argument("--delay", type=float, default=0.0)
    kinds.add_parser("sink")
    given = parser.parse_args()
    serve(LogsApi(given.entries, given.begin, given.delay) if given.kind == "api" else Sink())


if __name__ == "__main__":
    main()
