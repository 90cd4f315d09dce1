"""Start, config and usage errors: one clear message, exit 2, no traceback; and a plain start."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import time

import pytest
from support.acceptance_bridge import Command, Ended
from support.acceptance_fal import KEY, FalAccount, line, micros, tied
from support.acceptance_otlp import OtlpBackend, difference

_NOWHERE = "http://127.0.0.1:9"
_GOOD = f"""\
fal: {{key: "{KEY}", base_url: "{_NOWHERE}"}}
apps: [{{app_id: app}}]
destinations: [{{name: backend, type: otlp, endpoint: "{_NOWHERE}"}}]
"""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A config file that cannot be used, or no file and these variables, and what must be said."""

    says: tuple[str, ...]
    text: str | None = None
    env: dict[str, str] = field(default_factory=dict)


_ENV = {"FAL_KEY": KEY, "BRIDGE_APPS": "app", "OTEL_EXPORTER_OTLP_ENDPOINT": _NOWHERE}


def _but(old: str, new: str) -> str:
    """The good config but for one thing."""
    assert old in _GOOD
    return _GOOD.replace(old, new)


def _and(more: str) -> str:
    return f"{_GOOD}{more}\n"


_KEY = f'key: "{KEY}"'
_OTLP = "type: otlp"
_CONFIGS = {
    "no key": Wrong(("fal.key", "FAL_KEY"), env=_ENV | {"FAL_KEY": ""}),
    "no apps": Wrong(("apps", "BRIDGE_APPS"), env=_ENV | {"BRIDGE_APPS": ""}),
    "no destination": Wrong(
        ("destinations", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        env=_ENV | {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ),
    "nothing at all": Wrong(("fal.key", "apps", "destinations")),
    "half a key": Wrong(("FAL_KEY_SECRET",), env=_ENV | {"FAL_KEY": "", "FAL_KEY_ID": "alone"}),
    "unknown key": Wrong(
        ("poll.intervall", "did you mean 'interval'"), _and("poll: {intervall: 1s}")
    ),
    "unknown section": Wrong(("polll", "did you mean 'poll'"), _and("polll: {interval: 1s}")),
    "bad duration": Wrong(
        ("poll.interval", "must be a duration", "soon"), _and("poll: {interval: soon}")
    ),
    "bad YAML": Wrong((":3:1: ", "YAML"), "fal:\n  key: [unclosed\n"),
    "not a mapping": Wrong(("mapping",), "- just\n- a list\n"),
    "unset variable": Wrong(("fal.key", "NO_SUCH"), _but(KEY, "${env:NO_SUCH}")),
    "missing key file": Wrong(("key_file", "No such file"), _but(_KEY, "key_file: no-such-file")),
    "line break in a header": Wrong(
        ("header",), _but(_OTLP, f'{_OTLP}, headers: {{Authorization: "Basic sEcReT\\nx: y"}}')
    ),
    "line break in the key": Wrong(("key",), _but(KEY, "id:sEcReT\\nsecond-line")),
    "missing CA file": Wrong(("ca_file",), _but(_OTLP, f"{_OTLP}, tls: {{ca_file: no-such-file}}")),
    "many at once": Wrong(
        (
            "9 problems",
            "fal.base_url",
            "apps[1].name",
            "apps[2].start",
            "poll.interval",
            "journal.max_bytes",
            "destinations[0].endpoint",
            "destinations[1].protocol",
            "'http/xml'",
            "destinations[2].endpoint",
            "relp://",
            "fall (line 7): unknown key; did you mean 'fal'?",
        ),
        """\
fal: {key: "k:s", base_url: rest.fal}
apps: [{app_id: app}, {app_id: app}, {app_id: other, start: someday}]
poll: {interval: 1 fortnight}
journal: {max_bytes: big}
destinations: [{name: a, type: otlp, endpoint: localhost}, {name: b, type: otlp, protocol: http/xml,
  endpoint: "http://localhost"}, {name: c, type: syslog, endpoint: "http://localhost"}]
fall: {}
""",
    ),
}


def _assert_one_clear_message(ended: Ended, words: tuple[str, ...]) -> None:
    assert ended.code == 2, ended.err
    assert not ended.out
    assert "Traceback" not in ended.err
    assert ended.err.startswith("fal-log-bridge: ")
    assert ended.err.count("fal-log-bridge: ") == 1
    assert all(word in ended.err for word in words), ended.err
    assert KEY not in ended.err
    assert "sEcReT" not in ended.err


@pytest.mark.parametrize("name", _CONFIGS)
def test_config_errors(command: Command, tmp_path: Path, name: str) -> None:
    """What is wrong with the settings is said with its place and a way out."""
    wrong, args = _CONFIGS[name], list[str]()
    if wrong.text is not None:
        path = tmp_path / "config.yaml"
        path.write_text(wrong.text, "utf-8")
        args = ["--config", str(path)]
    ended = command.run("run", *args, env=wrong.env)
    _assert_one_clear_message(ended, wrong.says)
    assert wrong.text is None or "config.yaml" in ended.err


def test_missing_config_file(command: Command) -> None:
    """A named file that is not there is an error, not a reason to look elsewhere."""
    ended = command.run("run", "--config", "no-such.yaml", env=_ENV)
    _assert_one_clear_message(ended, ("no-such.yaml", "No such file"))


def _journal_in_no_folder(folder: Path) -> Path:
    """Where nobody may make a folder, not even root."""
    assert folder.is_dir()
    return Path("/proc/no-such-folder/journal.sqlite")


def _journal_under_a_file(folder: Path) -> Path:
    (folder / "file").write_text("a file", "utf-8")
    return folder / "file" / "journal.sqlite"


def _journal_of_text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("my notes, long enough to be mistaken\n" * 50, "utf-8")
    return folder / "notes.txt"


def _empty_journal(folder: Path) -> Path:
    (folder / "empty.sqlite").touch()
    return folder / "empty.sqlite"


@pytest.mark.parametrize(
    "make", [_journal_in_no_folder, _journal_under_a_file, _journal_of_text, _empty_journal]
)
def test_unusable_journal(
    command: Command, opened: ExitStack, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """A journal that cannot be used stops the start; what was there stays as it was."""
    fal = opened.enter_context(FalAccount())
    journal = make(tmp_path)
    before = journal.read_bytes() if journal.is_file() else None
    config = command.config(fal.url, {"backend": _NOWHERE}, journal={"path": str(journal)})
    ended = command.run("run", "--config", config)
    _assert_one_clear_message(ended, (str(journal.parent), "("))
    assert (journal.read_bytes() if journal.is_file() else None) == before
    assert not fal.asked


def test_journal_in_use(command: Command, opened: ExitStack) -> None:
    """A second bridge on the same journal is refused by name; the first one goes on."""
    fal = opened.enter_context(FalAccount())
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url})
    first = command.start("run", "--config", config)
    assert fal.wait_for(lambda: len(fal.asked) > 1, 10), first.err
    ended = command.run("run", "--config", config, "--once")
    _assert_one_clear_message(ended, ("in use by another process", "journal.path"))
    fal.write([line(micros(), "still here")])
    assert backend.holds(1, 10), first.err
    assert first.stop().code == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rnu"], ("No such command", "'run'")),
        (["run", "--onec"], ("--once",)),
        (["run", "--once", "--timeout", "nonsense"], ("--timeout", "must be a duration")),
        (["run", "--once", "--timeout"], ("--timeout",)),
        (["run", "--once", "--timeout", "-3s"], ("--timeout",)),
        (["run", "stray"], ("stray",)),
        ([], ("Commands",)),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_usage_errors(command: Command, args: list[str], words: tuple[str, ...]) -> None:
    """A wrong word on the command line is told, with the right one where there is one."""
    ended = command.run(*args, env=_ENV)
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    assert all(word in ended.err + ended.out for word in words), ended.err


def test_timeout_without_once(command: Command, tmp_path: Path) -> None:
    """An option that would do nothing is refused rather than ignored."""
    path = tmp_path / "config.yaml"
    path.write_text(_GOOD, "utf-8")
    bridge = command.start("run", "--config", path, "--timeout", "5s")
    assert not bridge.says("reads app", seconds=5), "it runs on, and the timeout means nothing"
    ended = bridge.end(5)
    assert ended.code == 2
    assert "--once" in ended.err


@pytest.mark.parametrize("parts", [False, True], ids=["FAL_KEY", "FAL_KEY_ID and _SECRET"])
def test_start_from_the_environment_alone(
    command: Command, opened: ExitStack, tmp_path: Path, *, parts: bool
) -> None:
    """A key, app ids and the standard OTLP endpoint are enough, and no file is needed."""
    lines = [one for app in ("a", "b") for one in tied(120, since=micros(time() - 60), app=app)]
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    key_id, _, secret = KEY.partition(":")
    env = {
        "BRIDGE_APPS": "a, b",
        "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
        "BRIDGE_FAL__BASE_URL": fal.url,
        "BRIDGE_POLL__REQUESTS_PER_SECOND": "100",
        "BRIDGE_SERVICE_PORT_HTTP": "8080",
        **({"FAL_KEY_ID": key_id, "FAL_KEY_SECRET": secret} if parts else {"FAL_KEY": KEY}),
    }
    ended = command.run("run", "--once", env=env)
    assert ended.code == 0, ended.err
    assert not difference(backend, [one.message for one in lines])
    assert {arrival.service for arrival in backend.arrivals} == {"a", "b"}
    assert (tmp_path / ".local/state/fal-log-bridge/journal.sqlite").is_file()
    assert "BRIDGE_SERVICE_PORT_HTTP" in ended.err


def test_whole_account_from_the_environment(command: Command, opened: ExitStack) -> None:
    """``BRIDGE_APPS=*`` reads the whole account; a key with a line end around it is a key."""
    lines = [one for app in ("a", "b") for one in tied(20, since=micros(time() - 60), app=app)]
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    env = {
        "FAL_KEY": f"{KEY}\n",
        "BRIDGE_APPS": "*",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{backend.url}/v1/logs",
        "BRIDGE_FAL__BASE_URL": fal.url,
    }
    ended = command.run("run", "--once", "--timeout", "10s", env=env)
    assert ended.code == 0, ended.err
    assert not difference(backend, [one.message for one in lines])
    assert "app_id" not in fal.asked[-1].query
