"""The admin server on a real loopback port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing

import httpx
import pytest
from support.viewing import Shown

from bridge.admin.server import address_of, listening, serving
from bridge.errors import ConfigError
from bridge.telemetry import Event


def served(body: Callable[[str], Awaitable[None]], host: str = "127.0.0.1") -> list[Event]:
    """Let something happen with a server; what it told."""
    events: list[Event] = []

    async def main() -> None:
        listener = listening(host, 0)
        async with serving(Shown(trouble=ZeroDivisionError()), listener, events.append):
            await body(address_of(listener))

    asyncio.run(main())
    return events


def test_it_answers_over_http() -> None:
    """With its own port, and neither banner nor log line."""

    async def body(address: str) -> None:
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            answer = await client.get("/livez")
            assert answer.json() == {"ok": True, "reasons": []}
            assert "server" not in answer.headers

    assert served(body) == []


def test_rubbish_is_refused_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    """What is no HTTP gets a 400; nothing is printed, a defect is an event."""

    async def body(address: str) -> None:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x00\x01 not http\r\n\r\n")
        assert b"400" in await reader.readline()
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.get("/api/status")).status_code == 500

    assert len(served(body)) == 1
    assert capfd.readouterr() == ("", "")


def test_it_ends_although_somebody_is_still_connected() -> None:
    """A kept connection does not hold up the stop."""
    with socket.socket() as client:

        async def body(address: str) -> None:
            host, _, port = address.rpartition(":")
            client.connect((host, int(port)))
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" in await asyncio.to_thread(client.recv, 1024)

        served(body)
        while client.recv(1024):  # the rest of the answer, then the end
            pass


def test_a_port_in_use_is_named() -> None:
    """One message: the setting, the address, the mend."""
    with closing(listening("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            listening("127.0.0.1", port)
    message = str(caught.value)
    assert message.startswith(f"admin.listen: cannot listen on 127.0.0.1:{port}: ")
    assert "port 0" in message


def test_an_address_that_is_none() -> None:
    """Not one of this machine."""
    with pytest.raises(ConfigError, match=r"admin\.listen: cannot listen on 192\.0\.2\.1:0: "):
        listening("192.0.2.1", 0)


def test_ipv6() -> None:
    """In brackets, where the machine has it."""
    if not socket.has_ipv6:
        return
    try:
        listener = listening("::1", 0)
    except ConfigError:
        return
    with closing(listener):
        assert address_of(listener).startswith("[::1]:")
