"""fal's Platform API, ``POST /v1/serverless/logs/history``: the newer dialect.

What it says of more pages is never proof. Its ``next_cursor`` is a timestamp that is used as an
exclusive bound, so entries that share it with the last one shown would be lost: the walk above
asks by ``start`` and ``end`` alone and shows itself the overlap. Whether ``start`` is exclusive is
not documented; asked as if it were, an inclusive one shows the entries on it as well, and they are
left out here. ``end`` is documented as exclusive, and as now where it is not given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx
import msgspec
from msgspec.structs import replace

from bridge.errors import ApiLimitRefused
from bridge.model import Filter, Page, Query
from bridge.source.decode import decode_items
from bridge.source.exchange import ANSWER_LIMIT, Exchange, parameters

PATH: Final = "/v1/serverless/logs/history"
LARGEST_LIMIT: Final = 1_000
"""The documented range of ``limit`` is 1 to 1,000."""


class PlatformApi:
    """Reads pages with one pooled client; see `Exchange` for ``key`` and ``answer_limit``."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        key: Callable[[], str],
        answer_limit: int = ANSWER_LIMIT,
    ) -> None:
        url = base_url.rstrip("/") + PATH
        self._exchange = Exchange(client, url, key=key, answer_limit=answer_limit)

    async def page(self, query: Query) -> Page:
        """See `bridge.source.api.LogsApi.page`."""
        if query.limit > LARGEST_LIMIT:
            raise ApiLimitRefused(
                f"a page holds at most {LARGEST_LIMIT} entries, not {query.limit}",
                where=self._exchange.url,
            )
        answer = await self._exchange.post(_params(query), _body(query.filter))
        page = self._exchange.page(answer, decode_items)
        # Newest first, what stands on the bound is the end of the page: nothing is behind it.
        inside = tuple(entry for entry in page.entries if entry.tick != query.since)
        return replace(page, entries=inside)


def _params(query: Query) -> dict[str, str]:
    params = parameters(query, since="start", until="end")
    if "level" in params:
        params["level"] = params["level"].lower()  # as in the document's example, and its answers
    return params


def _body(wanted: Filter) -> bytes:
    return msgspec.json.encode(
        [{"key": key, "value": value, "condition_type": "equals"} for key, value in wanted.labels]
    )
