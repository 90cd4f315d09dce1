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
from collections.abc import Mapping, Sequence
from heapq import merge
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from benchmarks.corpus import Timeline, app_names, entries
from benchmarks.endless import Counter, EndlessApi
from benchmarks.scenes import SCENES
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
    """``POST /logs/``: exclusive bounds, newest first, 100 entries unless asked otherwise.

    An entry is visible from its own time on.
    """

    content_type = "application/json"

    def __init__(self, shown: Mapping[str, Sequence[tuple[Tick, bytes]]], delay: float) -> None:
        """Entries by app, each app's in order of time; answers take ``delay`` seconds."""
        self._delay = delay
        everything = sorted(merge(*shown.values()))
        self._tally = {
            "entries": len(everything),
            "bytes": sum(len(text) for _, text in everything),
            "requests": 0,
            "served": 0,
        }
        self._apps = {app: Timeline(entries) for app, entries in shown.items()}
        self._account = Timeline(everything)

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[HTTPStatus, bytes]:
        """One page."""
        if request.headers["Authorization"] != f"Key {KEY}":
            return HTTPStatus.UNAUTHORIZED, b'{"detail": "wrong key"}'
        query = dict(parse_qsl(urlsplit(request.path).query))
        since, until = parse_tick(query.get("since")), parse_tick(query.get("until"))
        timeline = self._apps.get(query["app_id"]) if "app_id" in query else self._account
        if since is None or timeline is None or json.loads(body) != {}:
            return HTTPStatus.UNPROCESSABLE_ENTITY, b'{"detail": "not a query of this benchmark"}'
        limit = int(query.get("limit", _DEFAULT_LIMIT))
        now = time.time_ns() // 1_000
        page = timeline.newest(since, now if until is None else min(until, now), limit)
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

    def __init__(self, since: Tick) -> None:
        """Latencies are those of the entries from ``since`` on."""
        self._since = since
        self._bodies: list[tuple[float, bool, bytes]] = []

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[HTTPStatus, bytes]:
        """Accept; an empty ``ExportLogsServiceResponse`` is no bytes at all."""
        zipped = request.headers["Content-Encoding"] == "gzip"
        self._bodies.append((time.time(), zipped, body))
        return HTTPStatus.OK, b""

    def tally(self) -> dict[str, int]:
        """Records, and how many of them differ by body and by uid; decodes everything.

        The latency of an entry, in ms, is from its time to its arrival.
        """
        from bridge.payload import records_of, uid_of  # noqa: PLC0415 - keeps the start quick

        records, texts, uids, late = 0, set(), set(), []
        for at, zipped, body in self._bodies:
            for _, _, record in records_of(gzip.decompress(body) if zipped else body):
                records += 1
                texts.add(record.body.string_value)
                uids.add(uid_of(record))
                if record.time_unix_nano >= self._since * 1_000:
                    late.append(round(at * 1e3 - record.time_unix_nano / 1e6))
        late.sort()
        shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        latency = (
            {n: late[min(len(late) - 1, int(len(late) * q))] for n, q in shares.items()}
            if (late)
            else {}
        )
        counts = {"records": records, "bodies": len(texts), "uids": len(uids), "live": len(late)}
        return counts | latency


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
    api.add_argument("--apps", type=int, default=1)
    api.add_argument("--delay", type=float, default=0.0)
    live = kinds.add_parser("scene")
    live.add_argument("--name", choices=SCENES, required=True)
    live.add_argument("--begin", type=int, required=True)
    sink = kinds.add_parser("sink")
    sink.add_argument("--since", type=int, default=0)
    endless = kinds.add_parser("endless")
    endless.add_argument("--entries", type=int, required=True)
    endless.add_argument("--begin", type=int, required=True)
    kinds.add_parser("counter")
    given = parser.parse_args()
    if given.kind == "api":
        share = given.entries // given.apps
        shown = {app: list(entries(share, given.begin, app)) for app in app_names(given.apps)}
        serve(LogsApi(shown, given.delay))
    elif given.kind == "endless":
        serve(EndlessApi(given.entries, given.begin))
    elif given.kind == "counter":
        serve(Counter())
    elif given.kind == "scene":
        scene = SCENES[given.name]
        serve(LogsApi(scene.written(given.begin), scene.delay))
    else:
        serve(Sink(given.since))


if __name__ == "__main__":
    main()
