"""Trying destinations out: reached without a record, and told what their word is worth."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from destinations.otlp_grpc_server import Call, GrpcReceiver
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support import relp_receiver
from support.ports import free_port

from bridge import settings
from bridge.app.check import Mark, Row, check, failed
from bridge.app.parts import World
from bridge.clock import Clock, SystemClock
from bridge.destinations.otlp_answer import NOT_REACHED
from bridge.journal import Journal
from bridge.payload import records_of, uid_of

BEST_EFFORT = "best effort: nothing confirms what was received"
CONFIRMED = "at least once: it confirms what it has"


def no_journal(_: settings.Journal, __: Clock) -> Journal:
    """A check must not touch the journal."""
    raise AssertionError("the journal was opened")


async def tried(
    *destinations: dict[str, Any],
    answer: Callable[[httpx.Request], httpx.Response] | None = None,
    send: bool = False,
    out: io.BytesIO | None = None,
) -> list[Row]:
    """The rows of these destinations; the API is of no concern and answers nobody."""
    config = settings.Settings.model_validate(
        {
            "fal": {"base_url": "http://api.test", "key": "a:b"},
            "apps": ({"app_id": "one"},),
            "destinations": [
                {"name": f"d{n}", "timeout": 5, **one} if one["type"] in {"otlp", "syslog"} else one
                for n, one in enumerate(destinations)
            ],
        }
    )
    world = World(
        clock=SystemClock(),
        random=Random(1),
        emit=lambda _: None,
        out=out or io.BytesIO(),
        open_journal=no_journal,
        api_transport=httpx.MockTransport(lambda _: httpx.Response(401)),
        otlp_transport=lambda _: httpx.MockTransport(answer) if answer else None,
    )
    rows = check(config, world, send=send)
    return [row async for row in rows if row.target.startswith("destination ")]


@pytest.mark.parametrize(
    ("status", "mark", "words"),
    [
        (200, Mark.OK, "works"),
        (400, Mark.UNKNOWN, "400 Bad Request from http://h/v1/logs"),
        (401, Mark.FAILED, "401 Unauthorized from http://h/v1/logs"),
        (503, Mark.FAILED, "503 Service Unavailable from http://h/v1/logs"),
    ],
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_otlp_is_asked_with_an_empty_request(
    protocol: str, status: int, mark: Mark, words: str
) -> None:
    """Whether the key is right is known only from an answer; no record is sent for it."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status)

    otlp = {"type": "otlp", "endpoint": "http://h", "protocol": protocol, "compression": "none"}
    reached, promised = asyncio.run(tried(otlp, answer=answer))
    assert (reached.target, reached.check, reached.mark) == ("destination d0", "connection", mark)
    assert words in reached.finding
    assert (promised.check, promised.finding) == ("delivery", CONFIRMED)
    assert [request.content for request in asked] == [
        b'{"resourceLogs":[]}' if "json" in protocol else b""
    ]


def test_grpc_is_asked_with_an_empty_request() -> None:
    """Over a real channel."""
    bodies: list[bytes] = []

    async def answer(call: Call) -> bytes:
        bodies.append(call.body)
        return b""

    async def main() -> list[Row]:
        async with GrpcReceiver(answer) as receiver:
            endpoint = f"http://127.0.0.1:{receiver.port}"
            return await tried({"type": "otlp", "protocol": "grpc", "endpoint": endpoint})

    rows = asyncio.run(main())
    assert not failed(rows)
    assert [row.finding for row in rows] == ["works", CONFIRMED]
    assert bodies == [b""]


def test_relp_is_opened() -> None:
    """With the receiver's own answer, and no message."""
    receiver = relp_receiver.Receiver()

    async def main() -> list[Row]:
        async with relp_receiver.receiving(receiver):
            return await tried({"type": "syslog", "endpoint": f"relp://127.0.0.1:{receiver.port}"})

    rows = asyncio.run(main())
    assert [row.finding for row in rows] == ["works", CONFIRMED]
    assert receiver.commands == ["open", "close"]


@pytest.mark.parametrize("scheme", ["tcp", "tls", "relp", "relps"])
def test_a_receiver_that_is_not_there(scheme: str) -> None:
    """Is found out over each protocol; which confirm nothing is said all the same."""
    endpoint = f"{scheme}://127.0.0.1:{free_port()}"
    reached, promised = asyncio.run(tried({"type": "syslog", "endpoint": endpoint}))
    assert reached.mark is Mark.FAILED
    assert reached.finding == f"no connection to {endpoint}: Connection refused ({NOT_REACHED})"
    assert promised.finding == (CONFIRMED if scheme.startswith("relp") else BEST_EFFORT)


def test_udp_tells_nothing() -> None:
    """A datagram would be a message, so none is sent."""
    reached, promised = asyncio.run(tried({"type": "syslog", "endpoint": "udp://127.0.0.1:9"}))
    assert (reached.mark, promised.finding) == (Mark.UNKNOWN, BEST_EFFORT)
    assert reached.finding == "over UDP nothing tells whether anybody listens"
    unknown = asyncio.run(tried({"type": "syslog", "endpoint": "udp://no-such-host.invalid"}))
    assert unknown[0].mark is Mark.FAILED


