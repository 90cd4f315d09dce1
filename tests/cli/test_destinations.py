"""``destinations`` on the command line: the list, and orders for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.audited import FLOOR, Scene
from support.commands import CommandLine, file_of

from bridge.journal.ledger import Ledger
from bridge.model import SECOND, DeadLetter


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A journal with five entries for ``out``, which is configured, and for ``old one``."""
    scene = Scene(tmp_path)
    scene.attach("old one")
    for n in range(5):
        scene.write(f"{n}", FLOOR + n * SECOND)
    scene.fill()
    return scene


@pytest.fixture
def config(scene: Scene) -> str:
    """The config file."""
    return str(file_of(scene))


def names(scene: Scene) -> list[str]:
    """The destinations that the journal knows."""
    with Ledger.open(scene.path) as ledger:
        return [one.name for one in ledger.destinations()]


def test_list(cli: CommandLine, config: str) -> None:
    """What is kept for each, and what to do about one that is not configured any more."""
    cli("destinations", "pause", "out", "--config", config)
    code, out, err = cli("destinations", "list", "--config", config)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "destination cursor waiting size oldest dead letters"
    assert lines[1].startswith("old one (not configured) 0 5 ")
    assert lines[2].startswith("out (paused) 0 5 ")
    assert lines[3:] == [
        (
            "old one: no longer configured, and 5 entries are kept for it; put it back or run "
            "`fal-log-bridge destinations forget 'old one'`"
        ),
        "out: paused; `fal-log-bridge destinations resume out` lets it go on",
    ]


def test_list_for_scripts(cli: CommandLine, config: str) -> None:
    """One document."""
    code, out, err = cli("destinations", "list", "--json", "--config", config)
    assert (code, err) == (0, "")
    old, new = json.loads(out)["destinations"]
    assert (old["destination"], old["configured"], old["waiting_records"]) == ("old one", False, 5)
    assert (new["destination"], new["configured"], new["paused"]) == ("out", True, False)


def test_pause_and_resume(cli: CommandLine, config: str) -> None:
    """Said, and said when it is so already."""
    told = [
        cli("destinations", order, "out", "--config", config)
        for order in ("pause", "pause", "resume", "resume")
    ]
    assert told == [
        (0, "out is paused; a running bridge stops sending to it within seconds.\n", ""),
        (0, "out was paused already.\n", ""),
        (0, "out goes on; a running bridge sends to it again within seconds.\n", ""),
        (0, "out was not paused.\n", ""),
    ]


def test_forget(cli: CommandLine, scene: Scene, config: str) -> None:
    """It says what was held; a second time there is none."""
    code, out, err = cli("destinations", "forget", "old one", "--config", config)
    assert (code, err) == (0, "")
    assert out.startswith("old one is forgotten; it held 5 undelivered entries (")
    assert names(scene) == ["out"]
    code, out, err = cli("destinations", "forget", "old one", "--config", config)
    assert (code, out) == (1, "")
    assert "destination old one: the journal knows no such destination (there are: out)" in err


def test_forget_one_that_is_configured(cli: CommandLine, scene: Scene, config: str) -> None:
    """It begins anew, and that is said."""
    scene.acknowledge(1)
    code, out, _ = cli("destinations", "forget", "out", "--config", config)
    assert code == 0
    assert out.splitlines() == [
        "out is forgotten; it held nothing.",
        "out is still configured: at the next start it is a new one.",
    ]


def test_forget_is_refused(cli: CommandLine, scene: Scene, config: str) -> None:
    """While a bridge delivers to it, and while it has dead letters."""
    journal = scene.running("out")
    code, out, err = cli("destinations", "forget", "out", "--config", config)
    journal.abandon()
    assert (code, out) == (1, "")
    assert "destination out: a running bridge delivers to it (take it out of the " in err
    scene.acknowledge(0, [DeadLetter("out", "00" * 16, 1, "no", b"", FLOOR)])
    code, out, err = cli("destinations", "forget", "out", "--config", config)
    assert (code, out) == (1, "")
    assert "it has 1 dead letters" in err
    assert names(scene) == ["old one", "out"]


@pytest.mark.parametrize("order", ["list", "forget", "pause", "resume"])
def test_no_journal(cli: CommandLine, tmp_path: Path, order: str) -> None:
    """Exit code 2, and no file is made."""
    empty = Scene(tmp_path)
    args = () if order == "list" else ("out",)
    code, out, err = cli("destinations", order, *args, "--config", str(file_of(empty)))
    assert (code, out) == (2, "")
    assert "there is no journal" in err
    assert not empty.path.exists()


def test_bad_usage(cli: CommandLine) -> None:
    """Exit code 2."""
    for args in (("destinations",), ("destinations", "forget"), ("destinations", "forgt")):
        code, _, err = cli(*args)
        assert code == 2
        assert "Traceback" not in err
