"""Each recipe loads, says what it needs, and agrees with what is known of its backend."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.recipes import FOLDER, NAMES, RECEIVING, SECTIONS, recipe
from support.settings import ENVIRON

from bridge.errors import ConfigError
from bridge.settings import load
from bridge.settings.sections import Otlp, Syslog

HOUR = 3_600
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Facts:
    """What a recipe has to come to."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    max_payload: int | None = 1_000_000
    max_age: float | None = None
    resource: dict[str, str] = field(default_factory=dict)


PLACED = "https://placed.example.com"
COLLECTOR = "http://localhost:4318/v1/logs"
FAL = {"datadog.log.source": "fal"}
FACTS = {
    "loki": Facts(
        "http://localhost:3100/otlp/v1/logs", {"X-Scope-OrgID": "fake"}, max_age=167 * HOUR
    ),
    "grafana-cloud": Facts(f"{PLACED}/v1/logs", {"Authorization": PLACED}, max_age=167 * HOUR),
    "datadog": Facts(
        "https://otlp.datadoghq.com/v1/logs",
        {"dd-api-key": PLACED},
        max_age=17 * HOUR,
        resource=FAL,
    ),
    "datadog-agent": Facts(COLLECTOR, max_age=16 * HOUR, resource=FAL),
    "datadog-collector": Facts(COLLECTOR, max_age=17 * HOUR, resource=FAL),
    "opentelemetry-collector": Facts(COLLECTOR, max_payload=4_000_000),
    "elastic": Facts(
        f"{PLACED}/v1/logs",
        {"Authorization": f"ApiKey {PLACED}"},
        max_payload=4_000_000,
        resource={"data_stream.dataset": "fal"},
    ),
    "new-relic": Facts("https://otlp.nr-data.net/v1/logs", {"api-key": PLACED}, max_age=47 * HOUR),
    "honeycomb": Facts(
        "https://api.honeycomb.io/v1/logs", {"x-honeycomb-team": PLACED}, max_payload=15_000_000
    ),
    "signoz": Facts(
        "https://ingest.us.signoz.cloud:443/v1/logs",
        {"signoz-ingestion-key": PLACED},
        max_payload=15_000_000,
        max_age=14 * DAY,
    ),
    "dash0": Facts(
        f"{PLACED}/v1/logs",
        {"Authorization": f"Bearer {PLACED}", "Dash0-Dataset": "default"},
        max_age=5 * HOUR,
    ),
    "cloudwatch": Facts(COLLECTOR, max_age=13 * DAY),
}

COLLECTORS = {
    "opentelemetry-collector": ("opentelemetry-collector", set()),
    "datadog-collector": ("datadog-collector", {"DD_SITE", "DD_API_KEY"}),
    "cloudwatch": (
        "cloudwatch-collector",
        {"AWS_REGION", "CLOUDWATCH_LOG_GROUP", "CLOUDWATCH_LOG_STREAM"},
    ),
}


def environ(name: str) -> dict[str, str]:
    """Something for each variable that a recipe needs."""
    placed = dict.fromkeys(recipe(name).required, PLACED)
    files = dict.fromkeys(("SIEM_CA_FILE", "SIEM_CERT_FILE", "SIEM_KEY_FILE"), __file__)
    own = {"SIEM_ENDPOINT": "relps://placed.example.com:2514", "FAL_APP_ID": "an-app", **files}
    return {**ENVIRON, **placed, **{k: v for k, v in own.items() if k in placed}}


def test_all_are_known() -> None:
    """Every backend that is promised has its recipe, and every recipe its facts."""
    assert set(NAMES) == {*FACTS, "siem"}


@pytest.mark.parametrize("name", NAMES)
def test_it_loads(name: str) -> None:
    """With its variables set it is a configuration that starts, without a warning."""
    settings = load(recipe(name).path, environ(name))
    assert settings.warnings == ()
    (app,), (destination,) = settings.apps, settings.destinations
    assert app.app_id == "an-app"
    assert destination.name in {name, "collector"}
    assert destination.too_old == "dead_letter"


@pytest.mark.parametrize("name", NAMES)
def test_unset_variables_are_named(name: str) -> None:
    """Without any of its variables the one message names each of them; without one, that one."""
    required = recipe(name).required
    with pytest.raises(ConfigError) as caught:
        load(recipe(name).path, ENVIRON)
    told = set(re.findall(r"the variable (\w+) is not set", str(caught.value)))
    assert told == set(required)
    for missing in required:
        others = {key: value for key, value in environ(name).items() if key != missing}
        with pytest.raises(ConfigError) as caught:
            load(recipe(name).path, others)
        assert re.findall(r"the variable (\w+) is not set", str(caught.value)) == [missing]
        assert PLACED not in str(caught.value)


