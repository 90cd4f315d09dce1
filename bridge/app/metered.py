"""A destination whose sends are counted, timed and traced, without its knowing."""

from __future__ import annotations

from typing import Final

from bridge.clock import Clock
from bridge.destinations import Destination
from bridge.model import SECOND, Batch, Outcome, Verdict
from bridge.payload import Request
from bridge.telemetry.meter import Meter
from bridge.telemetry.spans import NO_TRACER, SEND, Tracer

_SLACK: Final = 60.0
"""Seconds by which a send may pass its own timeout before it counts as hanging."""


class Metered:
    """Passes everything on to a destination, and tells meter and tracer of every send.

    ``timeout`` is how many seconds the destination gives one send, None where it may take as long
    as it likes (a console's reader may rest).
    """

    def __init__(
        self,
        destination: Destination,
        meter: Meter,
        clock: Clock,
        *,
        timeout: float | None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.sends = 0
        self._destination = destination
        self._meter = meter
        self._clock = clock
        self._timeout = timeout
        self._tracer = tracer
        self._due: dict[object, float] = {}

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._destination.name

    @property
    def acknowledged(self) -> bool:
        """See `Destination.acknowledged`."""
        return self._destination.acknowledged

    @property
    def hangs(self) -> bool:
        """Whether a send has outlived its own timeout by far."""
        return min(self._due.values(), default=float("inf")) < self._clock.monotonic()

    @property
    def sending(self) -> bool:
        """Whether a send is on its way."""
        return bool(self._due)

    def too_large(self, request: Request) -> Outcome | None:
        """See `Destination.too_large`."""
        return self._destination.too_large(request)

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        key = object()
        self._due[key] = self._end(request)
        try:
            outcome = await self._traced(request)
        finally:
            del self._due[key]
        self.sends += 1
        self._meter.sent(self.name, outcome.verdict, self._waited(request, outcome))
        return outcome

    async def probe(self) -> Outcome:
        """See `Destination.probe`."""
        return await self._destination.probe()

    async def aclose(self) -> None:
        """See `Destination.aclose`."""
        await self._destination.aclose()

    async def _traced(self, request: Request) -> Outcome:
        with self._tracer.span(
            SEND, destination=self.name, records=request.records, bytes=request.size
        ) as note:
            outcome = await self._destination.send(request)
            note("outcome", outcome.verdict.replace(" ", "_"))
            return outcome

    def _end(self, request: Request) -> float:
        """When a send that begins now should be over at the very latest."""
        if self._timeout is None:
            return float("inf")
        return self._clock.monotonic() + self._timeout * request.patience + _SLACK

    def _waited(self, request: Request, outcome: Outcome) -> list[float]:
        """How long each batch of a delivered request has been in the journal, in seconds."""
        if outcome.verdict is not Verdict.DELIVERED:
            return []
        now = self._clock.now()
        batches = (part for part in request.parts if isinstance(part, Batch))
        return [max(0, now - batch.journaled_at) / SECOND for batch in batches]
