"""The console destination."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from destinations.requests import NOON, request
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from bridge.destinations.console import Console
from bridge.model import Outcome, Verdict
from bridge.payload import Request, encoded


def printed(sent: Request, *, terminal: bool) -> str:
    """What sending a request prints."""
    out = io.BytesIO()
    outcome = asyncio.run(Console("console", out, terminal=terminal).send(sent))
    assert outcome == Outcome(Verdict.DELIVERED)
    return out.getvalue().decode()


def of(record: LogRecord) -> Request:
    """A request of one record."""
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.append(record)
    return Request((encoded(message.SerializeToString(), 1),))


def test_json_lines_for_programs() -> None:
    """One object a line with time, severity, service, body, attributes, resource and uid."""
    lines = printed(request("u1", "u2"), terminal=False).splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "time": "2025-09-19T12:00:00.123456Z",
            "severity": "INFO",
            "service": "app",
            "body": "hello",
            "attributes": {},
            "resource": {"service.name": "app"},
            "uid": uid,
        }
        for uid in ("u1", "u2")
    ]


def test_every_kind_of_value_is_json() -> None:
    """Bytes in base64, NaN as text, nested values as they are, nothing as null."""
    record = LogRecord(
        observed_time_unix_nano=NOON * 1_000,
        severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR,
    )
    record.attributes.add(key="b").value.bytes_value = b"\x00\xff"
    record.attributes.add(key="d").value.double_value = math.nan
    record.attributes.add(key="i").value.int_value = -5
    record.attributes.add(key="t").value.bool_value = True
    record.attributes.add(key="a").value.array_value.values.add().string_value = "x"
    inner = record.attributes.add(key="m").value.kvlist_value.values.add(key="k")
    inner.value.double_value = 1.5
    line = json.loads(printed(of(record), terminal=False))
    assert line["time"] == "2025-09-19T12:00:00.123456Z"
    assert line["severity"] == "ERROR"
    assert line["body"] is None
    assert line["attributes"] == {
        "b": "AP8=",
        "d": "nan",
        "i": -5,
        "t": True,
        "a": ["x"],
        "m": {"k": 1.5},
    }


def test_readable_for_people() -> None:
    """Time, severity in colour, service and message."""
    assert printed(request("u"), terminal=True) == (
        "\x1b[2m2025-09-19T12:00:00.123456Z\x1b[0m \x1b[32mINFO    \x1b[0m "
        "\x1b[2mapp\x1b[0m hello\n"
    )


def test_colours_follow_the_severity() -> None:
    """Each range of numbers has its own; a number beyond OTLP's shows as it is."""
    shown = [
        printed(of(LogRecord(severity_number=n)), terminal=True)  # type: ignore[arg-type] # 99 too
        for n in (0, 1, 9, 13, 17, 21, 99)
    ]
    colours = [line.split(" ")[1].partition("m")[0] for line in shown]
    assert colours == [
        "\x1b[2",
        "\x1b[2",
        "\x1b[32",
        "\x1b[33",
        "\x1b[31",
        "\x1b[1;31",
        "\x1b[1;31",
    ]
    assert "m99 " in shown[-1]


def test_further_lines_are_set_in() -> None:
    """A message cannot forge a line of its own."""
    text = printed(request("u", body="Traceback\n  File x\n12:00 forged"), terminal=True)
    first, *others = text.splitlines()
    assert first.endswith("Traceback")
    assert others == ["      File x", "    12:00 forged"]


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_a_message_cannot_steer_the_terminal(body: str) -> None:
    """Besides our own colours nothing unprintable is written."""
    text = printed(request("u", body=body), terminal=True)
    assert text.count("\x1b") == 6
    assert text.replace("\x1b", "").replace("\n", "").isprintable()
    assert text.count("\n") == 1 + body.count("\n")


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_json_lines_keep_every_message(body: str) -> None:
    """One line a record whatever it holds."""
    text = printed(request("u", body=body), terminal=False)
    assert text.count("\n") == 1
    assert json.loads(text)["body"] == body


def test_a_terminal_is_recognised() -> None:
    """The stream knows what it is."""

    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    terminal, file = Terminal(), io.BytesIO()
    for out in (terminal, file):
        asyncio.run(Console("console", out).send(request("u")))
    assert terminal.getvalue().startswith(b"\x1b")
    assert file.getvalue().startswith(b"{")


