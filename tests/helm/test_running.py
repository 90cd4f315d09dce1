"""What the chart renders, run: the pod's container as a process, and the pod of ``helm test``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.chart import changed
from support.ends import KEY, Addresses, Ends, until
from support.ports import free_port

pytestmark = [
    pytest.mark.server("helm_python"),
    pytest.mark.xdist_group("chart"),
]

Manifests = list[dict[str, Any]]
_SECRETS = {("fal", "key"): KEY, ("vendor", "token"): "a-token"}


def _environment(container: Mapping[str, Any], config: Path, port: int) -> dict[str, str]:
    """The container's variables, Secrets looked up; paths and the port are this machine's."""
    found = {}
    for item in container["env"]:
        secret = item.get("valueFrom", {}).get("secretKeyRef")
        found[item["name"]] = _SECRETS[secret["name"], secret["key"]] if secret else item["value"]
    assert found["BRIDGE_CONFIG"] == "/etc/fal-log-bridge/config.yaml"
    assert found["BRIDGE_ADMIN__LISTEN"] == "0.0.0.0:9846"
    here = {"BRIDGE_CONFIG": str(config), "BRIDGE_ADMIN__LISTEN": f"127.0.0.1:{port}"}
    return {**found, **here, "STATE_DIRECTORY": str(config.parent)}


def _container(manifests: Manifests, kind: str) -> dict[str, Any]:
    (manifest,) = [each for each in manifests if each["kind"] == kind]
    pod = manifest["spec"] if kind == "Pod" else manifest["spec"]["template"]["spec"]
    return dict(pod["containers"][0])


async def _started(
    container: Mapping[str, Any], config: Path, port: int
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *container.get("args", ["run"])),
        env=_environment(container, config, port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _at(values: dict[str, Any], at: Addresses) -> dict[str, Any]:
    """The values with both ends where they are, and time to read what is there."""
    values = changed(values, "config.fal", {"base_url": at.api})
    values = changed(values, "config.apps", [{"name": "all"}])
    for number in range(2):
        values = changed(values, f"config.destinations.{number}.endpoint", at.backend)
    return values


def test_pod_runs(
    render: Callable[[dict[str, Any]], Manifests], values: dict[str, Any], tmp_path: Path
) -> None:
    """``helm test`` passes; the bridge turns ready, delivers everything, and drains at SIGTERM."""
    asyncio.run(asyncio.wait_for(_pod_runs(render, values, tmp_path), timeout=120))


async def _pod_runs(
    render: Callable[[dict[str, Any]], Manifests], values: dict[str, Any], folder: Path
) -> None:
    ends = Ends()
    config = folder / "config.yaml"
    async with ends.served() as at:
        manifests = render(_at(values, at))
        (text,) = [each["data"]["config.yaml"] for each in manifests if each["kind"] == "ConfigMap"]
        config.write_text(text, "utf-8")
        port = free_port()
        check = await _started(_container(manifests, "Pod"), config, port)
        said = b"".join(await check.communicate()).decode()
        assert check.returncode == 0, said
        assert KEY not in said
        run = await _started(_container(manifests, "StatefulSet"), config, port)
        output = await until(ends.all, run)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            for path in ("/livez", "/readyz", "/metrics"):
                assert (await client.get(path)).status_code == 200
        run.terminate()
        said = b"".join(await output).decode()
    assert run.returncode == 0, said
    assert KEY not in said
    # Two destinations, one backend.
    assert len(ends.backend.uids) == ends.written
