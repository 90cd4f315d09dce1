"""The chart's values: mistakes are refused by name, secrets are kept out of the manifests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chart import CHART, changed, config_names, example, pod_names

Values = dict[str, Any]
Render = Callable[[Values], list[dict[str, Any]]]

pytestmark = [
    pytest.mark.server("helm_python"),
    pytest.mark.xdist_group("chart"),
]

_SCHEMA = CHART / "values.schema.json"
_FREE = {"podAnnotations", "podLabels", "nodeSelector", "labels", "annotations", "requests"}
_FREE |= {"limits", "global"}
_BEARER = "Bearer s3cret"
_FOLDER = CHART.parents[1] / "config"
_CONFIGS = sorted([*_FOLDER.glob("*.yaml"), *_FOLDER.glob("recipes/*.yaml")])


def _defaults() -> Values:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")))


def _keys(values: Values, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted path of every key that the chart names itself."""
    for key, value in values.items():
        yield ".".join([*above, key])
        if isinstance(value, dict) and key not in _FREE:
            yield from _keys(value, (*above, key))


@pytest.mark.parametrize("place", list(_keys(_defaults())))
def test_misspelt_value_is_named(render: Render, values: Values, place: str) -> None:
    """Every key, at every depth, is refused by its name if it has a letter too many."""
    with pytest.raises(Exception, match="additional properties") as caught:
        render(changed(values, f"{place}x", "anything"))
    assert f"'{place.rpartition('.')[2]}x'" in str(caught.value)


@pytest.mark.parametrize(
    "place",
    [
        "replicaCount",
        "extraEnv.0.valuefrom",
        "extraEnv.0.valueFrom.secretRef",
        "extraEnv.0.valueFrom.secretKeyRef.nme",
        "extraEnvFrom.0.secretRef.nme",
        "tolerations.0.kee",
        "affinity.nodeAffinity.requiredDuring",
        "topologySpreadConstraints.0.maxSkw",
        "extraVolumes.0.secrt",
        "extraVolumes.1.secret.secretNam",
        "extraVolumeMounts.0.mountPth",
        "initContainers.0.imag",
        "extraContainers.0.livenessProbe.httpGet.prt",
        "networkPolicy.from.0.podSelector.matchLabel",
        "networkPolicy.extraEgress.0.ports.0.prt",
        "config.destination",
        "config.apps.0.appid",
        "config.apps.0.shape.drop.0.mesage",
        "config.poll.intervall",
        "config.destinations.0.end_point",
        "config.destinations.0.tls.ca",
        "config.destinations.0.facility",
    ],
)
def test_what_is_not_known_is_named(render: Render, place: str) -> None:
    """So is what never was a value, and what the bridge or Kubernetes does not know."""
    values = example("everything")
    values["config"]["apps"][0]["shape"] = {"drop": [{"message": "x"}]}
    with pytest.raises(Exception, match="additional properties") as caught:
        render(changed(values, place, "anything"))
    assert f"'{place.rpartition('.')[2]}'" in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("resources.limits", {"nvidia.com/gpu": 1, "ephemeral-storage": "1Gi"}),
        ("resources.requests", {"hugepages-2Mi": "4Mi"}),
        (
            "tolerations.0",
            {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 1},
        ),
        (
            "affinity",
            {
                "nodeAffinity": None,
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 1,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"any.example.com/key": "x"}},
                            },
                        }
                    ]
                },
            },
        ),
        (
            "extraVolumes.0",
            {
                "name": "scratch",
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "metadata": {"labels": {"any": "x"}},
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "1Gi"}},
                        },
                    }
                },
            },
        ),
        (
            "extraVolumes.0",
            {"name": "x", "csi": {"driver": "d", "volumeAttributes": {"any": "x"}}},
        ),
        (
            "extraVolumes.0",
            {
                "name": "x",
                "projected": {
                    "sources": [
                        {"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
                        {"serviceAccountToken": {"path": "p", "expirationSeconds": 600}},
                    ]
                },
            },
        ),
        (
            "initContainers.0",
            {
                "name": "proxy",
                "image": "proxy:1",
                "restartPolicy": "Always",
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "ports": [{"containerPort": 1, "name": "x"}],
                "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
                "startupProbe": {"httpGet": {"port": "x", "path": "/"}, "periodSeconds": 1},
                "resources": {"limits": {"cpu": 1, "any.example.com/thing": 1}},
                "securityContext": {"capabilities": {"drop": ["ALL"]}},
            },
        ),
    ],
)
def test_what_kubernetes_knows_passes(render: Render, place: str, value: object) -> None:
    """Parts of a pod may be all that they are in Kubernetes, with names of the user's own."""
    assert render(changed(example("everything"), place, value))


