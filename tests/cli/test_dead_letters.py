"""``dead-letters`` on the command line: hostile records, looked at and disposed of."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.audited import FLOOR, Scene
from support.commands import CommandLine, file_of

from bridge.journal.ledger import Ledger
from bridge.journal.orders import Orders
from bridge.model import SECOND, DeadLetter
from bridge.payload import compress

HOSTILE = "bad\x1b[2J news\nsecond \x9b line \x7f"
STEERING = {"\x1b", "\x9b", "\x7f"}
UIDS = ("ab12" * 8, "ab12cd34" * 4, "ff00" * 8)


def letter(destination: str, uid: str, body: str, *, readable: bool = True) -> DeadLetter:
    """A refused record."""
    message = ExportLogsServiceRequest()
    logs = message.resource_logs.add()
    logs.resource.attributes.add(key="service.name").value.string_value = "svc"
    record = logs.scope_logs.add().log_records.add(
        time_unix_nano=FLOOR * 1_000, severity_text="INFO", trace_id=bytes(range(16))
    )
    record.body.string_value = body
    record.attributes.add(key="log.record.uid").value.string_value = uid
    record.attributes.add(key="fal.job\x1b").value.int_value = 7
    payload = compress(message.SerializeToString()) if readable else b"garbage"
    return DeadLetter(
        destination,
        uid,
        seq=1,
        reason=f"400 from\x1b {destination}",
        gzip=payload,
        refused_at=FLOOR + SECOND,
        answer="<b>no\x1b</b>\nsecond",
    )


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Dead letters at two destinations, one of them unreadable."""
    scene = Scene(tmp_path)
    scene.write("x", FLOOR)
    scene.fill()
    scene.acknowledge(0, [letter("out", UIDS[0], HOSTILE), letter("out", UIDS[1], "short")])
    more = [letter("two", UIDS[0], HOSTILE), letter("two", UIDS[2], "", readable=False)]
    scene.acknowledge(0, more, destination="two")
    return scene


@pytest.fixture
def config(scene: Scene) -> str:
    """The config file."""
    return str(file_of(scene))


def wished(scene: Scene) -> list[tuple[str, str]]:
    """What is to be sent again."""
    with Ledger.open(scene.path) as ledger:
        kept = ledger.dead_letters(limit=99)
    return [(one.letter.destination, one.letter.uid) for one in kept if one.replay]


def left(scene: Scene) -> int:
    """How many dead letters there are."""
    with Ledger.open(scene.path) as ledger:
        return len(ledger.dead_letters(limit=99))


def test_list(cli: CommandLine, config: str) -> None:
    """Which destination refused what, when, why; nothing hostile gets through."""
    code, out, err = cli("dead-letters", "list", "--config", config)
    assert (code, err) == (0, "")
    assert not STEERING & set(out)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "destination uid refused size reason message"
    assert len(lines) == 5
    assert lines[1].startswith(f"out {UIDS[0]} 2025-09-19T11:00:01.000Z ")
    assert lines[1].endswith(r"400 from\x1b out bad\x1b[2J news\nsecond \x9b line \x7f")
    assert lines[4].endswith(r"400 from\x1b two")


def test_the_list_is_bounded(cli: CommandLine, config: str) -> None:
    """It says how many more there are."""
    _, out, _ = cli("dead-letters", "list", "--limit", "1", "--config", config)
    assert out.splitlines()[-1] == "and 3 more; --limit shows more of them"
    args = ("--limit", "1", "--json", "--destination", "two", "--config", config)
    _, out, _ = cli("dead-letters", "list", *args)
    assert not STEERING & set(out)
    document = json.loads(out)
    assert document["more"] == 1
    (one,) = document["dead_letters"]
    assert one == {
        "destination": "two",
        "uid": UIDS[0],
        "refused_at": "2025-09-19T11:00:01.000Z",
        "reason": "400 from\x1b two",
        "answer": "<b>no\x1b</b>\nsecond",
        "batch": 1,
        "bytes": one["bytes"],
        "replay": False,
        "message": HOSTILE,
    }


def test_no_dead_letters(cli: CommandLine, scene: Scene, config: str) -> None:
    """Is good news; to do something with them is a failure."""
    with Orders.open(scene.path) as orders:
        orders.drop(destination=None, uids=None)
    assert cli("dead-letters", "list", "--config", config) == (0, "No dead letters.\n", "")
    assert cli("dead-letters", "export", "--config", config) == (0, "", "0 exported.\n")
    for args in (("replay", "--all"), ("drop", "--all", "--yes"), ("replay", UIDS[0])):
        code, out, err = cli("dead-letters", *args, "--config", config)
        assert (code, out) == (1, "")
        assert "there are no dead letters" in err


