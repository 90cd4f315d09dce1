"""The recipes as they stand, run by the real command against stand-ins for their backends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from time import time
from typing import Any

import pytest
from support.acceptance_bridge import Ended
from support.acceptance_fal import FalAccount, Line, line, micros, tied
from support.recipe_intakes import Datadog, Intake, Loki, attributes_of

Cook = Callable[..., Ended]

SECOND = 1_000_000
HOUR = 3_600 * SECOND
LONG_AGO = json.dumps([{"app_id": "app", "start": "20d"}])
"""In place of a recipe's apps: one that is read from long ago on (`BRIDGE_APPS`)."""


def messages(lines: Iterable[Line]) -> Counter[str]:
    """What is to arrive."""
    return Counter(one.message for one in lines)


def letters(cook: Cook, name: str, fal: str, **variables: str) -> list[dict[str, Any]]:
    """The dead letters that a run left."""
    ended = cook(name, fal, "dead-letters", "list", "--json", **variables)
    assert ended.code == 0, ended.err
    found: list[dict[str, Any]] = json.loads(ended.out)["dead_letters"]
    return found


VENDORS = {
    "grafana-cloud": (
        "GRAFANA_CLOUD_OTLP_ENDPOINT",
        "/otlp",
        {"GRAFANA_CLOUD_AUTHORIZATION": "Basic eDp5"},
        {"authorization": "Basic eDp5"},
        4 << 20,
    ),
    "elastic": (
        "ELASTIC_OTLP_ENDPOINT",
        "",
        {"ELASTIC_API_KEY": "a-key"},
        {"authorization": "ApiKey a-key"},
        4 << 20,
    ),
    "new-relic": (
        "NEW_RELIC_OTLP_ENDPOINT",
        "",
        {"NEW_RELIC_LICENSE_KEY": "a-key"},
        {"api-key": "a-key"},
        1_000_000,
    ),
    "honeycomb": (
        "HONEYCOMB_ENDPOINT",
        "",
        {"HONEYCOMB_API_KEY": "a-key"},
        {"x-honeycomb-team": "a-key"},
        20 << 20,
    ),
    "signoz": (
        "SIGNOZ_ENDPOINT",
        "",
        {"SIGNOZ_INGESTION_KEY": "a-key"},
        {"signoz-ingestion-key": "a-key"},
        16_000_000,
    ),
    "dash0": (
        "DASH0_ENDPOINT",
        "",
        {"DASH0_AUTH_TOKEN": "a-key"},
        {"authorization": "Bearer a-key", "dash0-dataset": "default"},
        1 << 20,
    ),
}


@pytest.mark.parametrize("name", sorted(VENDORS))
def test_everything_is_sent_as_documented(cook: Cook, opened: ExitStack, name: str) -> None:
    """Path, headers, encoding and size are what the vendor asks for, and all of it arrives."""
    endpoint, path, variables, headers, most_bytes = VENDORS[name]
    lines = tied(300, since=micros(time() - 60))
    lines += [line(micros() + n, "x" * 100_000 + str(n)) for n in range(25)]
    fal = opened.enter_context(FalAccount(lines))
    intake = opened.enter_context(Intake(f"{path}/v1/logs", headers, most_bytes=most_bytes))
    ended = cook(name, fal.url, **{endpoint: intake.url + path}, **variables)
    assert ended.code == 0, ended.err
    assert intake.bodies == messages(lines)
    assert intake.statuses.keys() == {200}
    assert intake.largest <= most_bytes
    assert not any(secret in ended.out + ended.err for secret in variables.values())


def test_dash0_takes_every_attribute(cook: Cook, opened: ExitStack) -> None:
    """A record with all that fal's labels can say stays below sixteen attributes."""
    labels = {
        "fal_request_id": "6ad2b3a8-0c4f-4f6e-9f4e-8f3f7f0a4e11",
        "fal_endpoint": "/",
        "fal_worker_id": "w",
        "fal_multiplexing_app": "m",
        "fal_public_logs": "true",
        "fal_node_id": "node-7",
        "traceback": "Traceback (most recent call last):\nValueError: x",
    }
    fal = opened.enter_context(FalAccount([line(micros(time() - 60), "one", labels=labels)]))
    headers = {"authorization": "Bearer a-key"}
    intake = opened.enter_context(Intake("/v1/logs", headers, most_bytes=1 << 20))
    ended = cook("dash0", fal.url, DASH0_ENDPOINT=intake.url, DASH0_AUTH_TOKEN="a-key")
    assert ended.code == 0, ended.err
    ((_, record),) = intake.records
    assert len(record.attributes) <= 9
    assert attributes_of(record.attributes)["fal.request.id"] == labels["fal_request_id"]


