"""Nothing is lost, and what is repeated carries its uid again, while much goes wrong."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from threading import Lock
from time import monotonic, time

import pytest
from support.acceptance_bridge import Command, Process
from support.acceptance_fal import (
    FalAccount,
    Line,
    Quirks,
    Trouble,
    line,
    micros,
    three_in_ten,
    tied,
)
from support.acceptance_http import Asked
from support.acceptance_otlp import Got, Lost, OtlpBackend, difference, repeats_share_uids


def _long_lines(count: int, *, app: str = "app") -> list[Line]:
    """Distinct entries, three on each tick, long enough that it takes many requests."""
    since = micros(time() - 600)
    return [
        line(since + n // 3 * 20_000, f"{app} {n:05} {'x' * 10_000}", app=app) for n in range(count)
    ]


def test_three_in_ten_answers_faulty_on_both_sides(command: Command, opened: ExitStack) -> None:
    """``run --once`` ends with 0 and everything has arrived; only what went unheard came twice."""
    lines = [one for app in ("one", "two") for one in _long_lines(1_000, app=app)]
    fal = FalAccount(lines, quirks=Quirks(cap=150), trouble=three_in_ten(tuple(Trouble)))
    opened.enter_context(fal)
    backend = opened.enter_context(OtlpBackend(plan=three_in_ten(tuple(Lost))))
    quick = {"requests_per_second": 1000}
    config = command.config(fal.url, {"backend": backend.url}, apps=["one", "two"], poll=quick)
    ended = command.once(config, within=90)
    assert ended.code == 0, ended.err
    assert set(fal.troubles) == set(Trouble)
    assert set(backend.happened) == set(Lost)
    assert backend.bodies.keys() == {one.message for one in lines}
    assert repeats_share_uids(backend)
    unheard = {a.uid for got in backend.got if got.answered is None for a in got.arrivals}
    times = Counter(arrival.uid for arrival in backend.arrivals)
    assert {uid for uid, count in times.items() if count > 1} <= unheard | _denied(backend)


def _denied(backend: OtlpBackend) -> set[str]:
    """The records of requests that were kept and answered 502."""
    return {a.uid for got in backend.got if got.denied for a in got.arrivals}


@pytest.mark.parametrize("trouble", list(Trouble), ids=[t.name.lower() for t in Trouble])
def test_first_answer_faulty(command: Command, opened: ExitStack, trouble: Trouble) -> None:
    """Whatever happens to the very first answers, nothing is taken for an empty page."""
    lines = tied(150, since=micros(time() - 60))
    fal = FalAccount(lines, trouble=lambda number: trouble if number < 2 else None)
    opened.enter_context(fal)
    backend = opened.enter_context(OtlpBackend())
    ended = command.once(command.config(fal.url, {"backend": backend.url}))
    assert ended.code == 0, ended.err
    assert backend.bodies == Counter(one.message for one in lines)


class _Reaper:
    """Kills a bridge within a request to one of the fakes, at each moment of its life in turn."""

    def __init__(self) -> None:
        self.killed: list[float] = []
        self._due: Callable[[str], bool] = lambda _: False
        self._victim: Process | None = None
        self._lock = Lock()

    def take(self, victim: Process, due: Callable[[str], bool]) -> None:
        """Kill this one at the first request at whose moment it is due."""
        self._due, self._victim = due, victim

    def at(
        self, moment: str, first: Callable[[], object] = lambda: None
    ) -> Callable[[Asked], bool]:
        """The hook for one moment: after waiting for something, kill; whether it did."""

        def look(_: Asked) -> bool:
            with self._lock:
                victim = self._victim
                if victim is None or not self._due(moment):
                    return False
                self._victim = None
            # What is answered from here on may wait for this request, and come again with it.
            self.killed.append(monotonic())
            first()
            victim.kill()
            return True

        return look


_MOMENTS = ("asking", "sending", "sent")


def test_killed_ten_times(command: Command, opened: ExitStack) -> None:
    """After ten times kill -9 in 20,000 entries nothing is lost; what was in flight repeats.

    Half of them are there from the beginning, the others are written while it is dead. It is
    killed in turn when it asks for a page; when a request of its has been on its way for a while
    and will never be kept; and when one is kept but not answered.
    """
    lines = tied(10_000, since=micros(time() - 900), most=3)
    reaper = _Reaper()
    fal = opened.enter_context(FalAccount(lines, before=reaper.at("asking")))

    def two_more_pages() -> None:
        """While a request is on its way, the bridge goes on and may store what it likes."""
        enough = len(fal.asked) + 2
        fal.wait_for(lambda: len(fal.asked) >= enough, 5)

    backend = OtlpBackend(
        before_keeping=reaper.at("sending", two_more_pages), before_answer=reaper.at("sent")
    )
    opened.enter_context(backend)
    config = command.config(fal.url, {"backend": backend.url}, poll={"page_size": 200})
    for number, moment in zip(range(10), cycle(_MOMENTS), strict=False):
        fresh = [line(micros() + n // 3 * 7, f"round {number} {n:04}") for n in range(1_000)]
        fal.write(fresh)
        lines += fresh
        enough = len(backend.uids) + 600
        bridge = command.start("run", "--config", config)
        reaper.take(bridge, partial(_is_time, backend, moment, enough))
        ended = bridge.end(40)
        assert ended.code == -signal.SIGKILL, ended.err
        assert len(backend.uids) < len(lines), "it was killed too late to tell"
    ended = command.once(config)
    assert ended.code == 0, ended.err
    assert len(lines) == 20_000
    assert backend.bodies.keys() == {one.message for one in lines}
    assert repeats_share_uids(backend)
    repeated = set(_settled_and_repeated(backend, reaper.killed))
    assert not repeated, f"{len(repeated)} came again long after their answer"


def _is_time(backend: OtlpBackend, wanted: str, enough: int, moment: str) -> bool:
    return moment == wanted and len(backend.uids) > enough


def _settled_and_repeated(backend: OtlpBackend, killed: list[float]) -> Iterator[str]:
    """What came again after a kill although it had been answered well before that.

    Not what was asked again meanwhile: a life may be shorter than the margin, and what was in
    flight at the end of one may be so at the end of the next.
    """
    margin = 0.5
    for moment in killed:
        before = [got for got in backend.got if got.asked <= moment]
        settled = [got for got in before if got.answered and got.answered < moment - margin]
        unsettled = [got for got in before if got not in settled]
        later = [got for got in backend.got if got.asked > moment]
        yield from (_uids(settled) - _uids(unsettled)) & _uids(later)


def _uids(requests: list[Got]) -> set[str]:
    return {arrival.uid for got in requests for arrival in got.arrivals}


def test_stopped_again_and_again(command: Command, opened: ExitStack) -> None:
    """Asked to stop in the middle of its work, it finishes: nothing is lost, nothing repeats."""
    lines = tied(5_000, since=micros(time() - 600), most=5)
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, poll={"page_size": 100})
    for _ in range(3):
        bridge = command.start("run", "--config", config)
        assert backend.holds(backend.kept + 700), bridge.err
        ended = bridge.stop()
        assert ended.code == 0, ended.err
    assert backend.kept < len(lines), "it was stopped too late to tell"
    assert command.once(config).code == 0
    assert not difference(backend, [one.message for one in lines])


def test_killed_while_starting(command: Command, opened: ExitStack) -> None:
    """Killed at its first, second, ... request, it still starts where it was first told to."""
    lines = tied(300, since=micros(time() - 60))
    reaper = _Reaper()
    fal = opened.enter_context(FalAccount(lines, before=reaper.at("asking")))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, poll={"page_size": 100})
    for number in (1, 2, 4):
        bridge = command.start("run", "--config", config)
        asked = len(fal.asked)
        reaper.take(bridge, partial(_was_asked, fal, asked + number))
        assert bridge.end().code == -signal.SIGKILL
    ended = command.once(config)
    assert ended.code == 0, ended.err
    assert backend.bodies == Counter(one.message for one in lines)


def _was_asked(fal: FalAccount, times: int, _moment: str) -> bool:
    return len(fal.asked) + 1 >= times
