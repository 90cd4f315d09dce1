"""What is answered to which path."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.admin import Health, View, Wanted
from bridge.admin.page import HEADERS, Page
from bridge.errors import JournalError
from bridge.mapping.severity import INFO, severity_number
from bridge.model import Json
from bridge.telemetry import Emit
from bridge.telemetry.service import InternalError

_GUARDED: Final = "/api/"
_SCHEME: Final = "bearer"
_LONGEST_TEXT: Final = 200


def application(view: View, emit: Emit, token: str | None = None, prefix: str = "") -> Starlette:
    """The ASGI application over a view; its defects are told to ``emit``.

    ``token`` is asked for, as a bearer token (RFC 6750, 2.1), under ``/api/``. Each path is
    answered with ``prefix`` before it too: reverse proxies leave it there or take it off.
    """
    app = Starlette(
        routes=[
            Route("/", _page(Page.load())),
            Route("/livez", _health(view.live)),
            Route("/readyz", _health(view.ready)),
            Route("/metrics", _metrics(view)),
            Route("/overview", _overview(view, has_token=token is not None)),
            Route("/history", _history(view)),
            Route("/api/status", _told(view.status)),
            Route("/api/entries", _content(_entries(view), token)),
            Route("/api/problems", _content(_told(view.problems), token)),
        ],
        middleware=[Middleware(_Prefix, prefix=prefix), Middleware(_Guard, token=token)],
        exception_handlers={HTTPException: _refused, Exception: _broken(emit)},
    )
    app.router.redirect_slashes = False  # one path for each thing
    return app


_Endpoint = Callable[[Request], Awaitable[Response]]


def _page(page: Page) -> _Endpoint:
    async def answer(_: Request) -> Response:
        return HTMLResponse(page.html, headers=page.headers)

    return answer


def _health(look: Callable[[], Health]) -> _Endpoint:
    async def answer(_: Request) -> Response:
        health = look()
        status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return _json({"ok": health.ok, "reasons": health.reasons}, status)

    return answer


def _metrics(view: View) -> _Endpoint:
    async def answer(request: Request) -> Response:
        kind, text = view.metrics(request.headers.get("accept", ""))
        return Response(text, headers={**HEADERS, "content-type": kind})

    return answer


def _overview(view: View, *, has_token: bool) -> _Endpoint:
    async def answer(_: Request) -> Response:
        return _json({**await view.overview(), "has_token": has_token})

    return answer


def _history(view: View) -> _Endpoint:
    async def answer(_: Request) -> Response:
        return _json(view.history())

    return answer


def _told(tell: Callable[[], Awaitable[Json]]) -> _Endpoint:
    async def answer(_: Request) -> Response:
        try:
            return _json(await tell())
        except JournalError as error:
            return _json({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)

    return answer


def _entries(view: View) -> _Endpoint:
    async def answer(request: Request) -> Response:
        asked = request.query_params
        level = asked.get("level", "")
        least = severity_number(level, stderr=INFO)
        if level and not least:
            return _json({"error": "no such level"}, HTTPStatus.BAD_REQUEST)
        text = asked.get("text", "")[:_LONGEST_TEXT]
        return _json(await view.entries(Wanted(asked.get("after", ""), least, text)))

    return answer


def _content(endpoint: _Endpoint, token: str | None) -> _Endpoint:
    """An endpoint that shows log content: not without a token, so not while none is set."""
    if token is not None:
        return endpoint

    async def answer(_: Request) -> Response:
        error = "log content is shown only with a token, and none is set: see admin.token"
        return _json({"error": error}, HTTPStatus.FORBIDDEN)

    return answer


async def _refused(_: Request, error: Exception) -> Response:
    """An answer for a path that is not there, or a method that it does not take."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    answer = _json({"error": error.detail}, HTTPStatus(error.status_code))
    answer.headers.update(error.headers or {})
    return answer


def _broken(emit: Emit) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_: Request, error: Exception) -> Response:
        emit(InternalError.of("the admin server", error))
        return _json({"error": "internal error"}, HTTPStatus.INTERNAL_SERVER_ERROR)

    return answer


class _Prefix:
    """Takes off what a reverse proxy has left before the path."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if self._prefix and scope["type"] == "http":
            path = scope["path"]
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                scope = {**scope, "path": path.removeprefix(self._prefix) or "/"}
        await self._app(scope, receive, send)


class _Guard:
    """Asks for the token where one is set, whether or not there is anything at the path."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        guarded = scope["type"] == "http" and scope["path"].startswith(_GUARDED)
        if not guarded or self._token is None or self._shown(Headers(scope=scope), self._token):
            await self._app(scope, receive, send)
            return
        answer = _json({"error": "the admin token is needed"}, HTTPStatus.UNAUTHORIZED)
        answer.headers["www-authenticate"] = "Bearer"
        await answer(scope, receive, send)

    def _shown(self, headers: Headers, token: str) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # In constant time, so that nobody can feel their way along it.
        same = secrets.compare_digest(given.strip().encode(), token.encode())
        return scheme.lower() == _SCHEME and same


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    # An hour of a hundred apps is half a megabyte of numbers, encoded in the bridge's own loop.
    body = msgspec.json.encode(content)
    return Response(body, status, headers={**HEADERS, "content-type": "application/json"})
