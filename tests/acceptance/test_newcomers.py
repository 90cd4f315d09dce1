"""What goes wrong at the first try: one message each time, with what to do, whatever is run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.acceptance_bridge import Command, Ended
from support.acceptance_fal import KEY, FalAccount, line, micros
from support.acceptance_http import Answer, Asked, LoopbackServer

_SHORT = ("--timeout", "1s")


@dataclass(frozen=True, slots=True)
class Slip:
    """One mistake in an otherwise good config, and the words that name it and mend it."""

    says: tuple[str, ...]
    fal: dict[str, Any] = field(default_factory=dict)
    endpoint: str = ""
    apps: tuple[str, ...] = ("app",)


_WORKS_BUT = {
    "a wrong key": Slip(("401", "check fal.key"), fal={"key": "wrong:key"}),
    "a key without its form": Slip(
        ("401", "check fal.key: it is not key_id:key_secret"), fal={"key": "Key sEcReT:sEcReT"}
    ),
    "an API that is not there": Slip(
        ("Connection refused", "check fal.base_url"), fal={"base_url": "http://127.0.0.1:9"}
    ),
    "an endpoint where nothing listens": Slip(
        ("http://127.0.0.1:9/v1/logs", "Connection refused", "is the endpoint right"),
        endpoint="http://127.0.0.1:9",
    ),
    "an endpoint on no host": Slip(
        ("http://no-such-host.invalid", "is the endpoint right"),
        endpoint="http://no-such-host.invalid",
    ),
    "a wrong path": Slip(("404", "is the endpoint right", "/v1/logs"), endpoint="/nowhere"),
}


@pytest.fixture
def fal(opened: ExitStack) -> FalAccount:
    """An account with a line of `app`."""
    return opened.enter_context(FalAccount([line(micros(), "an entry")]))


class Receiver(LoopbackServer):
    """Takes whatever comes at `/v1/logs`, requests without a record too."""

    def answer(self, asked: Asked) -> Answer:
        """See `LoopbackServer.answer`."""
        return Answer(200 if asked.path == "/v1/logs" else 404)


@pytest.fixture
def backend(opened: ExitStack) -> Receiver:
    """A receiver of logs."""
    return opened.enter_context(Receiver())


def _config(command: Command, fal: FalAccount, endpoint: str, slip: Slip) -> Path:
    return command.config(fal.url, {"backend": endpoint}, apps=slip.apps, fal=slip.fal)


def _told(ended: Ended) -> list[str]:
    """The sentences of the log that are worse than information."""
    events = [json.loads(told) for told in ended.err.splitlines()]
    return [told["text"] for told in events if told["level"] in {"WARNING", "ERROR"}]


def _is_clean(*shown: str) -> None:
    for text in shown:
        assert "Traceback" not in text
        assert KEY not in text
        assert "sEcReT" not in text


@pytest.mark.parametrize("name", _WORKS_BUT)
def test_what_only_trying_shows(
    command: Command, fal: FalAccount, backend: Receiver, name: str
) -> None:
    """`check` has one row for it, `run` says it once, `run --once` ends with it."""
    slip = _WORKS_BUT[name]
    endpoint = slip.endpoint if "://" in slip.endpoint else backend.url + slip.endpoint
    config = _config(command, fal, endpoint, slip)

    checked = command.run("check", "--json", "--config", config)
    assert checked.code == 1
    rows = [row for row in json.loads(checked.out)["rows"] if row["mark"] == "failed"]
    assert len(rows) == 1
    finding = f"{rows[0]['finding']} ({rows[0]['mend']})"
    assert all(word in finding for word in slip.says), finding

    bridge = command.start("run", "--config", config, env={"BRIDGE_ADMIN__ENABLED": "false"})
    assert bridge.says(*slip.says), bridge.err
    served = bridge.stop()
    assert served.code == 0
    assert len(_told(served)) == 1, served.err

    once = command.once(config, *_SHORT)
    assert once.code == 1
    *before, last = _told(once)
    assert last.startswith("not caught up: ")
    assert all(word in last for word in slip.says), last
    assert len(before) <= 1
    _is_clean(checked.out, checked.err, served.err, once.err)


def test_a_wrong_app_id(command: Command, fal: FalAccount, backend: Receiver) -> None:
    """It cannot be told from a quiet app; each start says so, until it shows an entry."""
    config = _config(command, fal, backend.url, Slip((), apps=("wrong-app",)))
    checked = command.run("check", "--config", config)
    assert checked.code == 0
    assert "? app wrong-app: page: answered, but shows no entry" in checked.out
    assert "check app_id and the filters" in checked.out
    for _ in range(2):
        ended = command.once(config)
        assert ended.code == 0
        (told,) = _told(ended)
        assert "wrong-app: the API shows no entry since" in told
        assert "check app_id and filters" in told
    fal.write([line(micros(), "there it is", app="wrong-app")])
    for _ in range(2):
        assert _told(command.once(config)) == []


_CONFIG_SLIPS = {
    "no such file": (None, ("No such file", "--config")),
    "a folder": (Path(), ("Is a directory", "--config")),
    "a tab": ("fal:\n\tkey: x\n", (":2:1: is not YAML", "indent with spaces")),
    "no text": (b"\xff\xfe\x00", ("not UTF-8",)),
    "a misspelt setting": ("poll: {intervall: 2s}\n", ("unknown key; did you mean 'interval'?",)),
    "a wrong type": ("apps: acme\n", ("apps (line 1): must be a list",)),
    "a name twice": (
        "apps: [{app_id: a}, {app_id: a}]\n",
        ("apps[1].name", "must be unique", "give each its own name"),
    ),
    "a section twice": ("poll: {}\npoll: {}\n", ("poll (line 1): is given again in line 2",)),
    "an empty key": ('fal: {key: ""}\n', ("fal.key (line 1): must not be empty",)),
}


@pytest.mark.parametrize("args", [("run",), ("check",)], ids=" ".join)
@pytest.mark.parametrize("name", _CONFIG_SLIPS)
def test_what_reading_the_config_shows(
    command: Command, tmp_path: Path, name: str, args: tuple[str, ...]
) -> None:
    """The same message by each command, exit code 2."""
    content, says = _CONFIG_SLIPS[name]
    path = tmp_path / "config.yaml"
    if isinstance(content, Path):
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = command.run(*args, "--config", path)
    assert ended.code == 2
    assert not ended.out
    assert ended.err.startswith("fal-log-bridge: ")
    assert all(word in ended.err for word in says), ended.err
    _is_clean(ended.err)


def test_a_port_in_use(command: Command, fal: FalAccount, backend: Receiver) -> None:
    """The admin server's, where it was chosen."""
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        config = command.config(fal.url, {"backend": backend.url}, admin={"listen": listen})
        ended = command.run("run", "--config", config)
    assert ended.code == 2
    (message,) = ended.err.splitlines()
    assert message.startswith(f"fal-log-bridge: admin.listen: cannot listen on {listen}: ")
    assert "give another address" in message


