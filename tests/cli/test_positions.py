"""``positions`` on the command line: the list, and what is said and asked before a rewind."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from support.audited import NOON, Scene
from support.commands import CommandLine, file_of

from bridge.journal.ledger import Ledger
from bridge.model import SECOND, Tick

AT = "2025-09-19T11:59:00Z"
TOLD = (
    "one: 2025-09-19T11:59:00.000Z to 2025-09-19T12:00:00.000Z is read again (1m).\n"
    "2 entries of it are known: they are not sent again.\n"
)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A journal of an app that stands at noon."""
    scene = Scene(tmp_path)
    for second in (70, 50, 30):
        scene.write("x", NOON - second * SECOND)
    scene.fill()
    return scene


@pytest.fixture
def config(scene: Scene) -> str:
    """The config file."""
    return str(file_of(scene))


def position(scene: Scene) -> Tick:
    """Where the app stands."""
    with Ledger.open(scene.path) as ledger:
        return ledger.apps()[0].record.position


def test_list(cli: CommandLine, scene: Scene, config: str) -> None:
    """A row for each app; one that is not configured is marked."""
    scene.fill("old")
    code, out, err = cli("positions", "list", "--config", config)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "app position lag ledger from known entries"
    assert lines[1].startswith("old (not read) 2025-09-19T12:00:00.000Z ")
    assert lines[2].startswith("one 2025-09-19T12:00:00.000Z ")
    assert lines[2].endswith(" 2025-09-19T11:00:00.000Z 3")


def test_list_for_scripts(cli: CommandLine, config: str) -> None:
    """One document."""
    code, out, err = cli("positions", "list", "--json", "--config", config)
    assert (code, err) == (0, "")
    (one,) = json.loads(out)["positions"]
    assert (one["app"], one["configured"], one["fingerprints"]) == ("one", True, 3)


def test_dry_run(cli: CommandLine, scene: Scene, config: str) -> None:
    """It says what would be, beside a running bridge too, and changes nothing."""
    rewind = ("positions", "rewind", "one", AT, "--dry-run", "--config", config)
    assert cli(*rewind) == (0, f"{TOLD}Nothing was changed.\n", "")
    journal = scene.running()
    code, out, _ = cli(*rewind)
    journal.abandon()
    assert code == 0
    assert "A bridge runs on this journal: it must be stopped for the rewind.\n" in out
    assert position(scene) == NOON


def test_rewind(cli: CommandLine, scene: Scene, config: str) -> None:
    """With --yes it is done and told."""
    code, out, err = cli("positions", "rewind", "one", AT, "--yes", "--config", config)
    assert (code, err) == (0, "")
    assert out == (
        f"{TOLD}one stands at 2025-09-19T11:59:00.000Z; the next run reads on from there.\n"
    )
    assert position(scene) == NOON - 60 * SECOND


def test_below_the_ledger(cli: CommandLine, config: str) -> None:
    """What will come twice is said before."""
    _, out, _ = cli("positions", "rewind", "one", "2025-09-19", "--dry-run", "--config", config)
    assert "3 entries of it are known" in out
    assert (
        "Before 2025-09-19T11:00:00.000Z nothing is known: what was delivered from there is sent "
        "again, with the same uids.\n"
    ) in out


@pytest.mark.parametrize(("answer", "stands"), [("y\n", NOON - 60 * SECOND), ("n\n", NOON)])
def test_it_asks_on_a_terminal(
    cli: CommandLine, scene: Scene, config: str, answer: str, stands: Tick
) -> None:
    """And does what is answered."""

    class Answers:
        def isatty(self) -> bool:
            return True

        def readline(self, *_: object) -> str:
            return answer

    cli.patch.setattr(sys, "stdin", Answers())
    cli.patch.setattr("builtins.input", lambda *_: answer.strip())
    code, _, _ = cli("positions", "rewind", "one", AT, "--config", config)
    assert code == (0 if stands < NOON else 1)
    assert position(scene) == stands


def test_it_asks_nobody_where_there_is_no_terminal(
    cli: CommandLine, scene: Scene, config: str
) -> None:
    """It says what it would do, and what confirms it; exit code 2."""
    cli.patch.setattr(sys, "stdin", io.StringIO())
    code, out, err = cli("positions", "rewind", "one", AT, "--config", config)
    assert (code, out) == (2, TOLD)
    assert "nothing was changed: confirm it with --yes" in err
    assert position(scene) == NOON


@pytest.mark.parametrize("more", [(), ("--yes",)])
def test_a_running_bridge(
    cli: CommandLine, scene: Scene, config: str, more: tuple[str, ...]
) -> None:
    """It must be stopped, whatever is confirmed."""
    journal = scene.running()
    code, _, err = cli("positions", "rewind", "one", AT, *more, "--config", config)
    journal.abandon()
    assert code == 1
    assert err == (
        "fal-log-bridge: app one: a running bridge reads on from its position (stop the bridge, "
        "rewind, and start it again)\n"
    )
    assert position(scene) == NOON


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("one", "soon"), 2, "TIME: must be 'now', a duration back"),
        (("one", "now"), 1, "its position is 2025-09-19T12:00:00.000Z, and a rewind only leads"),
        (("two", AT), 1, "app two: the journal knows no such app (there are: one)"),
        (("one",), 2, "Missing argument"),
    ],
)
def test_bad_usage(
    cli: CommandLine, config: str, args: tuple[str, ...], code: int, words: str
) -> None:
    """One message that says what to do."""
    got, out, err = cli("positions", "rewind", *args, "--config", config)
    assert (got, out) == (code, "")
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_no_journal(cli: CommandLine, tmp_path: Path) -> None:
    """Exit code 2, and no file is made."""
    empty = Scene(tmp_path / "empty")
    empty.folder.mkdir()
    for args in (("list",), ("rewind", "one", AT)):
        code, out, err = cli("positions", *args, "--config", str(file_of(empty)))
        assert (code, out) == (2, "")
        assert "there is no journal" in err
    assert not empty.path.exists()
