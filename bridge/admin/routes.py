"""What is answered to which path."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.admin import Health, View
from bridge.errors import JournalError
from bridge.telemetry import Emit
from bridge.telemetry.service import InternalError

_GUARDED: Final = "/api/"
_SCHEME: Final = "bearer"
_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def application(view: View, emit: Emit, token: str | None = None) -> Starlette:
    """The ASGI application over a view; its defects are told to ``emit``.

    ``token`` is asked for, as a bearer token (RFC 6750, 2.1), under ``/api/``.
    """
    app = Starlette(
        routes=[
            Route("/livez", _health(view.live)),
            Route("/readyz", _health(view.ready)),
            Route("/metrics", _metrics(view)),
            Route("/api/status", _status(view)),
        ],
        middleware=[Middleware(_Guard, token=token)],
        exception_handlers={HTTPException: _refused, Exception: _broken(emit)},
    )
    app.router.redirect_slashes = False  # one path for each thing
    return app


_Endpoint = Callable[[Request], Awaitable[Response]]


def _health(look: Callable[[], Health]) -> _Endpoint:
    async def answer(_: Request) -> Response:
        health = look()
        status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return _json({"ok": health.ok, "reasons": health.reasons}, status)

    return answer


def _metrics(view: View) -> _Endpoint:
    async def answer(request: Request) -> Response:
        kind, text = view.metrics(request.headers.get("accept", ""))
        return Response(text, headers=_HEADERS | {"content-type": kind})

    return answer


def _status(view: View) -> _Endpoint:
    async def answer(_: Request) -> Response:
        try:
            return _json(await view.status())
        except JournalError as error:
            return _json({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)

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
    return JSONResponse(content, status, headers=_HEADERS)
