"""What the admin server answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx
import pytest
from support import viewing

from bridge.admin import Health, Wanted
from bridge.admin.routes import application
from bridge.errors import JournalUnusable
from bridge.telemetry import Event
from bridge.telemetry.service import InternalError

OPEN = ("/", "/livez", "/readyz", "/metrics", "/overview", "/history")
CONTENT = ("/api/entries", "/api/problems")
PATHS = (*OPEN, "/api/status")
TOKEN = "s3cret-token"
BEARER = f"Bearer {TOKEN}"


@dataclass
class Shown(viewing.Shown):
    """A view behind the server; ``events`` are what that told."""

    events: list[Event] = field(default_factory=list)
    token: str | None = None
    prefix: str = ""

    def ask(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """One request."""

        async def main() -> httpx.Response:
            app = application(self, self.events.append, self.token, self.prefix)
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


@pytest.mark.parametrize("path", ["/api/status", "/api/problems"])
def test_a_journal_that_cannot_be_read(path: str) -> None:
    """503 and why."""
    shown = Shown(trouble=JournalUnusable("locked", where="/j"), token=TOKEN)
    answer = shown.ask(path, authorization=BEARER)
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
    "path", ["/livez/", "/api", "/api/", "/index.html", "/%2e%2e/livez", "/x" * 99]
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
    shown = Shown(token=TOKEN)
    answer = shown.ask("/api/status", **({} if given is None else {"authorization": given}))
    assert answer.status_code == status
    assert "s3cret" not in answer.text + str(answer.headers)
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_token_guards_what_is_not_there_too() -> None:
    """Nobody learns what there is; probes and scrapes need none."""
    shown = Shown(token=TOKEN)
    assert shown.ask("/api/nothing").status_code == 401
    assert {shown.ask(path).status_code for path in OPEN} == {200}


def test_the_overview_says_whether_there_is_a_token() -> None:
    """So that the page can ask for it, or say how to set one."""
    assert Shown().ask("/overview").json() == {"verdict": "all is well", "has_token": False}
    assert Shown(token=TOKEN).ask("/overview").json()["has_token"] is True


def test_the_history() -> None:
    """Numbers, null where there is none."""
    assert Shown().ask("/history").json() == {"apps": {"one": {"lag": [1.5, None]}}}


@pytest.mark.parametrize("path", CONTENT)
@pytest.mark.parametrize("given", [None, BEARER, "Bearer ", "Bearer None"])
def test_no_content_while_no_token_is_set(path: str, given: str | None) -> None:
    """Whatever is sent: there is nothing that would open it. Nobody even looks."""
    shown = Shown()
    answer = shown.ask(path, **({} if given is None else {"authorization": given}))
    assert answer.status_code == 403
    assert "admin.token" in answer.json()["error"]
    assert "a line" not in answer.text
    assert shown.asked == []


@pytest.mark.parametrize("path", CONTENT)
def test_content_with_the_token_only(path: str) -> None:
    """In the header; not in the URL, where it would be written down."""
    shown = Shown(token=TOKEN)
    assert shown.ask(path).status_code == 401
    assert shown.ask(f"{path}?token={TOKEN}&access_token={TOKEN}").status_code == 401
    assert shown.asked == []
    assert "a line of a log" in shown.ask(path, authorization=BEARER).text


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Wanted()),
        ("?after=ab.7&level=&text=", Wanted(after="ab.7")),
        ("?level=warning&text=50%25", Wanted(min_severity=13, text="50%")),
        (f"?text={'x' * 5_000}", Wanted(text="x" * 200)),
    ],
)
def test_which_entries(query: str, wanted: Wanted) -> None:
    """As the query says; a text has its bound."""
    shown = Shown(token=TOKEN)
    assert shown.ask(f"/api/entries{query}", authorization=BEARER).status_code == 200
    assert shown.asked == [wanted]


def test_a_level_that_is_none() -> None:
    """Refused rather than taken for all."""
    answer = Shown(token=TOKEN).ask("/api/entries?level=loud", authorization=BEARER)
    assert (answer.status_code, answer.json()) == (400, {"error": "no such level"})


@pytest.mark.parametrize("path", [*PATHS, *CONTENT])
def test_a_prefix_is_answered_with_and_without(path: str) -> None:
    """Some reverse proxies take it off and some do not; the token is asked for either way."""
    shown, bare = Shown(token=TOKEN, prefix="/x/logs"), Shown(token=TOKEN)
    without = bare.ask(path, authorization=BEARER)
    for asked in (path, f"/x/logs{path}"):
        answer = shown.ask(asked, authorization=BEARER)
        assert (answer.status_code, answer.text) == (without.status_code, without.text)
        assert shown.ask(asked).status_code == (401 if path.startswith("/api/") else 200)


def test_the_page_is_at_the_bare_prefix_too() -> None:
    """People leave the slash out."""
    shown = Shown(prefix="/x")
    assert shown.ask("/x").text == shown.ask("/x/").text == shown.ask("/").text
    assert shown.ask("/xy").status_code == shown.ask("/x/x/").status_code == 404


@pytest.mark.parametrize("path", [*PATHS, *CONTENT, "/nothing"])
def test_no_other_site_reads_an_answer(path: str) -> None:
    """No CORS, whatever the origin; nothing is kept, sniffed or told on."""
    shown = Shown(token=TOKEN)
    answer = shown.ask(path, origin="http://other.test", authorization=BEARER)
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_defect_is_told_and_not_shown() -> None:
    """500 without a word of it; the log has the traceback."""
    shown = Shown(trouble=ZeroDivisionError("secret thoughts"))
    answer = shown.ask("/api/status")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    (told,) = shown.events
    assert isinstance(told, InternalError)
    assert "ZeroDivisionError" in told.traceback
