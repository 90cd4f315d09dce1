"""What the admin server answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx
import pytest

from bridge.admin import Health
from bridge.admin.routes import application
from bridge.errors import JournalUnusable
from bridge.model import Json
from bridge.telemetry import Event
from bridge.telemetry.service import InternalError

FINE = Health(ok=True)
PATHS = ("/livez", "/readyz", "/metrics", "/api/status")


@dataclass
class Shown:
    """A view whose answers are set by hand."""

    alive: Health = FINE
    usable: Health = FINE
    trouble: Exception | None = None
    events: list[Event] = field(default_factory=list)
    token: str | None = None

    def live(self) -> Health:
        """See `View.live`."""
        return self.alive

    def ready(self) -> Health:
        """See `View.ready`."""
        return self.usable

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """See `View.metrics`."""
        return "text/plain; version=9", f"for {accept}\n".encode()

    async def status(self) -> Json:
        """See `View.status`."""
        if self.trouble:
            raise self.trouble
        return {"apps": ["<script>"]}

    def ask(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """One request."""

        async def main() -> httpx.Response:
            app = application(self, self.events.append, self.token)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://a.test") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(main())


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health(path: str) -> None:
    """200 or 503, with the reasons either way."""
    shown = Shown(
        alive=Health(ok=True, reasons=("x is odd",)), usable=Health(ok=True, reasons=("x is odd",))
    )
    answer = shown.ask(path)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "reasons": ["x is odd"]})
    shown.alive = shown.usable = Health(ok=False, reasons=("a stands", "b too"))
    answer = shown.ask(path)
    assert answer.status_code == 503
    assert answer.json() == {"ok": False, "reasons": ["a stands", "b too"]}


def test_liveness_and_readiness_are_two_things() -> None:
    """A pod that is not ready is not restarted."""
    shown = Shown(usable=Health(ok=False))
    assert (shown.ask("/livez").status_code, shown.ask("/readyz").status_code) == (200, 503)


def test_metrics() -> None:
    """In the format that the scraper accepts."""
    answer = Shown().ask("/metrics", accept="this")
    assert answer.headers["content-type"] == "text/plain; version=9"
    assert answer.text == "for this\n"


def test_status() -> None:
    """JSON, and said to be, so that no browser takes it for a page."""
    answer = Shown().ask("/api/status")
    assert answer.json() == {"apps": ["<script>"]}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_status_that_cannot_be_read() -> None:
    """503 and why."""
    answer = Shown(trouble=JournalUnusable("locked", where="/j")).ask("/api/status")
    assert (answer.status_code, answer.json()) == (503, {"error": "/j: locked"})


@pytest.mark.parametrize("path", PATHS)
def test_head(path: str) -> None:
    """Like GET, without the body."""
    shown = Shown()
    head, get = shown.ask(path, "HEAD"), shown.ask(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(path: str, method: str) -> None:
    """405, with what is allowed."""
    answer = Shown().ask(path, method)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert answer.json() == {"error": "Method Not Allowed"}


@pytest.mark.parametrize(
    "path", ["/", "/livez/", "/api", "/api/", "//", "/%2e%2e/livez", "/x" * 99]
)
def test_nothing_there(path: str) -> None:
    """404, not a redirect, and the path is not repeated."""
    answer = Shown().ask(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer wrong", 401),
        ("Bearer s3cret-token-and-more", 401),
        ("Basic s3cret-token", 401),
        ("Bearer s3cret-token", 200),
        ("bearer  s3cret-token", 200),
    ],
)
def test_the_token_guards_the_api(given: str | None, status: int) -> None:
    """Only the whole token gets there; it is never part of an answer."""
    shown = Shown(token="s3cret-token")
    answer = shown.ask("/api/status", **({} if given is None else {"authorization": given}))
    assert answer.status_code == status
    assert "s3cret" not in answer.text + str(answer.headers)
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_token_guards_what_is_not_there_too() -> None:
    """Nobody learns what there is; probes and scrapes need none."""
    shown = Shown(token="s3cret-token")
    assert shown.ask("/api/nothing").status_code == 401
    assert [shown.ask(path).status_code for path in PATHS[:3]] == [200, 200, 200]


def test_a_defect_is_told_and_not_shown() -> None:
    """500 without a word of it; the log has the traceback."""
    shown = Shown(trouble=ZeroDivisionError("secret thoughts"))
    answer = shown.ask("/api/status")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    (told,) = shown.events
    assert isinstance(told, InternalError)
    assert "ZeroDivisionError" in told.traceback
