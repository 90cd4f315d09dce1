"""Trying destinations out: reached without a record, and told what their word is worth."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from destinations.otlp_grpc_server import Call, GrpcReceiver
from support import relp_receiver
from support.rsyslog import free_port

from bridge import settings
from bridge.app.check import Mark, Row, check, failed
from bridge.app.parts import World
from bridge.clock import Clock, SystemClock
from bridge.journal import Journal

BEST_EFFORT = "best effort: nothing confirms what was received"
CONFIRMED = "at least once: it confirms what it has"


def no_journal(_: settings.Journal, __: Clock) -> Journal:
    """A check must not touch the journal."""
    raise AssertionError("the journal was opened")


async def tried(
    *destinations: dict[str, Any], answer: Callable[[httpx.Request], httpx.Response] | None = None
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
        out=io.BytesIO(),
        open_journal=no_journal,
        api_transport=httpx.MockTransport(lambda _: httpx.Response(401)),
        otlp_transport=lambda _: httpx.MockTransport(answer) if answer else None,
    )
    return [row async for row in check(config, world) if row.target.startswith("destination ")]


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
    assert reached.finding == f"no connection to {endpoint}: Connection refused"
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
