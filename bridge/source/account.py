"""One account's way to the API: every app's requests go through here, one budget for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bridge.clock import Clock
from bridge.errors import (
    ApiAnswerTooLarge,
    ApiError,
    ApiLimitRefused,
    ApiThrottled,
    ApiUnauthorized,
)
from bridge.model import Page, Query
from bridge.source.ahead import Ahead, in_line
from bridge.source.api import LogsApi
from bridge.source.limiter import Kind, Limiter
from bridge.source.server_clock import ServerClock
from bridge.source.traits import LearnsForm, Traits
from bridge.telemetry.meter import NO_ANSWER, NO_METER, Meter
from bridge.telemetry.spans import NO_TRACER, REQUEST, Note, Tracer

_OK: Final = "200"


class Account:
    """Asks for pages under the limiter, and learns the server's time from the answers.

    ``traits`` is told of every answer, if it is given: it reports how the API behaves. ``meter``
    counts the requests, ``tracer`` times them.
    """

    def __init__(
        self,
        api: LogsApi,
        limiter: Limiter,
        clock: Clock,
        traits: Traits | None = None,
        meter: Meter = NO_METER,
        *,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.time = ServerClock(clock)
        self.requests = 0
        self.ahead = Ahead(in_line(limiter.concurrency))
        self._api = api
        self._limiter = limiter
        self._clock = clock
        self._traits = traits
        self._meter = meter
        self._tracer = tracer
        self._asking = False
        self._heard = asyncio.Event()
        self._learner = api if isinstance(api, LearnsForm) else None

    @property
    def form(self) -> str:
        """The form of request that the API takes; empty where there is but one."""
        return self._learner.form if self._learner else ""

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._limiter.waiting

    def prefer(self, app: str) -> None:
        """Let the app's next request go ahead of others: something of it waits to be read."""
        self._limiter.prefer(app)

    async def learn_time(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Learn the server's time by one app's question, for all that begin at the same moment.

        Where its first request fails, or tells no time, each asks by itself.
        """
        if self._asking:
            await self._heard.wait()
        self._asking = True
        try:
            if not self.time.known:
                await ask()
        finally:
            self._heard.set()

    async def page(
        self,
        app: str,
        query: Query,
        *,
        troubled: bool,
        kind: Kind | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> Page:
        """Fetch one page for an app when its turn comes; ``begun`` is called when it has come.

        ``troubled`` after a failure of its own. Without a ``kind``, what asks for new entries goes
        before what asks for old ones.

        Raises:
            ApiError: no usable page; the limiter has been told of a 429 or a refused key.
        """
        if kind is None:
            kind = Kind.PRESENT if query.until is None else Kind.PAST
        # The app's loops do not wait for what is patient.
        turn = f"{app} (aside)" if kind is Kind.PATIENT else app
        async with self._limiter.slot(turn, troubled=troubled, kind=kind):
            begun()
            sent = self._clock.monotonic()
            self.requests += 1
            try:
                page = await self._counted(app, query)
            except ApiLimitRefused:
                if self._traits:
                    self._traits.refused(query.limit)
                raise
            except ApiThrottled as error:
                self._limiter.throttled(error.retry_after)
                raise
            except ApiUnauthorized as error:
                # A 403 may concern one app only; a 401 is about the key, and so about all apps.
                if error.status == 401:  # noqa: PLR2004 - HTTP
                    self._limiter.unauthorized()
                raise
            self.time.observe(page.served_at, sent)
            self._limiter.succeeded()
            if self._traits:
                self._traits.observe(query, page, self.form)
            return page

    async def _counted(self, app: str, query: Query) -> Page:
        with self._tracer.span(REQUEST, app=app) as note:
            return await self._noted(app, query, note)

    async def _noted(self, app: str, query: Query, note: Note) -> Page:
        status = NO_ANSWER
        try:
            page = await self._api.page(query)
            status = _OK
        except ApiAnswerTooLarge:
            status = _OK  # too much of one
            raise
        except ApiError as error:
            status = NO_ANSWER if error.status is None else str(error.status)
            raise
        finally:
            self._heard.set()
            note("status", status)
            self._meter.answered(app, status)
        return page
