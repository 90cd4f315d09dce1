"""``backfill`` on the command line: the list, orders, what is said of a plan and of an end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.audited import FLOOR, NOON, Scene
from support.commands import CommandLine, file_of

from bridge.app.backfill import Ended, Sight
from bridge.cli.backfill import _Pace, _told
from bridge.journal.lock import say_task
from bridge.journal.orders import Orders
from bridge.model import SECOND, Backfill, BackfillApp, BackfillState

JOB = Backfill(
    name="job",
    asked="{}",
    floor=NOON - 7_200 * SECOND,
    ceiling=NOON - 3_600 * SECOND,
    audience=("out",),
    own_stream=True,
    apps=(BackfillApp("one", "s", "f", NOON - 5_400 * SECOND, 10, 2, 1, 3, "waits\x1b"),),
    created_at=NOON,
)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The program."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A journal with a job that is half done."""
    scene = Scene(tmp_path)
    scene.write("x", FLOOR)
    scene.fill()
    with Orders.open(scene.path) as orders:
        orders.begin_backfill(JOB, resume=False)
    return scene


@pytest.fixture
def config(scene: Scene) -> str:
    """The config file."""
    return str(file_of(scene))


@pytest.mark.parametrize("command", [("backfill", "list"), ("status",)])
def test_lists(cli: CommandLine, config: str, command: tuple[str, ...]) -> None:
    """A row for each, and what holds it up; nothing of it steers the terminal."""
    code, out, err = cli(*command, "--config", config)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "backfill state from to done new known gaps for" in lines
    row = "job active 2025-09-19T10:00:00.000Z 2025-09-19T11:00:00.000Z 50% 10 2 1 out"
    assert row in lines
    assert "backfill job: one: waits\\x1b" in lines


def test_list_for_scripts(cli: CommandLine, config: str) -> None:
    """One document, the same in ``status`` but for who has still to take it."""
    _, out, _ = cli("backfill", "list", "--json", "--config", config)
    (listed,) = json.loads(out)["backfills"]
    assert listed.pop("waiting_records") == {"out": 1}
    assert listed.pop("resting_destinations") == []
    assert listed.pop("delivered") is False
    _, out, _ = cli("status", "--json", "--config", config)
    assert json.loads(out)["backfills"] == [listed]
    assert (listed["share"], listed["state"]) == (0.5, "active")


def test_cancel_and_forget(cli: CommandLine, config: str) -> None:
    """An active one is not forgotten; who does not exist is named with those that do."""
    assert cli("backfill", "forget", "job", "--config", config) == (
        1,
        "",
        (
            "fal-log-bridge: backfill job: it is not done "
            "(stop it first: fal-log-bridge backfill cancel job)\n"
        ),
    )
    code, out, _ = cli("backfill", "cancel", "job", "--config", config)
    assert code == 0
    assert out == ("job is stopped at 50%; `fal-log-bridge backfill --resume job` lets it go on.\n")
    assert cli("backfill", "forget", "job", "--config", config)[:2] == (0, "job is forgotten.\n")
    code, _, err = cli("backfill", "cancel", "job", "--config", config)
    assert (code, "no such backfill" in err) == (1, True)


def test_a_plan_is_told(cli: CommandLine, config: str) -> None:
    """What is read, what is known of it and from where on, for whom and by whom."""
    window = ("--since", "2025-09-19T10:30:00Z", "--until", "2025-09-19T11:30:00Z")
    code, out, err = cli("backfill", *window, "--dry-run", "--config", config)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "2025-09-19T10:30:00.000Z to 2025-09-19T11:30:00.000Z is read (1h).",
        (
            "one: 1 entries of it are known, and not sent again; before 2025-09-19T11:00:00.000Z "
            "only what backfills brought is known: what was delivered from there long ago is sent "
            "again, with the same uids."
        ),
        "For: out.",
        "It is read here: no bridge runs.",
        "Nothing was changed.",
    ]
    code, out, _ = cli("backfill", *window, "--dry-run", "--json", "--config", config)
    assert (code, json.loads(out)["resumed"]) == (0, False)


def test_a_plan_beside_another_command(cli: CommandLine, config: str, scene: Scene) -> None:
    """The bridge does not read it, for there is none; an order is refused, and not kept."""
    journal = scene.running()
    say_task(scene.path, "run --once")
    window = ("--since", "2025-09-19T10:30:00Z", "--until", "2025-09-19T11:30:00Z")
    _, out, _ = cli("backfill", *window, "--dry-run", "--config", config)
    assert out.splitlines()[-2:] == [
        "Another command holds the journal, run --once: it can begin when that has ended.",
        "Nothing was changed.",
    ]
    code, out, err = cli("backfill", *window, "--config", config)
    assert (code, out) == (1, "")
    assert "in use by another command, which takes no orders: run --once" in err
    code, out, _ = cli("backfill", *window, "--detach", "--config", config)
    assert code == 0
    assert "the next run of the bridge begins with it" in out
    scene.play(journal.aclose)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--config", "x", "list"), "whose own options come behind it"),
        (("--resume", "job", "--since", "1h"), "give it alone"),
        (("--resume", "job", "--dry-run"), "says nothing of a job"),
        (("--since", "2h", "--until", "1h", "--timeout", "0s"), "must be more than 0"),
        (("--since", "2h"), "has two ends"),
        (("canel", "job"), "Did you mean 'cancel'"),
    ],
)
def test_misuse(cli: CommandLine, config: str, args: tuple[str, ...], words: str) -> None:
    """Options that make no sense together, or there."""
    given = args if args[0] in {"--config", "canel"} else (*args, "--config", config)
    code, out, err = cli("backfill", *given)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())


def test_the_end_is_told() -> None:
    """By how far it came, what stood in the way, and how to go on."""
    here = list(_told(Ended(Sight(JOB), ("out: no answer",)), detached=False))
    assert here[1].startswith("1 stretch of it cannot be proved complete")
    assert here[2:] == [
        "not done: out: no answer",
        "`fal-log-bridge backfill --resume job` goes on",
    ]
    held = list(_told(Ended(Sight(JOB, held=True)), detached=True))
    assert held[-1].startswith("the bridge goes on with it")
    done = replace(JOB, state=BackfillState.DONE)
    resting = list(_told(Ended(Sight(done, resting=("out",))), detached=False))
    assert resting[-1] == "nothing is sent at the moment to out; it is kept for them"


def test_the_pace_is_of_this_look_on() -> None:
    """What was done before somebody looked tells nothing of how quickly it comes on."""
    pace, (app,) = _Pace(), JOB.apps
    assert pace.line(Sight(JOB), 5.0) == "12 entries, 0/s, ? left; one: waits\x1b"
    later = replace(app, position=NOON - 4_500 * SECOND, added=30, note="")
    line = pace.line(Sight(replace(JOB, apps=(later,))), 15.0)
    assert line == "32 entries, 2/s, 10s left"
    whole = replace(app, position=JOB.ceiling)
    line = pace.line(Sight(replace(JOB, apps=(whole,)), {"out": 5}), 20.0)
    assert line == "12 entries, all read; 5 still to be delivered"
