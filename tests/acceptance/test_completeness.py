"""Every entry arrives, exactly once while nothing fails, however the account looks."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import ExitStack
from time import time

import pytest
from support.acceptance_bridge import Command, Ended
from support.acceptance_fal import (
    FalAccount,
    Line,
    Quirks,
    entry,
    line,
    micros,
    odd_line,
    stamp,
    tied,
)
from support.acceptance_http import Asked
from support.acceptance_otlp import Arrival, OtlpBackend, difference

_SECOND = 1_000_000


def _ago(seconds: float) -> int:
    return micros(time() - seconds)


def _forwarded(command: Command, fal: FalAccount, backend: OtlpBackend, page_size: int) -> Ended:
    """One ``run --once`` that must do."""
    config = command.config(fal.url, {"backend": backend.url}, poll={"page_size": page_size})
    ended = command.once(config, "--timeout", "5s", within=20)
    assert ended.code == 0, ended.err
    return ended


@pytest.mark.parametrize(
    ("cap", "page_size"), [(None, 1000), (None, 100), (100, 1000)], ids=["1000", "100", "cap 100"]
)
def test_ties_across_pages(
    command: Command, opened: ExitStack, cap: int | None, page_size: int
) -> None:
    """5,000 entries, up to 30 on one microsecond, arrive exactly once."""
    lines = tied(5_000, since=_ago(600))
    fal = opened.enter_context(FalAccount(lines, quirks=Quirks(cap=cap)))
    backend = opened.enter_context(OtlpBackend())
    ended = _forwarded(command, fal, backend, page_size)
    assert not difference(backend, [one.message for one in lines]), ended.err
    assert fal.largest_page <= 100 or cap is None


def test_ties_in_any_order(command: Command, opened: ExitStack) -> None:
    """The order among entries of one microsecond may change from answer to answer."""
    lines = tied(2_000, since=_ago(600), seed=2)
    quirks = Quirks(cap=100, shuffled_ties=True)
    fal = opened.enter_context(FalAccount(lines, quirks=quirks))
    backend = opened.enter_context(OtlpBackend())
    _forwarded(command, fal, backend, 1000)
    assert not difference(backend, [one.message for one in lines])


def test_server_without_keep_alive(command: Command, opened: ExitStack) -> None:
    """An HTTP/1.0 server that ends every connection is read like any other."""
    lines = tied(700, since=_ago(60))
    fal = opened.enter_context(FalAccount(lines, keep_alive=False))
    backend = opened.enter_context(OtlpBackend())
    _forwarded(command, fal, backend, 100)
    assert not difference(backend, [one.message for one in lines])


@pytest.mark.parametrize("cap", [None, 100], ids=["no cap", "cap 100"])
def test_three_identical_on_each_of_300_ticks(
    command: Command, opened: ExitStack, cap: int | None
) -> None:
    """Genuine repeats all arrive, each under a uid of its own."""
    since = _ago(60)
    lines = [line(since + n * 700, f"tick {n}") for n in range(300) for _ in range(3)]
    fal = opened.enter_context(FalAccount(lines, quirks=Quirks(cap=cap)))
    backend = opened.enter_context(OtlpBackend())
    _forwarded(command, fal, backend, 1000)
    _assert_three_of_each(backend, [f"tick {n}" for n in range(300)])


@pytest.mark.parametrize("page_size", [1000, 100])
def test_three_identical_of_300_on_one_tick(
    command: Command, opened: ExitStack, page_size: int
) -> None:
    """900 entries on one microsecond arrive, also where that is more than a page was to hold."""
    at = _ago(60)
    lines = [line(at, f"one of {n}") for _ in range(3) for n in range(300)]
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    _forwarded(command, fal, backend, page_size)
    _assert_three_of_each(backend, [f"one of {n}" for n in range(300)])


def _assert_three_of_each(backend: OtlpBackend, bodies: list[str]) -> None:
    assert backend.bodies == Counter(dict.fromkeys(bodies, 3))
    uids = Counter(arrival.body for arrival in {a.uid: a for a in backend.arrivals}.values())
    assert uids == Counter(dict.fromkeys(bodies, 3))


@pytest.mark.parametrize("spread", [1, 300], ids=["on one tick", "over 300 ticks"])
def test_more_than_a_page_in_one_millisecond_of_cut_bounds(
    command: Command, opened: ExitStack, spread: int
) -> None:
    """Where bounds are cut and a millisecond holds more than a page, a larger page is asked for."""
    since = _ago(60) // 1000 * 1000
    lines = [line(since + n % spread, f"line {n}") for n in range(330)]
    fal = opened.enter_context(FalAccount(lines, quirks=Quirks(cut_bounds=True)))
    backend = opened.enter_context(OtlpBackend())
    _forwarded(command, fal, backend, 100)
    assert not difference(backend, [one.message for one in lines])


@pytest.mark.parametrize("count", [100, 500, 1000])
def test_round_number_on_the_oldest_tick(command: Command, opened: ExitStack, count: int) -> None:
    """As many entries on one tick as a cap could be are not held for ever where there is no cap."""
    at = _ago(60)
    lines = [line(at, f"line {n}") for n in range(count)]
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    ended = command.once(command.config(fal.url, {"backend": backend.url}), "--timeout", "2s")
    assert ended.code == 0, ended.err
    assert not difference(backend, [one.message for one in lines])


def test_crowded_tick(command: Command, opened: ExitStack) -> None:
    """More entries on one tick than the server ever shows: told plainly, and nothing else lost."""
    at = _ago(60)
    lines = [line(at, f"crowd {n}") for n in range(130)]
    lines += [line(at + n * 1_000, f"around {n}") for n in range(-300, 300, 2) if n]
    fal = opened.enter_context(FalAccount(lines, quirks=Quirks(cap=100)))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url})
    ended = command.once(config)
    assert ended.code == 0, ended.err
    assert ended.err.count("gap_found") == 1
    assert re.search(r"at least 1\d\d entries are in", ended.err)
    kept = backend.bodies
    assert sum(body.startswith("crowd") for body in kept) >= 100
    assert all(kept[one.message] == 1 for one in lines[130:])


def test_repeats_run_after_run(command: Command, opened: ExitStack) -> None:
    """A second pass over the same account brings what is new and repeats nothing."""
    first = tied(400, since=_ago(60), most=3)
    fal = opened.enter_context(FalAccount(first))
    backend = opened.enter_context(OtlpBackend())
    _forwarded(command, fal, backend, 100)
    assert backend.kept == 400
    at = micros()
    fresh = [line(at, "same") for _ in range(3)]
    fal.write(fresh)
    _forwarded(command, fal, backend, 100)
    _forwarded(command, fal, backend, 100)
    assert not difference(backend, [one.message for one in [*first, *fresh]])


@pytest.mark.parametrize("fraction", [100_000, 910_123], ids=["", "near the next second"])
@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(cap=100),
        Quirks(cut_bounds=True),
        Quirks(coarse=True),
        Quirks(bare_array=True),
        Quirks(cap=100, cut_bounds=True, bare_array=True),
    ],
    ids=["cap of 100", "bounds cut to ms", "compared by ms", "bare array", "all three"],
)
def test_servers_that_read_the_page_otherwise(
    command: Command, opened: ExitStack, quirks: Quirks, fraction: int
) -> None:
    """Nothing is lost, and filters still hold, where the page leaves the server a choice."""
    since = _ago(600) // 1_000_000 * 1_000_000 + fraction
    # Up to 57 entries in one millisecond, in steps of 1 µs too.
    lines = [
        line(since + ms * 1000 + n % 7 * 111, f"{ms}.{n}")
        for ms in range(0, 3_000, 60)
        for n in range(ms // 60 % 58)
    ]
    others = [line(one.at, "not prod", labels={"fal_env": "dev"}) for one in lines[::3]]
    fal = opened.enter_context(FalAccount([*lines, *others], quirks=quirks))
    backend = opened.enter_context(OtlpBackend())
    app = {"app_id": "app", "labels": {"fal_env": "prod"}}
    config = command.config(fal.url, {"backend": backend.url}, apps=[app])
    ended = command.once(config)
    assert ended.code == 0, ended.err
    assert not difference(backend, [one.message for one in lines])


def test_future_stamp_hides_nothing(command: Command, opened: ExitStack) -> None:
    """An entry that is stamped an hour ahead arrives, and so does all that comes after it."""
    lines = [line(_ago(30), "before"), line(_ago(-3600), "from the future")]
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    bridge = command.start("run", "--config", command.config(fal.url, {"backend": backend.url}))
    assert backend.holds(2, 10), bridge.err
    for number in range(3, 6):
        lines.append(line(micros(), f"number {number}"))
        fal.write(lines[-1:])
        assert backend.holds(number, 10), bridge.err
    assert bridge.stop().code == 0
    assert not difference(backend, [one.message for one in lines])


def test_answers_too_large_to_take(command: Command, opened: ExitStack) -> None:
    """Where a page of the configured size is too much to read, smaller ones are asked for."""
    since = _ago(60)
    lines = [line(since + n * 1_000, f"{n} {'y' * 300_000}") for n in range(150)]
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    _forwarded(command, fal, backend, 1000)
    assert fal.largest_page == 150
    assert not difference(backend, [one.message for one in lines])


def test_fifty_apps(command: Command, opened: ExitStack) -> None:
    """50 apps in one process, each under its own ``service.name``."""
    since = _ago(300)
    names = [f"app-{n:02}" for n in range(50)]
    lines = [one for name in names for one in tied(40, since=since, app=name, most=5)]
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    ended = command.once(command.config(fal.url, {"backend": backend.url}, apps=names))
    assert ended.code == 0, ended.err
    assert not difference(backend, [one.message for one in lines])
    found = Counter(arrival.service for arrival in backend.arrivals)
    assert found == Counter(dict.fromkeys(names, 40))
    assert all(arrival.body.startswith(arrival.service) for arrival in backend.arrivals)


def test_whole_account(command: Command, opened: ExitStack) -> None:
    """Without an app id the whole account is read, each entry under its own app's name."""
    lines = [one for name in ("a", "b", "c") for one in tied(150, since=_ago(90), app=name)]
    fal = opened.enter_context(FalAccount(lines, quirks=Quirks(cap=100)))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, apps=[{"name": "everything"}])
    ended = command.once(config)
    assert ended.code == 0, ended.err
    assert not difference(backend, [one.message for one in lines])
    assert Counter(arrival.service for arrival in backend.arrivals) == {
        "a": 150,
        "b": 150,
        "c": 150,
    }


