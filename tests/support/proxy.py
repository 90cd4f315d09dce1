"""A reverse proxy on loopback that puts a site under a path."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, cast

import httpx

_KEPT = ("authorization", "accept")


class Proxy:
    """Serves what is at ``target`` under ``/prefix``, and nothing beside it.

    ``strips`` says whether the prefix is taken off before the target is asked.
    """

    def __init__(self, target: str, prefix: str, *, strips: bool) -> None:
        self.target = target
        self.prefix = prefix
        self.strips = strips
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """Where the target's root is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.prefix}/"

    def fetch(self, path: str, headers: dict[str, str]) -> httpx.Response:
        """Ask the target for a path, given with the query."""
        if path != self.prefix and not path.startswith(f"{self.prefix}/"):
            return httpx.Response(404)
        asked = path.removeprefix(self.prefix) if self.strips else path
        asked = asked if asked.startswith("/") else f"/{asked}"
        return httpx.get(f"{self.target}{asked}", headers=headers, timeout=20, trust_env=False)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    proxy: Proxy
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Pass it on."""
        headers = {name: value for name in _KEPT if (value := self.headers.get(name))}
        answer = cast("_Server", self.server).proxy.fetch(self.path, headers)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name not in {"content-length", "transfer-encoding", "connection", "date"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