def test_each_destination_is_told_of(tmp_path: Path) -> None:
    """Several at once; a file is not made by looking whether it can be."""
    there, away = tmp_path / "there", tmp_path / "away" / "file"
    rows = asyncio.run(
        tried(
            {"type": "console", "name": "screen"},
            {"type": "file", "name": "archive", "path": str(there)},
            {"type": "file", "name": "lost", "path": str(away)},
            {"type": "file", "name": "odd", "path": str(tmp_path)},
        )
    )
    assert [(row.target, row.check, row.mark, row.finding) for row in rows] == [
        ("destination screen", "connection", Mark.OK, "works"),
        ("destination screen", "delivery", Mark.OK, BEST_EFFORT),
        ("destination archive", "connection", Mark.OK, "works"),
        ("destination archive", "delivery", Mark.OK, CONFIRMED),
        (
            *("destination lost", "connection", Mark.FAILED),
            f"cannot write {away}: No such file or directory (make the folder, or mount it)",
        ),
        ("destination lost", "delivery", Mark.OK, CONFIRMED),
        (
            *("destination odd", "connection", Mark.FAILED),
            f"{tmp_path} is not a regular file (type: console writes to standard output)",
        ),
        ("destination odd", "delivery", Mark.OK, CONFIRMED),
    ]
    assert not there.exists()


def _partly(refused: int, said: str) -> httpx.Response:
    """An acceptance with a reservation."""
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = refused
    answer.partial_success.error_message = said
    headers = {"Content-Type": "application/x-protobuf"}
    return httpx.Response(200, headers=headers, content=answer.SerializeToString())


OTLP = {"type": "otlp", "endpoint": "http://h", "compression": "none"}


def records(asked: list[httpx.Request]) -> list[tuple[dict[str, str], LogRecord]]:
    """The records that were sent, each with its resource."""
    return [
        ({pair.key: pair.value.string_value for pair in group.resource.attributes}, record)
        for request in asked
        for group, _, record in records_of(request.content)
    ]


def test_a_test_record(tmp_path: Path) -> None:
    """One for each destination, which says what it is, under a uid of its own; file and console."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    out, file = io.BytesIO(), tmp_path / "archive"
    rows = asyncio.run(
        tried(
            {**OTLP, "resource": {"team": "images"}},
            OTLP,
            {"type": "console", "name": "screen"},
            {"type": "file", "name": "archive", "path": str(file)},
            answer=answer,
            send=True,
            out=out,
        )
    )
    first, second = records(asked)
    sent = [row for row in rows if row.check == "test record"]
    assert [row.mark for row in sent] == [Mark.OK] * 4
    uids = [row.finding.rpartition(" ")[2] for row in sent]
    assert len(set(uids)) == 4
    assert [uid_of(first[1]), uid_of(second[1])] == uids[:2]
    assert first[1].event_name == "fal_log_bridge.test"
    assert "a test record" in first[1].body.string_value
    assert (first[0]["service.name"], first[0]["team"]) == ("fal-log-bridge", "images")
    assert "team" not in second[0]
    assert sent[0].finding == f"taken, log.record.uid {uids[0]}"
    assert sent[2].finding == f"sent, log.record.uid {uids[2]}"
    assert sent[2].mend == "nothing confirms that it was received: look for it there"
    assert json.loads(out.getvalue())["uid"] == uids[2]
    assert json.loads(file.read_text())["uid"] == uids[3]


@pytest.mark.parametrize(
    ("answered", "mark", "finding", "mend"),
    [
        (httpx.Response(401), Mark.FAILED, "401 Unauthorized", "entries are held"),
        (httpx.Response(503), Mark.FAILED, "503 Service", "would be sent again until it answers"),
        (httpx.Response(400), Mark.FAILED, "400 Bad Request", "but not this record"),
        (httpx.Response(413), Mark.FAILED, "413", "but not this record"),
        (_partly(1, "too odd"), Mark.FAILED, "too odd", "but not this record"),
        (_partly(0, "old names"), Mark.UNKNOWN, "old names", ""),
    ],
)
def test_a_test_record_that_is_not_taken(
    answered: httpx.Response, mark: Mark, finding: str, mend: str
) -> None:
    """Its verdict stands in the table, with what it would mean for entries; it is sent once."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if not records([request]):
            return httpx.Response(200)
        asked.append(request)
        return answered

    rows = asyncio.run(tried(OTLP, answer=answer, send=True))
    (row,) = (row for row in rows if row.check == "test record")
    assert row.mark is mark
    assert finding in row.finding
    assert mend in row.mend
    assert failed(rows) is (mark is Mark.FAILED)
    assert len(asked) == 1


def test_no_test_record_where_nobody_is() -> None:
    """What could not be reached is told once."""
    rows = asyncio.run(tried(OTLP, answer=lambda _: httpx.Response(401), send=True))
    assert [row.check for row in rows] == ["connection", "delivery"]


def test_no_test_record_unasked() -> None:
    """Without --send none is sent."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    rows = asyncio.run(tried(OTLP, answer=answer))
    assert [row.check for row in rows] == ["connection", "delivery"]
    assert not records(asked)
