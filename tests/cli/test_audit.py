"""``audit`` on the command line: options, what is printed, exit codes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from support.audited import FLOOR, NOON, Scene
from support.commands import CommandLine, file_of

from bridge import settings
from bridge.app import audit as work
from bridge.errors import ConfigError
from bridge.model import SECOND, Entry, Gap, GapKind, Identified
from bridge.source.audit import Result, Share

WINDOW = ("--since", "2h", "--until", "2025-09-19T12:00:00Z")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A config file."""
    return str(file_of(Scene(tmp_path)))


def answering(cli: CommandLine, *results: Result, held: bool = False) -> list[work.Asked]:
    """Let the audit come to these results; what it is asked."""
    asked: list[work.Asked] = []

    async def run(
        _config: settings.Settings, _world: object, one: work.Asked, progress: work.Progress
    ) -> work.Audited:
        asked.append(one)
        for result in results:
            progress(result.app, 0.5)
            progress(result.app, 1.0)
        return work.Audited(results, held)

    cli.patch.setattr(work, "run", run)
    return asked


def lacking() -> Result:
    """One entry of five is missing, and more."""
    raw = {"level": "ERROR", "message": "out of\n\x1b[31mmemory"}
    missing = Identified(Entry(raw, FLOOR + 7), FLOOR + 7, b"u" * 16)
    return Result(
        "one",
        FLOOR,
        NOON,
        in_api=12_345,
        journaled=12_346,
        missing=22,
        surplus=23,
        unproved=3,
        shares=[Share("out", delivered=12_000, waiting=340, dead_lettered=5, unknown=1)],
        first_missing=[missing],
        gaps=[Gap(GapKind.CROWDED, FLOOR, FLOOR + 1, 1_000)],
    )


def test_what_is_asked(cli: CommandLine, config: str) -> None:
    """The options as the audit takes them."""
    asked = answering(cli)
    options = ("--app", "one", "--app", "two", "--repair", "--config", config)
    assert cli("audit", *WINDOW, *options)[0] == 0
    assert asked == [
        work.Asked(
            settings.StartBack(7_200),
            settings.StartAt(NOON),
            ["one", "two"],
            repair=True,
            otherwise=f"--repair --config {config}",
        )
    ]


def test_nothing_missing(cli: CommandLine, config: str) -> None:
    """Exit code 0."""
    answering(cli, Result("one", FLOOR, NOON, in_api=3, journaled=3))
    code, out, err = cli("audit", *WINDOW, "--config", config)
    assert (code, err) == (0, "")
    assert "one, 2025-09-19T11:00:00.000Z to 2025-09-19T12:00:00.000Z" in out
    assert out.endswith("Nothing is missing.\n")
    assert "retention" not in out


