"""The Helm chart as tests see it: its folder, its example values, what it knows of the settings."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bridge.settings.reference import json_schema

CHART = Path(__file__).parents[2] / "helm/fal-log-bridge"
EXAMPLES = {
    path.name.removesuffix("-values.yaml"): path for path in sorted(CHART.glob("ci/*-values.yaml"))
}
_AT = "#/$defs/bridge"
_POD_AT = "#/$defs/pod"
_POD_PARTS = (
    "core.v1.Affinity",
    "core.v1.Container",
    "core.v1.EnvFromSource",
    "core.v1.EnvVarSource",
    "core.v1.Toleration",
    "core.v1.TopologySpreadConstraint",
    "core.v1.Volume",
    "core.v1.VolumeMount",
    "networking.v1.NetworkPolicyEgressRule",
    "networking.v1.NetworkPolicyPeer",
)


def example(name: str) -> dict[str, Any]:
    """The values of one of the chart's examples."""
    return dict(yaml.safe_load(EXAMPLES[name].read_text("utf-8")))


def changed(values: Mapping[str, Any], dotted: str, value: object) -> dict[str, Any]:
    """A copy with one value changed; list items are addressed by number."""
    copied = copy.deepcopy(dict(values))
    *path, last = dotted.split(".")
    target: Any = copied
    for step in path:
        target = target[int(step)] if step.isdigit() else target.setdefault(step, {})
    target[int(last) if last.isdigit() else last] = value
    return copied


def config_names() -> dict[str, Any]:
    """What the chart's schema says about `config`: the bridge's keys, and nothing of their values.

    A placeholder may stand for any value, so that only the bridge can judge them.
    """
    schema = json_schema()
    top = _names(schema)
    for name, spec in schema["properties"].items():
        top["properties"][name] |= {"type": [spec.get("type", "object"), "null"]}
    return {
        "description": "Written from the bridge's own JSON Schema: its keys, not their values.",
        "type": "object",
        **top,
        "$defs": {name: _names(spec) for name, spec in schema["$defs"].items()},
    }


def pod_names() -> dict[str, Any]:
    """What the chart's schema says about parts of a pod: the keys of the newest Kubernetes."""
    kubernetes = importlib.import_module("kubernetes_validate")
    folder = f"kubernetes-json-schema/v{kubernetes.latest_version()}-local"
    known = kubernetes.utils.schema_contents(f"{folder}/_definitions.json", "")["$defs"]
    found: dict[str, Any] = {}
    wanted = [f"io.k8s.api.{part}" for part in _POD_PARTS]
    for name in wanted:  # grows by what each one refers to
        if _short(name) not in found:
            found[_short(name)] = _names(known[name], _POD_AT)
            wanted.extend(_referred(known[name]))
    return {
        "description": "Written from the JSON Schema of Kubernetes: its keys, not their values.",
        "$defs": dict(sorted(found.items())),
    }


def _referred(spec: object) -> Iterator[str]:
    """The full names of what a schema refers to."""
    if isinstance(spec, Mapping):
        if isinstance(ref := spec.get("$ref"), str):
            yield ref.rpartition("/")[2]
        for each in spec.values():
            yield from _referred(each)
    elif isinstance(spec, list):
        for each in spec:
            yield from _referred(each)


def _short(name: str) -> str:
    """A name, or the path of one, without what is before it."""
    return name.rpartition("/")[2].rpartition(".")[2]


def _names(spec: Mapping[str, Any], at: str = _AT) -> dict[str, Any]:
    """A schema less everything but the names of keys; ``at`` is where the ``$defs`` are."""
    if ref := spec.get("$ref"):
        return {"$ref": f"{at}/$defs/{_short(ref)}"}
    if mapping := spec.get("discriminator", {}).get("mapping"):
        return _by_type(mapping)
    named: dict[str, Any] = {}
    if "properties" in spec:
        named["additionalProperties"] = False
        named["properties"] = {name: _names(each, at) for name, each in spec["properties"].items()}
    if "items" in spec:
        named["items"] = _names(spec["items"], at)
    # Of alternatives one is an object or a list at the most; the others are plain values.
    for each in spec.get("anyOf", ()):
        named |= _names(each, at)
    return named


def _by_type(mapping: Mapping[str, str]) -> dict[str, Any]:
    """A destination: its keys are those of its type."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": sorted(mapping)}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}},
                "then": {"$ref": ref.replace("#", _AT, 1)},
            }
            for kind, ref in sorted(mapping.items())
        ],
    }
