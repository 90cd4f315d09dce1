"""The short way of a plain entry to its record, against the general one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from support.workers import LABELS, TIME, TRACEBACK, both, entries

from bridge.mapping import Mapper
from bridge.mapping import provenance as looking_up
from bridge.mapping.plain import plain_record
from bridge.mapping.reading import read
from bridge.mapping.record import log_record
from bridge.mapping.shaping import Mask, Rules
from bridge.model import Entry, Identified, Json
from bridge.source.decode import decode_entries
from bridge.source.fingerprint import content_hash

OBSERVED = 1_758_284_171_000_000
UID = bytes(range(16))
RULES = Rules(strip_ansi=True, parse_json=True, infer_level=True, masks=(Mask("mask[0]", "[ab]+"),))


def raw(labels: dict[str, Json] | None = None, **fields: Json) -> dict[str, Json]:
    """A plain entry with these labels and fields too."""
    known = {"timestamp": TIME, "level": "INFO", "message": "x", "app": "one", "revision": "r1"}
    repeated = {"level": "INFO", "message": "x", "logged_at": f"{TIME}+00:00"}
    return known | fields | {"labels": {**LABELS, **repeated, **(labels or {})}}


def plainly(entry: Entry) -> bytes | None:
    """Its record by the short way, None where that does not take it."""
    if entry.provenance is None:
        return None
    return plain_record(Identified(entry, 0, UID), entry.provenance, OBSERVED, 9)


@given(entries())
@example(raw())
@example(raw({"environment": "blue", "note": 1}, level="STDERR"))
@example(raw({"level": 1}, level=True))
def test_either_way_gives_the_same_bytes(raw: dict[str, Any]) -> None:
    """Record and resource, whatever an entry holds and whichever way it takes."""
    word_by_word, looked_up = both(raw)
    record = plainly(looked_up)
    general = log_record(Identified(word_by_word, 0, UID), read(word_by_word), OBSERVED, stderr=9)
    assert record in {None, general}
    for rules in (None, RULES):
        mapper = Mapper(app="app", service=None, fallback_service="app", resource={}, rules=rules)
        one, other = (mapper.encode([Identified(entry, 0, UID)], 1) for entry in both(raw))
        assert one == other


@pytest.mark.parametrize(
    "plain",
    [
        raw(),
        raw({"environment": "blue", "note": 1, "list": [1]}),
        raw({"fal_request_id": "x" * 3_000}),
        raw({"level": "STDERR"}, level="STDERR"),
        {key: value for key, value in raw().items() if key not in {"app", "revision"}},
    ],
)
def test_most_entries_take_the_short_way(plain: dict[str, Json]) -> None:
    """Those without traces and without anything that the API does not promise."""
    assert plainly(both(plain)[1]) is not None


@pytest.mark.parametrize(
    "other",
    [
        raw({"message": TRACEBACK}, message=TRACEBACK),
        raw({"message": "y"}),
        raw({"level": "info"}),
        raw({"level": 1}, level=True),
        raw({"logged_at": "2025-09-19T12:16:11+00:00"}),
        raw({"note": TRACEBACK}),
        raw({"traceback": "boom"}),
        raw({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}),
        raw({"app_id": 1}),
        raw({"app_id": ["r1"]}),
        raw({"app_id": "x" * 3_000}),
        raw({"k" * 3_000: ""}),
        raw(status="odd"),
        raw(timestamp="1969-12-31T23:59:59.000000"),
        raw(timestamp=None),
        raw() | {"labels": None},
    ],
)
def test_all_others_take_the_general_one(other: dict[str, Json]) -> None:
    """The short way has no word for them."""
    assert plainly(both(other)[1]) is None


def test_an_entry_is_looked_up_once() -> None:
    """Not once for its identity and again for its record."""
    mapper = Mapper(app="app", service=None, fallback_service="app", resource={})
    body = b'[{"timestamp": "%s", "message": "x", "labels": {"source": "once"}}]' % TIME.encode()
    looks = [looking_up._kept.cache_info()]
    (entry,) = decode_entries(body)
    found = Identified(entry, 0, content_hash(entry))
    mapper.encode([found], 1)
    looks.append(looking_up._kept.cache_info())
    before, after = (look.hits + look.misses for look in looks)
    assert after - before == 1
