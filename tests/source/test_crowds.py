"""Crowds read in parts: what divides them, and when two partitions prove them whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bridge.model import Entry, Filter, Page, Tick
from bridge.source.crowds import Crowds, independent, keys_for, narrowed
from bridge.source.walk import Walk

T0: Tick = 1_758_283_200_000_000


def entry(number: int, **labels: str) -> Entry:
    """An entry on the crowded tick."""
    raw = {"timestamp": "2025-09-19T12:00:00", "message": f"m{number}", "labels": labels}
    return Entry(raw, T0)


class Api:
    """Shows at most ``cap`` entries of one tick, filtered by labels, and counts its requests."""

    def __init__(self, entries: Sequence[Entry], cap: int) -> None:
        self.entries = entries
        self.cap = cap
        self.asked: list[Filter] = []

    async def drive(self, walk: Walk, selection: Filter, *, patience: float | None) -> None:
        """Read a walk to its end."""
        assert patience == 60
        self.asked.append(selection)
        while not walk.done:
            walk.take(self.page(walk, selection))

    def page(self, walk: Walk, selection: Filter) -> Page:
        """The newest entries within bounds and filters."""
        wanted = dict(selection.labels)
        if selection.job_id:
            wanted["fal_job_id"] = selection.job_id
        bounds = walk.bounds
        inside = bounds.since < T0 and (bounds.until is None or bounds.until > T0)
        shown = [e for e in self.entries if inside and wanted.items() <= e.raw["labels"].items()]
        return Page(tuple(shown[: min(self.cap, bounds.limit)]), None)


def resolved(entries: Sequence[Entry], cap: int = 100) -> tuple[Walk, bool, Api]:
    """A walk over the crowd, whether it was proved whole, and the API."""
    api = Api(entries, cap)

    async def main() -> tuple[Walk, bool]:
        walk = Walk(floor=T0 - 1_000_000, ceiling=T0 + 1_000_000, anchor=None, limit=1_000)
        await api.drive(walk, Filter(), patience=60)
        (crowd,) = walk.crowds
        return walk, await Crowds(Filter(), api.drive).resolve(walk, crowd, patience=60)

    walk, whole = asyncio.run(main())
    return walk, whole, api


def test_two_independent_partitions_prove_a_crowd() -> None:
    """250 entries of eight jobs, which each print on three streams, behind a cap of 100."""
    entries = [
        entry(n, fal_job_id=f"job-{n % 8}", isolate_source=("USER", "BRIDGE", "BUILDER")[n % 3])
        for n in range(250)
    ]
    walk, whole, _ = resolved(entries)
    assert len(walk.found()) == 250
    assert whole


def test_one_partition_finds_all_and_proves_nothing() -> None:
    """Only jobs, and workers named after them, tell the entries apart: a gap stays (trap 6)."""
    entries = [
        entry(n, fal_job_id=f"job-{n % 8}", fal_worker_id=f"worker-{n % 8}") for n in range(250)
    ]
    walk, whole, _ = resolved(entries)
    assert len(walk.found()) == 250
    assert not whole


def test_values_found_on_the_way_are_followed() -> None:
    """A job that the first page does not show is known from another partition's cells."""
    entries = [
        entry(n, fal_job_id=f"job-{n // 60}", source=("run", "gateway", "deploy")[n % 3])
        for n in range(240)
    ]
    walk, _, api = resolved(entries)
    assert len(walk.found()) == 240
    assert {selection.job_id for selection in api.asked} >= {"job-0", "job-1", "job-2", "job-3"}


def test_alike_entries_cannot_be_divided() -> None:
    """What no label tells apart is taken as shown; no request is spent on it."""
    walk, whole, api = resolved([entry(n, fal_job_id="one") for n in range(250)])
    assert len(walk.found()) == 100
    assert not whole
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("selection", "free"),
    [
        (Filter(), {"fal_job_id", "fal_env"}),
        (Filter(job_id="a"), {"fal_env"}),
        (Filter(labels=(("fal_env", "prod"),)), {"fal_job_id"}),
    ],
)
def test_a_key_in_use_is_never_filtered_on_again(selection: Filter, free: set[str]) -> None:
    """The API refuses a duplicate label key with a 400."""
    entries = [entry(n, fal_job_id=f"j{n % 2}", fal_env=f"e{n % 3}") for n in range(6)]
    assert set(keys_for(selection, entries)) == free


def test_keys_that_follow_from_each_other_are_not_independent() -> None:
    """A node of several jobs hides what they hide."""
    nested = [entry(n, fal_job_id=f"j{n}", fal_node_id=f"n{n // 2}") for n in range(8)]
    crossed = [entry(n, fal_job_id=f"j{n % 4}", source=f"s{n // 4}") for n in range(8)]
    assert not independent("fal_job_id", "fal_node_id", nested)
    assert independent("fal_job_id", "source", crossed)


def test_parameters_of_the_api_stand_for_their_labels() -> None:
    """`labels.app_id` is the revision, so it is asked for by that parameter."""
    assert narrowed(Filter(), "fal_job_id", "x") == Filter(job_id="x")
    assert narrowed(Filter(), "fal_request_id", "x") == Filter(request_id="x")
    assert narrowed(Filter(), "app_id", "x") == Filter(revision="x")
    assert narrowed(Filter(), "fal_env", "x") == Filter(labels=(("fal_env", "x"),))
