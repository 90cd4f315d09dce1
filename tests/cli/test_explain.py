"""``explain`` on the command line: options, what is printed, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.audited import FLOOR, NOON, Scene
from support.commands import CommandLine, file_of

from bridge import settings
from bridge.app import explain as work
from bridge.app.explain import Explained, Explanation, Fate, Journaled, State
from bridge.journal.ledger import Found, ReadRecord
from bridge.model import SECOND, Entry, Read, ReadKind

UID = bytes(range(16))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A config file."""
    return str(file_of(Scene(tmp_path)))


def answering(cli: CommandLine, explanation: Explanation) -> list[tuple[str, dict[str, Any]]]:
    """Let it come to this; what is asked."""
    asked: list[tuple[str, dict[str, Any]]] = []

    async def explain(
        _config: settings.Settings, _world: object, text: str, **options: Any
    ) -> Explanation:
        asked.append((text, options))
        return explanation

    cli.patch.setattr(work, "explain", explain)
    return asked


def test_an_entry(cli: CommandLine, config: str) -> None:
    """Which read, which batch, and every destination; exit code 0."""
    record = ReadRecord(Read(ReadKind.SWEEP, FLOOR, NOON, NOON, 3), NOON + SECOND, 5, 7, 8)
    fates = (
        Fate("a", State.ACKNOWLEDGED, NOON + 2 * SECOND),
        Fate("b", State.WAITING),
        Fate("c", State.DEAD_LETTER, NOON, "bad\x1b"),
        Fate("d", State.UNKNOWN),
    )
    journaled = Journaled(Found("one", FLOOR, 7, dated=True), record, fates)
    entry = Entry({"level": "INFO", "message": "hello\nthere"}, FLOOR)
    one = Explained("one", UID, entry, journaled)
    asked = answering(cli, Explanation((one,), searched=("one",), stopped=("one",)))
    options = ("--since", "10m", "--app", "one", "--config", config)
    code, out, err = cli("explain", "hello", *options)
    assert (code, err) == (0, "")
    assert asked == [("hello", {"apps": ["one"], "since": settings.StartBack(600)})]
    assert out.splitlines() == [
        f"{UID.hex()}  one",
        "  2025-09-19T11:00:00.000Z INFO hello\\nthere",
        "  time       2025-09-19T11:00:00.000Z",
        (
            "  fetched    by a sweep read of 2025-09-19T11:00:00.000Z to "
            "2025-09-19T12:00:00.000Z, begun 2025-09-19T12:00:00.000Z, pages: 3"
        ),
        "  journaled  2025-09-19T12:00:01.000Z, in batch 7",
        "  a: acknowledged 2025-09-19T12:00:02.000Z",
        "  b: waiting",
        "  c: dead letter 2025-09-19T12:00:00.000Z: bad\\x1b",
        "  d: not known; it came after this entry, or before such times were noted",
        "",
        "Not everything was looked through (one): give a later --since.",
    ]


def test_what_is_not_known(cli: CommandLine, config: str) -> None:
    """Said as such, and so is what is not journaled."""
    old = Journaled(Found("one", FLOOR, 0, dated=False), None, ())
    pruned = Journaled(Found("one", FLOOR, 7, dated=True), None, ())
    dropped = Journaled(Found("one", FLOOR, -1, dated=True), None, ())
    lost = Explained("one", UID, Entry({"message": "x"}, None), reason="it is missing")
    places = [Explained("one", UID, None, one) for one in (old, pruned, dropped)]
    entries = (*places, lost)
    answering(cli, Explanation(entries))
    _, out, _ = cli("explain", UID.hex(), "--config", config)
    assert "before batches were noted; which read that was is no longer known" in out
    assert "in batch 7; which read that was is no longer known" in out
    assert "  dropped    by rule: it is in no batch and was sent nowhere" in out
    assert "(borrowed: it has no readable time)" in out
    assert "shown by the API but not journaled: it is missing" in out


def test_nothing_found(cli: CommandLine, config: str) -> None:
    """Exit code 1."""
    answering(cli, Explanation(()))
    code, out, err = cli("explain", "x", "--config", config)
    assert (code, err) == (1, "")
    assert out.startswith("Nothing found")


def test_json(cli: CommandLine, config: str) -> None:
    """One document, whatever was found."""
    answering(cli, Explanation((), searched=("one",)))
    code, out, err = cli("explain", "x", "--json", "--config", config)
    assert (code, err) == (1, "")
    assert json.loads(out) == {"entries": [], "searched": ["one"], "stopped": []}


def test_bad_usage(cli: CommandLine, config: str) -> None:
    """Exit code 2."""
    for args in ((), ("  ",), ("x", "--since", "soon")):
        code, out, err = cli("explain", *args)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
    code, _, err = cli("explain", "x", "--config", config)
    assert code == 2
    assert "there is no journal" in err
