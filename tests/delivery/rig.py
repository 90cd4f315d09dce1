"""A forwarder between a journal and a backend, run in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from delivery.fakes import Answer, Backend, Store
from delivery.virtual import clock, run

from bridge.delivery.forwarder import Forwarder
from bridge.payload import Request
from bridge.telemetry import Event

Scene = Callable[["Rig"], Coroutine[Any, Any, None]]


@dataclass
class Rig:
    """A forwarder between a journal and a backend, with what it reported."""

    backend: Backend
    store: Store
    forwarder: Forwarder
    events: list[Event]
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of_parts(
        cls,
        backend: Backend,
        store: Store,
        *,
        in_flight: int = 4,
        max_batches: int = 1,
        max_size: int = 1_000_000,
    ) -> Rig:
        """A new forwarder between these two."""
        events: list[Event] = []
        forwarder = Forwarder(
            backend,
            store,
            clock(),
            events.append,
            Random(1),
            in_flight=in_flight,
            max_batches=max_batches,
            max_size=max_size,
        )
        return cls(backend, store, forwarder, events)

    async def all_through(self) -> None:
        """Wait until the cursor has passed everything."""
        await self.forwarder.drained(max(self.store.promised))

    def of(self, kind: type[Event]) -> list[Event]:
        """The reported events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


async def through(rig: Rig) -> None:
    """The plain scene."""
    await rig.all_through()


def play(
    batches: Sequence[int],
    decide: Callable[[Request], Answer] | None = None,
    scene: Scene = through,
    *,
    failures: Sequence[str] = (),
    in_flight: int = 4,
    max_batches: int = 1,
    max_size: int = 1_000_000,
    limit: int | None = None,
    huge: Sequence[int] = (),
) -> Rig:
    """Run a forwarder over batches of so many records; the end of the scene beside it stops it.

    ``limit`` is the destination's own, in bytes; ``huge`` are the numbers of records over 1,000.
    """

    async def both() -> Rig:
        backend = Backend(decide) if decide else Backend()
        backend.limit = limit
        store = Store(backend, failures=failures)
        store.huge = frozenset(huge)
        rig = Rig.of_parts(
            backend, store, in_flight=in_flight, max_batches=max_batches, max_size=max_size
        )
        await store.fill(*batches)
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.forwarder.run(rig.stop))
            await scene(rig)
            rig.stop.set()
        return rig

    return run(both())
