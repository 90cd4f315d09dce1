"""The console: readable and coloured for people, one JSON object a line for programs."""

from __future__ import annotations

import asyncio
import io
import json
import os
import select
from collections.abc import Iterable, Iterator
from typing import IO, Final

from bridge import proto
from bridge.destinations.plain import SERVICE, json_line, mapping, plain, severity_of, time_of
from bridge.model import Outcome, Verdict
from bridge.payload import Request, records_of

_CHUNK: Final = 4_096
"""Bytes of one write: a pipe that is writable takes so many at once, without waiting (pipe(7))."""

_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_COLOURS: Final = (
    (proto.SeverityNumber.SEVERITY_NUMBER_FATAL, "\x1b[1;31m"),
    (proto.SeverityNumber.SEVERITY_NUMBER_ERROR, "\x1b[31m"),
    (proto.SeverityNumber.SEVERITY_NUMBER_WARN, "\x1b[33m"),
    (proto.SeverityNumber.SEVERITY_NUMBER_INFO, "\x1b[32m"),
    (proto.SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED, _DIM),
)


class Console:
    """Writes every record to a stream; delivered means written and flushed.

    A reader that stalls holds this destination and nothing else: where the stream has a
    descriptor that can be waited for, each write waits until it is taken at once.

    On a terminal nothing from a record is sent to it that could steer it: control, format and
    other unprintable characters are shown escaped, and continuation lines are set in.
    """

    acknowledged: Final = False
    """What a pipe's reader had not taken when it went is lost with the pipe."""

    def __init__(self, name: str, out: IO[bytes], *, terminal: bool | None = None) -> None:
        """Write to ``out``, as to a terminal if it is one or ``terminal`` says so."""
        self._name = name
        self._out = out
        self._line = _readable if (out.isatty() if terminal is None else terminal) else json_line
        self._turn = asyncio.Lock()
        self._descriptor: int | None = None
        self._torn = b""

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._name

    def too_large(self, request: Request) -> Outcome | None:  # noqa: ARG002 - it has no limit
        """See `Destination.too_large`."""
        return None

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`."""
        try:
            async with self._turn:
                await self._write(self._torn)
                lines = (self._line(logs, record) for logs, _, record in records_of(request.raw))
                for part in _together(line.encode() for line in lines):
                    await self._write(part)
        except BrokenPipeError:
            return Outcome(Verdict.BLOCKED, "who read the output has gone")
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            return Outcome(Verdict.RETRY, f"cannot write the output: {error}")
        return Outcome(Verdict.DELIVERED)

    async def probe(self) -> Outcome:
        """See `Destination.probe`; a stream is only known by writing to it."""
        return Outcome(Verdict.DELIVERED)

    async def aclose(self) -> None:
        """See `Destination.aclose`; the stream belongs to who gave it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _write(self, lines: bytes) -> None:
        """Write whole lines; where that breaks off within one, the next write completes it."""
        done = 0
        try:
            while done < len(lines):
                done += await self._write_some(lines[done : done + _CHUNK])
        finally:
            if done:
                self._torn = _rest_of_line(lines, done)

    async def _write_some(self, some: bytes) -> int:
        """Write as much as is taken at once; how many bytes that was."""
        descriptor = self._own_descriptor()
        if descriptor is None:
            self._out.write(some)
            self._out.flush()
            await asyncio.sleep(0)
            return len(some)
        # Asked again after each wait: another console may have filled the same pipe in between.
        await asyncio.sleep(0)
        while not _takes_more(descriptor):
            await _writable(descriptor)
        return os.write(descriptor, some)

    def _own_descriptor(self) -> int | None:
        """The stream's descriptor; None for a stream in memory.

        A duplicate, since only one can wait for a descriptor and other consoles may have the same.
        """
        if self._descriptor is None:
            try:
                self._descriptor = os.dup(self._out.fileno())
            except io.UnsupportedOperation:
                return None
        return self._descriptor


def _takes_more(descriptor: int) -> bool:
    """Whether a write is taken, or fails, at once; a file on a disk always takes it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)


def _together(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines, as many together as one write takes; a longer one alone."""
    together = b""
    for line in lines:
        if together and len(together) + len(line) > _CHUNK:
            yield together
            together = b""
        together += line
    if together:
        yield together


def _rest_of_line(lines: bytes, done: int) -> bytes:
    """What is left of the line that ``done`` bytes end within; empty where they end one."""
    return b"" if lines[done - 1 : done] == b"\n" else lines[done : lines.find(b"\n", done) + 1]


def _readable(resource_logs: proto.ResourceLogs, record: proto.LogRecord) -> str:
    """One record for a person: time, severity, service, message; further lines set in."""
    service = mapping(resource_logs.resource.attributes).get(SERVICE, "-")
    body = plain(record.body)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    message = "\n    ".join(_safe(line) for line in text.expandtabs(4).split("\n"))
    colour = next(code for floor, code in _COLOURS if record.severity_number >= floor)
    return (
        f"{_DIM}{time_of(record)}{_RESET} {colour}{_safe(severity_of(record)):8}{_RESET} "
        f"{_DIM}{_safe(str(service))}{_RESET} {message}\n"
    )


def _safe(text: str) -> str:
    """Text that a terminal only shows: what is not printable is escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
