"""The recipes whose other side can be had: an OTLP receiver in a Collector's place, and rsyslog."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import time

import pytest
from destinations.rotel import Rotel
from support import certificates
from support.acceptance_bridge import Ended
from support.acceptance_fal import FalAccount, line, micros, tied
from support.recipes import RECEIVING
from support.rsyslog import Rsyslog, eventually

Cook = Callable[..., Ended]


@pytest.mark.server("rotel")
@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("opentelemetry-collector", "COLLECTOR_OTLP_ENDPOINT"),
        ("datadog-collector", "COLLECTOR_OTLP_ENDPOINT"),
        ("cloudwatch", "COLLECTOR_OTLP_ENDPOINT"),
        ("datadog-agent", "DD_AGENT_OTLP_ENDPOINT"),
    ],
)
def test_a_collector_takes_everything(
    cook: Cook, opened: ExitStack, tmp_path: Path, name: str, variable: str
) -> None:
    """Every entry arrives, each under a uid of its own, with what the recipe adds."""
    lines = tied(300, since=micros(time() - 60))
    fal = opened.enter_context(FalAccount(lines))

    async def main() -> list[str]:
        receiver = Rotel(tmp_path)
        await receiver.start()
        try:
            url = f"http://127.0.0.1:{receiver.http}"
            ended = await asyncio.to_thread(cook, name, fal.url, **{variable: url})
            assert ended.code == 0, ended.err
            return await receiver.arrived(len(lines))
        finally:
            await receiver.stop()

    uids = asyncio.run(main())
    assert len(uids) == len(set(uids)) == len(lines)
    received = (tmp_path / "received").read_text()
    assert ("datadog.log.source: Str(fal)" in received) is name.startswith("datadog")


class Siem(Rsyslog):
    """rsyslog with `receiving/rsyslog.conf` as it stands, but for its port and folders."""

    def __init__(self, folder: Path, keys: Path) -> None:
        """Prepare; see `Rsyslog`."""
        super().__init__(folder, "")
        text = (RECEIVING / "rsyslog.conf").read_text("utf-8")
        changes = {
            'port="2514"': f'port="{self.port}" address="127.0.0.1"',
            "/etc/rsyslog-tls": str(keys),
            "/var/spool/rsyslog": str(folder),
            "/var/log/fal.log": str(self._output),
        }
        for there, here in changes.items():
            assert there in text, there
            text = text.replace(there, here)
        self._config.write_text(text, "utf-8")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Certificates, the server's for localhost."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return certificates.make(folder, host="localhost")


@pytest.mark.server("rsyslogd", "openssl")
def test_a_siem_takes_everything(cook: Cook, opened: ExitStack, tmp_path: Path, keys: Path) -> None:
    """By RELP over TLS, certificates on both sides; a long message in parts, nothing missing."""
    lines = tied(300, since=micros(time() - 60))
    long = line(micros(time() - 30), "é" * 30_000)
    fal = opened.enter_context(FalAccount([*lines, long]))
    siem = Siem(tmp_path, keys)
    siem.start()
    opened.callback(siem.stop)
    variables = {
        "SIEM_ENDPOINT": f"relps://localhost:{siem.port}",
        "SIEM_CA_FILE": str(keys / "ca.pem"),
        "SIEM_CERT_FILE": str(keys / "client.pem"),
        "SIEM_KEY_FILE": str(keys / "client.key"),
    }
    ended = cook("siem", fal.url, **variables)
    assert ended.code == 0, ended.err
    eventually(lambda: len(set(siem.uids())) == len(lines) + 1, siem.said())
    whole, parts = Counter[str](), []
    for message in siem.messages():
        assert (message.app_name, message.proc_id) == (
            "app",
            "41512b2d-d821-4d62-a98b-9472c9d43941",
        )
        if "bridge.part" in dict(message.params):
            parts.append(message)
        else:
            whole[message.message] += 1
    assert whole == Counter(one.message for one in lines)
    assert siem.said() == "", "it finds nothing wrong with its configuration"
    assert "".join(part.message for part in parts) == long.message
