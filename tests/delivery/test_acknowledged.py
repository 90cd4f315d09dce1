"""A destination that acknowledges record by record, as syslog over RELP does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from delivery.fakes import Backend, Store, uids_of
from delivery.rig import Rig
from delivery.virtual import run

from bridge.model import Outcome, Verdict
from bridge.payload import Request
from bridge.telemetry.delivering import DestinationRecovered, WitnessSent

HOUR = 3600.0
FULL = "500 disk full"


@dataclass
class Acknowledging(Backend):
    """Takes what it can of a request, and each record of an unfinished one only once."""

    takes: Callable[[int], bool] = field(default=lambda _: True)
    acknowledged_before: set[str] = field(default_factory=set)
    offered: Counter[str] = field(default_factory=Counter)

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        await asyncio.sleep(0.1)
        uids = uids_of(request.raw)
        new = [uid for uid in uids if uid not in self.acknowledged_before]
        self.offered.update(new)
        taken = {uid for uid in new if self.takes(int(uid, 16))}
        self.kept.update(taken)
        self.acknowledged_before |= taken
        if len(taken) < len(new):
            return Outcome(Verdict.RETRY, FULL, own_fault=True, progress=bool(taken))
        self.acknowledged_before.difference_update(uids)
        return Outcome(Verdict.DELIVERED, unsent=not new)


def play(
    sizes: Sequence[int],
    takes: Callable[[int], bool],
    scene: Callable[[Rig], Awaitable[None]],
    *,
    in_flight: int = 1,
) -> tuple[Rig, Acknowledging]:
    """Run a forwarder over batches of so many records until the scene ends."""

    async def main() -> tuple[Rig, Acknowledging]:
        backend = Acknowledging(takes=takes)
        rig = Rig.of_parts(backend, Store(backend), in_flight=in_flight)
        await rig.store.fill(*sizes)
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.forwarder.run(rig.stop))
            await scene(rig)
            rig.stop.set()
        return rig, backend

    return run(main())


@pytest.mark.parametrize("sizes", [[6], [2, 6], [2, 6, 4]])
@pytest.mark.parametrize("in_flight", [1, 4])
def test_an_outage_that_begins_within_a_request_costs_no_good_record(
    sizes: Sequence[int], in_flight: int
) -> None:
    """That what it took before is acknowledged still says nothing of it: all waits to be mended."""
    room = iter(range(3 if len(sizes) == 1 else sizes[0] + 3))

    def takes(_: int) -> bool:
        return next(room, None) is not None or asyncio.get_running_loop().time() >= HOUR

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(HOUR - 1)
        trouble = rig.forwarder.state.trouble
        assert trouble is not None
        assert trouble.reason == FULL
        assert not rig.of(DestinationRecovered)
        assert rig.store.dead == set()
        await rig.all_through()

    rig, backend = play(sizes, takes, scene, in_flight=in_flight)
    assert rig.store.dead == set()
    assert dict(backend.kept) == dict.fromkeys(rig.store.uids, 1)


@pytest.mark.parametrize("bad", [1, 4, 50, 100])
def test_one_bad_record_among_acknowledged_ones_is_found(bad: int) -> None:
    """With nothing else to be sent, one that was acknowledged speaks for the destination."""

    async def scene(rig: Rig) -> None:
        await asyncio.sleep(300)
        assert rig.forwarder.state.cursor == 1

    rig, backend = play([100], lambda number: number != bad, scene)
    assert {int(uid, 16) for uid in rig.store.dead} == {bad}
    assert backend.kept.keys() == rig.store.uids - rig.store.dead
    told = Counter(event.uid for event in rig.events if isinstance(event, WitnessSent))
    assert backend.kept - Counter(backend.kept.keys()) == told
    assert told.total() <= 2