def test_loki_has_every_line(cook: Cook, opened: ExitStack) -> None:
    """Throttled without Retry-After, blocked by its 260, then everything, each line once."""
    lines = tied(400, since=micros(time() - 60))
    fal = opened.enter_context(FalAccount(lines))
    loki = opened.enter_context(Loki("fake", first=(429, 260, 429)))
    ended = cook("loki", fal.url, LOKI_URL=loki.url)
    assert ended.code == 0, ended.err
    assert loki.lines == messages(lines)
    assert loki.statuses == {429: 2, 260: 1, 204: loki.statuses[204]}
    assert not letters(cook, "loki", fal.url, LOKI_URL=loki.url)


def test_loki_gets_a_stream_for_an_app(cook: Cook, opened: ExitStack) -> None:
    """Jobs, nodes, requests and revisions begin no stream; they are metadata, and so is the uid."""
    lines = [
        line(
            micros(time() - 60) + n,
            f"line {n}",
            app=f"app-{n % 3}",
            labels={
                "fal_job_id": f"job-{n}",
                "fal_node_id": f"node-{n}",
                "fal_request_id": f"r-{n}",
            },
        )
        for n in range(60)
    ]
    fal = opened.enter_context(FalAccount(lines))
    loki = opened.enter_context(Loki("team-a"))
    apps = json.dumps([{"name": "account"}])
    ended = cook("loki", fal.url, LOKI_URL=loki.url, LOKI_TENANT="team-a", BRIDGE_APPS=apps)
    assert ended.code == 0, ended.err
    assert loki.lines == messages(lines)
    assert set(loki.streams) == {
        frozenset({("service.name", f"app-{n}"), ("deployment.environment.name", "prod")})
        for n in range(3)
    }
    for stream in loki.streams.values():
        for metadata in stream.kept.values():
            assert metadata.keys() >= {
                *("log.record.uid", "fal.job.id", "host.id", "fal.request.id", "service.version")
            }


def test_loki_refuses_a_long_line_alone(cook: Cook, opened: ExitStack) -> None:
    """It answers 400 and keeps the rest; the rest is there once, the long line is kept aside."""
    lines = tied(200, since=micros(time() - 60))
    long = line(lines[100].at, "x" * 300_000)
    fal = opened.enter_context(FalAccount([*lines, long]))
    loki = opened.enter_context(Loki("fake"))
    ended = cook("loki", fal.url, LOKI_URL=loki.url)
    assert ended.code == 0, ended.err
    assert loki.lines == messages(lines)
    assert set(loki.refusals) == {"max entry size exceeded"}
    assert loki.again, "the others were sent again, and are shown once"
    (letter,) = letters(cook, "loki", fal.url, LOKI_URL=loki.url)
    assert "max entry size exceeded" in json.dumps(letter)


def test_loki_is_spared_what_is_too_old(cook: Cook, opened: ExitStack) -> None:
    """A backlog of days arrives in an order that it takes; what is over a week old is kept."""
    now = micros()
    old = [line(now - 8 * 24 * HOUR + n * SECOND, f"old {n}") for n in range(20)]
    fresh = [line(now - 6 * 24 * HOUR + n * HOUR, f"fresh {n}") for n in range(140)]
    fal = opened.enter_context(FalAccount([*old, *fresh]))
    loki = opened.enter_context(Loki("fake"))
    ended = cook("loki", fal.url, LOKI_URL=loki.url, BRIDGE_APPS=LONG_AGO)
    assert ended.code == 0, ended.err
    assert loki.refusals == []
    assert loki.lines == messages(fresh)
    assert len(letters(cook, "loki", fal.url, LOKI_URL=loki.url)) == len(old)


