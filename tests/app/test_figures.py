"""Metrics and spans of a whole bridge, held against what really happened in its simulated world."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import httpx
from msgspec.structs import replace
from support.scraped import Scraped, scrape
from support.simulation import traffic
from support.simulation.plan import KEY, BackendPlan, Life, Plan, Setup
from support.simulation.traffic import NOON, Crowd
from support.simulation.universe import Universe, journal_folder
from support.spans import Span, spans

from bridge import settings
from bridge.app.bridge import Bridge
from bridge.app.oversight import LOOK_EVERY, Oversight
from bridge.app.parts import World
from bridge.model import MILLISECOND, SECOND
from bridge.simulator.exchange import Answer, Core, Request
from bridge.simulator.faults import Faulty
from bridge.simulator.logs_api import LogsApiConfig
from bridge.simulator.store import Written
from bridge.telemetry.registry import Registry
from bridge.telemetry.tracing import MOST_KEPT, Tracing

SETUP = Setup(apps=("app", "quiet"), backends=("first", "second"), page_size=1000, concurrency=4)
random = Random(7)


class _Counting:
    """A core whose answers are counted by app and status, as they reach who asked."""

    def __init__(self, core: Core) -> None:
        self.answers: Counter[tuple[str, ...]] = Counter()
        self._core = core

    def answer(self, request: Request) -> Answer:
        """See `Core.answer`."""
        answer = self._core.answer(request)
        broken = answer.drop is not None or answer.cut is not None or answer.delay > 30
        status = "none" if broken else str(answer.status)
        self.answers[(request.parameter("app_id") or "", status)] += 1
        return answer


class Overseen(Universe):
    """A world whose bridge is looked after; ``seen`` is what was scraped at its end."""

    seen: Scraped
    asked: _Counting
    traced: Sequence[Span]

    def _world(self) -> World:
        self.registry = Registry(apps=SETUP.apps, destinations=SETUP.backends)
        self.tracing = Tracing(1.0)
        return replace(super()._world(), meter=self.registry, tracer=self.tracing)

    def _transport(self, core: Faulty) -> httpx.AsyncBaseTransport:
        if core is not self.api:
            return super()._transport(core)
        self.asked = _Counting(core)
        return super()._transport(self.asked)  # type: ignore[arg-type]  # a core like any other

    async def _run_until(self, end: float, bridge: Bridge) -> None:
        oversight = Oversight(settings.Settings(), self.clock, self.registry, asyncio.Event())
        oversight.take(bridge)
        watching = asyncio.create_task(oversight.run())
        await super()._run_until(end, bridge)
        await asyncio.sleep(LOOK_EVERY)
        self.seen = scrape(self.registry)
        assert self.registry.otlp()
        self.traced = spans(self.tracing)
        watching.cancel()
        self.registry.close()


def planned(entries: list[Written], life: Life, **changes: object) -> Plan:
    """Two backends, of which the second refuses some records."""
    plan = Plan(
        seed=1,
        setup=SETUP,
        entries=tuple(entries),
        api=LogsApiConfig(key=KEY, cap=1_000),
        backends=(
            BackendPlan("first", 0.0, (), 10**8, "gzip"),
            BackendPlan("second", 0.0, (), 1_000_000, "gzip"),
        ),
        latency=0.05,
        lives=(life,),
    )
    return replace(plan, **changes)


def lived(plan: Plan, folder: Path) -> Overseen:
    """The world after its one life."""
    world = Overseen(plan, folder)
    world.live(plan.lives[0])
    return world


def test_the_counters_are_the_truth() -> None:
    """Read, late, gaps, requests, sends, delivered: as the other side counted them."""
    late = [
        Written(w.raw, w.tick, w.tick + 4 * SECOND)
        for w in traffic.burst(
            random, "app", NOON + SECOND, many=40, step=100 * MILLISECOND, kind="late"
        )
    ]
    lines = traffic.burst(random, "app", NOON, many=300, step=50 * MILLISECOND, kind="line")
    crowd = traffic.crowd(random, "app", NOON + 20 * SECOND, many=1_500, kind=Crowd.ALIKE)
    with journal_folder() as folder:
        world = lived(planned([*lines, *late, *crowd], Life(SETUP, 60.0)), folder)
        seen, backends = world.seen, world.backends
        told = {r.uid for r in backends["first"].records}
        gaps = [r for r in backends["first"].records if _is_gap(r.record.attributes)]
        assert seen["fal_log_bridge_entries_read_total"] == {
            ("app",): len(told) - len(gaps),
            ("quiet",): 0,
        }
        assert len(told) - len(gaps) == 300 + 40 + 1_000
        assert seen["fal_log_bridge_entries_late_total"][("app",)] == 40
        assert seen["fal_log_bridge_entry_lateness_seconds_count"] == {("app",): 40}
        lateness = seen["fal_log_bridge_entry_lateness_seconds_sum"][("app",)]
        assert 40 * 4 <= lateness <= 40 * 10
        assert seen["fal_log_bridge_gaps_total"] == {("app",): 1, ("quiet",): 0}
        assert seen["fal_log_bridge_open_gaps"] == {("app",): 1, ("quiet",): 0}
        assert seen["fal_log_bridge_api_requests_total"] == world.asked.answers
        for name, backend in backends.items():
            key = (name,)
            assert seen["fal_log_bridge_records_delivered_total"][key] == backend.accepted
            sent = seen["fal_log_bridge_sends_total"]
            assert sent[(name, "delivered")] == backend.statuses[200]
            assert sent[(name, "retry")] == 0
            assert seen["fal_log_bridge_backlog_records"][key] == 0
            assert seen["fal_log_bridge_backlog_age_seconds"][key] == 0
            assert seen["fal_log_bridge_dead_letters"][key] == 0
            assert seen["fal_log_bridge_destination_up"][key] == 1
            assert seen["fal_log_bridge_destination_blocked"][key] == 0
            assert seen["fal_log_bridge_destination_paused"][key] == 0
            assert seen["fal_log_bridge_dead_letter_bytes"][key] == 0
            assert seen["fal_log_bridge_destination_acknowledged"][key] == 1
            assert 0 < seen["fal_log_bridge_delivery_latency_seconds_sum"][key] < 60
        assert seen["fal_log_bridge_journal_bytes"][()] == 0
        assert seen["fal_log_bridge_uptime_seconds"][()] >= 60
        assert seen["fal_log_bridge_live"] == {(): 1}
        assert seen["fal_log_bridge_reading_paused"] == {("app",): 0, ("quiet",): 0}
        assert 0 < seen["fal_log_bridge_position_age_seconds"][("app",)] < 16
        _spans_are_true(world)


def _spans_are_true(world: Overseen) -> None:
    """Each request and each send is a span; what looks and sweeps found is what was read."""
    assert len(world.traced) < MOST_KEPT
    named = {
        name: [s for s in world.traced if s.name == name] for name in ("poll", "sweep", "request")
    }
    asked = Counter((s.attributes["app"], s.attributes["status"]) for s in named["request"])
    assert asked == world.asked.answers
    reads = [*named["poll"], *named["sweep"]]
    read = sum(int(s.attributes["entries"]) for s in reads)
    assert read == sum(world.seen["fal_log_bridge_entries_read_total"].values())
    sends = Counter(
        (s.attributes["destination"], s.attributes["outcome"])
        for s in world.traced
        if s.name == "send"
    )
    assert sends == +Counter(world.seen["fal_log_bridge_sends_total"])
    # A request belongs to what makes it, of the same app.
    apps = {s.span_id: s.attributes["app"] for s in reads}
    finished = [s for s in named["request"] if s.parent in apps]
    assert len(finished) >= len(named["request"]) - len(SETUP.apps) * 2
    assert all(apps[s.parent] == s.attributes["app"] for s in finished)


def test_trouble_shows() -> None:
    """A backend that is down, one that cannot take large records, an API that often fails."""
    lines = list(traffic.burst(random, "app", NOON, many=400, step=50 * MILLISECOND, kind="line"))
    large = [f"large {n} {'x' * 2_000}" for n in range(3)]
    for n, message in enumerate(large):
        lines[n] = replace(lines[n], raw={**lines[n].raw, "message": message})
    plan = planned(
        lines,
        Life(SETUP, 45.0),
        backends=(
            BackendPlan("first", 0.0, (), 10**8, "gzip"),
            BackendPlan("second", 0.0, (), 2_000, "gzip"),
        ),
        api_share=0.2,
    )
    with journal_folder() as folder:
        world = Overseen(plan, folder)
        world.backends["first"].config = replace(world.backends["first"].config, status=503)
        world.live(plan.lives[0])
        seen = world.seen
        assert seen["fal_log_bridge_api_requests_total"] == world.asked.answers
        assert len(world.asked.answers) > 3
        read = seen["fal_log_bridge_entries_read_total"][("app",)]
        assert seen["fal_log_bridge_backlog_records"][("first",)] == read > 0
        assert seen["fal_log_bridge_backlog_age_seconds"][("first",)] > 10
        assert seen["fal_log_bridge_records_delivered_total"][("first",)] == 0
        sends = seen["fal_log_bridge_sends_total"]
        assert sends[("first", "retry")] == world.backends["first"].statuses[503] > 0
        assert seen["fal_log_bridge_destination_up"] == {("first",): 0, ("second",): 1}
        assert seen["fal_log_bridge_destination_blocked"] == {("first",): 0, ("second",): 0}
        assert sends[("second", "too_large")] == world.backends["second"].statuses[413] > 0
        accepted = world.backends["second"].accepted
        assert world.dead["second"] == set(large)
        assert seen["fal_log_bridge_records_delivered_total"][("second",)] == accepted
        assert seen["fal_log_bridge_dead_letters"] == {("first",): 0, ("second",): 3}
        assert seen["fal_log_bridge_dead_letter_bytes"][("first",)] == 0
        room = seen["fal_log_bridge_dead_letters_max_bytes"][()]
        assert 0 < seen["fal_log_bridge_dead_letter_bytes"][("second",)] < room
        assert seen["fal_log_bridge_journal_bytes"][()] > 0


def _is_gap(attributes: object) -> bool:
    return any(a.key == "fal.gap" for a in attributes)  # type: ignore[attr-defined]