def test_console(command: Command, opened: ExitStack) -> None:
    """The console destination writes one JSON object a line, and nothing else, to a pipe."""
    lines = tied(300, since=_ago(60))
    fal = opened.enter_context(FalAccount(lines))
    screen = [{"name": "screen", "type": "console"}]
    ended = command.once(command.config(fal.url, {}, destinations=screen))
    assert ended.code == 0, ended.err
    shown = Counter(json.loads(text)["body"] for text in ended.out.splitlines())
    assert shown == Counter(one.message for one in lines)


def test_odd_entries(command: Command, opened: ExitStack) -> None:
    """Whatever stands in an entry's place arrives, among ordinary ones and across pages."""
    since = _ago(60)
    odd, places = _odd_entries(since), list[Line]()
    for n, (_, value) in enumerate(odd.items()):
        places.append(odd_line(since + n * 5_000, value))
    ordinary = [line(since + n * 171 + 3, f"ordinary {n}") for n in range(450)]
    quirks = Quirks(cap=100)
    fal = opened.enter_context(FalAccount([*ordinary, *places], quirks=quirks))
    backend = opened.enter_context(OtlpBackend())
    ended = _forwarded(command, fal, backend, 1000)
    assert backend.kept == len(backend.uids) == len(ordinary) + len(odd), ended.err
    bodies = backend.bodies
    assert all(bodies[one.message] == 1 for one in ordinary)
    strange = {a.body: a for a in backend.arrivals if not a.body.startswith("ordinary")}
    _assert_odd_arrived(strange, bodies)


