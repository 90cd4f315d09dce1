"""The command line: help, usage errors, exit codes. What commands do is tested with their rooms."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

import pytest
import typer
from typer.main import get_command

from bridge import __version__
from bridge.__main__ import main
from bridge.cli import COMMANDS, PROGRAM, app
from bridge.errors import ApiUnavailable, BridgeError, ConfigError, JournalError, JournalUnusable


class Invoke(Protocol):
    """Runs the command line in this process."""

    def __call__(self, *args: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        ...


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """`main` with some arguments."""

    def invoke(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fal-log-bridge", *args])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err

    return invoke


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Put something else in place of what ``run`` does."""

    def command(act: Callable[[], None]) -> None:
        def run(
            *, once: Annotated[bool, typer.Option("--once", help="Only once.")] = False
        ) -> None:
            """Do what the test says."""
            assert not once
            act()

        module = types.ModuleType("bridge.cli.run")
        module.__dict__["run"] = run
        monkeypatch.setitem(sys.modules, "bridge.cli.run", module)

    return command


def _raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_version(invoke: Invoke) -> None:
    """The version is the package's."""
    assert invoke("--version") == (0, f"fal-log-bridge {__version__}\n", "")


def test_help(invoke: Invoke) -> None:
    """Help lists every command with a word about each, without decoration."""
    code, out, err = invoke("--help")
    assert (code, err) == (0, "")
    lines = out.partition("Commands:")[2].split("\n")
    listed = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert tuple(listed) == tuple(COMMANDS)
    assert all(listed.values())
    assert out.isascii()


def _every_command() -> list[tuple[str, ...]]:
    """The words of each command, of groups and of their sub-commands."""
    root: Any = get_command(app)
    found: list[tuple[str, ...]] = [()]
    for name in COMMANDS:
        inner = getattr(root.get_command(None, name), "commands", {})
        found += [(name,), *((name, one) for one in inner)]
    return found


@pytest.mark.parametrize("words", _every_command(), ids=" ".join)
def test_help_of_commands(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Each command explains itself, with examples that are usable as they stand."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = invoke(*words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: " + " ".join(("fal-log-bridge", *words, "")))
    paragraphs = [" ".join(text.split("\n")) for text in out.split("\n\n")]
    examples = [text for text in paragraphs if text.strip().startswith("Example: ")]
    assert examples
    for example in examples:
        program, *args = shlex.split(example.strip().removeprefix("Example: "))
        assert program == PROGRAM
        assert tuple(args[: len(words)]) == words
        assert len(example) < 80, "it is wrapped, and cannot be copied"
        _parse(args)


def _parse(args: list[str]) -> None:
    """Parse a command line without carrying anything out.

    Raises:
        typer's UsageError: it is not one.
    """
    command: Any = get_command(app)
    context = None
    while True:
        context = command.make_context(command.name or PROGRAM, args, parent=context)
        rest = [*context._protected_args, *context.args]
        if not hasattr(command, "commands") or (command.invoke_without_command and not rest):
            return
        _, command, args = command.resolve_command(context, rest)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fal-log-bridge st", {"status"}),
        ("fal-log-bridge positions ", {"list", "rewind"}),
        ("fal-log-bridge tail --no", {"--no-follow"}),
        ("fal-log-bridge zz", set()),
    ],
)
def test_completion(line: str, offered: set[str]) -> None:
    """A shell is told the commands, their sub-commands and options."""
    words = str(line.count(" "))
    done = _process(_FAL_LOG_BRIDGE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=words)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown(shell: str) -> None:
    """The script of a shell, to be put where that looks for it."""
    done = _process(_FAL_LOG_BRIDGE_COMPLETE=f"source_{shell}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "_FAL_LOG_BRIDGE_COMPLETE" in done.stdout


def test_no_arguments(invoke: Invoke) -> None:
    """Without a command there is help, and exit code 2."""
    code, out, err = invoke()
    assert code == 2
    assert "Commands:" in out + err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("conifg",), "No such command 'conifg'. Did you mean 'config'?"),
        (("zzz",), "No such command 'zzz'."),
        (("config", "schma"), "Did you mean 'schema'?"),
        (("--versoin",), "--version"),
        (("run", "--onec"), "--once"),
        (("run", "stray"), "unexpected extra argument"),
        (("run", "--config"), "--config"),
    ],
)
def test_usage_errors(invoke: Invoke, args: tuple[str, ...], words: str) -> None:
    """A wrong word is answered with the nearest right one, and exit code 2."""
    code, out, err = invoke(*args)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("is wrong", where="file.yaml", hint="mend it"), 2),
        (JournalUnusable("is foreign", where="j.sqlite"), 2),
        (JournalError("is full", where="j.sqlite"), 1),
        (ApiUnavailable("no answer"), 1),
        (BridgeError("anything"), 1),
        (ExceptionGroup("tasks", [ApiUnavailable("no answer")]), 1),
        (
            ExceptionGroup("a", [ApiUnavailable("b"), ExceptionGroup("c", [ConfigError("d")])]),
            2,
        ),
    ],
)
def test_errors_are_for_people(
    invoke: Invoke,
    command: Callable[[Callable[[], None]], None],
    error: Exception,
    code: int,
) -> None:
    """What the bridge raises is one line each on standard error, and an exit code."""
    command(_raising(error))
    got, out, err = invoke("run")
    assert (got, out) == (code, "")
    assert "Traceback" not in err
    if isinstance(error, BridgeError):
        assert err == f"fal-log-bridge: {error}\n"
    else:
        assert all(line.startswith("fal-log-bridge: ") for line in err.splitlines())


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a defect"),
        ExceptionGroup("tasks", [ApiUnavailable("no answer"), RuntimeError("a defect")]),
    ],
)
def test_defects_stay_defects(
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[Callable[[], None]], None],
    error: Exception,
) -> None:
    """A defect is not made up as a user's mistake."""
    command(_raising(error))
    monkeypatch.setattr(sys, "argv", ["fal-log-bridge", "run"])
    with pytest.raises(type(error)):
        main()


