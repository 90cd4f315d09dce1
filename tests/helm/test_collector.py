"""The bridge before an OpenTelemetry Collector: the values of both charts fit each other."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from support.chart import CHART

from bridge.settings import Otlp, load

_FOLDER = CHART.parent / "opentelemetry-collector"
_RELEASE = "collector"
_OVERWRITING = ("resourcedetection", "k8sattributes", "resource", "attributes", "transform")

pytestmark = [
    pytest.mark.server("helm_python", "otel_collector"),
    pytest.mark.xdist_group("chart"),
]


@pytest.fixture
def theirs() -> dict[str, Any]:
    """The values of the Collector's chart."""
    return dict(yaml.safe_load((_FOLDER / "collector-values.yaml").read_text("utf-8")))


@pytest.fixture
def ours() -> dict[str, Any]:
    """The values of this project's chart."""
    return dict(yaml.safe_load((_FOLDER / "bridge-values.yaml").read_text("utf-8")))


def test_bridge_sends_where_the_collector_listens(
    render: Callable[[dict[str, Any]], list[dict[str, Any]]],
    theirs: dict[str, Any],
    ours: dict[str, Any],
    tmp_path: Path,
) -> None:
    """The rendered config is one the bridge takes, and leads to the Service and its port."""
    manifests = render(ours)
    (text,) = [each["data"]["config.yaml"] for each in manifests if each["kind"] == "ConfigMap"]
    file = tmp_path / "config.yaml"
    file.write_text(text, "utf-8")
    (destination,) = load(file, {"FAL_KEY": "id:secret", "HOME": str(tmp_path)}).destinations
    assert isinstance(destination, Otlp)
    address = urlsplit(destination.endpoint or "")
    assert address.hostname == f"{_RELEASE}-opentelemetry-collector"
    port = theirs["ports"]["fal"]
    assert address.port == port["servicePort"]
    receiver = theirs["config"]["receivers"]["otlp/fal"]["protocols"]["http"]["endpoint"]
    assert receiver == f"${{env:MY_POD_IP}}:{port['containerPort']}"
    exporter = theirs["config"]["exporters"]["otlphttp/backend"]
    assert destination.timeout > float(exporter["timeout"].removesuffix("s"))


def test_pipeline_of_its_own(theirs: dict[str, Any]) -> None:
    """Nothing overwrites what the records say of the fal app, and nothing answers too early."""
    service = theirs["config"]["service"]["pipelines"]
    assert service.keys() == {"logs/fal"}  # the chart's presets add to `logs`
    pipeline = service["logs/fal"]
    assert pipeline["receivers"] == ["otlp/fal"]
    kinds = {name.partition("/")[0] for name in pipeline["processors"]}
    assert not kinds & {*_OVERWRITING, "batch"}
    for name in pipeline["exporters"]:
        exporter = theirs["config"]["exporters"][name]
        assert exporter["sending_queue"] == exporter["retry_on_failure"] == {"enabled": False}


def test_collector_takes_its_part(theirs: dict[str, Any], tmp_path: Path) -> None:
    """A real Collector finds the pipeline valid; the build at hand has no OTLP receiver."""
    found = importlib.util.find_spec("otel_collector")
    assert found is not None
    assert found.origin
    binary = next(Path(found.origin).parent.glob("bin/otelcol*"))
    config = theirs["config"]
    config["receivers"] = {"filelog": {"include": ["/nowhere"]}}
    config["service"]["pipelines"]["logs/fal"]["receivers"] = ["filelog"]
    file = tmp_path / "collector.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    variables = {"BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:1", "BACKEND_AUTHORIZATION": "x"}
    done = subprocess.run(
        [binary, "validate", f"--config={file}"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