def _odd_entries(since: int) -> dict[str, object]:
    """Odd values by what is odd, 5 ms apart in this order."""

    def at(n: int, message: object, **fields: object) -> dict[str, object]:
        return entry(since + n * 5_000, "", app="app") | {"message": message} | fields

    bare = {"timestamp": stamp(since), "level": "INFO", "message": "no labels", "app": "app"}
    deep: object = "core"
    for _ in range(60):
        deep = [deep]
    return {
        "no labels": bare,
        "null labels": at(1, "null labels", labels=None),
        "null level": at(2, "null level", level=None),
        "null message": at(3, None),
        "lone surrogate": at(4, "half \ud83d of a pair"),
        "300 KB": at(5, "x" * 300_000),
        "huge integers": at(
            6, "huge", labels={"big": 10**400, "long": 2**64, "minus": -(2**63) - 1}
        ),
        "unparsable time": at(7, "no time", timestamp="yesterday-ish"),
        "no time at all": {"message": "timeless"},
        "a string": "just text",
        "a number": 42,
        "null": None,
        "a list": [1, "two", None],
        "nul and controls": at(13, "a\0b\x1b[31m\r\nc"),
        "numbers as labels": at(14, "typed", labels={"n": 1, "f": 1.5, "t": True, "x": {"y": [1]}}),
        "labels as a list": at(15, "list of labels", labels=["a", "b"]),
        "message as object": at(16, {"traceback": "Traceback (most recent call last):\nE: x"}),
        "numeric level": at(17, "level 7", level=7),
        "unknown level": at(18, "level loud", level="LOUD"),
        "surrogate as a key": at(19, "odd key", labels={"k\udc00": "v\udc00"}),
        "integer of 5,000 digits": at(20, "digits", labels={"n": int("9" * 4_000)}),
        "deep": at(21, "deep", labels={"deep": deep}),
        "no app": at(22, "no app", app=None),
    }


