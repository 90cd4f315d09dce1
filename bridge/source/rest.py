"""fal's Logs REST API (``POST /logs/``) over httpx.

One request, one page or one typed error. The body form is learned: the document sends an object
``{"extra_filters": [...]}``, fal's generated client a bare array; a 422 that points at the body
switches to the other form, which is then remembered.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiRefused,
    ApiThrottled,
    ApiUnauthorized,
    ApiUnavailable,
)
from bridge.model import SECOND, Filter, Json, Page, Query, Tick
from bridge.source.decode import decode_entries
from bridge.timestamps import format_tick

ANSWER_LIMIT: Final = 16 * 1024 * 1024
_SHOWN: Final = 300
_ABOUT_PARAMETERS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_EPOCH_LIKE: Final = 1_000_000_000


class RestApi:
    """Reads pages with one pooled client.

    ``key`` is asked for at every request, so that a rotated key is used at once.
    ``answer_limit`` bounds the decoded answer in bytes.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        key: Callable[[], str],
        answer_limit: int = ANSWER_LIMIT,
    ) -> None:
        self._client = client
        self._url = base_url.rstrip("/") + "/logs/"
        self._key = key
        self._answer_limit = answer_limit
        self._bare_array = False

    async def page(self, query: Query) -> Page:
        """See `bridge.source.api.LogsApi.page`."""
        status, headers, body = await self._ask(query)
        if status == HTTPStatus.UNPROCESSABLE_ENTITY and _points_at(body, "body"):
            self._bare_array = not self._bare_array
            status, headers, body = await self._ask(query)
            if status == HTTPStatus.UNPROCESSABLE_ENTITY and _points_at(body, "body"):
                self._bare_array = not self._bare_array
        if status != HTTPStatus.OK:
            raise self._error(status, headers, body)
        try:
            entries = decode_entries(body)
        except ValueError as error:
            raise ApiUnavailable(
                f"the answer cannot be read: {error}",
                where=self._url,
                status=status,
                hint="is fal.base_url right, and is there a proxy in between?",
            ) from error
        return Page(entries, _date(headers), len(body))

    async def _ask(self, query: Query) -> tuple[int, httpx.Headers, bytes]:
        try:
            async with self._client.stream(
                "POST",
                self._url,
                params=_params(query),
                content=_body(query.filter, bare_array=self._bare_array),
                headers={
                    "Authorization": self._authorization(),
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                },
            ) as response:
                return response.status_code, response.headers, await self._read(response)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ApiRefused(str(error), where=self._url, hint="check fal.base_url") from error
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise _unreachable(error, self._url) from error

    def _authorization(self) -> str:
        key = self._key()
        if not (key.isascii() and key.isprintable()):
            raise ApiUnauthorized(
                "the fal key cannot be sent in a header",
                where=self._url,
                hint="it holds a line break or another character that no key has",
            )
        return f"Key {key}"

    def _masked(self, text: str) -> str:
        """Without the key, should a server repeat it."""
        key = self._key()
        for secret in (key, key.rpartition(":")[2]):
            text = text.replace(secret, "***") if secret else text
        return text

    async def _read(self, response: httpx.Response) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > self._answer_limit:
                raise ApiAnswerTooLarge(
                    f"the answer is larger than {self._answer_limit} bytes", where=self._url
                )
            parts.append(part)
        return b"".join(parts)

    def _error(self, status: int, headers: httpx.Headers, body: bytes) -> ApiError:
        said = self._masked(f"answered {status} {_phrase(status)}{_detail(body)}".rstrip())
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return ApiThrottled(said, where=self._url, retry_after=_retry_after(headers))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return ApiUnauthorized(
                said,
                where=self._url,
                status=status,
                hint="check fal.key; a key with the scope READONLY may read logs",
            )
        if status in _ABOUT_PARAMETERS and (_points_at(body, "limit") or "limit" in _detail(body)):
            return ApiLimitRefused(said, where=self._url, status=status)
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirections
            return ApiRefused(
                f"{said}, to {_host(headers.get('location', ''))}",
                where=self._url,
                status=status,
                hint="check fal.base_url",
            )
        if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004
            hint = (
                "check the app's filters" if status in _ABOUT_PARAMETERS else "check fal.base_url"
            )
            return ApiRefused(said, where=self._url, status=status, hint=hint)
        return ApiUnavailable(said, where=self._url, status=status)


def _params(query: Query) -> dict[str, str]:
    """The query string (document, "Query Parameters"); ``+`` and ``:`` are escaped by httpx."""
    wanted = query.filter
    params = {
        "limit": str(query.limit),
        "since": format_tick(query.since),
        "until": None if query.until is None else format_tick(query.until),
        "app_id": wanted.app_id,
        "revision": wanted.revision,
        "traceback": "true" if wanted.traceback else None,
        "search": wanted.search,
        "level": wanted.level,
        "job_id": wanted.job_id,
        "request_id": wanted.request_id,
    }
    return {name: value for name, value in params.items() if value is not None}


def _body(wanted: Filter, *, bare_array: bool) -> bytes:
    filters = [{"key": key, "value": value} for key, value in wanted.labels]
    if bare_array:
        return msgspec.json.encode(filters)
    return msgspec.json.encode({"extra_filters": filters} if filters else {})


def _date(headers: Mapping[str, str]) -> Tick | None:
    try:
        return int(parsedate_to_datetime(headers.get("date", "")).timestamp()) * SECOND
    except (ValueError, OverflowError):
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``Retry-After`` (RFC 9110, 10.2.3) or fal's ``x-ratelimit-reset``."""
    asked = headers.get("retry-after", headers.get("x-ratelimit-reset", "")).strip()
    served_at = _date(headers)
    try:
        seconds = float(asked)
    except ValueError:
        until = _date({"date": asked})
        return None if until is None or served_at is None else max(0, until - served_at) / SECOND
    if seconds >= _EPOCH_LIKE:  # a moment, not a wait
        return None if served_at is None else max(0.0, seconds - served_at / SECOND)
    return seconds if seconds >= 0 else None


def _host(location: str) -> str:
    """Where a redirect leads, without what may be secret in its URL."""
    try:
        return httpx.URL(location).host or "elsewhere"
    except httpx.InvalidURL:
        return "elsewhere"


def _points_at(body: bytes, place: str) -> bool:
    """Whether a 422's ``detail`` locates the problem in the body or in a parameter."""
    detail = _json(body)
    items = detail.get("detail") if isinstance(detail, dict) else None
    if not isinstance(items, list):
        return False
    return any(
        isinstance(item, dict) and isinstance(item.get("loc"), list) and place in item["loc"]
        for item in items
    )


def _detail(body: bytes) -> str:
    """What the server said, on one bounded line."""
    answer = _json(body)
    said = answer.get("detail", answer) if isinstance(answer, dict) else answer
    if isinstance(said, list):
        said = "; ".join(_complaint(item) for item in said)
    text = said if isinstance(said, str) else body.decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f": {line[:_SHOWN]}" if line else ""


def _complaint(item: Json) -> str:
    if not isinstance(item, dict):
        return str(item)
    loc = item.get("loc")
    place = ".".join(str(part) for part in loc) if isinstance(loc, list) else ""
    return f"{place}: {item.get('msg', item)}" if place else str(item.get("msg", item))


def _json(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _unreachable(error: Exception, url: str) -> ApiUnavailable:
    """No whole answer came; certificate trouble gets its own hint."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    hint = "set SSL_CERT_FILE if a private CA signed it" if cause is not None else ""
    said = str(error) or type(error).__name__
    return ApiUnavailable(f"no answer: {said}", where=url, hint=hint)
