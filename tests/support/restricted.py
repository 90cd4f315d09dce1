"""The restricted Pod Security Standard, read from Kubernetes' documentation of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_OF_THE_HOST = ("hostNetwork", "hostPID", "hostIPC")


def violations(pod: dict[str, Any]) -> list[str]:
    """What in a pod's spec the standard does not allow, as ``where: what``."""
    return [*_of_the_pod(pod), *_of_containers(pod)]


def _of_the_pod(pod: dict[str, Any]) -> Iterator[str]:
    yield from (f"pod: {key}" for key in _OF_THE_HOST if pod.get(key))
    for volume in pod.get("volumes", []):
        yield from (
            f"volume {volume['name']}: {key}" for key in volume.keys() - {"name"} - _VOLUMES
        )


def _of_containers(pod: dict[str, Any]) -> Iterator[str]:
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        yield from (f"{container['name']}: {what}" for what in _in_context(pod, own))
        ports = container.get("ports", [])
        yield from (f"{container['name']}: hostPort" for port in ports if "hostPort" in port)


def _in_context(pod: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    """What a container's security context, with the pod's behind it, leaves open."""
    both = pod.get("securityContext", {}) | own
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {
        "NET_BIND_SERVICE"
    }:
        yield "capabilities"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "runAsNonRoot"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
