"""``positions rewind`` as a process: refused beside a bridge, then read again without repeats."""

from __future__ import annotations

from contextlib import ExitStack
from time import time

from support.acceptance_bridge import Command
from support.acceptance_fal import FalAccount, line, micros, tied
from support.acceptance_otlp import OtlpBackend, difference


def test_rewind(command: Command, opened: ExitStack) -> None:
    """What came too late for every sweep is read and delivered; nothing else comes again."""
    first = [*tied(99, since=micros(time() - 600), most=3), line(micros(time() - 5), "newest")]
    fal = opened.enter_context(FalAccount(first))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, poll={"late_sweeps": ["1s"]})
    rewind = ("positions", "rewind", "app", "20m", "--config", config)
    bridge = command.start("run", "--config", config)
    assert backend.holds(100), bridge.err
    refused = command.run(*rewind, "--yes")
    assert refused.code == 1
    assert "a running bridge reads on from its position (stop the bridge" in refused.err
    assert bridge.stop().code == 0

    late = line(micros(time() - 300), "came very late")
    fal.write([late])
    assert command.once(config).code == 0
    assert backend.kept == 100
    asked = command.run(*rewind)
    assert asked.code == 2
    assert "100 entries of it are known: they are not sent again." in asked.out
    assert "confirm it with --yes" in asked.err
    done = command.run(*rewind, "--yes")
    assert (done.code, done.err) == (0, "")
    assert command.once(config).code == 0
    assert difference(backend, [one.message for one in (*first, late)]) == ""
    assert backend.kept == 101
