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
from bridge.app.explain import Explained, ExplainedGap, Explanation, Fate, Journaled
from bridge.gaps import sentence
from bridge.journal.ledger import Found, GapRecord, ReadRecord, State
from bridge.model import SECOND, Entry, Gap, GapKind, Read, ReadKind

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
        Fate("e", State.LOST),
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
        "  d: not known; it was not there then, or such times were not noted yet",
        "  e: lost: its batch left the journal before anyone acknowledged it",
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
    assert out == "Nothing found at the API by text.\n"
    answering(cli, Explanation(()))
    assert (
        "A uid is looked up by 8 to 32 of its digits."
        in cli("explain", "ABCDEF1", "--config", config)[1]
    )
    answering(cli, Explanation((), by_uid=True))
    assert "neither in the journal by uid, nor" in cli("explain", "ABCDEF12", "--config", config)[1]


def test_a_gap(cli: CommandLine, config: str) -> None:
    """What it says downstream, and its way; exit code 0."""
    gap = Gap(GapKind.CROWDED, FLOOR, FLOOR + 1, 1_000)
    for closed, end in ((None, "still open"), (NOON, "closed 2025-09-19T12:00:00.000Z")):
        record = GapRecord("one", gap, NOON - SECOND, closed, 7)
        fates = (Fate("a", State.WAITING),)
        answering(cli, Explanation((), (ExplainedGap(UID, record, fates),), by_uid=True))
        code, out, err = cli("explain", UID.hex(), "--config", config)
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            f"{UID.hex()}  one",
            f"  no entry but a gap: {sentence(gap)}",
            f"  found      2025-09-19T11:59:59.000Z, in batch 7; {end}",
            "  a: waiting",
            "",
        ]


def test_an_app_that_could_not_be_asked(cli: CommandLine, config: str) -> None:
    """Exit code 1, with what the others showed."""
    one = Explained("one", UID, Entry({"message": "x"}, None), reason="it is missing")
    answering(cli, Explanation((one,), failed={"two": "answered 403"}))
    code, out, _ = cli("explain", "x", "--config", config)
    assert code == 1
    assert "not journaled: it is missing" in out
    assert out.endswith("two could not be searched: answered 403\n")


def test_json(cli: CommandLine, config: str) -> None:
    """One document, whatever was found."""
    answering(cli, Explanation((), searched=("one",)))
    code, out, err = cli("explain", "x", "--json", "--config", config)
    assert (code, err) == (1, "")
    assert json.loads(out) == {
        "entries": [],
        "gaps": [],
        "searched": ["one"],
        "stopped": [],
        "failed": {},
    }


def test_bad_usage(cli: CommandLine, config: str) -> None:
    """Exit code 2."""
    for args in ((), ("  ",), ("x", "--since", "soon")):
        code, out, err = cli("explain", *args)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
    code, _, err = cli("explain", "x", "--config", config)
    assert code == 2
    assert "there is no journal" in err
