"""Finding out how a logs API behaves where its document is silent, or may not be kept.

A few reading requests about entries that are there anyway; nothing is changed, nothing assumed.
What the answers do not settle, because there are too few entries, is *unknown*. Bounds are found
out by elimination (see `bridge.source.elimination`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Final

from msgspec import Struct, field

from bridge.clock import Clock
from bridge.errors import ApiAnswerTooLarge, ApiError, ApiLimitRefused
from bridge.model import SECOND, Entry, Filter, Page, Query, Tick
from bridge.source.account import Account
from bridge.source.elimination import WAYS, Side, questions, telling
from bridge.source.traits import SKEW, STEPS
from bridge.timestamps import ceil_to, floor_to, parse_tick

MOST_REQUESTS: Final = 15
"""The most that one app's probes ask for."""

_HOUR: Final[Tick] = 3_600 * SECOND
_MINUTE: Final[Tick] = 60 * SECOND
_ZONE: Final[Tick] = 15 * _MINUTE
"""Offsets from UTC are multiples of a quarter of an hour."""
_LOOKS: Final = (_HOUR, 24 * _HOUR, 7 * 24 * _HOUR)
_DEFAULT_LIMIT: Final = 100
_LARGE: Final = 1_000
_LARGER: Final = 10_000
_SMALLER: Final = (500, 250)
_LATELY: Final[Tick] = 10 * _MINUTE
_DOUBTS: Final = 1


class Standing(StrEnum):
    """What a finding is, measured against what reading expects."""

    OK = "ok"
    ODD = "odd"
    UNKNOWN = "unknown"


class Probed(Struct, frozen=True):
    """What one probe found out.

    ``asked`` says in words what was asked, ``finding`` in a few what came of it, ``evidence`` in
    numbers. ``meaning`` is the mend, or what it means for reading; empty for a plain OK.
    ``harmful`` says of an odd finding that reading cannot cope with it.
    """

    probe: str
    asked: str
    standing: Standing
    finding: str
    evidence: Mapping[str, int] = field(default_factory=dict)
    meaning: str = ""
    harmful: bool = False


Ask = Callable[[Query], Awaitable[Page]]


async def probed(account: Account, app: str, wanted: Filter, clock: Clock) -> list[Probed]:
    """Probe the API with one app's filter, by at most `MOST_REQUESTS` requests.

    An app that shows no entry is asked for nothing more.

    Raises:
        ApiError: not even a first page came; later failures are findings of their own.
    """

    async def ask(query: Query) -> Page:
        return await account.page(app, query, troubled=False)

    asking = _Asking(ask, wanted)
    sample = await asking.newest(clock.now())
    found = [_sampled(sample)]
    if sample.entries:
        probes = _Probes(asking, sample)
        found.append(_order(sample))
        found += await probes.bounds()
        found.append(await probes.limit(account.time.now()))
        found.append(_times(sample))
    return [*found, _date(sample, clock.now()), *_form(account.form)]


def _sampled(sample: Page) -> Probed:
    count = len(sample.entries)
    asked, evidence = f"the newest {_DEFAULT_LIMIT} entries", {"entries": count}
    if count:
        return Probed("page", asked, Standing.OK, _entries(count), evidence)
    finding = f"answered, but shows no entry of the last {_span(_LOOKS[-1])}"
    meaning = "a quiet app; if it is not, check app_id and the filters"
    return Probed("page", asked, Standing.UNKNOWN, finding, evidence, meaning)


def _order(sample: Page) -> Probed:
    ticks = _ticks(sample)
    asked = _entries(len(sample.entries))
    evidence = {
        "entries": len(ticks),
        "rising": sum(a < b for a, b in pairwise(ticks)),
        "falling": sum(a > b for a, b in pairwise(ticks)),
    }
    if not evidence["rising"] and not evidence["falling"]:
        return Probed("order", asked, Standing.UNKNOWN, "too few entries to tell", evidence)
    if not evidence["rising"]:
        return Probed("order", asked, Standing.OK, "newest first", evidence)
    return Probed(
        "order",
        asked,
        Standing.ODD,
        "mixed" if evidence["falling"] else "oldest first",
        evidence,
        "only pages that are newest first can be read; the app is held until they are",
        harmful=True,
    )


