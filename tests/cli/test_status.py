"""``status`` on the command line: the tables and the document."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from support.audited import FLOOR, NOON, Scene
from support.commands import CommandLine, file_of

from bridge.journal.orders import Orders
from bridge.model import SECOND, DeadLetter, Gap, GapKind


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A journal with something of everything."""
    scene = Scene(tmp_path)
    for n in range(5):
        scene.write(f"{n}", FLOOR + n * SECOND, "[bold]")
    scene.fill(
        "[bold]",
        swept={15 * SECOND: NOON - 15 * SECOND, 900 * SECOND: FLOOR},
        gaps=[Gap(GapKind.CROWDED, FLOOR, FLOOR + 1, 1_234)],
    )
    return scene


def test_for_people(cli: CommandLine, scene: Scene) -> None:
    """Every app, every destination, the gaps, the journal; no escape sequence in a pipe."""
    code, out, err = cli("status", "--config", str(file_of(scene)))
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "app position lag swept up to came late gaps"
    assert lines[1].startswith("[bold] 2025-09-19T12:00:00.000Z ")
    assert " 15s: " in lines[1]
    assert lines[1].endswith(" ago - 1")
    assert lines[2].startswith("15m: ")
    assert lines[4] == "destination cursor waiting size oldest dead letters"
    assert lines[5].startswith("out 0 6 ")
    assert (
        "[bold]: cannot be proved complete (crowded): 2025-09-19T11:00:00.000Z to "
        "2025-09-19T11:00:00.000001Z, at least 1,234 entries"
    ) in lines
    assert lines[-1].startswith(f"journal {scene.path}: ")
    assert lines[-1].endswith("waiting, no bridge runs on it")


def test_destinations_that_take_nothing_are_marked(cli: CommandLine, scene: Scene) -> None:
    """What to do about each stands below; dead letters come with their size."""
    scene.attach("old")
    scene.acknowledge(0, [DeadLetter("out", "00" * 16, 1, "no", b"x" * 98, NOON)])
    with Orders.open(scene.path) as orders:
        orders.pause("out", paused=True)
    _, out, _ = cli("status", "--config", str(file_of(scene)))
    lines = [" ".join(line.split()) for line in out.splitlines()]
    (old,) = (line for line in lines if line.startswith("old "))
    assert old.startswith("old (not configured) 0 6 ")
    (paused,) = (line for line in lines if line.startswith("out "))
    assert paused.startswith("out (paused) 0 6 ")
    assert paused.endswith(" 1 (100 bytes)")
    assert any(line.startswith("old: no longer configured, and 6 entries") for line in lines)
    assert any(line.startswith("out: paused; `fal-log-bridge dest") for line in lines)


@pytest.mark.parametrize(("kept", "is_full"), [(100, False), (990, True)])
def test_the_room_for_dead_letters(
    cli: CommandLine, scene: Scene, kept: int, is_full: bool
) -> None:
    """How much of it is taken, and from 90 % on what to do; nothing where there are none."""
    config = file_of(scene)
    config.write_text(config.read_text().replace("{path", "{dead_letters_max_bytes: 1kB, path"))
    assert "dead letters: " not in cli("status", "--config", str(config))[1]
    scene.acknowledge(0, [DeadLetter("out", "00" * 16, 1, "no", b"x" * (kept - 2), NOON)])
    _, out, _ = cli("status", "--config", str(config))
    (line,) = (line for line in out.splitlines() if line.startswith("dead letters: "))
    assert (" of 1.0 kB" in line) or (" of 1,000 bytes" in line), line
    assert ("raise journal.dead_letters_max_bytes" in line) is is_full


def test_for_scripts(cli: CommandLine, scene: Scene) -> None:
    """One document, beside a running bridge too."""
    journal = scene.open()
    try:
        code, out, err = cli("status", "--json", "--config", str(file_of(scene)))
    finally:
        journal.abandon()
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["journal"]["held"] is True
    assert [app["app"] for app in document["apps"]] == ["[bold]"]


def test_no_journal(cli: CommandLine, tmp_path: Path) -> None:
    """Exit code 2, and no file is made."""
    scene = Scene(tmp_path)
    code, out, err = cli("status", "--config", str(file_of(scene)))
    assert (code, out) == (2, "")
    assert "there is no journal" in err
    assert not scene.path.exists()


class Terminal(io.TextIOWrapper):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        """See `io.IOBase.isatty`."""
        return True


def test_watching(cli: CommandLine, scene: Scene) -> None:
    """Each look draws the whole screen anew, with what is so by then; Ctrl-C gives it back."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        cli.patch.delenv(name, raising=False)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "150"), ("LINES", "30")):
        cli.patch.setenv(name, value)
    raw = io.BytesIO()
    terminal = Terminal(raw, "utf-8")
    cli.patch.setattr(sys, "stdout", terminal)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt
        scene.attach("another")

    cli.patch.setattr("time.sleep", pause)
    code, _, err = cli("status", "--watch", "--every", "5s", "--config", str(file_of(scene)))
    terminal.flush()
    assert (code, err, pauses) == (130, "", [5.0, 5.0])
    text = raw.getvalue().decode()
    assert text.startswith("\x1b[?1049h")
    assert text.rstrip("\x1b[?25h").endswith("\x1b[?1049l")
    _, first, second = text.split(", every 5s; Ctrl-C ends it")
    assert "[bold]" in first
    assert "another" not in first
    assert "[bold]" in second
    assert "another" in second


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--watch",), "--watch: needs a terminal to redraw"),
        (("--watch", "--json"), "--watch: needs a terminal to redraw; scripts ask for --json"),
        (("--every", "5s"), "--every: only means something together with --watch"),
    ],
)
def test_watching_without_a_terminal(
    cli: CommandLine, scene: Scene, args: tuple[str, ...], words: str
) -> None:
    """Is refused, and so is a pause without watching."""
    code, out, err = cli("status", *args, "--config", str(file_of(scene)))
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())


@pytest.mark.parametrize("every", ["0", "50ms", "soon"])
def test_watching_too_often(cli: CommandLine, scene: Scene, every: str) -> None:
    """Is refused too."""
    cli.patch.setattr(sys, "stdout", Terminal(io.BytesIO(), "utf-8"))
    code, _, err = cli("status", "--watch", "--every", every, "--config", str(file_of(scene)))
    assert code == 2
    assert "--every: must be" in " ".join(err.split())
