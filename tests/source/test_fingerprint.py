"""Identity: equal for every read of an entry, different for everything else."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import workers

from bridge.model import Entry, Identified
from bridge.source.decode import decode_entries
from bridge.source.fingerprint import canonical_bytes, content_hash, identify
from bridge.timestamps import parse_tick

BASE: dict[str, Any] = {
    "timestamp": "2025-09-19T12:16:10.599608",
    "level": "INFO",
    "message": "71 seconds of sleep remaining",
    "app": "a",
    "revision": "r",
    "labels": {
        "app": "a",
        "fal_env": "prod",
        "fal_user_nickname": "efiop",
        "level": "INFO",
        "logged_at": "2025-09-19T12:16:10.599608+00:00",
        "message": "71 seconds of sleep remaining",
    },
}


def entry(raw: Any) -> Entry:
    """An entry of this raw value."""
    return Entry(raw, parse_tick(raw.get("timestamp")) if isinstance(raw, dict) else None)


def changed(**fields: Any) -> dict[str, Any]:
    """The base entry with other top-level fields."""
    return {**BASE, **fields}


def relabelled(**labels: Any) -> dict[str, Any]:
    """The base entry with other labels; None removes one."""
    merged = {**BASE["labels"], **labels}
    return changed(labels={k: v for k, v in merged.items() if v is not None})


@pytest.mark.parametrize(
    "same",
    [
        changed(level="info"),
        changed(timestamp="2025-09-19T12:16:10.599608Z"),
        changed(timestamp="2025-09-19T14:16:10.599608+02:00"),
        changed(labels=dict(reversed(BASE["labels"].items()))),
        relabelled(fal_user_nickname="renamed"),
        relabelled(traceback="Traceback (most recent call last): ..."),
        relabelled(app=None, level=None, message=None, logged_at=None),
    ],
)
def test_what_may_differ_between_two_reads_is_left_out(same: dict[str, Any]) -> None:
    """Label order, repeated fields, tracebacks and nicknames do not count (trap 8)."""
    assert content_hash(entry(same)) == content_hash(entry(BASE))


@pytest.mark.parametrize(
    "other",
    [
        changed(message="70 seconds of sleep remaining"),
        changed(timestamp="2025-09-19T12:16:10.599609"),
        changed(level="ERROR"),
        changed(app="b"),
        changed(revision=None),
        changed(labels=None),
        relabelled(fal_env="dev"),
        relabelled(level="ERROR"),
        relabelled(logged_at="2025-09-19T12:16:11+00:00"),
    ],
)
def test_everything_else_counts(other: dict[str, Any]) -> None:
    """Entries that differ are two."""
    assert content_hash(entry(other)) != content_hash(entry(BASE))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json | st.fixed_dictionaries({"timestamp": json, "labels": json, "message": json}))
def test_anything_has_an_identity(raw: Any) -> None:
    """No value the API could send breaks it, lone surrogates and huge numbers included."""
    assert len(content_hash(entry(raw))) == 16


@pytest.mark.parametrize(
    "body",
    [
        b'[{"message": "\\ud800 lone"}]',
        b'[{"message": %d}]' % 10**400,
        b'[{"message": 1' + b"0" * 5_000 + b"}]",
        b'[{"message": 1e999}]',
        b'[{"message": NaN}]',
        b'[{"message": "stray \xff byte"}]',
        b'[{"message": ' + b"[" * 300 + b"]" * 300 + b"}]",
    ],
)
def test_odd_json_is_decoded_and_identified(body: bytes) -> None:
    """What strict JSON refuses but a person could read is still an entry."""
    (odd,) = decode_entries(body)
    assert odd.raw["message"] is not None
    assert content_hash(odd) == content_hash(decode_entries(body)[0])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'[{"message": "cut sho', "not whole JSON"),
        (b"<html>proxy</html>", "not whole JSON"),
        (b"", "not whole JSON"),
        (b'{"detail": "odd"}', "not an array"),
        (b"null", "not an array"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_a_whole_array_is_never_an_empty_page(body: bytes, why: str) -> None:
    """A truncated or foreign body is an error (trap 25)."""
    with pytest.raises(ValueError, match=why):
        decode_entries(body)


@given(st.lists(st.sampled_from("abc")))
def test_equals_get_an_identity_each(letters: list[str]) -> None:
    """N equal entries of a tick have n fingerprints, the same whatever their order."""
    entries = [entry({**BASE, "message": letter}) for letter in letters]
    alike = [Identified(e, 0, content_hash(e)) for e in entries]
    found, again = identify(alike), identify(alike[::-1])
    assert len({i.uid for i in found}) == len(entries)
    assert {i.uid for i in found} == {i.uid for i in again}
    assert Counter(i.entry.raw["message"] for i in found) == Counter(letters)


@given(workers.entries())
@example({**BASE, "level": True, "labels": {**BASE["labels"], "level": 1}})
@example({**BASE, "message": math.nan, "labels": {**BASE["labels"], "message": math.nan}})
def test_what_a_worker_shares_is_no_part_of_who_an_entry_is(raw: dict[str, Any]) -> None:
    """The bytes that are hashed are the same whether its labels were looked up or read."""
    read, looked_up = workers.both(raw)
    assert canonical_bytes(looked_up) == canonical_bytes(read)


def test_an_identity_is_for_good() -> None:
    """It is in people's journals and backends: these bytes must never become others."""
    raw = {**BASE, "labels": {**BASE["labels"], "zone": "é", "fal_job_id": 'a"b', "note": [1, {}]}}
    expected = (
        b'[1758284170599608,"INFO","71 seconds of sleep remaining","a","r",'
        b'{"fal_env":"prod","fal_job_id":"a\\"b","note":[1,{}],"zone":"\xc3\xa9"}]'
    )
    for one in workers.both(raw):
        assert canonical_bytes(one) == expected
        assert content_hash(one).hex() == "b273c3f4566deaf58a01d2a175d48e38"


def test_a_decoded_entry_knows_its_worker() -> None:
    """Lines of one worker share one object; one that is to be read word by word has none."""
    labels = '"labels": {"fal_env": "prod", "source": "gateway", "level": "INFO", "own": "%s"}'
    line = '{"timestamp": "2025-09-19T12:16:10.599608", "level": "%s", ' + labels + "}"
    body = f"[{line % ('INFO', 1)}, {line % ('INFO', 2)}, {line % ('DEBUG', 1)}, {{}}, 1]"
    one, same, *others = (entry.provenance for entry in decode_entries(body.encode()))
    assert one is not None
    assert one is same
    assert others == [None, None, None]