def test_something_missing(cli: CommandLine, config: str) -> None:
    """Exit code 1; everything is named, and nothing in an entry drives the terminal."""
    answering(cli, lacking())
    code, out, err = cli("audit", *WINDOW, "--config", config)
    assert (code, err) == (1, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "in the API 12,345" in lines
    assert "journaled 12,346" in lines
    assert "dropped by rule 0" in lines
    assert "missing 22" in lines
    assert any(line.startswith("surplus 23 (journaled, but") for line in lines)
    assert "out: 12,000 delivered, 340 waiting, 5 dead-lettered, 1 not known" in lines
    assert "missing: 2025-09-19T11:00:00.000007Z ERROR out of\\n\\x1b[31mmemory" in lines
    assert "and 21 more missing" in lines
    assert any("cannot be proved (crowded)" in line and "1,000" in line for line in lines)
    assert "and 2 more such stretches" in lines
    assert lines[-1] == ("22 missing; 3 stretches cannot be proved. Add --repair to journal them.")


def test_something_missing_beside_a_running_bridge(cli: CommandLine, config: str) -> None:
    """Which has to be stopped first, and only then is told to be."""
    answering(cli, lacking(), held=True)
    _, out, _ = cli("audit", *WINDOW, "--config", config)
    assert out.splitlines()[-1].endswith("Stop the bridge and add --repair to journal them.")


def test_what_cannot_be_proved_is_not_complete(cli: CommandLine, config: str) -> None:
    """Exit code 1: nothing is known to be missing, and that is all that can be said."""
    gap = Gap(GapKind.CROWDED, FLOOR, FLOOR + 1, 1_000)
    answering(cli, Result("one", FLOOR, NOON, in_api=3, journaled=3, unproved=1, gaps=[gap]))
    code, out, _ = cli("audit", *WINDOW, "--config", config)
    assert code == 1
    assert out.splitlines()[-1] == (
        "Nothing is missing of what the API shows; 1 stretch cannot be proved."
    )


def test_what_was_lost(cli: CommandLine, config: str) -> None:
    """Exit code 1, with the destination."""
    shares = [Share("out", delivered=1, lost=2)]
    answering(cli, Result("one", FLOOR, NOON, in_api=3, journaled=3, shares=shares))
    code, out, _ = cli("audit", *WINDOW, "--config", config)
    assert code == 1
    assert "  out: 1 delivered, 0 waiting, 0 dead-lettered, 2 lost\n" in out
    assert "2 deliveries lost: journaled, but gone from the journal" in out


def test_an_app_that_failed(cli: CommandLine, config: str) -> None:
    """Exit code 1; the others are told, and of it what was read."""
    partly = Result("one", FLOOR, NOON, in_api=1, journaled=1, error="503\x1b")
    partly.reached = NOON - SECOND
    never = Result("two", FLOOR, NOON, error="not yours")
    answering(cli, partly, never, Result("three", FLOOR, NOON, in_api=7, journaled=7))
    code, out, err = cli("audit", *WINDOW, "--config", config)
    assert (code, err) == (1, "")
    assert "  not audited: 503\\x1b\n  the figures are of 2025-09-19T11:59:59.000Z on\n" in out
    assert "  not audited: not yours\n\nthree, " in out
    assert "in the API                  7" in out
    assert out.splitlines()[-2:] == [
        "2 apps of 3 not audited to the end, see above.",
        "Nothing is missing of what was read.",
    ]


def test_interrupted(cli: CommandLine, config: str) -> None:
    """One Ctrl-C ends it, with exit code 130 and without a traceback."""

    async def run(*_: object) -> work.Audited:
        raise KeyboardInterrupt

    cli.patch.setattr(work, "run", run)
    code, out, err = cli("audit", *WINDOW, "--config", config)
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_repaired(cli: CommandLine, config: str) -> None:
    """Exit code 0, and what comes next."""
    result = lacking()
    result.repaired = result.missing
    result.unproved, result.gaps = 0, []
    answering(cli, result)
    code, out, _ = cli("audit", *WINDOW, "--repair", "--config", config)
    assert code == 0
    assert out.splitlines()[-1] == (
        "22 were missing and are journaled now; the next run delivers them."
    )


def test_json(cli: CommandLine, config: str) -> None:
    """One document and nothing else."""
    answering(cli, lacking())
    code, out, err = cli("audit", *WINDOW, "--json", "--config", config)
    assert (code, err) == (1, "")
    document = json.loads(out)
    assert document["complete"] is False
    assert document["apps"][0]["missing"] == 22


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--until", "1h"), "--since"),
        (("--since", "1h"), "--until"),
        (("--since", "yesterday", "--until", "1h"), "Invalid value for --since"),
        (("--since", "2h", "--until", "soon"), "Invalid value for --until"),
    ],
)
def test_bad_usage(cli: CommandLine, args: tuple[str, ...], words: str) -> None:
    """Exit code 2, with the way to write it."""
    code, out, err = cli("audit", *args)
    assert (code, out) == (2, "")
    assert words in err


def test_refused_windows(cli: CommandLine, config: str) -> None:
    """One line for each app, exit code 2."""
    errors = [ConfigError("is open", where=f"audit of {name}") for name in ("one", "two")]

    async def run(*_: object) -> work.Audited:
        raise ExceptionGroup("refused", errors)

    cli.patch.setattr(work, "run", run)
    code, out, err = cli("audit", *WINDOW, "--config", config)
    assert (code, out) == (2, "")
    assert err.splitlines() == [f"fal-log-bridge: {error}" for error in errors]


def test_no_journal(cli: CommandLine, config: str) -> None:
    """Said plainly, exit code 2."""
    code, out, err = cli("audit", "--since", "2h", "--until", "1h", "--config", config)
    assert (code, out) == (2, "")
    assert "there is no journal" in err
    assert "Traceback" not in err


def test_a_bar_on_a_terminal(cli: CommandLine, config: str) -> None:
    """On standard error only."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    cli.patch.setattr(sys, "stderr", terminal)
    cli.patch.setenv("TERM", "xterm")
    answering(cli, Result("one", FLOOR, NOON))
    code, out, _ = cli("audit", *WINDOW, "--json", "--config", config)
    assert code == 0
    assert json.loads(out)["complete"]
    assert "100%" in terminal.getvalue()
