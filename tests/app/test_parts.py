"""What the settings become, and what of the libraries is loaded for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from bridge import settings
from bridge.app.parts import account_of, destination_of, real_world
from bridge.destinations.rfc5424 import Layout
from bridge.destinations.syslog import Syslog
from bridge.errors import ConfigError

CONFIG: Final = """\
fal: {{base_url: "http://127.0.0.1:9", key: "id:secret"}}
apps: [{{app_id: one}}]
journal: {{path: "{folder}/journal.sqlite"}}
destinations: [{{name: backend, type: otlp, endpoint: "http://127.0.0.1:9"}}]
"""
HEAVY: Final = (
    "bridge.app.overseen",
    "bridge.destinations.console",
    "bridge.destinations.syslog",
    "bridge.simulator",
    "google.protobuf",
    "grpc",
    "opentelemetry",
    "prometheus_client",
    "pydantic_settings",
    "rich",
    "starlette",
    "uvicorn",
)
"""What ``run --once`` with an OTLP/HTTP destination has no use for."""
START: Final = """\
import asyncio, sys
from contextlib import AsyncExitStack
from pathlib import Path
from bridge import __main__
__main__._travel_light()
from bridge.cli.run import run
from bridge import settings
from bridge.app import service
from bridge.destinations.otlp_answer import read_answer
from bridge.telemetry.log import LogWriter

async def main():
    async with AsyncExitStack() as stack:
        config = settings.load(Path(sys.argv[1]), {})
        await service.build(config, service.real_world(lambda _: None), stack)
    read_answer(200, {"content-type": "application/x-protobuf"}, b"", "http://127.0.0.1:9")

asyncio.run(main())
print(*sorted(sys.modules))
"""


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("max_message_bytes", "4KB", 4_000),
        ("max_message_bytes", 8_000, 8_000),
        ("on_long", "split", "split"),
        ("facility", "auth", "auth"),
        ("hostname", "host.name, host.id", ("host.name", "host.id")),
        ("structured_data", ["fal.*"], ("fal.*",)),
        ("enterprise_number", 4711, "4711"),
        ("bom", True, True),
    ],
)
def test_the_layout_of_a_syslog_message(key: str, written: Any, value: Any) -> None:
    """Each key, given in the configuration, arrives as a value of its type."""
    described = {"name": "siem", "type": "syslog", "endpoint": "relp://localhost:2514"}
    one = settings.Syslog.model_validate({**described, key: written})
    built = destination_of(one, real_world(lambda _: None))
    assert isinstance(built, Syslog)
    assert built._layout == Layout(**{key: value})


def test_a_start_loads_what_it_uses(tmp_path: Path) -> None:
    """A service is up in half a second; what others are configured with is not loaded for it."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(folder=tmp_path), "utf-8")
    command = [sys.executable, "-c", START, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    loaded = set(done.stdout.split())
    assert "bridge.app.parts" in loaded
    assert not loaded.intersection(HEAVY)


def test_certificates_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that names them for every client is named, also where only fal needs them."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    config = settings.load(
        None,
        {
            "HOME": str(tmp_path),
            "FAL_KEY": "id:secret",
            "BRIDGE_APPS": "one",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        },
    )

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await account_of(config, real_world(lambda _: None), stack)

    with pytest.raises(ConfigError, match="SSL_CERT_FILE: cannot use the CA certificates"):
        asyncio.run(main())