class Failing(io.BytesIO):
    """A stream that takes writes and fails to flush them."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def flush(self) -> None:
        """Fail."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (BrokenPipeError(), Verdict.BLOCKED),
        (BlockingIOError(11, "Resource temporarily unavailable"), Verdict.RETRY),
        (OSError(28, "No space left on device"), Verdict.RETRY),
        (ValueError("I/O operation on closed file"), Verdict.RETRY),
    ],
)
def test_what_was_not_flushed_is_not_delivered(error: Exception, verdict: Verdict) -> None:
    """Delivered means that the write and the flush succeeded (trap 9)."""
    outcome = asyncio.run(Console("console", Failing(error)).send(request("u")))
    assert outcome.verdict is verdict
    assert outcome.reason


def test_a_large_request_lets_others_run() -> None:
    """Writing happens in bounded chunks."""

    async def main() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        console = Console("console", io.BytesIO(), terminal=False)
        await console.send(request(*map(str, range(100)), body="x" * 10_000))
        other.cancel()
        return turns

    assert asyncio.run(main()) > 10


def _drained(reading: int) -> bytes:
    """Everything up to the end of a pipe."""
    parts = []
    while part := os.read(reading, 65_536):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def pipe() -> Iterator[tuple[int, IO[bytes]]]:
    """A pipe of the smallest size: what reads it, and the stream that writes to it."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    with os.fdopen(writing, "wb") as out:
        yield reading, out
    os.close(reading)


@pytest.mark.parametrize("length", [100, 10_000])
def test_a_stalled_reader_holds_nothing_else(pipe: tuple[int, IO[bytes]], length: int) -> None:
    """The send waits and can be given up; the loop runs on; every line is whole in the end."""
    reading, out = pipe
    uids = [str(n) for n in range(100)]

    async def main() -> Outcome:
        console = Console("console", out)
        sending = asyncio.create_task(console.send(request(*uids, body="x" * length)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not sending.done()
        sending.cancel()
        assert (await asyncio.gather(sending, return_exceptions=True))[0].__class__ is (
            asyncio.CancelledError
        )
        draining = asyncio.create_task(asyncio.to_thread(_drained, reading))
        outcome = await console.send(request(*uids, body="x" * length))
        await console.aclose()
        out.close()
        lines = (await draining).splitlines()
        seen = [json.loads(line)["uid"] for line in lines]
        assert seen[-len(uids) :] == uids
        assert 0 < len(seen) - len(uids) < len(uids)
        return outcome

    assert asyncio.run(main()) == Outcome(Verdict.DELIVERED)


def test_two_consoles_on_one_stalled_pipe(pipe: tuple[int, IO[bytes]]) -> None:
    """Both wait for the same pipe, and both finish with whole lines."""
    reading, out = pipe

    async def main() -> None:
        consoles = [Console(name, out) for name in "ab"]
        sent = request(*map(str, range(50)), body="x" * 500)
        sends = [asyncio.create_task(console.send(sent)) for console in consoles]
        for _ in range(100):
            await asyncio.sleep(0)
        draining = asyncio.create_task(asyncio.to_thread(_drained, reading))
        assert await asyncio.gather(*sends) == [Outcome(Verdict.DELIVERED)] * 2
        for console in consoles:
            await console.aclose()
        out.close()
        assert len([json.loads(line) for line in (await draining).splitlines()]) == 100

    asyncio.run(main())


def test_a_reader_that_has_gone(pipe: tuple[int, IO[bytes]]) -> None:
    """A broken pipe blocks by name."""
    reading, out = pipe
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, reading)
    os.close(nowhere)
    outcome = asyncio.run(Console("console", out).send(request("u")))
    assert outcome == Outcome(Verdict.BLOCKED, "who read the output has gone")


def test_a_file_is_written_directly(tmp_path: Path) -> None:
    """A file on a disk cannot be waited for, and need not be."""
    with (tmp_path / "out").open("wb") as out:
        outcome = asyncio.run(Console("console", out).send(request("u1", "u2")))
    assert outcome == Outcome(Verdict.DELIVERED)
    assert len((tmp_path / "out").read_text().splitlines()) == 2


def test_a_full_disk_is_tried_again() -> None:
    """No space left is told, and nothing counts as delivered."""
    with Path("/dev/full").open("wb", buffering=0) as out:
        outcome = asyncio.run(Console("console", out).send(request("u")))
    assert outcome.verdict is Verdict.RETRY
    assert "No space left" in outcome.reason


def test_a_closed_stream_is_no_delivery(tmp_path: Path) -> None:
    """Whoever closed it, nothing was written."""
    with (tmp_path / "out").open("wb") as out:
        console = Console("console", out)
    assert asyncio.run(console.send(request("u"))).verdict is Verdict.RETRY