@pytest.mark.parametrize("name", sorted(FACTS))
def test_it_agrees_with_the_facts(name: str) -> None:
    """Endpoint, headers, compression, protocol and limits are the backend's."""
    settings = load(recipe(name).path, environ(name))
    (destination,) = settings.destinations
    assert isinstance(destination, Otlp)
    facts = FACTS[name]
    assert destination.url == facts.url
    assert {k: v.get_secret_value() for k, v in destination.headers.items()} == facts.headers
    assert (destination.protocol, destination.compression) == ("http/protobuf", "gzip")
    assert destination.max_payload == facts.max_payload
    assert destination.max_age == facts.max_age
    assert destination.resource == facts.resource


def test_the_siem_is_reached_by_relp_over_tls() -> None:
    """With a certificate on both sides, and nothing of a message left out."""
    (destination,) = load(recipe("siem").path, environ("siem")).destinations
    assert isinstance(destination, Syslog)
    assert destination.scheme == "relps"
    assert None not in (
        destination.tls.ca_file,
        destination.tls.cert_file,
        destination.tls.key_file,
    )
    assert (destination.on_long, destination.max_message_bytes) == ("split", 8_000)


@pytest.mark.parametrize("name", NAMES)
def test_its_head_is_complete(name: str) -> None:
    """It says whether it was tried, every section says something, every variable is explained."""
    it = recipe(name)
    assert len(it.statuses) == 1
    assert [heading for heading in SECTIONS if not it.section(heading).strip("# \n")] == []
    at = [it.head.index(f"\n# {heading}\n") for heading in SECTIONS]
    assert at == sorted(at)
    assert it.documented.keys() == it.placeholders.keys()
    for variable, default in it.placeholders.items():
        told = re.search(r"\bdefault ([^\s;,]+)", it.documented[variable])
        assert (told[1] if told else None) == default, variable


@pytest.mark.parametrize(
    "path", [*FOLDER.glob("*.yaml"), *RECEIVING.iterdir()], ids=lambda path: path.name
)
def test_it_fits_a_screen(path: Path) -> None:
    """No line is longer than a hundred characters."""
    lines = path.read_text("utf-8").splitlines()
    assert [line for line in lines if len(line) > 100] == []


def test_what_was_tried_is_what_says_so() -> None:
    """Those that `test_against_stand_ins.py` and `test_against_servers.py` run say it."""
    tried = {name for name in NAMES if recipe(name).statuses == ["Tested against"]}
    assert tried == {*COLLECTORS, "datadog", "datadog-agent", "loki", "siem"}


def test_the_receiver_that_was_tried_is_the_locked_one() -> None:
    """The version that the heads name is the one that the tests install."""
    locked = (FOLDER.parents[1] / "requirements/servers.txt").read_text("utf-8")
    named = {found for name in NAMES for found in re.findall(r"rotel (\S+)", recipe(name).head)}
    assert named == set(re.findall(r"^rotel==(\S+)", locked, re.MULTILINE))


def test_the_index_has_them_all() -> None:
    """README links every recipe, and every file of the receiving side is named by a recipe."""
    index = (FOLDER / "README.md").read_text("utf-8")
    assert [name for name in NAMES if f"({name}.yaml)" not in index] == []
    heads = "".join(recipe(name).head for name in NAMES)
    files = [path.name for path in sorted(RECEIVING.iterdir())]
    assert files
    assert [name for name in files if f"receiving/{name}" not in heads] == []


@pytest.mark.parametrize("name", sorted(COLLECTORS))
def test_a_collector_keeps_nothing_and_changes_nothing(name: str) -> None:
    """A pipeline of its own that answers when the backend has, in time for the bridge."""
    file, variables = COLLECTORS[name]
    text = (RECEIVING / f"{file}.yaml").read_text("utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    assert config["service"]["pipelines"].keys() == {"logs/fal"}
    pipeline = config["service"]["pipelines"]["logs/fal"]
    for kind in ("receivers", "processors", "exporters"):
        assert pipeline[kind]
        assert set(pipeline[kind]) == config[kind].keys(), "defined, and used"
    assert config.get("extensions", {}).keys() == set(config["service"].get("extensions", ()))
    kinds = {one.partition("/")[0] for one in config["processors"]}
    assert kinds <= {"memory_limiter", "transform"}
    assert config["receivers"] == {
        "otlp/fal": {"protocols": {"http": {"endpoint": "0.0.0.0:4318"}}}
    }
    (exporter,) = config["exporters"].values()
    assert exporter["sending_queue"] == exporter["retry_on_failure"] == {"enabled": False}
    (destination,) = load(recipe(name).path, environ(name)).destinations
    assert isinstance(destination, Otlp)
    assert float(exporter["timeout"].removesuffix("s")) < destination.timeout
    assert variables <= set(re.findall(r"\$\{env:(\w+)\}", text))
    auth = exporter.get("auth", {}).get("authenticator")
    assert auth is None or auth in config["extensions"]


def test_a_backfill_is_a_stream_of_its_own_at_loki() -> None:
    """What a backfill's records differ in is among the labels that Loki's configuration sets."""
    receiving = yaml.safe_load((RECEIVING / "loki.yaml").read_text())
    attributes = receiving["limits_config"]["otlp_config"]["resource_attributes"]
    (labels,) = attributes["attributes_config"]
    assert labels["action"] == "index_label"
    assert "service.instance.id" in labels["attributes"]