def _times(sample: Page) -> Probed:
    """Naive times are taken for UTC: compare them with ``labels.logged_at`` and with ``Date``."""
    asked = "naive timestamps against logged_at, and the newest one against Date"
    offsets = [offset for entry in sample.entries if (offset := _offset(entry)) is not None]
    ticks = _ticks(sample)
    evidence: dict[str, int] = {}
    if offsets:
        evidence["logged_at_offset_seconds"] = round(median(offsets) / SECOND)
    if ticks and sample.served_at is not None:
        evidence["newest_behind_date_seconds"] = round((sample.served_at - max(ticks)) / SECOND)
    offset = evidence.get("logged_at_offset_seconds")
    behind = evidence.get("newest_behind_date_seconds")
    if offset is not None:
        return _zoned(asked, offset * SECOND, evidence)
    if behind is None:
        return Probed("timestamps", asked, Standing.UNKNOWN, "nothing to compare with", evidence)
    if -_MINUTE <= behind * SECOND <= _LATELY:
        return Probed("timestamps", asked, Standing.OK, "UTC", evidence)
    if behind < 0:
        return _zoned(asked, -behind * SECOND, evidence)
    return Probed(
        "timestamps",
        asked,
        Standing.UNKNOWN,
        f"the newest entry is {_span(behind * SECOND)} old",
        evidence,
        "a quiet app, or local times: ask again while it writes",
    )


def _zoned(asked: str, offset: Tick, evidence: Mapping[str, int]) -> Probed:
    """Judge by how far timestamps are ahead of UTC, in ticks."""
    zone = round(offset / _ZONE) * _ZONE
    if abs(offset) <= _MINUTE:
        return Probed("timestamps", asked, Standing.OK, "UTC", evidence)
    side = "ahead of" if offset > 0 else "behind"
    exact = zone and abs(offset - zone) <= 2 * _MINUTE
    finding = f"{_span(abs(zone if exact else offset))} {side} UTC"
    if offset > 0:
        meaning = "nothing is lost, but entries carry times that are so much too late"
    else:
        meaning = "entries appear behind the position: only sweeps as late as that find them"
    return Probed("timestamps", asked, Standing.ODD, finding, evidence, meaning, harmful=offset < 0)


def _date(sample: Page, now: Tick) -> Probed:
    asked = "the Date header against this machine's clock"
    if sample.served_at is None:
        meaning = "this machine's clock stands in for the server's: keep it set by NTP"
        return Probed("date", asked, Standing.ODD, "not sent", {}, meaning)
    skew = sample.served_at - now
    evidence = {"ahead_seconds": round(skew / SECOND)}
    if abs(skew) <= SKEW:
        return Probed("date", asked, Standing.OK, "sent", evidence)
    side = "ahead of" if skew > 0 else "behind"
    finding = f"{_span(abs(skew))} {side} this machine's clock"
    meaning = "reading goes by the server's; set this machine's clock"
    return Probed("date", asked, Standing.ODD, finding, evidence, meaning)


def _form(form: str) -> list[Probed]:
    """The body's form, where the dialect has more than one."""
    if not form:
        return []
    return [Probed("body", "the documented form first", Standing.OK, form)]


class _Asking:
    """Asks one app's questions; each answer also tells whether bounds are kept at all.

    ``reach`` is how many ticks outside of them a page has shown, at the most.
    """

    def __init__(self, ask: Ask, wanted: Filter) -> None:
        self.reach: Tick = 0
        self._ask = ask
        self._wanted = wanted

    async def page(self, since: Tick, until: Tick | None, limit: int) -> Page:
        """The answer to one question."""
        page = await self._ask(Query(self._wanted, since, until, limit))
        for tick in _ticks(page):
            above = 0 if until is None else tick - until
            self.reach = max(self.reach, since - tick, above)
        return page

    async def newest(self, now: Tick) -> Page:
        """The newest entries, from further back while there are none to compare."""
        page = Page((), None)
        for back in _LOOKS:
            # What this clock says may be wrong; the first answer's Date is better.
            page = await self.page(now - back, None, _DEFAULT_LIMIT)
            now = page.served_at or now
            if len(set(_ticks(page))) > 1:
                break
        return page


