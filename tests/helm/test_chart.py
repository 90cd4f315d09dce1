"""The Helm chart: what it renders is valid, restricted and free of secrets."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chart import CHART, EXAMPLES, changed, example
from support.prometheus_operator import SCHEMAS
from support.restricted import violations

import bridge
from bridge.settings import Otlp, load

Values = dict[str, Any]
Manifests = list[dict[str, Any]]
Render = Callable[[Values], Manifests]
Texts = Callable[[Values], dict[str, str]]

pytestmark = [
    pytest.mark.server("helm_python", "kubernetes_validate"),
    pytest.mark.xdist_group("chart"),  # one worker, so that the chart is loaded once
]

_GOLDEN = Path(__file__).parent / "golden"


def _about() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8")))


def _versions() -> tuple[str, str]:
    """The oldest Kubernetes that the chart supports, and the newest that there is a schema of."""
    oldest = str(_about()["kubeVersion"]).removeprefix(">=").partition(".0-0")[0]
    return oldest, str(importlib.import_module("kubernetes_validate").latest_version())


def _one(manifests: Manifests, kind: str, suffix: str = "") -> dict[str, Any]:
    """The one manifest of a kind, or the one whose name ends so."""
    (found,) = [
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"].endswith(suffix)
    ]
    return found


def _pods(manifests: Manifests) -> Iterator[dict[str, Any]]:
    """The specs of all pods: the bridge's, and that of `helm test`."""
    yield from (each["spec"] for each in manifests if each["kind"] == "Pod")
    yield from (
        each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "StatefulSet"
    )


def _pod(manifests: Manifests) -> dict[str, Any]:
    return dict(_one(manifests, "StatefulSet")["spec"]["template"]["spec"])


