"""The two sides and the tally together: a plain reader that loses nothing is told so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bridge.model import SECOND
from bridge.payload import compress
from bridge.simulator.account import Account
from bridge.simulator.exchange import Request
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.manual_clock import NOON, ManualClock
from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.tally import Standing, Tally
from bridge.simulator.times import naive, parsed


def exported(entries: list[dict[str, Any]]) -> bytes:
    """The least mapping: time, body, service, and a uid by place."""
    message = ExportLogsServiceRequest()
    for at, entry in enumerate(entries):
        resource_logs = message.resource_logs.add()
        service = resource_logs.resource.attributes.add(key="service.name")
        service.value.string_value = entry["app"]
        time = parsed(entry["labels"]["logged_at"]) * 1_000
        record = resource_logs.scope_logs.add().log_records.add(time_unix_nano=time)
        record.body.string_value = entry["message"]
        uid = record.attributes.add(key="log.record.uid")
        uid.value.string_value = str(at)
    return compress(message.SerializeToString())


@pytest.mark.parametrize(("after", "complete"), [(0, False), (30 * SECOND, True)])
def test_read_all_and_deliver_all(after: int, complete: bool) -> None:
    """Complete once late entries show; before that they are hidden, not missing."""
    clock, tally = ManualClock(), Tally()
    fake = LogsApiFake(clock, LogsApiConfig(key="k", recent=3_600 * SECOND))
    account = Account(3, NOON - 60 * SECOND, 40, late=0.2)
    for entry in account.entries_between(account.start, NOON):
        fake.add(entry)
        tally.write(entry)
    clock.tick += after
    headers = (("authorization", "Key k"), ("content-type", "application/json"))
    query = (("since", naive(account.start - 1)), ("limit", "100000"))
    page = json.loads(fake.answer(Request("POST", "/logs/", query, headers, b"{}")).body)
    backend = OtlpBackend(BackendConfig(keep_records=False), tally.deliver)
    headers = (("content-type", "application/x-protobuf"), ("content-encoding", "gzip"))
    sending = Request("POST", "/v1/logs", (), headers, exported(page))
    assert [backend.answer(sending).status for _ in range(2)] == [200, 200]
    count = len(page)
    assert count > 1_500
    hidden = 0 if complete else fake.kept - count
    assert tally.standing(clock.now()) == Standing(count, hidden, count, 0, count, 0)
    assert tally.standing(clock.now()).complete is complete
