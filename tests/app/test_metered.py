"""What is put around a destination: it passes everything on, and counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from support.virtual import VirtualClock, run_virtually

from bridge.app.metered import Metered
from bridge.model import SECOND, Batch, Outcome, Verdict
from bridge.payload import Request, encoded
from bridge.telemetry.meter import Meter

NOON = 1_758_283_200 * SECOND


@dataclass
class Slow:
    """A destination that takes its time, and remembers what was asked of it."""

    seconds: float = 0.0
    outcome: Outcome = Outcome(Verdict.DELIVERED)  # noqa: RUF009 - frozen
    asked: list[str] = field(default_factory=list)
    name: str = "slow"
    acknowledged: bool = False

    def too_large(self, request: Request) -> Outcome | None:
        """See `Destination.too_large`."""
        self.asked.append(f"too_large {request.records}")
        return Outcome(Verdict.TOO_LARGE)

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        self.asked.append(f"send {request.records}")
        await asyncio.sleep(self.seconds)
        return self.outcome

    async def probe(self) -> Outcome:
        """See `Destination.probe`."""
        self.asked.append("probe")
        return Outcome(Verdict.BLOCKED)

    async def aclose(self) -> None:
        """See `Destination.aclose`."""
        self.asked.append("aclose")


@dataclass
class Noted(Meter):
    """Remembers every send."""

    sends: list[tuple[str, Verdict, list[float]]] = field(default_factory=list)

    def sent(self, destination: str, verdict: Verdict, waited: object) -> None:
        """See `Meter.sent`."""
        assert isinstance(waited, list)
        self.sends.append((destination, verdict, waited))


def batch(age: float) -> Batch:
    """A batch that was journaled so many seconds before noon."""
    part = encoded(b"", 3)
    return Batch(1, "app", part.records, part.size, part.gzip, NOON - int(age * SECOND))


def test_it_passes_everything_on() -> None:
    """Nothing is answered in the destination's place."""
    inner = Slow()

    async def main() -> None:
        metered = Metered(inner, Meter(), VirtualClock(NOON), timeout=1.0)
        request = Request((batch(0),))
        assert (metered.name, metered.acknowledged) == ("slow", False)
        assert metered.too_large(request) == Outcome(Verdict.TOO_LARGE)
        assert await metered.send(request) is inner.outcome
        assert await metered.probe() == Outcome(Verdict.BLOCKED)
        await metered.aclose()

    run_virtually(main())
    assert inner.asked == ["too_large 3", "send 3", "probe", "aclose"]


def test_every_send_is_counted_with_what_its_batches_waited() -> None:
    """From the journal to the answer; a piece of a batch knows no such time, a failure has none.

    Nor does a copy that is sent for comparison, which is such a piece.
    """
    meter = Noted()

    async def main() -> None:
        inner = Slow(seconds=2.0)
        metered = Metered(inner, meter, VirtualClock(NOON), timeout=10.0)
        await metered.send(Request((batch(5), batch(-100), encoded(b"", 1))))
        inner.outcome = Outcome(Verdict.RETRY)
        await metered.send(Request((batch(5),)))
        assert metered.sends == 2

    run_virtually(main())
    assert meter.sends == [
        ("slow", Verdict.DELIVERED, [7.0, 0.0]),
        ("slow", Verdict.RETRY, []),
    ]


@pytest.mark.parametrize(("patience", "hangs_from"), [(1.0, 70.0), (4.0, 100.0)])
def test_a_send_that_outlives_its_timeout_hangs(patience: float, hangs_from: float) -> None:
    """By a minute, counted from the patience that it was given; not before, not once it is over."""

    async def main() -> None:
        metered = Metered(Slow(1_000.0), Meter(), VirtualClock(NOON), timeout=10.0)
        request = Request((batch(0),), patience)
        sending = asyncio.create_task(metered.send(request))
        await asyncio.sleep(hangs_from - 1)
        assert _state(metered) == ("sending", "well")
        await asyncio.sleep(2)
        assert _state(metered) == ("sending", "hangs")
        await sending
        assert _state(metered) == ("at rest", "well")

    run_virtually(main())


def test_what_has_no_timeout_never_hangs() -> None:
    """A console's reader may rest; a cancelled send is over."""

    async def main() -> None:
        metered = Metered(Slow(1e9), Meter(), VirtualClock(NOON), timeout=None)
        sending = asyncio.create_task(metered.send(Request((batch(0),))))
        await asyncio.sleep(1e6)
        assert _state(metered) == ("sending", "well")
        sending.cancel()
        await asyncio.wait([sending])
        assert _state(metered) == ("at rest", "well")

    run_virtually(main())


def _state(metered: Metered) -> tuple[str, str]:
    return ("sending" if metered.sending else "at rest", "hangs" if metered.hangs else "well")