@pytest.mark.parametrize(
    "args",
    [("tail", "nosuch"), ("check", "--app", "nosuch"), ("explain", "--app", "nosuch", "text")],
    ids=lambda args: args[0],
)
def test_an_unknown_app(
    command: Command, fal: FalAccount, backend: Receiver, args: tuple[str, ...]
) -> None:
    """Those that there are, are named."""
    config = command.config(fal.url, {"backend": backend.url})
    ended = command.run(*args, "--config", config)
    assert ended.code == 2
    (message,) = ended.err.splitlines()
    assert "there is no app 'nosuch' (there are: app)" in message


def _without_privileges(args: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody to whom the modes of files apply."""
    prefix: list[str | Path] = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv", path=f"{os.defpath}:/usr/bin")
        assert setpriv
        prefix = [setpriv, "--bounding-set", "-dac_override,-dac_read_search"]
    return subprocess.run(
        [*prefix, sys.executable, "-m", "bridge", *args],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.server("setpriv")
@pytest.mark.parametrize("place", ["journal.sqlite", "sub/folder/journal.sqlite"])
def test_an_unwritable_state_folder(
    command: Command, fal: FalAccount, backend: Receiver, tmp_path: Path, place: str
) -> None:
    """Every command that needs it says which folder, and how to give another."""
    state = tmp_path / "state"
    state.mkdir(mode=0o555)
    journal = {"path": str(state / place)}
    config = command.config(fal.url, {"backend": backend.url}, journal=journal)
    mend = "give the bridge a folder it can write to, by journal.path or $STATE_DIRECTORY"
    for args in (("run",), ("run", "--once")):
        done = _without_privileges([*args, "--config", config], tmp_path)
        assert done.returncode == 2
        (message,) = done.stderr.splitlines()
        assert message.startswith(f"fal-log-bridge: {state}/")
        assert "Permission denied" in message
        assert mend in message
    checked = _without_privileges(["check", "--config", config], tmp_path)
    assert checked.returncode == 1
    (row,) = (row for row in checked.stdout.splitlines() if row.startswith("✗"))
    assert row == f"✗ journal: file: {state}: cannot be written to ({mend})"
    assert list(state.iterdir()) == []


@pytest.mark.server("setpriv")
def test_a_journal_of_somebody_else(
    command: Command, fal: FalAccount, backend: Receiver, tmp_path: Path
) -> None:
    """A file that may not be written is named, by `run` and by `check`."""
    journal = tmp_path / "state" / "journal.sqlite"
    config = command.config(fal.url, {"backend": backend.url}, journal={"path": str(journal)})
    assert command.once(config).code == 0
    checked = command.run("check", "--config", config)
    assert f"journal: file: {journal}: can be used" in checked.out
    journal.chmod(0o400)
    done = _without_privileges(["run", "--once", "--config", config], tmp_path)
    assert done.returncode == 2
    assert f"fal-log-bridge: {journal}: " in done.stderr
    assert "make the file and its folder writable" in done.stderr
    checked_too = _without_privileges(["check", "--config", config], tmp_path)
    assert checked_too.returncode == 1
    assert f"journal: file: {journal}: cannot be read and written" in checked_too.stdout
