"""Faults on demand, around any core: what a server, a proxy or the network may do to a request.

A fault is a value with one method, `Fault.apply`, that gets the request and the healthy core and
makes the answer. `Faults` says which fault befalls which request: some always (a server's traits),
some by schedule, some by chance; all randomness comes from the `random.Random` given to `Faulty`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final, Protocol

from bridge.clock import Clock
from bridge.model import MILLISECOND, SECOND, Tick
from bridge.simulator.exchange import Answer, Core, Drop, Request
from bridge.simulator.times import http_date, naive, parsed

LOGIN_PAGE: Final = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"
_HTML: Final = (("content-type", "text/html; charset=utf-8"),)
_BOUNDS: Final = ("since", "until")


class Fault(Protocol):
    """One way to go wrong."""

    def apply(self, core: Core, request: Request) -> Answer:
        """Answer the request wrongly, with or without asking the healthy core."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """Any other answer: a status with any body and headers.

    With ``handled`` the healthy core took the request first, so only the answer is lost.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    handled: bool = False

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        date = core.answer(request).header("date") if self.handled else ""
        dated = (("date", date),) if date else ()
        return Answer(self.status, (*dated, *self.headers), self.body)


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection ends without an answer, before or after the request was handled."""

    when: Drop = Drop.BEFORE

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        if self.when is Drop.BEFORE:
            return Answer(503, drop=self.when)
        return replace(core.answer(request), drop=self.when)


@dataclass(frozen=True, slots=True)
class Truncated:
    """The connection breaks in the middle of the body, after a share of it."""

    share: float = 0.5

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        return replace(answer, cut=int(len(answer.body) * self.share))


@dataclass(frozen=True, slots=True)
class Shortened:
    """A whole HTTP answer whose body stops after a share of it, less one byte at the least."""

    share: float = 0.5

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        length = len(answer.body)
        return replace(
            answer, body=answer.body[: min(int(length * self.share), max(length - 1, 0))]
        )


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer takes so many seconds more.

    What it holds is from before the wait; its ``Date`` is from after, as real servers stamp it
    when they send.
    """

    seconds: float

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        headers = tuple(
            (key, self._later(value) if key.lower() == "date" else value)
            for key, value in answer.headers
        )
        return replace(answer, delay=answer.delay + self.seconds, headers=headers)

    def _later(self, date: str) -> str:
        return http_date(int((parsedate_to_datetime(date).timestamp() + self.seconds) * SECOND))


@dataclass(frozen=True, slots=True)
class BoundsCut:
    """The server cuts ``since`` and ``until`` down to a coarser step, a millisecond by default."""

    step: Tick = MILLISECOND

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        return core.answer(_with_bounds(request, lambda tick, _: tick - tick % self.step))


@dataclass(frozen=True, slots=True)
class BoundsIgnored:
    """The server reaches outside the bounds by so many ticks on both sides: a broken contract."""

    reach: Tick = 3_600 * SECOND

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        outward = {"since": -self.reach, "until": self.reach}
        return core.answer(_with_bounds(request, lambda tick, name: tick + outward[name]))


@dataclass(frozen=True, slots=True)
class LimitIgnored:
    """The server takes a limit of its own, whatever was asked."""

    instead: int = 1_000_000

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        return core.answer(request.with_parameter("limit", str(self.instead)))


@dataclass(frozen=True, slots=True)
class OldestFirst:
    """The page comes in the wrong order: a broken contract."""

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        if answer.status != 200:  # noqa: PLR2004 - the one status that carries a page
            return answer
        return replace(answer, body=json.dumps(json.loads(answer.body)[::-1]).encode())


def _with_bounds(request: Request, changed: Callable[[Tick, str], Tick]) -> Request:
    """Change the readable bounds of a request; the core refuses the others by itself."""
    for name in _BOUNDS:
        text = request.parameter(name)
        try:
            tick = changed(parsed(text or ""), name)
        except ValueError:
            continue
        request = request.with_parameter(name, naive(tick))
    return request


Schedule = Callable[[int, Request], Fault | None]
"""Names the fault of a request, by its number from 0; None leaves it to chance."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Which fault befalls which request.

    ``traits`` hold for every request, the first outermost. ``schedule`` is asked next. Otherwise
    one of ``mix`` strikes with probability ``share``, each alike.
    """

    traits: tuple[Fault, ...] = ()
    schedule: Schedule | None = None
    share: float = 0.0
    mix: tuple[Fault, ...] = ()

    def chosen(self, number: int, request: Request, random: Random) -> Fault | None:
        """The fault that strikes this request besides the traits."""
        planned = self.schedule(number, request) if self.schedule else None
        if planned is not None or not self.mix:
            return planned
        return random.choice(self.mix) if random.random() < self.share else None


class Faulty:
    """A core that misbehaves as `Faults` says; ``faults`` may be replaced while it runs."""

    def __init__(self, core: Core, faults: Faults, random: Random) -> None:
        self.faults = faults
        self.struck = 0
        self._core = core
        self._random = random
        self._number = 0

    def answer(self, request: Request) -> Answer:
        """Answer one request, wrongly if a fault strikes it."""
        struck = self.faults.chosen(self._number, request, self._random)
        self._number += 1
        self.struck += struck is not None
        core = self._core
        for fault in (*((struck,) if struck else ()), *reversed(self.faults.traits)):
            core = _Wrapped(core, fault)
        return core.answer(request)


@dataclass(frozen=True, slots=True)
class _Wrapped:
    core: Core
    fault: Fault

    def answer(self, request: Request) -> Answer:
        return self.fault.apply(self.core, request)


def script(*faults: Fault | None) -> Schedule:
    """The first requests' faults in order; then none."""
    return lambda number, _: faults[number] if number < len(faults) else None


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault that strikes every request in ``[start, end)`` ticks of the clock."""

    start: Tick
    end: Tick
    fault: Fault


def spells(clock: Clock, plan: Sequence[Spell]) -> Schedule:
    """Faults by time, such as an outage; the first spell that covers the moment counts."""

    def strike(_: int, __: Request) -> Fault | None:
        now = clock.now()
        return next((spell.fault for spell in plan if spell.start <= now < spell.end), None)

    return strike


def api_faults(share: float, *, slow: float = 2.0) -> Faults:
    """What befalls a logs API: each is passing and to be asked again."""
    mix = (
        Reply(500, b'{"detail":"Internal Server Error"}', (("content-type", "application/json"),)),
        Reply(502, b"<html><body>Bad Gateway</body></html>", _HTML),
        Reply(429, b'{"detail":"Too many requests"}', (("retry-after", "1"),)),
        Reply(429, b'{"detail":"Too many requests"}', (("x-ratelimit-reset", "1"),)),
        Reply(200, LOGIN_PAGE, _HTML),
        Reply(200, b'{"detail":"degraded"}', (("content-type", "application/json"),)),
        Truncated(),
        Shortened(),
        Dropped(Drop.BEFORE),
        Dropped(Drop.AFTER),
        Slow(slow),
    )
    return Faults(share=share, mix=mix)


def backend_faults(share: float, *, slow: float = 2.0) -> Faults:
    """What befalls a backend; half of these strike after it has accepted the records."""
    mix = (
        Reply(503),
        Reply(429, headers=(("retry-after", "1"),)),
        Reply(200, LOGIN_PAGE, _HTML),
        Dropped(Drop.BEFORE),
        Reply(504, handled=True),
        Reply(500, b"late failure", handled=True),
        Dropped(Drop.AFTER),
        Slow(slow),
    )
    return Faults(share=share, mix=mix)
