"""What lines of one worker share: looked up at once, and never another worker's."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from bridge.mapping import Mapper
from bridge.mapping.reading import Reading, read
from bridge.model import Entry, Identified, Json
from bridge.payload import Request, records_of
from bridge.timestamps import parse_tick

TIME = "2025-09-19T12:16:10.599608"
WORKER = {"fal_env": "prod", "fal_job_id": "j1", "app_id": "a1", "source": "gateway"}
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: boom'


def raw(labels: dict[str, Json], **fields: Json) -> dict[str, Json]:
    """An entry with these labels, and with these fields instead of its own."""
    known = {"timestamp": TIME, "message": "x", "app": "one", "revision": "r1"}
    return {**known, **fields, "labels": labels}


def reading(labels: dict[str, Json], **fields: Json) -> Reading:
    """The same, read."""
    return read(Entry(raw(labels, **fields), parse_tick(TIME)))


def attributes(*entries: dict[str, Json]) -> list[dict[str, Any]]:
    """The attributes of each entry's record, mapped one after another."""
    found = [
        Identified(Entry(one, parse_tick(TIME)), 0, number.to_bytes(16, "big"))
        for number, one in enumerate(entries)
    ]
    requests = Mapper(app="one", service=None, fallback_service="one", resource={}).encode(found, 1)
    records: list[LogRecord] = [record for _, _, record in records_of(Request(tuple(requests)).raw)]
    records.sort(key=lambda record: record.attributes[0].value.string_value)
    return [
        {pair.key: pair.value.SerializeToString(deterministic=True) for pair in record.attributes}
        for record in records
    ]


def test_lines_of_one_worker_share_one_object() -> None:
    """Whatever else they say; and those of another worker, app or revision have another one."""
    one = reading({**WORKER, "fal_request_id": "1", "level": "INFO"}).provenance
    assert reading({**WORKER, "fal_request_id": "2", "level": "DEBUG"}).provenance is one
    others = [
        reading({**WORKER, "fal_job_id": "j2", "fal_request_id": "1", "level": "INFO"}),
        reading({**WORKER, "fal_request_id": "1", "level": "INFO"}, app="two"),
        reading({**WORKER, "fal_request_id": "1", "level": "INFO"}, revision=None),
        reading({**WORKER, "fal_node_id": "n", "fal_request_id": "1", "level": "INFO"}),
    ]
    assert all(other.provenance is not one for other in others)


@pytest.mark.parametrize("values", list(permutations([1, True, 1.0, "1"])))
def test_values_that_are_equal_only_to_python_are_kept_apart(values: tuple[Json, ...]) -> None:
    """A label says what its own entry said, whichever came first."""
    expected = {repr(one): attributes(raw({"app_id": one}))[0]["fal.app_id"] for one in values}
    assert len(set(expected.values())) == 4
    mapped = attributes(*(raw({"app_id": one}) for one in values))
    assert [one["fal.app_id"] for one in mapped] == [expected[repr(one)] for one in values]


def test_traceback_in_a_workers_label_is_found() -> None:
    """It is told as an exception, although such a label is most often looked up unread."""
    [record] = attributes(raw({**WORKER, "source": TRACEBACK}))
    assert b"ValueError" in record["exception.type"]


def test_own_labels_are_those_that_say_something_of_the_entry_alone() -> None:
    """Neither the worker's nor what a field says already; a label that differs from its field."""
    labels = {**WORKER, "level": "INFO", "message": "y", "logged_at": f"{TIME}+00:00", "custom": 1}
    assert reading(labels, level="INFO").labels == {"custom": 1, "message": "y"}
    assert reading({**WORKER, "fal_env": ["prod"]}).labels == {**WORKER, "fal_env": ["prod"]}