@pytest.mark.parametrize("place", ["limits", "requests"])
def test_misspelt_resource_is_named(render: Render, values: Values, place: str) -> None:
    """A resource without a domain is one of those that Kubernetes has."""
    with pytest.raises(Exception, match="memry"):
        render(changed(values, f"resources.{place}", {"memry": "1Gi"}))


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("fal.existingSecret", "", "fal.existingSecret"),
        ("enabled", False, "enabled: is for the condition of a parent chart"),
        ("config", None, "'config'"),
        ("config.apps", [], "config.apps"),
        ("config.destinations", [], "config.destinations"),
        ("config.destinations.0.type", "otpl", "'console', 'file', 'otlp', 'syslog'"),
        ("config.admin", {"listen": "127.0.0.1:9846"}, "config.admin.listen"),
        ("config.admin", {"listen": "0.0.0.0:0"}, "config.admin.listen"),
        ("config.admin", {"enabled": False}, "config.admin.enabled"),
        ("existingConfigMap", "mine", "config and existingConfigMap"),
        ("persistence", {"enabled": False, "existingClaim": "mine"}, "persistence.existingClaim"),
        ("persistence.size", "lots", "persistence/size"),
        ("image.digest", "sha256:1", "image/digest"),
        ("terminationGracePeriodSeconds", "soon", "terminationGracePeriodSeconds"),
        ("fsGroup", 0, "fsGroup"),
        ("extraEnv.0", {"name": "BRIDGE_ADMIN__LISTEN", "value": ":1"}, "config.admin.listen"),
        ("extraEnv.0", {"name": "BRIDGE_CONFIG", "value": "/x"}, "BRIDGE_CONFIG"),
        ("extraEnv.0", {"name": "FAL_KEY", "valueFrom": {}}, "fal.existingSecret"),
    ],
)
def test_unusable_value_is_named(
    render: Render, values: Values, place: str, value: object, named: str
) -> None:
    """A value that cannot work is refused before anything is installed."""
    with pytest.raises(Exception, match=r"(?s).+") as caught:
        render(changed(values, place, value))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("podLabels", {"a": "b"}),
        ("extraContainers", [{"name": "x"}]),
        ("networkPolicy.enabled", True),
        ("serviceMonitor.enabled", True),
    ],
)
def test_what_a_sidecar_cannot_do_is_named(render: Render, place: str, value: object) -> None:
    """A value that would do nothing in another chart's pod is refused."""
    with pytest.raises(Exception, match="the parent chart's") as caught:
        render(changed(example("sidecar"), place, value))
    assert f"{place}: " in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("fal.existingSecret", ""),
        ("config.apps", []),
        ("config.destinations", []),
    ],
)
def test_what_comes_by_variables_is_enough(
    render: Render, values: Values, place: str, value: object
) -> None:
    """The key, the apps and the backend may also come from variables that a Secret gives."""
    assert render(changed(values, place, value) | {"extraEnvFrom": [{"secretRef": {"name": "x"}}]})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config.fal", {"key": "id:s3cret"}),
        ("config.fal", {"key": "${env:FAL_KEY:-id:s3cret}"}),
        ("config.fal", {"base_url": "https://me:s3cret@fal.example.com"}),
        ("config.admin", {"token": "s3cret"}),
        ("config.telemetry", {"headers": {"x-any": _BEARER}}),
        ("config.destinations.1.headers", {"Authorization": _BEARER}),
        ("config.destinations.1.headers", {"Authorization": "Bearer s3cret${env:REST}"}),
        ("config.destinations.1.headers", {"Authorization": "Bearer ${env:A:-s3cret}"}),
        ("config.destinations.1.headers", {"dd-api-key": "s3cret"}),
        ("config.destinations.1.headers", {"x-honeycomb-team": "s3cret"}),
        ("config.destinations.1.endpoint", "https://me:s3cret@example.com"),
        ("config.destinations.1.endpoint", "HTTPS://me:s3cret@example.com"),
        ("config.destinations.1.endpoint", "me:s3cret@example.com:4317"),
        ("config.destinations.1.logs_endpoint", "https://example.com/v?a=b&api_key=s3cret"),
        ("config.destinations.1.logs_endpoint", "https://example.com/v?token=${env:A:-s3cret}"),
        ("config.destinations.1.logs_endpoint", "https://example.com/v?DD-API-KEY=s3cret#x"),
        ("extraEnv.0", {"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": "a=s3cret"}),
        ("extraEnv.0", {"name": "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "value": "a=s3cret"}),
        ("extraEnv.0", {"name": "HTTPS_PROXY", "value": "http://me:s3cret@proxy:3128"}),
        ("extraEnv.0", {"name": "all_proxy", "value": "me:s3cret@proxy:3128"}),
        ("extraEnv.0", {"name": "MY_TOKEN", "value": "s3cret"}),
        ("extraEnv.0", {"name": "MY_API_KEY", "value": "s3cret"}),
        ("extraEnv.0", {"name": "MY_SECRET", "value": "s3cret"}),
        ("extraEnv.0", {"name": "db_password", "value": "s3cret"}),
        ("extraEnv.0", {"name": "BRIDGE_ADMIN__TOKEN", "value": "s3cret"}),
    ],
)
def test_secrets_are_refused(render: Render, values: Values, place: str, value: Any) -> None:
    """What is secret and stands there in clear is refused, naming the place and not the secret."""
    with pytest.raises(Exception, match=r"does not belong into a (ConfigMap|manifest)") as caught:
        render(changed(values, place, value))
    # The secret stands in one string of the value; the path to it is told.
    named = (
        place if isinstance(value, str) or place == "extraEnv.0" else f"{place}.{next(iter(value))}"
    )
    assert named in str(caught.value).replace("[", ".").replace("]", "")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config.fal", {"key": "${env:FAL_KEY}"}),
        ("config.fal", {"key": "${env:ID}:${env:SECRET}"}),
        ("config.fal", {"key_file": "/secrets/fal"}),
        ("config.admin", {"token": "${file:/secrets/admin}"}),
        ("config.destinations.1.headers", {"Authorization": "Basic ${env:TOKEN}"}),
        ("config.destinations.1.headers", {"X-Scope-OrgID": "tenant", "dd-api-key": "${env:K}"}),
        ("config.destinations.1.endpoint", "${env:ENDPOINT}"),
        ("config.admin", None),
    ],
)
def test_placeholders_pass(render: Render, values: Values, place: str, value: object) -> None:
    """A placeholder without a default is no secret, and some headers never are."""
    assert render(changed(values, place, value))