def _assert_odd_arrived(strange: dict[str, Arrival], bodies: Counter[str]) -> None:
    for whole in ("no labels", "null labels", "null level", "huge", "no time", "timeless", "typed"):
        assert bodies[whole] == 1, whole
    assert bodies["x" * 300_000] == 1
    assert bodies["half \ufffd of a pair"] == 1
    assert bodies["a\0b\x1b[31m\r\nc"] == 1
    assert bodies[""] == 2  # the null message and the null entry, which is all message
    assert bodies["just text"] == bodies["42"] == 1
    assert str(10**400) in strange["huge"].attributes["fal.label.big"]
    assert strange["huge"].attributes["fal.label.long"] == str(2**64)
    assert "fal.malformed" in strange["no time"].attributes
    assert "yesterday-ish" in strange["no time"].attributes["log.record.original"]
    assert strange["level loud"].record.severity_text == "LOUD"
    assert strange["no app"].service == "app"


class _Writer:
    """Writes while it is asked: with each request a tie shown at once, and an entry shown late."""

    def __init__(self, requests: int, *, late: float, skew: float = 0.0) -> None:
        self.shown: dict[str, float] = {}
        self.account: FalAccount | None = None
        self._requests = requests
        self._late = late
        self._skew = skew

    @property
    def count(self) -> int:
        """How many entries it writes in all."""
        return 3 * self._requests

    def __call__(self, asked: Asked) -> None:
        if not 1 <= asked.number <= self._requests or self.account is None:
            return
        now = time()
        for kind, shown in (("first", now), ("second", now), ("late", now + self._late)):
            name = f"{asked.number} {kind}"
            self.shown[name] = shown
            self.account.write([line(micros(now + self._skew), name, shown_from=shown)])


@pytest.mark.parametrize("skew", [0, 300, -300])
def test_live_tailing_and_late_entries(command: Command, opened: ExitStack, *, skew: float) -> None:
    """What is written while it runs arrives within seconds, 0.5 s late or not.

    The account's clock may be minutes off the bridge's.
    """
    writer = _Writer(25, late=0.5, skew=skew)
    writer.account = fal = opened.enter_context(FalAccount(before=writer, skew=skew))
    backend = opened.enter_context(OtlpBackend())
    app = {"app_id": "app", "start": "now"}
    config = command.config(fal.url, {"backend": backend.url}, apps=[app])
    bridge = command.start("run", "--config", config)
    assert backend.holds(writer.count, 15), f"{backend.kept} came; {bridge.err}"
    took = {a.body: got.at - writer.shown[a.body] for got in backend.got for a in got.arrivals}
    assert max(took.values()) < 3, max(took.items(), key=lambda item: item[1])
    ended = bridge.stop()
    assert ended.code == 0, ended.err
    assert not difference(backend, writer.shown)


def test_later_than_the_live_edge_looks_back(command: Command, opened: ExitStack) -> None:
    """What becomes visible 1.5 s late is fetched by the sweeps, and nothing comes twice."""
    writer = _Writer(10, late=1.5)
    writer.account = fal = opened.enter_context(FalAccount(before=writer))
    backend = opened.enter_context(OtlpBackend())
    sweeps = {"late_sweeps": ["500ms", "2s"]}
    config = command.config(fal.url, {"backend": backend.url}, poll=sweeps)
    bridge = command.start("run", "--config", config)
    assert backend.holds(writer.count, 15), f"{backend.kept} came; {bridge.err}"
    assert bridge.stop().code == 0
    assert not difference(backend, writer.shown)
