"""A RELP receiver in this process that does what a test wants; from RELP's specification."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

OPENED = b"200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog"


class Reply(Enum):
    """What a message gets."""

    ACK = auto()
    HOLD = auto()
    REFUSE = auto()
    ODD = auto()
    GARBAGE = auto()
    CLOSE = auto()
    HALF_CLOSE = auto()
    RESET = auto()
    SERVERCLOSE = auto()


@dataclass
class Receiver:
    """What it took, and how it behaves; ``decide`` is asked with each message's place from 0."""

    decide: Callable[[int], Reply] = lambda _: Reply.ACK
    opened: bytes = OPENED
    dribbles: bool = False
    port: int = 0
    sessions: int = 0
    seen: list[bytes] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def say(
        self, writer: asyncio.StreamWriter, number: int, command: str, data: bytes
    ) -> None:
        """One frame, byte by byte if so wanted."""
        frame = b"%d %s %d" % (number, command.encode(), len(data))
        frame += (b" " + data if data else b"") + b"\n"
        for part in (frame[n : n + 1] for n in range(len(frame))) if self.dribbles else [frame]:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        self.sessions += 1
        self.writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._command(reader, writer):
                pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        number = int(await reader.readuntil(b" "))
        command = (await reader.readuntil(b" ")).decode().strip()
        length = b""
        while (digit := await reader.readexactly(1)) not in {b" ", b"\n"}:
            length += digit
        data = await reader.readexactly(int(length)) if digit == b" " else b""
        if digit == b" ":
            assert await reader.readexactly(1) == b"\n"
        self.commands.append(command)
        self.numbers.append(number)
        if command == "open":
            await self.say(writer, number, "rsp", self.opened)
            return True
        if command == "close":
            await self.say(writer, number, "rsp", b"200 OK")
            return False
        assert command == "syslog"
        self.seen.append(data)
        return await self._reply(self.decide(len(self.seen) - 1), number, data, writer)

    async def _reply(
        self, reply: Reply, number: int, data: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        said = {Reply.ACK: b"200 OK", Reply.REFUSE: b"500 no\nmore", Reply.ODD: b"299 hm"}
        if reply in said:
            if reply is Reply.ACK:
                self.taken.append(data)
            await self.say(writer, number, "rsp", said[reply])
        elif reply is Reply.HOLD:
            self.held.append(number)
        elif reply is Reply.GARBAGE:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif reply is Reply.HALF_CLOSE:
            writer.write_eof()
        elif reply is Reply.SERVERCLOSE:
            await self.say(writer, 0, "serverclose", b"")
        elif reply is Reply.RESET:
            writer.transport.abort()
        return reply not in {Reply.CLOSE, Reply.RESET}


@asynccontextmanager
async def receiving(
    receiver: Receiver, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Serve on a loopback port."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    server.get_loop().set_exception_handler(lambda *_: None)  # failed handshakes are the point
    async with server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver
        for writer in receiver.writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