@pytest.mark.parametrize(
    "logs_endpoint",
    [
        "https://example.com/v?api_key=${env:K}&dataset=fal",
        "https://example.com/v?partition_key=app&tokens=1&api_key=",
        "https://example.com/@team/v1?to=me@example.com",
    ],
)
def test_ordinary_addresses_pass(render: Render, values: Values, logs_endpoint: str) -> None:
    """A query or a path is no secret of itself."""
    destination = {"name": "x", "type": "otlp", "logs_endpoint": logs_endpoint}
    assert render(changed(values, "config.destinations.1", destination))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("HTTPS_PROXY", "http://$(PROXY_USER):$(PROXY_PASSWORD)@proxy:3128"),
        ("VENDOR_TOKEN", "$(OTHER)"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer $(OTHER)"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/certs/tls.key"),
        ("TLS_PRIVATE_KEY", "/certs/tls.key"),
        ("BRIDGE_FAL__KEY_FILE", "/secrets/fal"),
        ("PARTITION_KEY", "app"),
        ("MAX_TOKENS", "5"),
        ("USE_TOKEN", "true"),
    ],
)
def test_ordinary_variables_pass(render: Render, values: Values, name: str, value: str) -> None:
    """So do a file's path, a reference to another variable, and names that only resemble."""
    assert render(changed(values, "extraEnv", [{"name": name, "value": value}]))


@pytest.mark.parametrize("path", _CONFIGS, ids=lambda path: path.stem)
def test_every_example_is_a_config(render: Render, values: Values, path: Path) -> None:
    """Every configuration that this project shows may be pasted under `config`."""
    config = yaml.safe_load(path.read_text("utf-8"))
    config.pop("admin", None)  # listens on loopback there
    assert render(values | {"config": config})


def test_no_secret_is_in_the_arguments(render: Render) -> None:
    """The bridge gets no arguments, ``helm test`` the name of its command."""
    for manifest in render(example("everything")):
        spec = manifest.get("spec", {})
        pod = spec if manifest["kind"] == "Pod" else spec.get("template", {}).get("spec", {})
        for container in pod.get("containers", []):
            if container["name"] in {"bridge", "check"}:
                assert container.get("args", []) in ([], ["check"])
                assert "command" not in container


def test_schema_knows_every_default(chart: Any) -> None:
    """Every default has its place in the schema, and the schema none without a default."""
    schema = json.loads(_SCHEMA.read_text("utf-8"))
    assert schema["properties"].keys() - {"global", "enabled"} == chart.values.keys()


@pytest.mark.server("kubernetes_validate")
@pytest.mark.parametrize(("part", "names"), [("bridge", config_names), ("pod", pod_names)])
def test_schema_knows_the_keys(
    part: str, names: Callable[[], Values], *, update_golden: bool
) -> None:
    """Those of the bridge and of Kubernetes; ``make chart-test ARGS=--update-golden``."""
    schema = json.loads(_SCHEMA.read_text("utf-8"))
    if update_golden:
        schema["$defs"][part] = names()
        _SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", "utf-8")
    assert schema["$defs"][part] == names()
