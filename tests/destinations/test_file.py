"""The file destination, on a real disk."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from destinations.requests import joined, request

from bridge.destinations import file
from bridge.destinations.file import File, Format
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict
from bridge.payload import Request

DELIVERED = Outcome(Verdict.DELIVERED)


def sent(path: Path, *requests: Request, format_: Format = "jsonl") -> list[Outcome]:
    """What sends to a fresh destination come to, one after the other."""

    async def main() -> list[Outcome]:
        file = File("file", path, format_=format_)
        outcomes = [await file.send(one) for one in requests]
        await file.aclose()
        return outcomes

    return asyncio.run(main())


def uids(path: Path) -> list[str]:
    """The uids of every line of a file, all of them whole."""
    assert path.read_bytes().endswith(b"\n")
    return [json.loads(line)["uid"] for line in path.read_text("utf-8").splitlines()]


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """A disk on which files can grow to a size and no further."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_one_line_a_record(tmp_path: Path) -> None:
    """Appended in order, readable by its owner and group alone."""
    path = tmp_path / "logs.jsonl"
    assert sent(path, joined(["a", "b"], ["c"]), request("d")) == [DELIVERED] * 2
    assert sent(path, request("e")) == [DELIVERED]
    assert uids(path) == ["a", "b", "c", "d", "e"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert json.loads(path.read_text().splitlines()[0])["body"] == "hello"


def test_one_otlp_request_a_line(tmp_path: Path) -> None:
    """As the OpenTelemetry file format has it."""
    path = tmp_path / "logs.json"
    assert sent(path, joined(["a"], ["b"]), request("c"), format_="otlp_json") == [DELIVERED] * 2
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [len(line["resourceLogs"]) for line in lines] == [2, 1]
    record = lines[1]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    assert record["severityNumber"] == 9
    assert record["body"] == {"stringValue": "hello"}


def test_odd_records_are_one_line_each(tmp_path: Path) -> None:
    """Whatever they hold."""
    path = tmp_path / "logs"
    hostile = 'a\nb\r\x00\x1b[31m"]\\\u2028\U0010ffff'
    assert sent(path, request("odd", body=hostile), request("big", body="x" * 200_000))
    lines = path.read_bytes().split(b"\n")
    assert [len(lines), lines[-1]] == [3, b""]
    assert json.loads(lines[0])["body"] == hostile
    assert json.loads(lines[1])["body"] == "x" * 200_000


def test_it_is_on_the_disk_before_it_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed fsync is no delivery, and what was written is taken back."""
    path = tmp_path / "logs"
    assert sent(path, request("a")) == [DELIVERED]
    synced: list[int] = []

    def fail(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        (outcome,) = sent(path, request("b"))
    assert outcome == Outcome(Verdict.RETRY, f"cannot write {path}: Input/output error")
    assert synced
    assert uids(path) == ["a"]


def test_a_moved_file_is_left_alone(tmp_path: Path) -> None:
    """After a rotation a new one is begun, with and without a signal; a removed one too."""
    path, old = tmp_path / "logs", tmp_path / "logs.1"

    async def main() -> None:
        file = File("file", path)
        await file.send(request("a"))
        path.rename(old)
        await file.send(request("b"))
        assert (uids(old), uids(path)) == (["a"], ["b"])
        path.unlink()
        await file.send(request("c"))
        file.reopen()
        await file.send(request("d"))
        os.truncate(path, 0)  # logrotate's copytruncate
        await file.send(request("e"))
        assert uids(path) == ["e"]
        await file.aclose()
        await file.aclose()

    asyncio.run(main())


def test_a_torn_line_is_mended(tmp_path: Path) -> None:
    """A crash in the middle of a line: it was never acknowledged and comes again."""
    path = tmp_path / "logs"
    assert sent(path, request("a")) == [DELIVERED]
    whole = path.read_bytes()
    for torn in (whole[:1], whole[:-2], b'{"body": "' + b"x" * 200_000):
        path.write_bytes(whole + torn)
        assert sent(path, request("b")) == [DELIVERED]
        assert uids(path) == ["a", "b"]
    path.write_bytes(whole[:-5])
    assert sent(path, request("b")) == [DELIVERED]
    assert uids(path) == ["b"]


def test_another_ones_line_is_kept(tmp_path: Path) -> None:
    """A file that something else began is not cut."""
    path = tmp_path / "logs"
    for foreign in ("# not ended", '{"precious": "one line"}', '{"deep": ' + "[" * 100_000):
        path.write_text(foreign)
        assert sent(path, request("a")) == [DELIVERED]
        assert path.read_text().splitlines()[0] == foreign
        assert len(path.read_text().splitlines()) == 2


def test_a_whole_line_that_was_not_ended_is_kept(tmp_path: Path) -> None:
    """Nothing that can be read is taken away; what was never acknowledged comes once more."""
    path = tmp_path / "logs"
    assert sent(path, request("a")) == [DELIVERED]
    path.write_bytes(path.read_bytes()[:-1])
    assert sent(path, request("a", "b")) == [DELIVERED]
    assert uids(path) == ["a", "a", "b"]


def test_a_line_that_is_too_long_to_be_ours_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads it to see."""
    monkeypatch.setattr(file, "_LONGEST", 10)
    path = tmp_path / "logs"
    path.write_text('{"not": "ended')
    assert sent(path, request("a")) == [DELIVERED]
    assert path.read_text().startswith('{"not": "ended\n')


def test_a_full_disk(tmp_path: Path) -> None:
    """Nothing torn is left, nothing is lost, nothing is written twice."""
    path = tmp_path / "logs"

    async def main() -> None:
        file = File("file", path)
        assert await file.send(request("a")) == DELIVERED
        with full_at(path.stat().st_size + 100):
            outcome = await file.send(request("b", "c"))
        assert outcome == Outcome(Verdict.RETRY, f"cannot write {path}: File too large")
        assert uids(path) == ["a"]
        assert await file.send(request("b", "c")) == DELIVERED
        assert uids(path) == ["a", "b", "c"]
        await file.aclose()

    asyncio.run(main())


def test_a_full_disk_that_cannot_be_mended_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even cutting fails, the next send mends."""
    path = tmp_path / "logs"
    assert sent(path, request("a")) == [DELIVERED]

    def fail(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched, full_at(path.stat().st_size + 100):
        patched.setattr(os, "ftruncate", fail)
        assert sent(path, request("b"))[0].verdict is Verdict.RETRY
    assert not path.read_bytes().endswith(b"\n")
    assert sent(path, request("b")) == [DELIVERED]
    assert uids(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.EACCES, "let this process write"),
        (errno.EROFS, "read-only"),
    ],
)
def test_what_waiting_does_not_mend_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, mend: str
) -> None:
    """The mend is named."""

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    (outcome,) = sent(tmp_path / "logs", request("a"))
    assert outcome.verdict is Verdict.BLOCKED
    assert mend in outcome.reason
    assert str(tmp_path) in outcome.reason


def test_a_missing_folder_blocks_until_it_is_there(tmp_path: Path) -> None:
    """It is not made: a mount that is missing would be written under."""
    path = tmp_path / "missing" / "logs"
    (outcome,) = sent(path, request("a"))
    assert outcome.verdict is Verdict.BLOCKED
    assert "make the folder" in outcome.reason
    path.parent.mkdir()
    assert sent(path, request("a")) == [DELIVERED]


def test_what_is_no_file_blocks(tmp_path: Path) -> None:
    """A folder, a pipe, a device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, why in (
        (tmp_path, "name a file in it"),
        (pipe, "not a regular file"),
        (Path("/dev/null"), "not a regular file"),
        (tmp_path / ("x" * 300), "shorten the path"),
    ):
        (outcome,) = sent(path, request("a"))
        assert outcome.verdict is Verdict.BLOCKED
        assert why in outcome.reason


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    """Who comes second waits: cutting a torn line could cut the other's."""
    path = tmp_path / "logs"
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (outcome,) = sent(path, request("a"))
        assert outcome.verdict is Verdict.BLOCKED
        assert "another process" in outcome.reason
    assert sent(path, request("a")) == [DELIVERED]


def test_a_relative_path_stops_the_start() -> None:
    """It would depend on where the process was started."""
    with pytest.raises(ConfigError, match="relative"):
        File("file", Path("logs"))


def test_a_cancelled_send_leaves_no_half(tmp_path: Path) -> None:
    """Whenever it is given up, lines are whole and others go on."""
    path = tmp_path / "logs"

    async def main() -> None:
        file = File("file", path)
        sending = [asyncio.create_task(file.send(request(f"c{n}"))) for n in range(10)]
        await asyncio.sleep(0)
        for task in sending[::2]:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        assert await file.send(request("last")) == DELIVERED
        await file.aclose()

    asyncio.run(main())
    found = uids(path)
    assert len(found) == len(set(found))
    assert {"c1", "c3", "c5", "c7", "c9", "last"} <= set(found)