class _Probes:
    """The probes that compare further answers with a sample of what is there."""

    def __init__(self, asking: _Asking, sample: Page) -> None:
        self._asking = asking
        self._sample = sample
        self._doubts = _DOUBTS

    async def bounds(self) -> list[Probed]:
        """Whether bounds are exclusive, and to which step they are kept."""
        asked = "since and until on and around the time of a known entry"
        known = telling(_ticks(self._sample))
        sides = (Side("since", 1), Side("until", -1))
        try:
            for side in sides:
                for tick, bounds in questions(known):
                    await self._question(side, tick, bounds)
        except ApiError as error:
            return [_unanswered("bounds", asked, error), _unanswered("precision", asked, error)]
        evidence = {
            **{f"{side.name}_requests": side.asked for side in sides},
            "known_entries": len(known),
        }
        return [self._exclusive(sides, asked, evidence), _precision(sides, asked, evidence)]

    async def _question(self, side: Side, tick: Tick, bounds: Iterable[Tick]) -> None:
        """Ask about one entry; the other bound stands clear of it, on a whole second."""
        for bound in bounds:
            if not side.open(tick, bound):
                continue
            since = bound if side.side > 0 else floor_to(tick, SECOND) - SECOND
            until = ceil_to(bound + 1, SECOND) if side.side > 0 else bound
            side.asked += 1
            page = await self._asking.page(since, until, _DEFAULT_LIMIT)
            if not page.entries and self._doubts and WAYS[0].shows(tick, bound, side.side):
                self._doubts -= 1  # one empty answer where the document promises an entry
                page = await self._asking.page(since, until, _DEFAULT_LIMIT)
            ticks = _ticks(page)
            if tick in ticks:
                side.learn(tick, bound, shown=True)
            elif self._whole(page) or min(ticks, default=tick) < tick:
                side.learn(tick, bound, shown=False)
            else:
                side.unclear += 1  # the page may just have been full

    def _whole(self, page: Page) -> bool:
        """Whether a page cannot have been cut: another one held more."""
        return len(page.entries) < len(self._sample.entries)

    def _exclusive(self, sides: Iterable[Side], asked: str, evidence: Mapping[str, int]) -> Probed:
        evidence = {**evidence, "reach_microseconds": self._asking.reach}
        if self._asking.reach > SECOND:
            meaning = "pages reach outside of what was asked; the app is held until they do not"
            return Probed(
                "bounds", asked, Standing.ODD, "not kept", evidence, meaning, harmful=True
            )
        inclusive = {side.name: {way.inclusive for way in side.ways} for side in sides}
        odd = [name for name, found in inclusive.items() if found == {True}]
        if odd:
            finding = "inclusive" if len(odd) == len(inclusive) else f"{odd[0]} is inclusive"
            meaning = "what stands on the bound is shown twice and taken once"
            return Probed("bounds", asked, Standing.ODD, finding, evidence, meaning)
        if not all(inclusive.values()):
            meaning = "the answers fit no known way to treat bounds; report them"
            return Probed("bounds", asked, Standing.ODD, "erratic", evidence, meaning)
        if all(found == {False} for found in inclusive.values()):
            return Probed("bounds", asked, Standing.OK, "exclusive", evidence)
        return Probed("bounds", asked, Standing.UNKNOWN, _too_few(evidence), evidence)

    async def limit(self, now: Tick) -> Probed:
        """The largest page: a limit may be honoured, refused, or cut in silence."""
        asked = f"{_LARGE:,} entries, then {_LARGER:,}"
        if _rises(_ticks(self._sample)):
            return Probed("limit", asked, Standing.UNKNOWN, "pages are not newest first")
        try:
            return await self._limit(now - _LOOKS[-1], asked)
        except ApiError as error:
            return _unanswered("limit", asked, error)

    async def _limit(self, since: Tick, asked: str) -> Probed:
        page = await self._try(since, _LARGE)
        if page is None:
            return await self._accepted(since, asked)
        if len(page.entries) < _LARGE:
            return await self._cap(since, page, _LARGE, asked)
        larger = await self._try(since, _LARGER)
        evidence = {"asked": _LARGER, "shown": len(page.entries)}
        if larger is None:
            evidence["asked"] = _LARGE
            finding = f"{_LARGE:,} honoured, {_LARGER:,} refused"
            return Probed("limit", asked, Standing.OK, finding, evidence)
        if len(larger.entries) >= _LARGER:
            evidence["shown"] = len(larger.entries)
            return Probed("limit", asked, Standing.OK, f"{_LARGER:,} honoured", evidence)
        return await self._cap(since, larger, _LARGER, asked)

    async def _accepted(self, since: Tick, asked: str) -> Probed:
        """A large limit is refused: the nearest smaller one that is not."""
        for limit in _SMALLER:
            page = await self._try(since, limit)
            if page is not None:
                break
        else:
            limit = _DEFAULT_LIMIT  # the sample asked for so many
        return Probed(
            "limit",
            asked,
            Standing.ODD,
            f"{_LARGE:,} refused, {limit:,} accepted",
            {"asked": _LARGE, "accepted": limit},
            f"smaller pages are asked for; poll.page_size: {limit} saves the refusals",
        )

    async def _cap(self, since: Tick, page: Page, limit: int, asked: str) -> Probed:
        """A page below its limit was cut if there is anything older behind it."""
        size, ticks = len(page.entries), _ticks(page)
        evidence = {"asked": limit, "shown": size}
        oldest = min(ticks, default=None)
        behind = (
            () if oldest is None else _ticks(await self._asking.page(since, oldest, _DEFAULT_LIMIT))
        )
        if oldest is None or not any(tick < oldest for tick in behind):
            honoured = f"at least {size:,} honoured; " if size >= _LARGE else ""
            standing = Standing.OK if honoured else Standing.UNKNOWN
            finding = f"{honoured}too few entries to tell ({size:,})"
            return Probed("limit", asked, standing, finding, evidence)
        evidence["behind"] = len(behind)
        finding = f"at most {size:,} a page, without a word"
        if size >= _LARGE:
            return Probed("limit", asked, Standing.OK, finding, evidence)
        meaning = "nothing is lost, only more requests are needed"
        return Probed("limit", asked, Standing.ODD, finding, evidence, meaning)

    async def _try(self, since: Tick, limit: int) -> Page | None:
        """A page; None if so large a one is refused, or too large to be taken."""
        try:
            return await self._asking.page(since, None, limit)
        except (ApiLimitRefused, ApiAnswerTooLarge):
            return None


