"""``check`` on the command line: the lines, the table, the document, the exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.commands import CommandLine

from bridge.app import parts
from bridge.clock import SystemClock
from bridge.model import SECOND
from bridge.simulator.logs_api import LogsApiConfig, LogsApiFake
from bridge.simulator.times import naive
from bridge.simulator.transport import CoreTransport
from bridge.telemetry import Emit

KEY = "key-id:the-secret-of-fal"


class Terminal(io.TextIOWrapper):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        """See `io.IOBase.isatty`."""
        return True


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program, with a simulated API in place of the network."""
    clock = SystemClock()
    logs = LogsApiFake(clock, LogsApiConfig(key=KEY, cap=100))
    for n in range(150):
        tick = clock.now() - 10 * SECOND - n * 7_001
        logs.write({"app": "one", "timestamp": naive(tick)}, tick, visible_at=0)
    real = parts.real_world

    def simulated(emit: Emit) -> parts.World:
        return replace(real(emit), api_transport=CoreTransport(logs, clock))

    monkeypatch.setattr(parts, "real_world", simulated)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return CommandLine(monkeypatch, capsys)


def config(folder: Path, *, key: str = KEY, apps: str = "[{app_id: one}]") -> str:
    """The path of a config file; its apps are asked without waiting for a budget."""
    path = folder / "config.yaml"
    path.write_text(
        f"fal: {{base_url: 'https://api.test', key: '{key}'}}\napps: {apps}\n"
        f"journal: {{path: '{folder}/journal.sqlite'}}\npoll: {{requests_per_second: 1000}}\n"
        "destinations: [{name: out, type: console}]\n",
        "utf-8",
    )
    return str(path)


def test_all_fine(cli: CommandLine, tmp_path: Path) -> None:
    """In a pipe there is one plain line for each row, and no journal is made."""
    code, out, err = cli("check", "--config", config(tmp_path))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    journal = tmp_path / "journal.sqlite"
    assert lines[:5] == [
        "✓ config: settings: valid; apps: 1, destinations: 1",
        f"✓ journal: file: {journal}: will be made at the first start",
        "✓ app one: page: 100 entries",
        "✓ app one: order: newest first",
        "✓ app one: bounds: exclusive",
    ]
    assert (
        "✓ app one: limit: at most 100 a page, without a word "
        "(nothing is lost, only more requests are needed)"
    ) in lines
    assert "\x1b" not in out
    assert not journal.exists()


def test_wrong_key(cli: CommandLine, tmp_path: Path) -> None:
    """One line with the API's words and the mend, exit code 1, and never the key."""
    code, out, err = cli("check", "--config", config(tmp_path, key="key-id:another-secret"))
    assert (code, err) == (1, "")
    assert out.splitlines()[2] == (
        "✗ fal: request: https://api.test/logs/: answered 401 Unauthorized: Authentication failed: "
        "the key is missing, unknown or revoked (check fal.key; a key with the scope READONLY may "
        "read logs)"
    )
    assert "secret" not in out


def test_nothing_to_see(cli: CommandLine, tmp_path: Path) -> None:
    """A wrong app id looks like a quiet app: a question, not a failure."""
    code, out, _ = cli("check", "--config", config(tmp_path, apps="[{app_id: oen}]"))
    assert code == 0
    assert "? app oen: page: answered, but shows no entry of the last 7 d (a quiet app;" in out


def test_bad_config(cli: CommandLine, tmp_path: Path) -> None:
    """Settings that cannot be used, and an app that is none, are exit code 2."""
    path = config(tmp_path)
    code, out, err = cli("check", "--config", path, "--app", "two")
    assert (code, out) == (2, "")
    assert err == "fal-log-bridge: --app: there is no app 'two' (there are: one)\n"
    Path(path).write_text("pol: {}\n", "utf-8")
    code, out, err = cli("check", "--config", path)
    assert (code, out) == (2, "")
    assert "did you mean 'poll'" in err


def test_json(cli: CommandLine, tmp_path: Path) -> None:
    """One document, and the same exit code."""
    path = config(tmp_path, apps="[{app_id: one}, {app_id: two}]")
    code, out, err = cli("check", "--json", "--app", "one", "--config", path)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["ok"] is True
    assert {row["target"] for row in document["rows"]} == {"config", "app one"}
    code, out, _ = cli("check", "--json", "--config", config(tmp_path, key="k:wrong"))
    assert (code, json.loads(out)["ok"]) == (1, False)


@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_color: bool
) -> None:
    """A table in colour, unless NO_COLOR is set; what a name holds is no markup."""
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    raw = io.BytesIO()
    terminal = Terminal(raw, "utf-8")
    monkeypatch.setattr(sys, "stdout", terminal)
    code, _, _ = cli("check", "--config", config(tmp_path, apps="[{app_id: one, name: '[red]'}]"))
    assert code == 0
    terminal.flush()
    text = raw.getvalue().decode()
    assert "app [red]" in text
    assert ("\x1b[32m✓\x1b[0m" in text) is not no_color
    assert ("\x1b[32m" in text) is not no_color


def test_an_output_that_has_no_marks(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the encoding lacks the marks, words stand for them."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    code, _, _ = cli("check", "--config", config(tmp_path, apps="[{app_id: one, name: 'ä'}]"))
    sys.stdout.flush()
    assert code == 0
    assert raw.getvalue().startswith(b"ok config: settings: valid")
    assert b"ok app \\xe4: page: 100 entries" in raw.getvalue()


def test_a_test_record(cli: CommandLine, tmp_path: Path) -> None:
    """Standard output has the rows only: a console's record goes to standard error."""
    code, out, err = cli("check", "--send", "--json", "--config", config(tmp_path))
    assert code == 0
    (row,) = (row for row in json.loads(out)["rows"] if row["check"] == "test record")
    record = json.loads(err)
    assert row["finding"] == f"sent, log.record.uid {record['uid']}"
    assert "a test record of `fal-log-bridge check --send`" in record["body"]


def test_a_test_record_for_an_app(cli: CommandLine, tmp_path: Path) -> None:
    """Makes no sense: an app has no destination of its own."""
    code, out, err = cli("check", "--send", "--app", "one", "--config", config(tmp_path))
    assert (code, out) == (2, "")
    assert "--send: goes to the destinations, which --app leaves out" in " ".join(err.split())
