"""One account's way to the API: every app's requests go through here, one budget for all."""

from __future__ import annotations

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
from bridge.source.api import LogsApi
from bridge.source.limiter import Limiter
from bridge.source.server_clock import ServerClock
from bridge.source.traits import LearnsForm, Traits
from bridge.telemetry.meter import NO_ANSWER, NO_METER, Meter

_OK: Final = "200"


class Account:
    """Asks for pages under the limiter, and learns the server's time from the answers.

    ``traits`` is told of every answer, if it is given: it reports how the API behaves. ``meter``
    counts the requests.
    """

    def __init__(
        self,
        api: LogsApi,
        limiter: Limiter,
        clock: Clock,
        traits: Traits | None = None,
        meter: Meter = NO_METER,
    ) -> None:
        self.time = ServerClock(clock)
        self.requests = 0
        self._sent: dict[str, float] = {}
        self._api = api
        self._limiter = limiter
        self._clock = clock
        self._traits = traits
        self._meter = meter
        self._learner = api if isinstance(api, LearnsForm) else None

    @property
    def form(self) -> str:
        """The form of request that the API takes; empty where there is but one."""
        return self._learner.form if self._learner else ""

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._limiter.waiting

    def waits(self, app: str) -> bool:
        """Whether a request of the app waits for its turn."""
        return self._limiter.waits(app)

    def sent(self, app: str) -> float:
        """The monotonic moment of the app's last request; none yet is long ago."""
        return self._sent.get(app, 0.0)

    async def page(self, app: str, query: Query, *, troubled: bool, patient: bool = False) -> Page:
        """Fetch one page for an app when its turn comes; ``troubled`` after a failure of its own.

        ``patient``: for work beside the app's loop that takes what requests are left over.

        Raises:
            ApiError: no usable page; the limiter has been told of a 429 or a refused key.
        """
        turn = f"{app} (aside)" if patient else app  # the app's loop does not wait for it
        async with self._limiter.slot(turn, troubled=troubled, patient=patient):
            sent = self._sent[turn] = self._clock.monotonic()
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
            self._meter.answered(app, status)
        return page
