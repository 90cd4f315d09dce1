"""The JSON Schema, the examples and the documentation are one with the settings."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.settings import ENVIRON, MINIMAL

from bridge.settings import Settings, load
from bridge.settings.reference import json_schema, markdown

PROJECT = Path(__file__).parents[2]
EXAMPLES = sorted((PROJECT / "config").glob("*.example.yaml"))
ENVIRON_OF_EXAMPLES = {
    **ENVIRON,
    "FAL_KEY": "id:secret",
    "GRAFANA_CLOUD_AUTHORIZATION": "Basic x",
    "DD_API_KEY": "x",
}


def _violations(data: Any) -> list[str]:
    """What a JSON Schema validator has against some data."""
    jsonschema = importlib.import_module("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    return [error.message for error in validator.iter_errors(data)]


def test_examples_are_there() -> None:
    """The three examples exist."""
    names = [path.name.removesuffix(".example.yaml") for path in EXAMPLES]
    assert names == ["full", "minimal", "two-destinations"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_load(path: Path) -> None:
    """Each example is a configuration that starts, without a warning."""
    assert load(path, ENVIRON_OF_EXAMPLES).warnings == ()


def test_the_full_example_has_every_key_and_default() -> None:
    """The full example names every key, and outside its lists says what the default is."""
    text = (PROJECT / "config/full.example.yaml").read_text("utf-8")
    for section in json_schema()["$defs"].values():
        for key in section["properties"]:
            assert f"{key}:" in text, key
    full = load(PROJECT / "config/full.example.yaml", ENVIRON_OF_EXAMPLES)
    default = Settings()
    assert full.poll == default.poll
    assert full.journal.max_bytes == default.journal.max_bytes
    assert full.admin == default.admin
    assert full.telemetry == default.telemetry
    assert full.fal.base_url == default.fal.base_url


def test_the_schema_is_one() -> None:
    """The schema is JSON, and a schema."""
    schema = json.loads(json.dumps(json_schema()))
    importlib.import_module("jsonschema").Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_satisfy_the_schema(path: Path) -> None:
    """What an editor checks by the schema, it finds right."""
    assert _violations(yaml.safe_load(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "more",
    [
        {"poll": {"interval": "soon"}},
        {"poll": {"intervall": "1s"}},
        {"journal": {"max_bytes": "1PB"}},
        {"destinations": [{"name": "a", "type": "syslog"}]},
        {"destinations": [{"name": "a", "type": "otlp", "protocol": "http/xml"}]},
        {"destinations": [{"name": "a", "type": "syslog", "endpoint": "udp://h", "bom": "x"}]},
        {"destinations": [{"name": "a", "type": "file"}]},
        {"destinations": [{"name": "a", "type": "otlp", "max_age": "old"}]},
        {"destinations": [{"name": "a", "type": "otlp", "too_old": "drop"}]},
        {"destinations": [{"name": "a", "type": "console", "apps": []}]},
        {"apps": [{"level": "LOUD"}]},
        {"apps": [{"labels": {"a": []}}]},
    ],
)
def test_the_schema_refuses(more: dict[str, Any]) -> None:
    """What the bridge refuses, the schema does too."""
    minimal = yaml.safe_load(MINIMAL)
    assert _violations(minimal) == []
    assert _violations({**minimal, **more})


@pytest.mark.parametrize("value", ["250ms", "1.5s", "2h30m", "7d", 15, 0.5])
def test_the_schema_takes_quantities(value: object) -> None:
    """Durations are accepted as people write them."""
    assert _violations({"poll": {"interval": value, "late_sweeps": [value]}}) == []


def test_the_schema_speaks_to_people() -> None:
    """Every key is described, and defaults read as they are written."""
    schema = json_schema()
    for name, section in schema["$defs"].items():
        for key, value in section["properties"].items():
            assert value.get("description"), f"{name}.{key}"
    poll = schema["$defs"]["Poll"]["properties"]
    assert poll["interval"]["default"] == "1s"
    assert poll["late_sweeps"]["default"] == ["15s", "2m", "15m"]
    assert schema["$defs"]["Journal"]["properties"]["max_bytes"]["default"] == "1GiB"
    assert schema["$defs"]["App"]["properties"]["start"]["default"] == "10m"


def test_the_page_is_current() -> None:
    """docs/configuration.md is what the settings say; the page tells how to write it anew."""
    page = (PROJECT / "docs/configuration.md").read_text("utf-8")
    assert page == markdown(), "run: python -m bridge.settings.reference > docs/configuration.md"