def test_datadog_has_every_log(cook: Cook, opened: ExitStack) -> None:
    """All of it, nothing cut and nothing dropped behind its 202: what would be is kept aside."""
    now = micros()
    lines = tied(500, since=now - 60 * SECOND)
    lines += [line(now - 30 * SECOND + n, f"{n} " + "x" * 400_000) for n in range(20)]
    large = line(now - 20 * SECOND, "y" * 1_200_000)
    old = [line(now - 19 * HOUR + n, f"old {n}") for n in range(10)]
    fal = opened.enter_context(FalAccount([*old, *lines, large]))
    datadog = opened.enter_context(Datadog("a-key"))
    variables = {
        "DATADOG_OTLP_LOGS_ENDPOINT": f"{datadog.url}/v1/logs",
        "DD_API_KEY": "a-key",
        "BRIDGE_APPS": LONG_AGO,
    }
    ended = cook("datadog", fal.url, **variables)
    assert ended.code == 0, ended.err
    assert Counter(log.message for log in datadog.logs) == messages(lines)
    assert (datadog.truncated, datadog.too_old) == (0, 0)
    assert datadog.statuses.keys() == {202}
    assert len(letters(cook, "datadog", fal.url, **variables)) == len([large, *old])
    assert "a-key" not in ended.out + ended.err


def test_datadog_shows_what_the_recipe_says(cook: Cook, opened: ExitStack) -> None:
    """Service, host, source, status, tags and trace correlation."""
    at = micros(time() - 60)
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    labels = {"fal_node_id": "node-7", "trace_id": trace, "span_id": span}
    levels = {
        "CUDA out of memory": "ERROR",
        "loading": "INFO",
        "slow": "WARNING",
        "details": "DEBUG",
        "ERROR: printed": "STDOUT",
        "only printed": "STDERR",
    }
    lines = [
        Line(one.at, one.app, one.json.replace(b'"INFO"', f'"{level}"'.encode()), one.labels)
        for n, (message, level) in enumerate(levels.items())
        for one in [line(at + n, message, labels={**labels, "level": level})]
    ]
    fal = opened.enter_context(FalAccount(lines))
    datadog = opened.enter_context(Datadog("a-key"))
    url = f"{datadog.url}/v1/logs"
    ended = cook("datadog", fal.url, DATADOG_OTLP_LOGS_ENDPOINT=url, DD_API_KEY="a-key")
    assert ended.code == 0, ended.err
    logs = {log.message: log for log in datadog.logs}
    assert {message: log.status for message, log in logs.items()} == {
        "CUDA out of memory": "error",
        "loading": "info",
        "slow": "warn",
        "details": "debug",
        "ERROR: printed": "error",
        "only printed": "ok",
    }
    for log in logs.values():
        assert (log.service, log.host, log.source) == ("app", "node-7", "fal")
        assert log.tags >= {"service:app", "env:prod", "cloud_provider:fal"}
        assert any(tag.startswith("version:") for tag in log.tags)
        assert log.attributes["otel.trace_id"] == trace
        assert log.attributes["dd.trace_id"] == str(int(trace[16:], 16))
        assert log.attributes["dd.span_id"] == str(int(span, 16))
    assert logs["only printed"].attributes["log.iostream"] == "stderr"


def test_a_wrong_key_costs_nothing(cook: Cook, opened: ExitStack) -> None:
    """Datadog's 403 holds everything and is told; with the right key all of it arrives."""
    lines = tied(50, since=micros(time() - 60))
    fal = opened.enter_context(FalAccount(lines))
    datadog = opened.enter_context(Datadog("a-key"))
    url = f"{datadog.url}/v1/logs"
    once = ("run", "--once", "--timeout", "2s")
    held = cook("datadog", fal.url, *once, DATADOG_OTLP_LOGS_ENDPOINT=url, DD_API_KEY="wrong-key")
    assert held.code == 1
    assert "403" in held.err
    assert "wrong-key" not in held.err
    ended = cook("datadog", fal.url, DATADOG_OTLP_LOGS_ENDPOINT=url, DD_API_KEY="a-key")
    assert ended.code == 0, ended.err
    assert Counter(log.message for log in datadog.logs) == messages(lines)
