"""``tail`` as a process: beside a running bridge, without a journal, until it is interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

from support.acceptance_bridge import Command
from support.acceptance_fal import FalAccount, line, micros
from support.acceptance_otlp import OtlpBackend


def test_tail_beside_a_running_bridge(command: Command, opened: ExitStack) -> None:
    """It shows what comes, under the uids that the bridge delivers; Ctrl-C is exit code 130."""
    fal = opened.enter_context(FalAccount())
    backend = opened.enter_context(OtlpBackend())
    fal.write(line(micros() - n * 1_000, f"line {n}") for n in range(10))
    config = command.config(fal.url, {"backend": backend.url})
    bridge = command.start("run", "--config", config)
    assert backend.holds(10), bridge.err
    tail = command.start("tail", "--json", "--config", config)
    assert tail.prints("line 0")
    fal.write([line(micros(), "a new one")])
    assert tail.prints("a new one")
    assert backend.holds(11), bridge.err
    tail.send_ctrl_c()
    ended = tail.end()
    assert (ended.code, ended.err) == (130, "")
    shown = [json.loads(text) for text in ended.out.splitlines()]
    assert [one["entry"]["message"] for one in shown] == [
        *(f"line {n}" for n in reversed(range(10))),
        "a new one",
    ]
    assert bridge.alive
    assert bridge.stop().code == 0
    assert sorted(backend.uids) == sorted(one["uid"] for one in shown)


def test_tail_without_a_journal(command: Command, opened: ExitStack) -> None:
    """Up to now only, and nothing is left behind; a wrong app is one message."""
    fal = opened.enter_context(FalAccount())
    fal.write(line(micros() - n * 1_000, f"line {n}") for n in range(3))
    config = command.config(fal.url, {"backend": "http://127.0.0.1:9"})
    before = set(command.folder.iterdir())
    done = command.run("tail", "app", "--no-follow", "--config", config)
    assert (done.code, done.err) == (0, "")
    assert [text.split(" ", 1)[1] for text in done.out.splitlines()] == [
        f"INFO     line {n}" for n in (2, 1, 0)
    ]
    wrong = command.run("tail", "ap", "--config", config)
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "fal-log-bridge: APP: there is no app 'ap' (there are: app)\n"
    assert set(command.folder.iterdir()) == before


def test_a_wrong_key(command: Command, opened: ExitStack) -> None:
    """One message that says what to do, however many apps are asked for, and no key in it."""
    fal = opened.enter_context(FalAccount())
    key = "key-id:c0ffee-wrong-secret"
    config = command.config(
        fal.url, {"backend": "http://127.0.0.1:9"}, apps=["app", "other"], fal={"key": key}
    )
    done = command.run("tail", "--config", config)
    assert (done.code, done.out) == (1, "")
    (said,) = done.err.splitlines()
    assert "401 Unauthorized" in said
    assert "check fal.key" in said
    assert "c0ffee" not in said


def test_a_reader_that_has_enough(command: Command, opened: ExitStack) -> None:
    """A closed pipe ends it without a word."""
    fal = opened.enter_context(FalAccount())
    fal.write(line(micros() - n * 1_000, f"line {n} {'x' * 1_000}") for n in range(500))
    config = command.config(fal.url, {"backend": "http://127.0.0.1:9"})
    piped = f'"{sys.executable}" -m bridge tail --config "{config}" | head -n 1'
    done = subprocess.run(
        ["/bin/sh", "-c", piped], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
