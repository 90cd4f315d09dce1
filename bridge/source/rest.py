"""fal's Logs REST API, ``POST /logs/``: the dialect of its own document.

One request, one page or one typed error. The body form is learned: the document sends an object
``{"extra_filters": [...]}``, fal's generated client a bare array; a 422 that points at the body
switches to the other form, which is then remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import httpx
import msgspec

from bridge.model import Filter, Page, Query
from bridge.source.answers import points_at
from bridge.source.decode import decode_entries
from bridge.source.exchange import ANSWER_LIMIT, Answer, Exchange, parameters


class RestApi:
    """Reads pages with one pooled client; see `Exchange` for ``key`` and ``answer_limit``."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        key: Callable[[], str],
        answer_limit: int = ANSWER_LIMIT,
    ) -> None:
        url = base_url.rstrip("/") + "/logs/"
        self._exchange = Exchange(client, url, key=key, answer_limit=answer_limit)
        self._bare_array = False

    @property
    def form(self) -> str:
        """The form of body that it sends now, in a few words (see `bridge.source.traits`)."""
        return "filters as a bare array" if self._bare_array else "filters in an object"

    async def page(self, query: Query) -> Page:
        """See `bridge.source.api.LogsApi.page`."""
        answer = await self._ask(query)
        if _refuses_body(answer):
            self._bare_array = not self._bare_array
            answer = await self._ask(query)
            if _refuses_body(answer):
                self._bare_array = not self._bare_array
        return self._exchange.page(answer, decode_entries)

    async def _ask(self, query: Query) -> Answer:
        """Ask once (document, "Query Parameters" and "Request Body")."""
        params = parameters(query, since="since", until="until")
        return await self._exchange.post(params, _body(query.filter, bare_array=self._bare_array))


def _refuses_body(answer: Answer) -> bool:
    return answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and points_at(answer.body, "body")


def _body(wanted: Filter, *, bare_array: bool) -> bytes:
    filters = [{"key": key, "value": value} for key, value in wanted.labels]
    if bare_array:
        return msgspec.json.encode(filters)
    return msgspec.json.encode({"extra_filters": filters} if filters else {})