def test_show(cli: CommandLine, config: str) -> None:
    """The whole record, the reason, the answer, when; at each destination."""
    code, out, err = cli("dead-letters", "show", UIDS[0], "--config", config)
    assert (code, err) == (0, "")
    assert not STEERING & set(out)
    lines = out.splitlines()
    size = lines[4].rpartition(", ")[2]
    assert lines[:14] == [
        f"{UIDS[0]}  out",
        r"  refused    2025-09-19T11:00:01.000Z: 400 from\x1b out",
        r"  answer     <b>no\x1b</b>",
        "             second",
        f"  kept       from batch 1, {size}",
        "  time       2025-09-19T11:00:00.000Z",
        "  severity   INFO",
        r"  body       bad\x1b[2J news",
        r"             second \x9b line \x7f",
        "  attributes",
        r"    fal.job\x1b = 7",
        "  resource",
        "    service.name = svc",
        f"{UIDS[0]}  two",
    ]
    _, out, _ = cli("dead-letters", "show", UIDS[2][:9], "--config", config)
    assert "its record cannot be read" in out


def test_show_for_scripts(cli: CommandLine, config: str) -> None:
    """The same in a document."""
    args = ("--json", "--destination", "out", "--config", config)
    _, out, _ = cli("dead-letters", "show", UIDS[0].upper(), *args)
    (one,) = json.loads(out)["dead_letters"]
    assert (one["uid"], one["destination"]) == (UIDS[0], "out")
    assert one["record"]["body"] == HOSTILE
    assert one["record"]["attributes"] == {"fal.job\x1b": 7}


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("show", "1234567"), 2, "'1234567' is too little of a uid (give 8 digits or more)"),
        (("show", "ab12ab129"), 1, "no dead letter has a uid that begins with ab12ab129"),
        (("show", UIDS[2], "--destination", "out"), 1, "no dead letter has a uid that begins"),
        (("show", UIDS[0], "--destination", "x"), 1, "destination x: the journal knows no such"),
        (("list", "--destination", "x"), 1, "no such destination (there are: out, two)"),
        (("export", "--destination", "x"), 1, "no such destination"),
        (("replay",), 2, "say which: UIDs, --destination NAME or --all"),
        (("replay", "--all", UIDS[0]), 2, "--all takes neither"),
        (("drop", "--all", "--destination", "out"), 2, "--all takes neither"),
        (("drop", "--all"), 2, "4 would be lost for good: confirm it with --yes"),
        (("drop", UIDS[0]), 2, "2 would be lost for good"),
        (("drop", UIDS[1], "--destination", "two", "--yes"), 1, "no dead letter has a uid"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--limit", "99999999999999999999"), 2, "--limit"),
    ],
)
def test_what_is_refused(
    cli: CommandLine, scene: Scene, args: tuple[str, ...], code: int, words: str
) -> None:
    """2 for bad usage, 1 where nothing matches; nothing is changed."""
    found, out, err = cli("dead-letters", *args, "--config", str(file_of(scene)))
    assert (found, out) == (code, "")
    assert words in " ".join(err.split())
    assert (left(scene), wished(scene)) == (4, [])


def test_the_beginning_of_several(cli: CommandLine, scene: Scene, config: str) -> None:
    """They are named; a whole uid is never the beginning of others."""
    longer = UIDS[0] + "00"
    scene.acknowledge(0, [letter("out", longer, "x")])
    code, _, err = cli("dead-letters", "show", UIDS[0][:8], "--config", config)
    assert code == 2
    assert f"several uids begin with ab12ab12: {UIDS[0]}, {longer}" in err
    args = (UIDS[0], "--destination", "out", "--yes", "--config", config)
    assert cli("dead-letters", "drop", *args) == (0, "1 dropped.\n", "")


def test_replay(cli: CommandLine, scene: Scene, config: str) -> None:
    """Marks what was chosen, and says when it goes and what stands in the way."""
    _, out, _ = cli("dead-letters", "replay", UIDS[1][:8], "--config", config)
    assert out == "1 to be sent again; the bridge sends them when it runs next.\n"
    assert wished(scene) == [("out", UIDS[1])]
    with Orders.open(scene.path) as orders:
        orders.pause("two", paused=True)
    file = Path(config)
    also = "destinations: [{name: two, type: console}, {name: out"
    file.write_text(file.read_text().replace("destinations: [{name: out", also))
    journal = scene.running()
    _, out, _ = cli("dead-letters", "replay", UIDS[0], UIDS[2], "--config", config)
    journal.abandon()
    assert out == (
        "3 to be sent again; the running bridge sends them within seconds.\n"
        "two is paused: it sends nothing until it is resumed.\n"
    )
    assert len(wished(scene)) == 4
    _, out, _ = cli("dead-letters", "list", "--config", config)
    assert out.count("(to be sent again)") == 4


