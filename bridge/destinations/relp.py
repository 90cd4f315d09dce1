"""Syslog over RELP: the receiver acknowledges each message (RELP specification).

A session begins with ``open`` and the offers of both sides; then up to a window of ``syslog``
commands may wait for their ``rsp 200``. A receiver ends it with ``serverclose`` or by closing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Final

from bridge import __version__
from bridge.destinations.endpoint import Dialer, Failed
from bridge.destinations.link import Link
from bridge.destinations.relp_frame import HINT, Answer, Decoder, Frame, NotRelp, following, offers

WINDOW: Final = 128
"""Messages that may be unacknowledged; as many as librelp's own client lets be."""

_REMEMBERED: Final = 65_536
"""Acknowledged messages of unfinished requests that are remembered; 16 bytes each and a place."""
_FAREWELL: Final = 1.0
"""Seconds that a receiver has to answer ``close``."""
_OK: Final = 200
_REFUSALS: Final = range(500, 600)
_VERSIONS: Final = frozenset({"0", "1"})
_OFFERS: Final = (
    b"relp_version=0\n"
    b"relp_software=fal-log-bridge,%s\n"
    b"commands=syslog" % __version__.encode("ascii")
)


class Relp:
    """One session; every acknowledgement counts.

    A message that was acknowledged is remembered until its request has been delivered whole, so
    that another try, also one in pieces, goes on where the last one broke off.
    """

    def __init__(self, dialer: Dialer, window: int) -> None:
        """Prepare; nothing is opened yet."""
        self._dialer = dialer
        self._window = window
        self._session: _Session | None = None
        self._acknowledged: dict[bytes, None] = {}
        self._went_on = False
        self._said = False

    async def carry(self, messages: Iterator[bytes], seconds: float) -> bool:
        """See `Carrier.carry`: until every message was acknowledged.

        A refused message does not keep the others from being sent. ``seconds`` is how long an
        acknowledgement may take.
        """
        keys: list[bytes] = []
        whole = False
        self._went_on = self._said = False
        try:
            session = await self._opened(seconds)
            await self._exchange(session, _keyed(messages, keys), seconds)
            whole = True
        except NotRelp as error:
            raise self._dialer.blocked(f"does not speak RELP: {error}") from error
        except Failed as failed:
            raise failed.after(progress=self._went_on) from failed
        finally:
            if not whole:
                self._abandon()
        if session.refusal:
            refused = self._dialer.refused(f"refuses a message: {session.refusal}")
            raise refused.after(progress=self._went_on)
        for key in keys:
            self._acknowledged.pop(key, None)
        return self._said

    async def close(self) -> None:
        """See `Carrier.close`."""
        session, self._session = self._session, None
        if session is None:
            return
        with suppress(Failed, NotRelp, TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await session.ask("close")
        await session.link.close()

    async def _exchange(
        self, session: _Session, messages: Iterable[tuple[bytes, bytes]], seconds: float
    ) -> None:
        """Send what was not acknowledged before and wait until all of it is answered."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds) as limit:
                session.refusal = ""
                for key, message in messages:
                    if key in self._acknowledged:
                        continue
                    self._said = True
                    await session.say("syslog", message, key)
                    while session.has_news or len(session.waiting) >= self._window:
                        await self._progress(session)
                        limit.reschedule(loop.time() + seconds)
                while session.waiting:
                    await self._progress(session)
                    limit.reschedule(loop.time() + seconds)
        except TimeoutError as error:
            raise self._dialer.silent(
                "no acknowledgement from", seconds, own_fault=not self._went_on
            ) from error

    async def _progress(self, session: _Session) -> None:
        """Wait for answers and keep what they acknowledge.

        The oldest are given up where it becomes too much to keep.
        """
        keys = await session.heard()
        self._went_on |= bool(keys)
        self._acknowledged.update(dict.fromkeys(keys))
        while len(self._acknowledged) > _REMEMBERED:
            del self._acknowledged[next(iter(self._acknowledged))]
        if session.over is not None:
            raise session.over

    async def _opened(self, seconds: float) -> _Session:
        """The session, a new one where there is none that lives."""
        if self._session is not None:
            await self._session.link.settled(0)
            # Nothing is awaited between requests, so what came in can only be a farewell.
            if not (self._session.link.ended or self._session.link.has_unread):
                return self._session
            self._abandon()
        self._session = session = _Session(await self._dialer.dial(seconds), self._dialer)
        try:
            async with asyncio.timeout(seconds):
                answer = await session.ask("open", _OFFERS)
        except TimeoutError as error:
            raise self._dialer.silent("no answer to a RELP open from", seconds) from error
        if answer is None:
            raise self._dialer.turned_away(session.link)
        self._agree(answer)
        return session

    def _agree(self, answer: Answer) -> None:
        """See that the receiver takes what is about to be sent."""
        if answer.code != _OK:
            raise self._dialer.blocked(f"refuses a session: {answer.code} {answer.text}")
        offered = offers(answer.more)
        version = offered.get("relp_version", "0")
        if version not in _VERSIONS:
            raise self._dialer.blocked(f"speaks version {version} of RELP")
        if "syslog" not in offered.get("commands", "syslog").replace(" ", "").split(","):
            raise self._dialer.blocked(f"takes no syslog over RELP, only {offered['commands']}")

    def _abandon(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.link.abort()


class _Session:
    """A connection that speaks RELP.

    ``waiting`` has the key of every message that is not answered yet, by its number; ``refusal``
    is what was last said of one that was not accepted, ``over`` why the
    session cannot go on.
    """

    def __init__(self, link: Link, dialer: Dialer) -> None:
        self.link = link
        self.waiting: dict[int, bytes] = {}
        self.refusal = ""
        self.number = HINT
        self._dialer = dialer
        self._decoder = Decoder()
        self.over: Failed | None = None

    @property
    def has_news(self) -> bool:
        """Whether `heard` would tell something at once."""
        return self.link.has_unread or self.link.ended

    async def say(self, command: str, data: bytes, key: bytes) -> None:
        """Send a command that `heard` will tell the answer of; what has come in is seen then.

        Between two writes there is a look at the socket: a write to a receiver that has gone
        would end the connection before its last answers were read.
        """
        self.number = following(self.number)
        self.waiting[self.number] = key
        self.link.write(Frame(self.number, command, data).encoded())
        await self.link.flushed()
        await asyncio.sleep(0)

    async def ask(self, command: str, data: bytes = b"") -> Answer | None:
        """Send a command and wait for its answer, None where the connection ends before it."""
        self.number = following(self.number)
        self.link.write(Frame(self.number, command, data).encoded())
        while True:
            await self.link.heard()
            for frame in self._decoder.feed(self.link.take()):
                if frame.command == "rsp" and frame.number == self.number:
                    return Answer.of(frame)
            if self.link.ended and not self.link.has_unread:
                return None

    async def heard(self) -> list[bytes]:
        """Wait for something to come in; the keys of what it acknowledges.

        Raises:
            Failed: the connection has ended, and everything that came before that was told.
        """
        if self.link.ended and not self.link.has_unread:
            raise self._dialer.ended(self.link)
        acknowledged: list[bytes] = []
        await self.link.heard()
        try:
            for frame in self._decoder.feed(self.link.take()):
                acknowledged += self._answered(frame)
        except NotRelp as error:
            self.over = self._dialer.blocked(f"does not speak RELP: {error}")
        return acknowledged

    def _answered(self, frame: Frame) -> Iterator[bytes]:
        """The key that a frame acknowledges, if it does."""
        if frame.command == "serverclose":
            self.over = self.over or self._dialer.closing()
        if frame.command != "rsp" or (key := self.waiting.pop(frame.number, None)) is None:
            return
        answer = Answer.of(frame)
        if answer.code == _OK:
            yield key
        elif answer.code in _REFUSALS:
            self.refusal = f"{answer.code} {answer.text}"
        else:
            self.over = self._dialer.blocked(f"answers {answer.code} {answer.text}")


def _keyed(messages: Iterable[bytes], keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Messages with what they are remembered by; equal ones of a request are told apart."""
    seen: Counter[bytes] = Counter()
    for message in messages:
        digest = blake2b(message, digest_size=16).digest()
        key = digest + b"%d" % seen[digest] if seen[digest] else digest
        seen[digest] += 1
        keys.append(key)
        yield key, message
