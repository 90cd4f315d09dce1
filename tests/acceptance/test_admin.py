"""The admin server of the real command: from its config to its answers."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from support.acceptance_bridge import Command, Process
from support.acceptance_fal import KEY, FalAccount, line, micros
from support.acceptance_http import Answer, Asked, LoopbackServer, Sent
from support.acceptance_otlp import OtlpBackend
from support.scraped import scraped
from support.spans import Span, decoded

_SOON = 20.0


@dataclass(frozen=True, slots=True)
class World:
    """A fal account with ten lines, and a backend."""

    fal: FalAccount
    backend: OtlpBackend


@pytest.fixture
def world(opened: ExitStack) -> World:
    """A world."""
    fal = opened.enter_context(FalAccount())
    fal.write(line(micros() - n * 1_000, f"line {n}") for n in range(10))
    return World(fal, opened.enter_context(OtlpBackend()))


def address(bridge: Process, event: str = "admin_listening") -> str:
    """Where the bridge says its admin server is."""
    assert bridge.says(f'"{event}"'), bridge.err
    events = map(json.loads, bridge.err.splitlines())
    return next(f"http://{told['address']}" for told in events if told["event"] == event)


def ask(url: str, **headers: str) -> tuple[int, str]:
    """The status and the body of an answer."""
    answer = httpx.get(url, headers=headers, timeout=_SOON, trust_env=False)
    return answer.status_code, answer.text


@contextmanager
def taken(port: int) -> Iterator[int]:
    """A port on loopback that somebody else listens on."""
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", port))
            other.listen()
        except OSError:
            assert port  # somebody else has it already: just as good
        yield other.getsockname()[1] or port


def started(command: Command, world: World, **sections: Any) -> Process:
    """A service under way."""
    sections = {"admin": {"listen": "127.0.0.1:0"}, **sections}
    config = command.config(world.fal.url, {"backend": world.backend.url}, **sections)
    return command.start("run", "--config", config)


def test_health_metrics_and_status(command: Command, world: World) -> None:
    """All four answer while the bridge works; what they say is what happened; no secret shows."""
    bridge = started(command, world, admin={"listen": "127.0.0.1:0", "token": "s3cret-token"})
    base = address(bridge)
    assert world.backend.holds(10), bridge.err
    assert ask(f"{base}/livez") == (200, '{"ok":true,"reasons":[]}')
    assert ask(f"{base}/readyz") == (200, '{"ok":true,"reasons":[]}')
    status, text = ask(f"{base}/metrics")
    assert status == 200
    seen = scraped(text)
    assert seen["fal_log_bridge_entries_read_total"] == {("app",): 10}
    assert seen["fal_log_bridge_api_requests_total"][("app", "200")] > 0
    assert seen["fal_log_bridge_gaps_total"] == {("app",): 0}
    status, document = ask(f"{base}/api/status", Authorization="Bearer s3cret-token")
    assert status == 200
    assert [app["app"] for app in json.loads(document)["apps"]] == ["app"]
    assert ask(f"{base}/api/status")[0] == 401
    ended = bridge.stop()
    assert ended.code == 0
    for shown in (text, document, ended.err):
        assert KEY not in shown
        assert "s3cret" not in shown
        assert "line 1" not in shown


def test_a_chosen_port_that_is_taken_ends_the_start(command: Command, world: World) -> None:
    """Exit 2, and one message that names the setting and the mend."""
    with taken(0) as port:
        listen = f"127.0.0.1:{port}"
        ended = started(command, world, admin={"listen": listen}).end()
    assert ended.code == 2
    assert f"admin.listen: cannot listen on {listen}: " in ended.err
    assert "Traceback" not in ended.err


def test_the_usual_port_that_is_taken_is_not_insisted_upon(command: Command, world: World) -> None:
    """Two bridges on one machine both start; where the second one answers is said."""
    with taken(9846):
        bridge = started(command, world, admin={})
        base = address(bridge, "admin_moved")
    assert not base.endswith(":9846")
    assert ask(f"{base}/livez")[0] == 200
    assert bridge.stop().code == 0


def test_none_where_none_is_wanted(command: Command, world: World) -> None:
    """With `enabled: false` and with `--once`, nothing listens and nothing is said of it."""
    bridge = started(command, world, admin={"enabled": False})
    assert world.backend.holds(10)
    assert "admin" not in bridge.stop().err
    config = command.config(world.fal.url, {"backend": world.backend.url})
    with taken(0) as port:
        once = command.run(
            *("run", "--config", config, "--once"),
            env={"BRIDGE_ADMIN__LISTEN": f"127.0.0.1:{port}"},
        )
    assert once.code == 0
    assert "admin" not in once.err


class Collector(LoopbackServer):
    """Keeps the metrics that arrive, and what they came with."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        super().__init__()

    def answer(self, asked: Asked) -> Answer:
        """See `LoopbackServer.answer`."""
        with self.changed:
            self.asked.append(asked)
            self.changed.notify_all()
        return Answer()

    def spans(self) -> list[Span]:
        """All spans that came."""
        bodies = [one.body for one in self.asked if one.path == "/v1/traces"]
        return [span for body in bodies for span in decoded(gzip.decompress(body))]

    def read(self) -> int:
        """The entries read, by the last request."""
        asked = [one for one in self.asked if one.path == "/v1/metrics"]
        if not asked:
            return 0
        request = ExportMetricsServiceRequest.FromString(gzip.decompress(asked[-1].body))
        metrics = request.resource_metrics[0].scope_metrics[0].metrics
        (one,) = [metric for metric in metrics if metric.name == "fal_log_bridge.entries_read"]
        return int(one.sum.data_points[0].as_int)


