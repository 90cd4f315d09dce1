"""One request to a logs API over httpx, and what every answer but a page means.

What the dialects share: the key's header, the bound on an answer's size, no answer at all, and the
table from statuses to typed errors. A dialect brings its URL, its parameters, its body and the
decoding of its pages.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, cast

import httpx
from msgspec import Struct

from bridge.coding import GZIP, UndecodableError, decoded
from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiRefused,
    ApiThrottled,
    ApiUnauthorized,
    ApiUnavailable,
    causes,
    network_error_in,
)
from bridge.model import Entry, Page, Query
from bridge.source.answers import complaint, date, points_at, retry_after
from bridge.timestamps import format_tick

ANSWER_LIMIT: Final = 16 * 1024 * 1024
_SHOWN: Final = 300
_CONNECTION: Final = "check fal.base_url, the network and the proxy variables"
_CERTIFICATE: Final = "set SSL_CERT_FILE if a private CA signed it"
_KEY: Final = re.compile(r"[^\s:\"']+:[^\s:\"']+")
_ABOUT_PARAMETERS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


class Answer(Struct, frozen=True):
    """One HTTP answer, whole and decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """Posts to one URL with one pooled client.

    ``key`` is asked for at every request, so that a rotated key is used at once.
    ``answer_limit`` bounds an answer in bytes, as it comes and decoded.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        *,
        key: Callable[[], str],
        answer_limit: int = ANSWER_LIMIT,
    ) -> None:
        self.url = url
        self._client = client
        self._key = key
        self._answer_limit = answer_limit

    async def post(self, params: Mapping[str, str], content: bytes) -> Answer:
        """Send one request; ``+`` and ``:`` in its parameters are escaped by httpx.

        Raises:
            ApiError: there is no whole answer, or no request could be made.
        """
        try:
            async with self._client.stream(
                "POST",
                self.url,
                params=dict(params),
                content=content,
                headers={
                    "Authorization": self._authorization(),
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "Accept-Encoding": GZIP,
                },
            ) as response:
                return Answer(response.status_code, response.headers, await self._read(response))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ApiRefused(str(error), where=self.url, hint="check fal.base_url") from error
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise self._unreachable(error) from error

    def page(self, answer: Answer, decode: Callable[[bytes], tuple[Entry, ...]]) -> Page:
        """The page of a 200, as ``decode`` reads it.

        Raises:
            ApiError: it is another status, or ``decode`` raised ``ValueError``.
        """
        if answer.status != HTTPStatus.OK:
            raise self._error(answer)
        try:
            entries = decode(answer.body)
        except ValueError as error:
            raise ApiUnavailable(
                f"the answer cannot be read: {error}",
                where=self.url,
                status=answer.status,
                hint="is fal.base_url right, and is there a proxy in between?",
            ) from error
        return Page(entries, date(answer.headers), len(answer.body))

    def _authorization(self) -> str:
        key = self._key()
        if not (key.isascii() and key.isprintable()):
            raise ApiUnauthorized(
                "the fal key cannot be sent in a header",
                where=self.url,
                hint="it holds a line break or another character that no key has",
            )
        return f"Key {key}"

    def _form(self) -> str:
        """A word on the key where it does not look like one of fal's."""
        if _KEY.fullmatch(self._key()):
            return ""
        return ": it is not key_id:key_secret, without quotes and without the word Key"

    def _masked(self, text: str) -> str:
        """Without the key, should a server repeat it."""
        key = self._key()
        for secret in (key, key.rpartition(":")[2]):
            text = text.replace(secret, "***") if secret else text
        return text

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        # As it came: httpx would decode it, to whatever length.
        async for part in cast("httpx.AsyncByteStream", response.stream):
            body += part
            self._check(len(body))
        try:
            text = decoded(
                bytes(body),
                response.headers.get("content-encoding", ""),
                most=self._answer_limit + 1,
            )
        except UndecodableError as error:
            if response.status_code != HTTPStatus.OK:
                return b""  # the status says enough
            raise ApiUnavailable(
                f"the answer cannot be read: it {error}",
                where=self.url,
                status=response.status_code,
                hint="is there a proxy in between?",
            ) from error
        self._check(len(text))
        return text

    def _check(self, size: int) -> None:
        if size > self._answer_limit:
            raise ApiAnswerTooLarge(
                f"the answer is larger than {self._answer_limit} bytes", where=self.url
            )

    def _unreachable(self, error: Exception) -> ApiUnavailable:
        """No whole answer came; where there was no connection, something may have to be mended."""
        hint = _CONNECTION if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else ""
        for cause in causes(error):
            if isinstance(cause, ssl.SSLError):
                plain = "WRONG_VERSION_NUMBER" in str(cause)
                hint = "is it http:// rather than https://?" if plain else _CERTIFICATE
        said = self._masked(network_error_in(error) or str(error)) or type(error).__name__
        return ApiUnavailable(f"no answer: {said}", where=self.url, hint=hint)

    def _error(self, answer: Answer) -> ApiError:
        status = answer.status
        # Masked before it is shortened, which could leave half a key that nothing recognises.
        words = self._masked(complaint(answer.body))[:_SHOWN]
        said = f"answered {status} {_phrase(status)}".rstrip() + (f": {words}" if words else "")
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return ApiThrottled(said, where=self.url, retry_after=retry_after(answer.headers))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return ApiUnauthorized(
                said,
                where=self.url,
                status=status,
                hint=f"check fal.key{self._form()}; a key with the scope READONLY may read logs",
            )
        if status in _ABOUT_PARAMETERS and (points_at(answer.body, "limit") or "limit" in words):
            return ApiLimitRefused(said, where=self.url, status=status)
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirections
            return ApiRefused(
                f"{said}, to {_host(answer.headers.get('location', ''))}",
                where=self.url,
                status=status,
                hint="check fal.base_url",
            )
        if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004
            hint = (
                "check the app's filters" if status in _ABOUT_PARAMETERS else "check fal.base_url"
            )
            return ApiRefused(said, where=self.url, status=status, hint=hint)
        return ApiUnavailable(said, where=self.url, status=status)


def parameters(query: Query, *, since: str, until: str) -> dict[str, str]:
    """A query as parameters; the dialects have one set of names but for those of the bounds."""
    wanted = query.filter
    params = {
        "limit": str(query.limit),
        since: format_tick(query.since),
        until: None if query.until is None else format_tick(query.until),
        "app_id": wanted.app_id,
        "revision": wanted.revision,
        "traceback": "true" if wanted.traceback else None,
        "search": wanted.search,
        "level": wanted.level,
        "job_id": wanted.job_id,
        "request_id": wanted.request_id,
    }
    return {name: value for name, value in params.items() if value is not None}


def _host(location: str) -> str:
    """Where a redirect leads, without what may be secret in its URL."""
    try:
        return httpx.URL(location).host or "elsewhere"
    except httpx.InvalidURL:
        return "elsewhere"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