@pytest.mark.parametrize("choice", [("--destination", "two"), (UIDS[2],)])
def test_a_replay_to_a_destination_that_is_gone_says_so(
    cli: CommandLine, scene: Scene, config: str, choice: tuple[str, ...]
) -> None:
    """A running bridge does not know it, so nothing is sent within seconds."""
    journal = scene.running()
    code, out, _ = cli("dead-letters", "replay", *choice, "--config", config)
    journal.abandon()
    count = len(wished(scene))
    assert code == 0
    assert out == (
        f"{count} to be sent again.\n"
        "two is not configured: nothing is sent to it until it is again.\n"
    )


def test_a_replay_of_all_tells_who_goes_and_who_is_gone(cli: CommandLine, config: str) -> None:
    """Each for itself."""
    _, out, _ = cli("dead-letters", "replay", "--all", "--config", config)
    assert out == (
        "4 to be sent again; the bridge sends them when it runs next.\n"
        "two is not configured: nothing is sent to it until it is again.\n"
    )


def test_replay_of_a_destination(cli: CommandLine, scene: Scene, config: str) -> None:
    """All of its own."""
    cli("dead-letters", "replay", "--destination", "two", "--config", config)
    assert wished(scene) == [("two", UIDS[0]), ("two", UIDS[2])]


def test_drop(cli: CommandLine, scene: Scene, config: str) -> None:
    """By uid at every destination, then all."""
    options = ("--yes", "--config", config)
    assert cli("dead-letters", "drop", UIDS[0], UIDS[0][:9], *options) == (0, "2 dropped.\n", "")
    assert cli("dead-letters", "drop", "--all", *options) == (0, "2 dropped.\n", "")
    assert left(scene) == 0


@pytest.mark.parametrize(("answer", "kept"), [("y\n", 2), ("n\n", 4)])
def test_drop_asks_on_a_terminal(
    cli: CommandLine, scene: Scene, config: str, answer: str, kept: int
) -> None:
    """And takes no for an answer."""
    cli.patch.setattr(sys, "stdin", Terminal(answer))
    code, out, _ = cli("dead-letters", "drop", "--destination", "two", "--config", config)
    assert (code, left(scene)) == (0 if kept == 2 else 1, kept)
    assert "Drop 2 dead letters for good?" in out


def test_export(cli: CommandLine, scene: Scene, config: str, tmp_path: Path) -> None:
    """A line for each, with OTLP/JSON, or with the bytes where they cannot be read."""
    code, out, err = cli("dead-letters", "export", "--config", config)
    assert (code, err) == (0, "4 exported.\n")
    assert not STEERING & set(out)
    first, *_, last = (json.loads(line) for line in out.splitlines())
    (logs,) = first["request"]["resourceLogs"]
    (record,) = logs["scopeLogs"][0]["logRecords"]
    assert record["body"] == {"stringValue": HOSTILE}
    assert record["traceId"] == bytes(range(16)).hex()
    assert (first["reason"], first["destination"]) == ("400 from\x1b out", "out")
    assert last["gzip_base64"] == "Z2FyYmFnZQ=="
    target = tmp_path / "letters.jsonl"
    args = ("--destination", "two", "--output", str(target), "--config", config)
    assert cli("dead-letters", "export", *args) == (0, "", "2 exported.\n")
    assert target.read_text().splitlines() == out.splitlines()[2:]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    code, _, err = cli("dead-letters", "export", *args)
    assert code == 1
    assert f"{target}: cannot be written: File exists" in err
    assert left(scene) == 4


def test_an_export_goes_page_by_page(cli: CommandLine, scene: Scene, config: str) -> None:
    """However many there are, each once."""
    letters = [letter("out", f"{n:032x}", f"{n}") for n in range(250)]
    scene.acknowledge(0, letters)
    _, out, _ = cli("dead-letters", "export", "--destination", "out", "--config", config)
    uids = [json.loads(line)["uid"] for line in out.splitlines()]
    assert uids == [*UIDS[:2], *(one.uid for one in letters)]


@pytest.mark.parametrize(
    "args", [("list",), ("show", UIDS[0]), ("replay", "--all"), ("drop", "--all"), ("export",)]
)
def test_no_journal(cli: CommandLine, tmp_path: Path, args: tuple[str, ...]) -> None:
    """Exit code 2, and no file is made."""
    empty = Scene(tmp_path)
    code, out, err = cli("dead-letters", *args, "--config", str(file_of(empty)))
    assert (code, out) == (2, "")
    assert "there is no journal" in err
    assert not empty.path.exists()


class Terminal(io.StringIO):
    """On which something was typed."""

    def isatty(self) -> bool:
        """It is one."""
        return True