@pytest.mark.parametrize(
    ("error", "code"),
    [(typer.Exit(0), 0), (typer.Exit(1), 1), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(
    invoke: Invoke,
    command: Callable[[Callable[[], None]], None],
    error: BaseException,
    code: int,
) -> None:
    """A command's own exit code is the process's; Ctrl-C is 130 and quiet."""
    command(_raising(error))
    assert invoke("run") == (code, "", "")


def test_a_command_that_returns(
    invoke: Invoke, command: Callable[[Callable[[], None]], None]
) -> None:
    """A command that just ends is done."""
    command(lambda: None)
    assert invoke("run") == (0, "", "")


def test_config_schema(invoke: Invoke) -> None:
    """The schema is printed as JSON."""
    code, out, err = invoke("config", "schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == "fal log bridge configuration"


def _process(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with few variables."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "bridge", *args],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": "/home-of-nobody", "NO_COLOR": "1", **more},
        timeout=60,
    )


def test_process_without_settings(tmp_path: Path) -> None:
    """A start without settings is one message and exit code 2."""
    (tmp_path / "empty.yaml").touch()
    done = _process("run", "--config", str(tmp_path / "empty.yaml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fal-log-bridge: ")
    assert "3 problems" in done.stderr
    assert "Traceback" not in done.stderr


def test_process_with_bad_settings(tmp_path: Path) -> None:
    """So is a start with wrong ones, with its place and without the secret."""
    path = tmp_path / "config.yaml"
    path.write_text("fal: {key: s3cr3t}\npoll: {intervall: 1s}\n", "utf-8")
    done = _process("run", BRIDGE_CONFIG=str(path))
    assert done.returncode == 2
    assert "poll.intervall (line 2): unknown key; did you mean 'interval'?" in done.stderr
    assert "s3cr3t" not in done.stderr


def test_process_usage_error() -> None:
    """And a wrong command."""
    done = _process("rnu")
    assert done.returncode == 2
    assert "Did you mean 'run'?" in done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    """A reader that has enough ends the command without a word."""
    command = [sys.executable, "-m", "bridge", "config", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_help_imports_nothing_heavy() -> None:
    """Help is quick: nothing that a command works with is loaded for it, nor any command."""
    script = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from bridge.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('pydantic', 'httpx', 'opentelemetry', 'yaml', 'uvicorn', 'rich', 'asyncio',\n"
        "         'msgspec', 'bridge.simulator', 'bridge.model')\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


def test_commands_load_no_other_command_line() -> None:
    """HTTP works without that of its library, and without what it draws with."""
    script = (
        "import sys; sys.argv = ['x', '--version']\n"
        "from bridge.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import httpx; httpx.Client().close()\n"
        "sys.exit(', '.join(name for name in ('click', 'rich') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (
            "--help >/dev/full",
            1,
            "fal-log-bridge: cannot write the output: No space left on device",
        ),
        ("config schema >/dev/full", 1, "fal-log-bridge: cannot write the output: No space left"),
        ("--version >/dev/full 2>&1", 1, ""),
        ("--version >&-", 0, ""),
        ("--version >&- 2>&-", 0, ""),
        ("run >&-", 2, "fal-log-bridge: no config file"),
        ("run 2>&-", 2, ""),
        ("run 2>/dev/full", 2, ""),
        ("run --once --timeout 0", 2, "Usage: fal-log-bridge run"),
    ],
)
def test_no_output_changes_the_exit_code(line: str, code: int, said: str) -> None:
    """A closed or full output is no traceback and no other exit code."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m bridge {line}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": "/home-of-nobody", "NO_COLOR": "1"},
        timeout=60,
    )
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