class Hanging(LoopbackServer):
    """Takes requests and answers none until it closes."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__()

    def answer(self, asked: Asked) -> Answer:
        """See `LoopbackServer.answer`."""
        with self.changed:
            self.asked = asked.number + 1
            self.changed.notify_all()
        self.closing.wait()
        return Answer(sent=Sent.NONE)


def test_own_metrics_over_otlp(command: Command, world: World, opened: ExitStack) -> None:
    """To their own endpoint; the variables that say where logs go, and with which key, do not."""
    collector = opened.enter_context(Collector())
    command.env["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=of-the-logs-backend"
    bridge = started(command, world, telemetry={"endpoint": collector.url, "interval": "200ms"})
    assert collector.wait_for(lambda: collector.read() == 10), bridge.err
    assert bridge.stop().code == 0
    assert {asked.path for asked in collector.asked} <= {"/v1/metrics", "/v1/traces"}
    assert not any("authorization" in asked.headers for asked in collector.asked)


def test_own_spans_over_otlp(command: Command, world: World, opened: ExitStack) -> None:
    """Polls, their requests and sends; names and numbers only. The last go out with the stop."""
    collector = opened.enter_context(Collector())
    telemetry = {"endpoint": collector.url, "interval": "100ms", "sampling_ratio": 1}
    bridge = started(command, world, telemetry=telemetry)
    assert world.backend.holds(10), bridge.err
    sent = {"destination": "backend", "outcome": "delivered"}
    assert collector.wait_for(
        lambda: any(sent.items() <= s.attributes.items() for s in collector.spans())
    ), bridge.err
    assert bridge.stop().code == 0
    spans = collector.spans()
    assert {span.name for span in spans} == {"poll", "request", "send"}
    assert sum(int(s.attributes["entries"]) for s in spans if s.name == "poll") == 10
    assert sum(int(s.attributes["records"]) for s in spans if s.name == "send") == 10
    told = b"".join(gzip.decompress(asked.body) for asked in collector.asked)
    for secret in (KEY, "line 1", world.fal.url, world.backend.url):
        assert secret.encode() not in told


def test_an_endpoint_that_hangs_disturbs_nothing(
    command: Command, world: World, opened: ExitStack
) -> None:
    """Telemetry that is never answered: entries arrive, and the stop is as quick as ever."""
    hanging = opened.enter_context(Hanging())
    telemetry = {"endpoint": hanging.url, "interval": "50ms", "sampling_ratio": 1}
    bridge = started(command, world, telemetry=telemetry)
    assert world.backend.holds(10), bridge.err
    assert hanging.wait_for(lambda: hanging.asked >= 2), bridge.err
    begun = monotonic()
    ended = bridge.stop()
    assert ended.code == 0
    assert monotonic() - begun < 8
    assert "Traceback" not in ended.err


def test_metrics_alone(command: Command, world: World, opened: ExitStack) -> None:
    """With a ratio of 0 there are no spans: some backends take metrics only."""
    collector = opened.enter_context(Collector())
    telemetry = {"endpoint": collector.url, "interval": "100ms", "sampling_ratio": 0}
    bridge = started(command, world, telemetry=telemetry)
    assert collector.wait_for(lambda: collector.read() == 10), bridge.err
    assert bridge.stop().code == 0
    assert {asked.path for asked in collector.asked} == {"/v1/metrics"}
