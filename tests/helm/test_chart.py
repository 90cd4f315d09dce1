"""The Helm chart: what it renders is valid, restricted and free of secrets; mistakes are named."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.settings import Otlp, load

Values = dict[str, Any]
Render = Callable[[Values], dict[str, dict[str, Any]]]

pytestmark = pytest.mark.server("helm_python", "kubernetes_validate")

_EXAMPLES = ("collector", "memory")
_KUBERNETES = ("1.25", "1.30", "1.34", "1.37")


def _example(folder: Path, name: str) -> Values:
    return dict(yaml.safe_load((folder / f"ci/{name}-values.yaml").read_text("utf-8")))


def _pod(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def _changed(values: Values, dotted: str, value: object) -> Values:
    """A copy with one value changed; list items are addressed by number."""
    changed = copy.deepcopy(values)
    *path, last = dotted.split(".")
    target: Any = changed
    for step in path:
        target = target[int(step)] if step.isdigit() else target.setdefault(step, {})
    target[last] = value
    return changed


@pytest.mark.parametrize("example", _EXAMPLES)
@pytest.mark.parametrize("version", _KUBERNETES)
def test_manifests_are_valid(
    render: Render, chart_folder: Path, example: str, version: str
) -> None:
    """Every manifest passes Kubernetes' own schema, strictly, on old and new versions."""
    validate = importlib.import_module("kubernetes_validate").validate
    manifests = render(_example(chart_folder, example))
    del manifests["NOTES"]
    assert manifests.keys() == {"ConfigMap", "ServiceAccount", "StatefulSet"}
    for manifest in manifests.values():
        validate(manifest, version, strict=True)


@pytest.mark.parametrize("example", _EXAMPLES)
def test_lint(helm: Any, chart_folder: Path, example: str) -> None:
    """``helm lint --strict`` has nothing to say but that there is no icon."""
    report = helm.lint(chart_folder, _example(chart_folder, example), strict=True)
    assert report["total_charts_linted"] == 1
    assert report["errors"] == []
    assert [found["error"] for found in report["messages"]] == ["icon is recommended"]


def test_pod_is_restricted(render: Render, values: Values) -> None:
    """The pod meets the restricted Pod Security Standard, with nothing writable but the journal."""
    pod = _pod(render(values))
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    writable = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert [mount["mountPath"] for mount in writable] == ["/var/lib/fal-log-bridge"]


def test_one_reader_with_a_volume(render: Render, values: Values) -> None:
    """One replica, and its journal outlives the pod."""
    spec = render(_changed(values, "persistence.storageClass", "fast"))["StatefulSet"]["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert spec["replicas"] == 1
    assert claim["metadata"]["name"] == "journal"
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"] == {"storage": "2Gi"}


def test_without_persistence(render: Render, chart_folder: Path) -> None:
    """The journal is then an empty folder of the pod, and the notes say what that means."""
    manifests = render(_example(chart_folder, "memory"))
    assert "volumeClaimTemplates" not in manifests["StatefulSet"]["spec"]
    assert {"name": "journal", "emptyDir": {"sizeLimit": "2Gi"}} in _pod(manifests)["volumes"]
    assert "WARNING: persistence.enabled is false" in manifests["NOTES"]["text"]


def test_key_comes_from_the_secret(render: Render, values: Values) -> None:
    """FAL_KEY is taken from the named Secret and key."""
    manifests = render(_changed(values, "fal.secretKey", "token"))
    env = {item["name"]: item for item in _pod(manifests)["containers"][0]["env"]}
    assert env["FAL_KEY"]["valueFrom"] == {"secretKeyRef": {"name": "fal", "key": "token"}}
    assert "VENDOR_TOKEN" in env


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config.fal.key", "id:s3cret"),
        ("config.destinations.1.headers", {"Authorization": "Bearer s3cret"}),
        ("config.destinations.1.headers", {"dd-api-key": "s3cret"}),
        ("config.destinations.1.headers", {"X-Auth": "s3cret"}),
    ],
)
def test_secrets_stay_out_of_the_config_map(
    render: Render, values: Values, place: str, value: object
) -> None:
    """A literal key or token in the config is refused, naming the place and not the secret."""
    with pytest.raises(Exception, match="does not belong into a ConfigMap") as caught:
        render(_changed(values, place, value))
    assert place in str(caught.value).replace("[", ".").replace("]", "")
    assert "s3cret" not in str(caught.value)


def test_bridge_takes_the_rendered_config(render: Render, values: Values, tmp_path: Path) -> None:
    """What the ConfigMap holds and the pod's environment gives are settings the bridge accepts."""
    file = tmp_path / "config.yaml"
    file.write_text(render(values)["ConfigMap"]["data"]["config.yaml"], "utf-8")
    environ = {
        "FAL_KEY": "id:secret",
        "VENDOR_TOKEN": "token",
        "STATE_DIRECTORY": "/var/lib/fal-log-bridge",
    }
    settings = load(file, environ)
    assert [app.name for app in settings.apps] == ["my-app", "my-other-app"]
    assert [destination.name for destination in settings.destinations] == ["collector", "vendor"]
    assert all(isinstance(destination, Otlp) for destination in settings.destinations)
    assert settings.journal.max_bytes == 2**30
    assert str(settings.journal.path).startswith("/var/lib/fal-log-bridge/")


def test_a_changed_config_restarts_the_pod(render: Render, values: Values) -> None:
    """The pod's checksum follows the config, and nothing else."""

    def checksum(changed: Values) -> str:
        template = render(changed)["StatefulSet"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum(values) == checksum(_changed(values, "persistence.size", "5Gi"))
    assert checksum(values) != checksum(_changed(values, "config.poll", {"interval": "3s"}))


@pytest.mark.parametrize(
    "place",
    [
        "persistance",
        "fal.exsistingSecret",
        "image.pullpolicy",
        "persistence.sise",
        "config.destination",
        "resources.limit",
        "env.0.valuefrom",
    ],
)
def test_misspelt_value_is_named(render: Render, values: Values, place: str) -> None:
    """A key that does not exist is refused by name."""
    with pytest.raises(Exception, match="additional properties") as caught:
        render(_changed(values, place, "anything"))
    assert place.rpartition(".")[2] in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("fal.existingSecret", "", "fal.existingSecret"),
        ("config.apps", [], "config.apps"),
        ("config.destinations", [], "config.destinations"),
        ("persistence.size", "lots", "persistence/size"),
        ("terminationGracePeriodSeconds", "soon", "terminationGracePeriodSeconds"),
    ],
)
def test_unusable_value_is_named(
    render: Render, values: Values, place: str, value: object, named: str
) -> None:
    """A value that cannot work is refused before anything is installed."""
    with pytest.raises(Exception, match=named):
        render(_changed(values, place, value))


def test_schema_knows_every_default(chart: Any, chart_folder: Path) -> None:
    """Every default has its place in the schema, and the schema none without a default."""
    schema = json.loads((chart_folder / "values.schema.json").read_text("utf-8"))
    assert schema["properties"].keys() - {"global"} == chart.values.keys()


def test_notes(render: Render, values: Values) -> None:
    """The notes name each destination and the command that shows the logs."""
    notes = render(values)["NOTES"]["text"]
    assert "collector (otlp, http://opentelemetry-collector:4318)" in notes
    assert "kubectl --namespace logging logs --follow statefulset/prod-fal-log-bridge" in notes
    assert "WARNING" not in notes
