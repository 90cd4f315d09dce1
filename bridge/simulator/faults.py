"""Faults on demand, around any core: what a server, a proxy or the network may do to a request.

A fault is a value with one method, `Fault.apply`, that gets the request and the healthy core and
makes the answer. `Faults` says which fault befalls which request: some always (a server's traits),
some by schedule, some by chance; all randomness comes from the `random.Random` given to `Faulty`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from bridge.clock import Clock
from bridge.model import MILLISECOND, SECOND, Json, Tick
from bridge.simulator.exchange import Answer, Core, Drop, Request
from bridge.simulator.times import http_date, naive, parsed

LOGIN_PAGE: Final = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"
_HTML: Final = (("content-type", "text/html; charset=utf-8"),)
_OUTWARD: Final = {"since": -1, "until": 1, "start": -1, "end": 1}
"""The bounds of both dialects, and which way is out."""


class Fault(Protocol):
    """One way to go wrong."""

    def apply(self, core: Core, request: Request) -> Answer:
        """Answer the request wrongly, with or without asking the healthy core."""
        ...


class Reply(Struct, frozen=True):
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


INTERNAL_ERROR: Final = Reply(
    500, b'{"detail":"Internal Server Error"}', (("content-type", "application/json"),)
)


class Dropped(Struct, frozen=True):
    """The connection ends without an answer, before or after the request was handled."""

    when: Drop = Drop.BEFORE

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        if self.when is Drop.BEFORE:
            return Answer(503, drop=self.when)
        return replace(core.answer(request), drop=self.when)


class Truncated(Struct, frozen=True):
    """The connection breaks in the middle of the body, after a share of it."""

    share: float = 0.5

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        return replace(answer, cut=int(len(answer.body) * self.share))


class Shortened(Struct, frozen=True):
    """A whole HTTP answer whose body stops after a share of it, less one byte at the least."""

    share: float = 0.5

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        length = len(answer.body)
        return replace(
            answer, body=answer.body[: min(int(length * self.share), max(length - 1, 0))]
        )


class Slow(Struct, frozen=True):
    """The answer takes so many seconds more.

    What it holds is from before the wait; its ``Date`` is from after, as real servers stamp it
    when they send.
    """

    seconds: float

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = _dated(core.answer(request), int(self.seconds * SECOND))
        return replace(answer, delay=answer.delay + self.seconds)


class DateOff(Struct, frozen=True):
    """The server's clock is wrong by so many ticks, as its ``Date`` shows."""

    by: Tick

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        return _dated(core.answer(request), self.by)


class DateMissing(Struct, frozen=True):
    """The answer has no ``Date``: a proxy took it away, or the server has no clock."""

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        kept = tuple(header for header in answer.headers if header[0].lower() != "date")
        return replace(answer, headers=kept)


class Poisoned(Struct, frozen=True):
    """The server fails whenever ``[start, end)`` is within the bounds asked for; else it works.

    With ``app`` only for requests about that app.
    """

    start: Tick
    end: Tick
    app: str | None = None

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        if self._reaches(request):
            return INTERNAL_ERROR.apply(core, request)
        return core.answer(request)

    def _reaches(self, request: Request) -> bool:
        if self.app not in (None, request.parameter("app_id")):
            return False
        for name, out in _OUTWARD.items():
            tick, edge = _bound(request, name), self.start if out > 0 else self.end - 1
            if tick is not None and (tick - edge) * out <= 0:
                return False
        return True


class BoundsCut(Struct, frozen=True):
    """The server cuts ``since`` and ``until`` down to a coarser step, a millisecond by default."""

    step: Tick = MILLISECOND

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        return core.answer(_with_bounds(request, lambda tick, _: tick - tick % self.step))


class BoundsIgnored(Struct, frozen=True):
    """The server reaches outside the bounds by so many ticks on both sides: a broken contract."""

    reach: Tick = 3_600 * SECOND

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        return core.answer(
            _with_bounds(request, lambda tick, name: tick + _OUTWARD[name] * self.reach)
        )


class LimitIgnored(Struct, frozen=True):
    """The server takes a limit of its own, whatever was asked."""

    instead: int = 1_000_000

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        return core.answer(request.with_parameter("limit", str(self.instead)))


class OldestFirst(Struct, frozen=True):
    """The page comes in the wrong order: a broken contract."""

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        answer = core.answer(request)
        if answer.status != 200:  # noqa: PLR2004 - the one status that carries a page
            return answer
        return replace(answer, body=json.dumps(_turned(json.loads(answer.body))).encode())


def _turned(page: Json) -> Json:
    """A page of either dialect from its end, an array or the ``items`` of an object."""
    return {**page, "items": page["items"][::-1]} if isinstance(page, dict) else page[::-1]


def _with_bounds(request: Request, changed: Callable[[Tick, str], Tick]) -> Request:
    """Change the readable bounds of a request; the core refuses the others by itself."""
    for name in _OUTWARD:
        tick = _bound(request, name)
        if tick is not None:
            request = request.with_parameter(name, naive(changed(tick, name)))
    return request


def _bound(request: Request, name: str) -> Tick | None:
    """A bound of a request, None if it has none that can be read."""
    try:
        return parsed(request.parameter(name) or "")
    except ValueError:
        return None


def _dated(answer: Answer, by: Tick) -> Answer:
    """The answer with its ``Date`` moved by so many ticks."""
    headers = tuple(
        (key, http_date(_tick_of(value) + by) if key.lower() == "date" else value)
        for key, value in answer.headers
    )
    return replace(answer, headers=headers)


def _tick_of(date: str) -> Tick:
    return int(parsedate_to_datetime(date).timestamp()) * SECOND


Schedule = Callable[[int, Request], Fault | None]
"""Names the fault of a request, by its number from 0; None leaves it to chance."""


class Faults(Struct, frozen=True):
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


class _Wrapped(Struct, frozen=True):
    core: Core
    fault: Fault

    def answer(self, request: Request) -> Answer:
        return self.fault.apply(self.core, request)


def script(*faults: Fault | None) -> Schedule:
    """The first requests' faults in order; then none."""
    return lambda number, _: faults[number] if number < len(faults) else None


class Spell(Struct, frozen=True):
    """A fault that strikes every request in ``[start, end)`` ticks of the clock."""

    start: Tick
    end: Tick
    fault: Fault


def spells(clock: Clock, plan: Sequence[Spell]) -> Schedule:
    """Faults by time, such as an outage; the first spell that covers the moment counts."""
    return lambda _, __: _covering(plan, clock.now())


class During(Struct, frozen=True):
    """A trait for a time, beside which other faults strike; see `spells`."""

    clock: Clock
    plan: tuple[Spell, ...]

    def apply(self, core: Core, request: Request) -> Answer:
        """See `Fault.apply`."""
        fault = _covering(self.plan, self.clock.now())
        return core.answer(request) if fault is None else fault.apply(core, request)


def _covering(plan: Sequence[Spell], now: Tick) -> Fault | None:
    return next((spell.fault for spell in plan if spell.start <= now < spell.end), None)


def api_faults(share: float, *, slow: float = 2.0) -> Faults:
    """What befalls a logs API: each is passing and to be asked again."""
    mix = (
        INTERNAL_ERROR,
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
