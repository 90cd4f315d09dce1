"""compose.yaml: it keeps to the Compose Specification, its files fit, its bridge carries logs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.ends import until
from support.ports import free_port

from bridge.simulator.otlp_backend import BackendConfig, OtlpBackend
from bridge.simulator.server import serving

_PROJECT = Path(__file__).parents[2]
_FILE = _PROJECT / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-+])([^}]*))?\}")
_LOKI = "http://loki:3100"
_ENOUGH = 1_000
"""Records; the simulated account has some thousands from before its start."""


@pytest.fixture
def services() -> dict[str, Any]:
    """The services, as they are written."""
    return dict(yaml.safe_load(_FILE.read_text("utf-8"))["services"])


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    """A value as Compose makes it of the caller's variables."""

    def value(match: re.Match[str]) -> str:
        name, how, other = match.groups()
        found = variables.get(name, "")
        if how == "+":
            return other if found else ""
        return found or other or ""

    return _VARIABLE.sub(value, text)


def _mounts(service: Mapping[str, Any]) -> dict[str, Path]:
    """The files that a service gets of the project, by their place in the container."""
    parts = [volume.split(":") for volume in service.get("volumes", ())]
    return {part[1]: _PROJECT / part[0] for part in parts if part[0].startswith(".")}


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.server("check-jsonschema")
def test_keeps_to_the_specification() -> None:
    """The Compose Specification's own JSON Schema finds nothing."""
    command = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [command, "--builtin-schema", "vendor.compose-spec", _FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_what_is_named_is_there(services: dict[str, Any]) -> None:
    """Files are in the checkout, volumes are declared, and nothing is open beyond this machine."""
    declared = _yaml(_FILE)["volumes"]
    for service in services.values():
        assert all(path.is_file() for path in _mounts(service).values())
        for volume in service.get("volumes", ()):
            assert volume.startswith(".") or volume.partition(":")[0] in declared
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        image = service["image"]
        assert service.get("build") == "." or re.search(r":v?\d+\.\d+\.\d+$", image), image


def test_simulator_is_a_profile(services: dict[str, Any]) -> None:
    """Everything else starts without one."""
    profiles = {name: service.get("profiles") for name, service in services.items()}
    assert profiles.pop("simulator") == ["simulator"]
    assert set(profiles.values()) == {None}


def test_grafana_is_provisioned(services: dict[str, Any]) -> None:
    """Its data sources are services of this file, and those that the dashboard asks for."""
    grafana = services["grafana"]
    mounts = _mounts(grafana)
    sources = _yaml(mounts["/etc/grafana/provisioning/datasources/fal.yaml"])["datasources"]
    hosts = {re.sub(r"^http://([\w-]+):\d+$", r"\1", source["url"]) for source in sources}
    assert hosts == {"loki", "prometheus"} <= services.keys()
    (folder,) = {
        provider["options"]["path"]
        for provider in _yaml(mounts["/etc/grafana/provisioning/dashboards/fal.yaml"])["providers"]
    }
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(f"{folder}/")
    asked = json.loads(mounts[home].read_text("utf-8"))["templating"]["list"]
    kinds = {variable["query"] for variable in asked if variable["type"] == "datasource"}
    assert kinds == {source["type"] for source in sources}


def test_prometheus_scrapes_the_bridge(services: dict[str, Any]) -> None:
    """Where the image's admin server listens; and the alerts it loads are there."""
    mounts = _mounts(services["prometheus"])
    config = _yaml(mounts["/etc/prometheus/prometheus.yml"])
    (scraped,) = config["scrape_configs"]
    port = re.search(r"BRIDGE_ADMIN__LISTEN=\S+:(\d+)", (_PROJECT / "Dockerfile").read_text())
    assert port
    assert scraped["static_configs"] == [{"targets": [f"bridge:{port[1]}"]}]
    assert all(_yaml(mounts[path])["groups"] for path in config["rule_files"])


@pytest.mark.server("promtool")
def test_prometheus_takes_its_configuration(services: dict[str, Any], tmp_path: Path) -> None:
    """Prometheus' own tool finds it valid, with the alerts at their place."""
    mounts = _mounts(services["prometheus"])
    config = _yaml(mounts["/etc/prometheus/prometheus.yml"])
    config["rule_files"] = [str(mounts[path]) for path in config["rule_files"]]
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    done = subprocess.run(
        ["promtool", "check", "config", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"BRIDGE_FAL__KEY": "key-id:key-secret", "FAL_BASE_URL": ""}),
        (
            {"FAL_KEY": "mine:own"},
            {"BRIDGE_FAL__KEY": "mine:own", "FAL_BASE_URL": "https://rest.alpha.fal.ai"},
        ),
    ],
    ids=["simulator", "fal"],
)
def test_key_decides_what_is_read(
    services: dict[str, Any], variables: dict[str, str], expected: dict[str, str]
) -> None:
    """A key is only ever sent to fal, and without one the simulated account is read."""
    environment = services["bridge"]["environment"]
    assert {key: _interpolated(text, variables) for key, text in environment.items()} == expected


def test_it_carries_logs(services: dict[str, Any], tmp_path: Path) -> None:
    """The simulator's and the bridge's own commands and files, as processes; Loki is a stand-in."""
    asyncio.run(asyncio.wait_for(_it_carries_logs(services, tmp_path), timeout=120))


async def _it_carries_logs(services: dict[str, Any], folder: Path) -> None:
    enough = asyncio.Event()
    loki = OtlpBackend(
        BackendConfig(path="/otlp/v1/logs", status=204),
        on_record=lambda _: enough.set() if loki.accepted >= _ENOUGH else None,
    )
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(serving(loki))
        port = free_port()
        simulator = await _bridge(*services["simulator"]["command"], "--port", str(port))
        service = services["bridge"]
        text = _mounts(service)["/etc/fal-log-bridge/config.yaml"].read_text("utf-8")
        assert _LOKI in text
        assert "http://simulator:9845" in text
        text = text.replace(_LOKI, backend)
        config = folder / "config.yaml"
        config.write_text(text.replace("http://simulator:9845", f"http://127.0.0.1:{port}"))
        environment = {
            key: _interpolated(value, {}) for key, value in service["environment"].items()
        }
        bridge = await _bridge(
            service.get("command", "run"),
            **environment,
            BRIDGE_CONFIG=str(config),
            BRIDGE_ADMIN__LISTEN="127.0.0.1:0",
            STATE_DIRECTORY=str(folder),
        )
        said = await until(enough, bridge)
        for process, output in ((bridge, said), (simulator, simulator.communicate())):
            process.terminate()
            told = await output
            assert process.returncode == 0, told
    assert loki.uids.total() == len(loki.uids) >= _ENOUGH
    assert not loki.violations


async def _bridge(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *arguments),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
