"""What docs/kubernetes.md shows, taken from the page and tried."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chart import CHART
from support.restricted import violations

import bridge

pytestmark = [
    pytest.mark.server("helm_python", "kubernetes_validate"),
    pytest.mark.xdist_group("chart"),
]

_PAGE = CHART.parents[1] / "docs/kubernetes.md"
_FILE = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The files that the page shows, by name."""
    return dict(_FILE.findall(_PAGE.read_text("utf-8")))


@pytest.fixture
def parent(helm: Any, files: dict[str, str], tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Render the page's parent chart, with other values than its own where they are given."""
    for name in ("Chart.yaml", "values.yaml", "templates/deployment.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[name], "utf-8")
    shutil.copytree(CHART, tmp_path / "charts/fal-log-bridge")

    def render(**values: Any) -> list[dict[str, Any]]:
        with helm.Chart.load(tmp_path) as chart:
            texts = chart.render({"fal-log-bridge": values}, name="prod", namespace="logging")
        found = [text for name, text in texts.items() if name.endswith(".yaml")]
        return [each for text in found for each in yaml.safe_load_all(text) if each]

    return render


def _valid(manifest: dict[str, Any]) -> None:
    checks = importlib.import_module("kubernetes_validate")
    for version in ("1.25", checks.latest_version()):
        checks.validate(manifest, version, strict=True)


def test_pod_by_hand(files: dict[str, str]) -> None:
    """The pod is valid and restricted, with the probes and variables of the bridge."""
    pod = yaml.safe_load(files["pod.yaml"])
    _valid(pod)
    assert violations(pod["spec"]) == []
    container = pod["spec"]["containers"][1]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "bridge-admin"}
    assert "readinessProbe" not in container
    assert container["image"].endswith(f":{bridge.__version__}")


def test_from_another_chart(parent: Callable[..., list[dict[str, Any]]]) -> None:
    """The parent's pod has the container, restricted, with its config, its claim and its key."""
    manifests = {each["kind"]: each for each in parent()}
    assert manifests.keys() == {"ConfigMap", "PersistentVolumeClaim", "Deployment"}
    for manifest in manifests.values():
        _valid(manifest)
    template = manifests["Deployment"]["spec"]["template"]
    pod = template["spec"]
    assert violations(pod) == []
    container = pod["containers"][1]
    assert container["name"] == "fal-log-bridge"
    assert container["image"] == f"fal-log-bridge:{bridge.__version__}"
    assert "readinessProbe" not in container
    key = next(each for each in container["env"] if each["name"] == "FAL_KEY")
    assert key["valueFrom"] == {"secretKeyRef": {"name": "fal", "key": "key"}}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert {each["name"] for each in container["volumeMounts"]} == volumes.keys()
    config = manifests["ConfigMap"]["metadata"]["name"]
    assert volumes["bridge-config"]["configMap"]["name"] == config
    claim = manifests["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["bridge-journal"]["persistentVolumeClaim"]["claimName"] == claim
    assert "checksum/config" in template["metadata"]["annotations"]


def test_from_another_chart_without_a_volume(parent: Callable[..., list[dict[str, Any]]]) -> None:
    """The journal may also be an empty folder, and more files may come along."""
    manifests = {
        each["kind"]: each
        for each in parent(
            persistence={"enabled": False},
            extraVolumes=[{"name": "certs", "secret": {"secretName": "certs"}}],
            extraVolumeMounts=[{"name": "certs", "mountPath": "/certs", "readOnly": True}],
        )
    }
    assert manifests.keys() == {"ConfigMap", "Deployment"}
    _valid(manifests["Deployment"])
    volumes = {
        each["name"]: each
        for each in manifests["Deployment"]["spec"]["template"]["spec"]["volumes"]
    }
    assert "emptyDir" in volumes["bridge-journal"]
    assert "secret" in volumes["certs"]


def test_condition_of_another_chart(parent: Callable[..., list[dict[str, Any]]]) -> None:
    """What its condition may read among our values is let through."""
    assert len(parent(enabled=True)) == 3


def test_mistake_in_another_chart_is_named(parent: Callable[..., list[dict[str, Any]]]) -> None:
    """The chart's schema counts there too."""
    with pytest.raises(Exception, match="'sidecars'"):
        parent(sidecars={})


def test_values_on_the_page(
    files: dict[str, str], render: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    """The first values on the page install something."""
    kinds = {each["kind"] for each in render(yaml.safe_load(files["my-values.yaml"]))}
    assert {"StatefulSet", "NetworkPolicy"} <= kinds
