"""Which gaps may be claimed in a simulated world, and what one of them excuses.

A gap is a way to lose entries and to be right all the same, so it is held to what was planned:

- ``crowded``: as many entries as at least the smallest page lie there, on one tick, or within one
  cut of the API's bounds; no more are claimed than lie there, and no fewer than arrived. It
  excuses those that this leaves.
- ``retention``: excuses what had left the API when it was claimed, and nothing of it was shown
  then. Where the API keeps everything, it is a doubt after a long time, or one that looks long.
- ``unreadable``: only where the API was planned to fail. It excuses nothing: in the end all can
  be read.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support.simulation.plan import HOUR, Plan
from support.simulation.watch import Claim

from bridge.gaps import gap_uid, sentence
from bridge.model import SECOND, GapKind, Tick
from bridge.simulator.faults import DateOff, Poisoned
from bridge.simulator.store import Written
from bridge.source.walk import DOCUMENTED_PAGE
from bridge.timestamps import ceil_to, floor_to

if TYPE_CHECKING:
    from support.simulation.universe import Universe

ACCOUNT = "account"
"""The name under which the whole account is read."""

_GAP: Final = "fal.gap"
"""The attribute of the records that tell of gaps."""

_AROUND_POISON: Final = 2 * SECOND
"""A slice that fails is cut down to a second, and its bounds are rounded to seconds."""


def check(world: Universe) -> None:
    """Every gap that was ever claimed may be, and all that are open are told everywhere."""
    for claim in world.watch.claims.values():
        problem = _problem(world, claim)
        assert problem is None, (problem, claim)
    for name, backend in world.backends.items():
        _check_told(world, name, {r.uid for r in backend.records if tells_of_a_gap(r.record)})


def unexcused(world: Universe, missing: Counter[str], arrived: Counter[str]) -> Counter[str]:
    """What is missing at a destination and no open gap accounts for."""
    lost = Counter(missing)
    for app, gaps in world.gaps.items():
        for gap in gaps:
            claim = Claim(app, gap, world.watch.claims[app, gap.key].at)
            for message in _excused(world, claim, missing, arrived):
                del lost[message]
    return lost


def tells_of_a_gap(record: LogRecord) -> bool:
    """Whether this record is one of the bridge's own about a gap."""
    return any(attribute.key == _GAP for attribute in record.attributes)


def _excused(
    world: Universe, claim: Claim, missing: Counter[str], arrived: Counter[str]
) -> set[str]:
    inside = _inside(world, claim)
    if claim.gap.kind is GapKind.RETENTION:
        return {w.raw["message"] for w in inside if _expired(world, w, claim.at)}
    messages = {w.raw["message"] for w in inside}
    there = sum(arrived[message] for message in messages)
    gone = sum(missing[message] for message in messages)
    crowded = claim.gap.kind is GapKind.CROWDED
    return messages if crowded and there <= claim.gap.at_least <= len(inside) - gone else set()


def _problem(world: Universe, claim: Claim) -> str | None:
    """Why this gap should not have been claimed."""
    match claim.gap.kind:
        case GapKind.CROWDED:
            return _no_crowd(world, claim)
        case GapKind.RETENTION:
            return _nothing_gone(world, claim)
        case GapKind.UNREADABLE:
            return None if _fails(world, claim) else "the API does not fail there"


def _no_crowd(world: Universe, claim: Claim) -> str | None:
    gap, there = claim.gap, len(_inside(world, claim))
    if gap.ceiling - gap.floor > (1 if world.plan.cut is None else SECOND):
        return "a crowd wider than a tick, or than what bounds are cut by"
    if _around(world, claim) < DOCUMENTED_PAGE:
        return f"a crowd of {there}, of which any page shows all"
    return f"no more than {there} are there" if gap.at_least > there else None


def _always_selected(world: Universe, entry: Written) -> bool:
    """Whether the filters of every life let it pass; another may have passed it by."""
    labels = entry.raw["labels"] if isinstance(entry.raw["labels"], dict) else {}
    wanted = (pair for setup in world.plan.setups for pair in setup.labels)
    return all(labels.get(key) == value for key, value in wanted)


def _around(world: Universe, claim: Claim) -> int:
    """How many entries stand within the cuts of a crowd: they are asked for together."""
    cut = 1 if world.plan.cut is None else SECOND
    floor, ceiling = floor_to(claim.gap.floor, cut), ceil_to(claim.gap.ceiling, cut)
    return len(_inside(world, replace(claim, gap=replace(claim.gap, floor=floor, ceiling=ceiling))))


def _nothing_gone(world: Universe, claim: Claim) -> str | None:
    inside = [w for w in _inside(world, claim) if _always_selected(world, w)]
    if any(w.visible_at < claim.at and not _expired(world, w, claim.at) for w in inside):
        return "the API still shows some of it"
    if world.plan.api.retention is None and not _looks_long(world.plan):
        return "nothing leaves the API, and nothing looks as if"
    return None


def _inside(world: Universe, claim: Claim) -> list[Written]:
    return [
        w
        for w in world.plan.entries
        if claim.app in (ACCOUNT, w.raw["app"]) and claim.gap.floor <= w.tick < claim.gap.ceiling
    ]


def _expired(world: Universe, entry: Written, at: Tick) -> bool:
    retention = world.plan.api.retention
    return retention is not None and entry.tick + retention <= at


def _fails(world: Universe, claim: Claim) -> bool:
    """Whether a request for the gap meets what the API was planned to fail for."""
    return any(
        isinstance(spell.fault, Poisoned)
        and spell.fault.app in (None, claim.app)
        and spell.start <= claim.at
        and claim.gap.floor < spell.fault.end + _AROUND_POISON
        and claim.gap.ceiling > spell.fault.start - _AROUND_POISON
        for spell in world.plan.poison
    )


def _looks_long(plan: Plan) -> bool:
    """Whether an hour may seem to pass without a read: it does, or some clock is wrong by one."""
    hour = int(HOUR) * SECOND
    failing = (*plan.api_trouble, *plan.poison)
    return (
        any(life.downtime >= HOUR for life in plan.lives)
        or any(spell.end - spell.start >= hour for spell in failing)
        or any(abs(skew) >= hour for skew in (plan.skew, *(by for _, by in plan.steps)))
        or any(isinstance(s.fault, DateOff) and abs(s.fault.by) >= hour for s in plan.dates)
        or any(w.tick - w.visible_at > hour - 60 * SECOND for w in plan.entries)  # waited for
    )


def _check_told(world: Universe, destination: str, told: set[str]) -> None:
    """There is a record for each open gap, and none for a gap that nobody claimed."""
    claimed = {gap_uid(app, claim.gap).hex() for (app, _), claim in world.watch.claims.items()}
    assert told <= claimed, (destination, "a record of a gap that is none", told - claimed)
    if world.attached[destination] > world.outside.epoch:
        return  # it was told before this destination was there, perhaps
    for app, gaps in world.gaps.items():
        for gap in gaps:
            known = gap_uid(app, gap).hex() in told
            buried = any(sentence(gap) in body for body in world.dead[destination])
            assert known or buried, (destination, "was not told of", app, gap)
