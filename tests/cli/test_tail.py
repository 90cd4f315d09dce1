"""``tail`` on the command line: its options, its lines, what it does to hostile text."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from support.audited import FLOOR, Scene
from support.commands import CommandLine, file_of

from bridge import settings
from bridge.app import tail as work
from bridge.app.tail import Asked, Line, Show, Unproved
from bridge.model import Entry, Gap, GapKind
from bridge.settings import StartBack

TIME = "2025-09-19T11:00:00.000Z"


class Terminal(io.TextIOWrapper):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        """See `io.IOBase.isatty`."""
        return True


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A config file of one app."""
    return str(file_of(Scene(tmp_path)))


def line(message: str, *, level: str = "INFO", severity: int = 9, app: str = "one") -> Line:
    """Something to show."""
    entry = Entry({"message": message}, FLOOR)
    return Line(app, TIME, level, severity, message, "ab" * 16, entry)


def showing(cli: CommandLine, *lines: Line | Unproved) -> list[Asked]:
    """Let these be what comes; what is asked for."""
    asked: list[Asked] = []

    async def tail(_: settings.Settings, __: object, one: Asked, show: Show) -> None:
        asked.append(one)
        show(lines)

    cli.patch.setattr(work, "tail", tail)
    return asked


def test_options(cli: CommandLine, config: str) -> None:
    """What is asked for is what was given, and by default all of the last ten minutes."""
    asked = showing(cli)
    args = ("--level", "warn", "--grep", "a+", "--since", "2h", "--no-follow")
    assert cli("tail", "one", *args, "--config", config) == (0, "", "")
    assert cli("tail", "--config", config) == (0, "", "")
    narrow, wide = asked
    assert (list(narrow.apps), narrow.since, narrow.min_severity) == (["one"], StartBack(7200), 13)
    assert narrow.grep is not None
    assert narrow.grep.matches("caab")
    assert not narrow.follow
    assert wide == Asked(StartBack(600))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--level", "loud"), "--level: 'loud' is no level; there are TRACE, DEBUG,"),
        (("--grep", "(secret"), "--grep: is not a pattern that RE2 takes: missing )"),
        (("--grep", "x*"), "must not match the empty text"),
        (("--since", "soon"), "--since: must be 'now', a duration back such as 10m"),
        (("two",), "APP: there is no app 'two' (there are: one)"),
    ],
)
def test_bad_usage(cli: CommandLine, config: str, args: tuple[str, ...], words: str) -> None:
    """One message, exit code 2."""
    code, out, err = cli("tail", *args, "--config", config)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_lines(cli: CommandLine, config: str) -> None:
    """Time, level, message; further lines set in; nothing can steer a terminal."""
    showing(
        cli,
        line("plain"),
        line("first\r\n\tsecond\n\nlast", level="ERROR", severity=17),
        line("\x1b[2J\u202egone\x9b", level="\x1b]0;x\x07", severity=0),
    )
    code, out, err = cli("tail", "--config", config)
    assert (code, err) == (0, "")
    assert out == (
        f"{TIME} INFO     plain\n"
        f"{TIME} ERROR    first\n        second\n\n    last\n"
        f"{TIME} \\x1b]0;x\\x07   \\x1b[2J\\u202egone\\x9b\n"
    )


def test_the_app_is_named_where_there_are_several(
    cli: CommandLine, config: str, tmp_path: Path
) -> None:
    """Several that are asked for, or the whole account, whose entries say whose they are."""
    showing(cli, line("x", app="\x1bone"))
    several = Path(config).read_text("utf-8").replace("{app_id: one}", "{app_id: one}, {app_id: b}")
    (tmp_path / "several.yaml").write_text(several, "utf-8")
    account = several.replace("{app_id: one}, {app_id: b}", "{name: all}")
    (tmp_path / "account.yaml").write_text(account, "utf-8")
    named = f"{TIME} INFO     \\x1bone x\n"
    for file, args, shown in (
        ("several", (), named),
        ("several", ("one",), f"{TIME} INFO     x\n"),
        ("account", (), named),
    ):
        _, out, _ = cli("tail", *args, "--config", str(tmp_path / f"{file}.yaml"))
        assert out == shown


def test_for_scripts(cli: CommandLine, config: str) -> None:
    """One object a line, in ASCII, with the entry as it came."""
    showing(cli, line("a\x7f\x1b[2Jä\nb"), line("c"))
    code, out, err = cli("tail", "--json", "--config", config)
    assert (code, err) == (0, "")
    assert out.isascii()
    assert out.replace("\n", "").isprintable()
    first, second = map(json.loads, out.splitlines())
    assert first == {"app": "one", "uid": "ab" * 16, "entry": {"message": "a\x7f\x1b[2Jä\nb"}}
    assert second["entry"] == {"message": "c"}


def test_what_cannot_be_proved_is_said_beside(cli: CommandLine, config: str) -> None:
    """On standard error, so that scripts read entries only."""
    gap = Gap(GapKind.CROWDED, FLOOR, FLOOR + 1, 100)
    showing(cli, line("x"), Unproved("one", gap))
    _, out, err = cli("tail", "--config", config)
    assert out == f"{TIME} INFO     x\n"
    assert err.startswith(f"one: at least 100 entries are in {TIME}, more than the API shows")


def test_ctrl_c(cli: CommandLine, config: str) -> None:
    """It ends as other commands do that are interrupted: quietly, with exit code 130."""
    showing(cli, line("x"))
    whole = work.tail

    async def interrupted(*args: object) -> None:
        await whole(*args)  # type: ignore[arg-type]  # passed on as they came
        raise KeyboardInterrupt

    cli.patch.setattr(work, "tail", interrupted)
    assert cli("tail", "--config", config) == (130, f"{TIME} INFO     x\n", "")


@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal(cli: CommandLine, config: str, no_color: bool) -> None:
    """In colour by severity, unless NO_COLOR is set."""
    if no_color:
        cli.patch.setenv("NO_COLOR", "1")
    raw = io.BytesIO()
    terminal = Terminal(raw, "utf-8")
    cli.patch.setattr(sys, "stdout", terminal)
    showing(cli, line("x", level="ERROR", severity=18))
    assert cli("tail", "--config", config)[0] == 0
    terminal.flush()
    text = raw.getvalue().decode()
    assert ("\x1b[31mERROR" in text) is not no_color
    assert ("\x1b" in text) is not no_color


def test_an_output_that_lacks_characters(cli: CommandLine, config: str) -> None:
    """What its encoding does not have is written out."""
    raw = io.BytesIO()
    cli.patch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    showing(cli, line("ä✓"))
    assert cli("tail", "--config", config)[0] == 0
    sys.stdout.flush()
    assert raw.getvalue().endswith(b" \\xe4\\u2713\n")