def _container(manifests: Manifests) -> dict[str, Any]:
    return dict(_pod(manifests)["containers"][0])


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("newest", [False, True], ids=["oldest", "newest"])
def test_manifests_are_valid(render: Render, name: str, *, newest: bool) -> None:
    """Every manifest passes the schema of Kubernetes, strictly, or that of Prometheus' operator."""
    validate = importlib.import_module("kubernetes_validate").validate
    manifests = render(example(name))
    assert manifests
    for manifest in manifests:
        if schema := SCHEMAS.get(manifest["kind"]):
            importlib.import_module("jsonschema").validate(manifest, schema)
        else:
            validate(manifest, _versions()[newest], strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden(texts: Texts, name: str, *, update_golden: bool) -> None:
    """The render is the one that was looked at; ``make chart-test ARGS=--update-golden``."""
    # The two files that the chart wraps are long, and tested as they are.
    wrapped = ("templates/dashboard.yaml", "templates/prometheusrule.yaml")
    parts = [
        f"# {template}\n{text.strip()}\n"
        for template, text in sorted(texts(example(name)).items())
        if template not in wrapped
    ]
    path = _GOLDEN / f"{name}.txt"
    if update_golden:
        path.write_text("\n".join(parts), "utf-8")
    assert "\n".join(parts) == path.read_text("utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_lint(helm: Any, name: str) -> None:
    """``helm lint --strict`` has nothing to say but that there is no icon."""
    report = helm.lint(CHART, example(name), strict=True)
    assert report["total_charts_linted"] == 1
    assert report["errors"] == []
    assert [found["error"] for found in report["messages"]] == ["icon is recommended"]


def test_packaged_chart_is_the_same(helm: Any, chart: Any, texts: Texts, tmp_path: Path) -> None:
    """What ``helm package`` puts into the archive is enough, the wrapped files too."""
    values = example("everything")
    with helm.Chart.load(chart.save(tmp_path)) as packaged:
        found = packaged.render(values, name="prod", namespace="logging")
    assert {name.partition("/")[2]: text for name, text in found.items() if text.strip()} == texts(
        values
    )


def test_chart_is_of_this_version() -> None:
    """The chart installs the bridge it was tested with."""
    assert _about()["version"] == _about()["appVersion"] == bridge.__version__


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_are_restricted(render: Render, name: str) -> None:
    """Every pod meets the restricted Pod Security Standard."""
    values = example(name) | {"extraContainers": [], "initContainers": []}  # theirs is their own
    pods = list(_pods(render(values)))
    assert len(pods) == (0 if name == "sidecar" else 2)
    assert [line for pod in pods for line in violations(pod)] == []
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["runAsUser"] == 10001
            writable = [each for each in container["volumeMounts"] if not each.get("readOnly")]
            assert [each["mountPath"] for each in writable] == ["/var/lib/fal-log-bridge"]


def test_restriction_is_noticed(render: Render) -> None:
    """A container without a security context of its own is no restricted one."""
    assert violations(_pod(render(example("everything")))) == [
        "wait: allowPrivilegeEscalation",
        "wait: capabilities",
        "proxy: allowPrivilegeEscalation",
        "proxy: capabilities",
    ]


def test_one_reader_with_a_volume(render: Render, values: Values) -> None:
    """One replica, no disruption budget that nobody could keep, and a journal that outlives it."""
    manifests = render(changed(values, "persistence.storageClass", "fast"))
    spec = _one(manifests, "StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert spec["replicas"] == 1
    assert claim["metadata"]["name"] == "bridge-journal"
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    assert not [each for each in manifests if each["kind"] == "PodDisruptionBudget"]


@pytest.mark.parametrize(
    ("storage_class", "rendered"), [("", None), ("-", ""), ("fast", "fast")], ids=str
)
def test_storage_class(
    render: Render, values: Values, storage_class: str, rendered: str | None
) -> None:
    """None is the cluster's own, a dash none at all."""
    manifests = render(changed(values, "persistence.storageClass", storage_class))
    (claim,) = _one(manifests, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"].get("storageClassName") == rendered


def test_without_persistence(render: Render, texts: Texts) -> None:
    """The journal is then an empty folder of the pod, and the notes say what that means."""
    manifests = render(example("memory"))
    assert "volumeClaimTemplates" not in _one(manifests, "StatefulSet")["spec"]
    assert {"name": "bridge-journal", "emptyDir": {"sizeLimit": "2Gi"}} in _pod(manifests)[
        "volumes"
    ]
    notes = texts(example("memory"))["templates/NOTES.txt"]
    assert "WARNING: persistence.enabled is false" in notes


def test_what_is_there_already(render: Render) -> None:
    """A ConfigMap and a claim that exist are used, and none is made."""
    manifests = render(example("existing"))
    assert not [each for each in manifests if each["kind"] == "ConfigMap"]
    spec = _one(manifests, "StatefulSet")["spec"]
    assert "volumeClaimTemplates" not in spec
    assert "checksum/config" not in spec["template"]["metadata"]["annotations"]
    volumes = {each["name"]: each for each in _pod(manifests)["volumes"]}
    assert volumes["bridge-config"]["configMap"] == {"name": "my-bridge"}
    assert volumes["bridge-journal"]["persistentVolumeClaim"] == {"claimName": "my-journal"}


def test_key_comes_from_the_secret(render: Render, values: Values) -> None:
    """FAL_KEY is taken from the named Secret and key, also where ``helm test`` tries it."""
    for pod in _pods(render(changed(values, "fal.secretKey", "token"))):
        env = {item["name"]: item for item in pod["containers"][0]["env"]}
        assert env["FAL_KEY"]["valueFrom"] == {"secretKeyRef": {"name": "fal", "key": "token"}}
        assert "VENDOR_TOKEN" in env


@pytest.mark.parametrize(
    ("image", "rendered"),
    [
        ({}, f"fal-log-bridge:{bridge.__version__}"),
        ({"repository": "a/b", "tag": "1"}, "a/b:1"),
        ({"tag": "1", "digest": "sha256:" + "0" * 64}, "fal-log-bridge@sha256:" + "0" * 64),
    ],
    ids=["default", "tag", "digest"],
)
def test_image(render: Render, values: Values, image: Values, rendered: str) -> None:
    """The chart's own version, a tag, or a digest, which beats the tag."""
    assert _container(render(values | {"image": image}))["image"] == rendered


def test_probes(render: Render, values: Values) -> None:
    """The kubelet and the Service ask where the admin server listens."""
    manifests = render(changed(values, "config.admin", {"listen": "[::]:8080"}))
    container = _container(manifests)
    assert [port["containerPort"] for port in container["ports"]] == [8080]
    assert {"name": "BRIDGE_ADMIN__LISTEN", "value": "[::]:8080"} in container["env"]
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    assert {probe["path"] for probe in asked.values()} == {"/livez"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    port = container["ports"][0]["name"]
    assert {container[f"{name}Probe"]["httpGet"]["port"] for name in (*asked, "readiness")} == {
        port
    }
    service = _one(manifests, "Service")
    assert [each["targetPort"] for each in service["spec"]["ports"]] == [port]
    labels = _one(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_only_the_bridge_is_served(render: Render, values: Values) -> None:
    """The pod of ``helm test`` is not taken for the bridge, by the Service or the StatefulSet."""
    manifests = render(values)
    labels = _one(manifests, "Pod")["metadata"]["labels"]
    for selector in (
        _one(manifests, "Service")["spec"]["selector"],
        _one(manifests, "StatefulSet")["spec"]["selector"]["matchLabels"],
    ):
        assert not selector.items() <= labels.items()


def test_helm_test_runs_check(render: Render, values: Values) -> None:
    """``helm test`` tries the very config out, by the bridge's own command."""
    manifests = render(values)
    pod = _one(manifests, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    assert container["args"] == ["check"]
    bridges = _container(manifests)
    for same in ("image", "env", "securityContext", "volumeMounts"):
        assert container[same] == bridges[same]


def _rule(manifests: Manifests) -> set[tuple[str, int]]:
    """What the network policy's own egress rule lets out."""
    policy = _one(manifests, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = policy["egress"][0]["ports"]
    assert "to" not in policy["egress"][0]
    return {(each["protocol"], each["port"]) for each in ports}


_NAMES = {("UDP", 53), ("TCP", 53)}


@pytest.mark.parametrize(
    ("place", "value", "ports"),
    [
        ("config.poll", {}, {("TCP", 443), ("TCP", 4318)}),
        ("config.fal", {"base_url": "http://fal:8000"}, {("TCP", n) for n in (443, 4318, 8000)}),
        ("config.telemetry", {"endpoint": "http://a:9"}, {("TCP", n) for n in (443, 4318, 9)}),
        (
            "config.destinations.0.endpoint",
            "http://user.example.com/a:1/otlp",
            {("TCP", 443), ("TCP", 80)},
        ),
        (
            "config.destinations.0.endpoint",
            "http://${env:HOST:-a}:4317",
            {("TCP", 443), ("TCP", 4317)},
        ),
        ("config.destinations.0.endpoint", "http://[fd00::1]:12", {("TCP", 443), ("TCP", 12)}),
        (
            "config.destinations.0",
            {"name": "s", "type": "syslog", "endpoint": "udp://logs"},
            {("TCP", 443), ("UDP", 514)},
        ),
        (
            "config.destinations.0",
            {"name": "s", "type": "syslog", "endpoint": "tls://logs"},
            {("TCP", 443), ("TCP", 6514)},
        ),
        ("config.destinations.0.endpoint", "HTTP://c:4318", {("TCP", 443), ("TCP", 4318)}),
        ("config.destinations.0.endpoint", "HTTP://c", {("TCP", 443), ("TCP", 80)}),
        (
            "config.destinations.0",
            {"name": "s", "type": "syslog", "endpoint": "RELP://logs:2514"},
            {("TCP", 443), ("TCP", 2514)},
        ),
        (
            "config.destinations.0",
            {"name": "s", "type": "syslog", "endpoint": "UDP://logs"},
            {("TCP", 443), ("UDP", 514)},
        ),
        (
            "extraEnv",
            [
                {"name": "BRIDGE_TELEMETRY__ENDPOINT", "value": "http://t:4319"},
                {"name": "BRIDGE_FAL__BASE_URL", "value": "http://fal:8080"},
            ],
            {("TCP", n) for n in (443, 4318, 4319, 8080)},
        ),
        (
            "extraEnv",
            [{"name": "https_proxy", "value": "http://p:3128"}, {"name": "VENDOR_TOKEN"}],
            {("TCP", n) for n in (443, 3128, 4318)},
        ),
    ],
)
def test_network_policy(
    render: Render, values: Values, place: str, value: object, ports: set[tuple[str, int]]
) -> None:
    """Out go names, 443 and the ports of the configured addresses, and nothing else."""
    manifests = render(changed(values, place, value) | {"networkPolicy": {"enabled": True}})
    assert _rule(manifests) == _NAMES | ports
    spec = _one(manifests, "NetworkPolicy")["spec"]
    assert spec["ingress"] == [{"ports": [{"port": 9846, "protocol": "TCP"}]}]
    labels = _one(manifests, "Pod")["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()


def test_network_policy_with_an_unknown_port(render: Render, values: Values) -> None:
    """An address that is known only to the pod needs a rule of its own, and the place is named."""
    values = changed(values, "config.destinations.0.endpoint", "http://a:${env:PORT}")
    with pytest.raises(Exception, match=r"config\.destinations\[0\]\.endpoint: its port"):
        render(values | {"networkPolicy": {"enabled": True}})
    rule = {"ports": [{"port": 8443, "protocol": "TCP"}]}
    manifests = render(values | {"networkPolicy": {"enabled": True, "extraEgress": [rule]}})
    assert _rule(manifests) == _NAMES | {("TCP", 443)}
    assert _one(manifests, "NetworkPolicy")["spec"]["egress"][1:] == [rule]


def test_monitoring(render: Render) -> None:
    """The alert rules and the dashboard are the files, whatever braces they hold."""
    manifests = render(example("everything"))
    rules = yaml.safe_load((CHART / "files/alerts.yaml").read_text("utf-8"))
    assert rules["groups"]
    assert _one(manifests, "PrometheusRule")["spec"] == rules
    data = _one(manifests, "ConfigMap", "-dashboard")["data"]
    dashboard = json.loads((CHART / "files/dashboard.json").read_text("utf-8"))
    assert json.loads(data["fal-log-bridge.json"]) == dashboard
    monitor = _one(manifests, "ServiceMonitor")
    service = _one(manifests, "Service")
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_sidecar_alone_runs_nothing(render: Render) -> None:
    """As part of another chart's pod it brings its config and a claim, and no pod or Service."""
    kinds = sorted(each["kind"] for each in render(example("sidecar")))
    assert kinds == ["ConfigMap", "PersistentVolumeClaim"]


def test_extra_objects(render: Render) -> None:
    """They are rendered as templates."""
    (manifest,) = [
        each
        for each in render(example("everything"))
        if each["metadata"]["name"] == "prod-fal-certs"
    ]
    assert manifest["data"] == {"ca.crt": "certificates"}


def test_bridge_takes_the_rendered_config(render: Render, values: Values, tmp_path: Path) -> None:
    """What the ConfigMap holds and the pod's environment gives are settings the bridge accepts."""
    file = tmp_path / "config.yaml"
    file.write_text(_one(render(values), "ConfigMap")["data"]["config.yaml"], "utf-8")
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
        template = _one(render(changed), "StatefulSet")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum(values) == checksum(changed(values, "persistence.size", "5Gi"))
    assert checksum(values) != checksum(changed(values, "config.poll", {"interval": "3s"}))


def test_notes(texts: Texts, values: Values) -> None:
    """The notes name each destination, and the commands that come next."""
    notes = texts(values)["templates/NOTES.txt"]
    assert "collector (otlp, http://opentelemetry-collector:4318)" in notes
    assert "create secret generic fal --from-file=key=/dev/stdin" in notes
    assert "helm test --namespace logging prod --logs" in notes
    assert "kubectl --namespace logging logs --follow statefulset/prod-fal-log-bridge" in notes
    assert "WARNING" not in notes