def _precision(sides: Iterable[Side], asked: str, evidence: Mapping[str, int]) -> Probed:
    steps = {step for side in sides for step in {way.step for way in side.ways}}
    known = all(len({way.step for way in side.ways}) == 1 for side in sides)
    if not known:
        # At least not coarser than something may be known, but that is no finding.
        return Probed("precision", asked, Standing.UNKNOWN, _too_few(evidence), evidence)
    coarsest = max(steps)
    if coarsest == 1:
        return Probed("precision", asked, Standing.OK, STEPS[1], evidence)
    meaning = f"bounds are rounded outward; a crowded {STEPS[coarsest]} takes more requests"
    return Probed("precision", asked, Standing.ODD, STEPS[coarsest], evidence, meaning)


def _too_few(evidence: Mapping[str, int]) -> str:
    return (
        "the answers do not settle it" if evidence["known_entries"] else "too few entries to tell"
    )


def _unanswered(probe: str, asked: str, error: ApiError) -> Probed:
    return Probed(probe, asked, Standing.UNKNOWN, "not answered", {}, error.what)


def _ticks(page: Page) -> list[Tick]:
    return [entry.tick for entry in page.entries if entry.tick is not None]


def _rises(ticks: Sequence[Tick]) -> bool:
    return any(a < b for a, b in pairwise(ticks))


def _offset(entry: Entry) -> Tick | None:
    """How far its time is ahead of ``labels.logged_at``, which carries its offset from UTC."""
    labels = entry.raw.get("labels") if isinstance(entry.raw, dict) else None
    logged = parse_tick(labels.get("logged_at")) if isinstance(labels, dict) else None
    return None if logged is None or entry.tick is None else entry.tick - logged


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _span(ticks: Tick) -> str:
    """A length of time for people, in the largest unit that fits twice."""
    seconds = ticks // SECOND
    units = (("d", 86_400), ("h", 3_600), ("min", 60))
    unit, size = next((one for one in units if seconds >= 2 * one[1]), ("s", 1))
    return f"{round(seconds / size, 1):g} {unit}"
