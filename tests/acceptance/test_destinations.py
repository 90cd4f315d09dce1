"""Every kind of destination, by the real command from its config file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import time

import grpc
import pytest
from destinations.otlp_grpc_server import METHOD
from support.acceptance_bridge import Command
from support.acceptance_fal import FalAccount, Line, line, micros, tied
from support.ports import free_port
from support.rsyslog import RELP, TCP, eventually, running

from bridge.payload import records_of


@contextmanager
def grpc_backend(taken: list[str]) -> Iterator[str]:
    """An OTLP/gRPC backend that keeps the messages; its URL."""

    def export(body: bytes, _: grpc.ServicerContext) -> bytes:
        taken.extend(record.body.string_value for _, _, record in records_of(body))
        return b""

    class Handler(grpc.GenericRpcHandler):
        """Serves the one method."""

        def service(
            self, handler_call_details: grpc.HandlerCallDetails
        ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
            """See `grpc.GenericRpcHandler`."""
            known = handler_call_details.method == METHOD
            return grpc.unary_unary_rpc_method_handler(export) if known else None

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def lines_of(path: Path) -> Counter[str]:
    """The messages in a file."""
    return Counter(json.loads(text)["body"] for text in path.read_text("utf-8").splitlines())


def messages(lines: list[Line]) -> Counter[str]:
    """What is to arrive."""
    return Counter(one.message for one in lines)


@pytest.mark.server("rsyslogd")
def test_all_at_once(command: Command, opened: ExitStack, tmp_path: Path) -> None:
    """gRPC, RELP, TCP, both files and the console, each with everything; gRPC's log is silent."""
    lines = tied(500, since=micros(time() - 60))
    fal = opened.enter_context(FalAccount(lines))
    over_grpc: list[str] = []
    folders = [tmp_path / "relp", tmp_path / "tcp"]
    for folder in folders:
        folder.mkdir()
    relp = opened.enter_context(running(folders[0], RELP))
    tcp = opened.enter_context(running(folders[1], TCP))
    config = command.config(
        fal.url,
        {},
        destinations=[
            {
                "name": "grpc",
                "type": "otlp",
                "protocol": "grpc",
                "endpoint": opened.enter_context(grpc_backend(over_grpc)),
            },
            {"name": "siem", "type": "syslog", "endpoint": f"relp://127.0.0.1:{relp.port}"},
            {"name": "old", "type": "syslog", "endpoint": f"tcp://127.0.0.1:{tcp.port}"},
            {"name": "archive", "type": "file", "path": "archive.jsonl"},
            {"name": "otlp", "type": "file", "path": "otlp.jsonl", "format": "otlp_json"},
            {"name": "screen", "type": "console"},
        ],
    )
    ended = command.once(config)
    assert ended.code == 0, ended.err
    expected = messages(lines)
    assert Counter(over_grpc) == expected
    for receiver in (relp, tcp):
        eventually(lambda: len(receiver.lines()) >= 500, "messages are missing")  # noqa: B023 - called at once
        assert Counter(message.message for message in receiver.messages()) == expected
    assert lines_of(tmp_path / "archive.jsonl") == expected
    requests = map(json.loads, (tmp_path / "otlp.jsonl").read_text("utf-8").splitlines())
    kept = Counter(
        record["body"]["stringValue"]
        for request in requests
        for logs in request["resourceLogs"]
        for scope in logs["scopeLogs"]
        for record in scope["logRecords"]
    )
    assert kept == expected
    assert Counter(json.loads(text)["body"] for text in ended.out.splitlines()) == expected
    assert "GOAWAY" not in ended.err


def test_what_cannot_be_reached_holds_by_name(command: Command, opened: ExitStack) -> None:
    """``--once`` names each destination and why; the one that works has everything."""
    lines = tied(20, since=micros(time() - 60))
    fal = opened.enter_context(FalAccount(lines))
    port = free_port()
    config = command.config(
        fal.url,
        {},
        destinations=[
            {
                "name": "far",
                "type": "otlp",
                "protocol": "grpc",
                "endpoint": f"http://127.0.0.1:{port}",
            },
            {"name": "siem", "type": "syslog", "endpoint": f"relp://127.0.0.1:{port}"},
            {"name": "archive", "type": "file", "path": "no-such-folder/archive.jsonl"},
            {"name": "screen", "type": "console"},
        ],
    )
    ended = command.once(config, "--timeout", "3s")
    assert ended.code == 1
    assert f"far: no connection to http://127.0.0.1:{port}" in ended.err
    assert f"siem: no connection to relp://127.0.0.1:{port}: Connection refused" in ended.err
    assert "archive: cannot write " in ended.err
    assert "make the folder, or mount it" in ended.err
    assert len(ended.out.splitlines()) == 20
    assert "Traceback" not in ended.err


def test_a_rotation(command: Command, opened: ExitStack, tmp_path: Path) -> None:
    """Moved, and SIGHUP sent: the old file keeps what it has, a new one gets the rest."""
    before = tied(50, since=micros(time() - 60))
    fal = opened.enter_context(FalAccount(before))
    path, rotated = tmp_path / "out.jsonl", tmp_path / "out.jsonl.1"
    archive = [{"name": "archive", "type": "file", "path": str(path)}]
    bridge = command.start("run", "--config", command.config(fal.url, {}, destinations=archive))
    eventually(lambda: path.exists() and len(lines_of(path)) == 50, "not delivered")
    path.rename(rotated)
    bridge.hang_up()
    assert bridge.says("SIGHUP", "archive")
    after = [line(micros() + n, f"after {n}") for n in range(30)]
    fal.write(after)
    eventually(lambda: path.exists() and sum(lines_of(path).values()) == 30, "not delivered")
    assert bridge.stop().code == 0
    assert lines_of(rotated) == messages(before)
    assert lines_of(path) == messages(after)
