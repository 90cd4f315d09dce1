"""Destinations that leave the configuration and come back: nothing is given up unasked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import time

from support.acceptance_bridge import Command, Ended
from support.acceptance_fal import FalAccount, Line, line, micros, tied
from support.acceptance_otlp import OtlpBackend, difference


def _messages(lines: Sequence[Line]) -> list[str]:
    return [one.message for one in lines]


def _rewritten(command: Command, fal: FalAccount, *destinations: dict[str, str]) -> Path:
    return command.config(
        fal.url, {}, destinations=[{"type": "otlp", **one} for one in destinations]
    )


def _done(ended: Ended) -> Ended:
    assert ended.code == 0, ended.err
    return ended


def test_taken_out_and_put_back(command: Command, opened: ExitStack) -> None:
    """What came meanwhile is kept and named at the start; put back, it gets all, once.

    Forgotten, it begins anew; a new one that starts now gets only what comes.
    """
    first = tied(100, since=micros(time() - 60), most=3)
    fal = opened.enter_context(FalAccount(first))
    kept, leaving, late = (opened.enter_context(OtlpBackend()) for _ in range(3))
    staying = {"name": "staying", "endpoint": kept.url}
    gone = {"name": "gone", "endpoint": leaving.url}
    new = {"name": "new", "endpoint": late.url, "start": "now"}

    _done(command.once(_rewritten(command, fal, staying, gone)))
    second = [line(micros(), f"second {n}") for n in range(50)]
    fal.write(second)
    config = _rewritten(command, fal, staying)
    assert "are kept for them until the journal is full (0 by now): gone; " in (
        _done(command.once(config)).err
    )
    third = [line(micros(), f"third {n}") for n in range(50)]
    fal.write(third)
    ended = _done(command.once(config))
    assert "are kept for them until the journal is full (50 by now): gone; " in ended.err
    (held, _) = _standings(command, config)
    assert (held["destination"], held["waiting_records"]) == ("gone", 100)
    assert not held["configured"]

    config = _rewritten(command, fal, staying, gone, new)
    _done(command.once(config))
    everything = _messages([*first, *second, *third])
    assert not difference(leaving, everything)
    assert not difference(kept, everything)
    assert sum(leaving.bodies.values()) == 200
    assert not late.arrivals

    fal.write([line(micros(), "fourth")])
    _done(command.once(_rewritten(command, fal, staying, new)))
    assert set(late.bodies) == {"fourth"}
    ended = _done(command.run("destinations", "forget", "gone", "--config", config))
    assert "gone is forgotten; it held 1 undelivered entries" in ended.out
    assert [one["destination"] for one in _standings(command, config)] == ["new", "staying"]


def _standings(command: Command, config: Path) -> list[dict[str, object]]:
    ended = _done(command.run("destinations", "list", "--json", "--config", config))
    found: list[dict[str, object]] = json.loads(ended.out)["destinations"]
    return found
