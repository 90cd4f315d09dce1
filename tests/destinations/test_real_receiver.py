"""What only a real OTLP receiver can show; the contract suite has it take what we send."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from destinations.requests import request
from destinations.rotel import Rotel, rotel

from bridge.destinations.otlp_grpc import OtlpGrpc
from bridge.destinations.tls import Tls
from bridge.model import Outcome, Verdict

pytestmark = pytest.mark.server("rotel")


def grpc(peer: Rotel) -> OtlpGrpc:
    """OTLP/gRPC to the receiver."""
    url = f"http://127.0.0.1:{peer.grpc}"
    return OtlpGrpc("backend", url, {}, compression="none", timeout=30, tls=Tls())


def test_its_limit_on_messages_is_too_large(tmp_path: Path) -> None:
    """It says so in words of its own, with a status of its own, and takes what is smaller."""

    async def main() -> None:
        async with rotel(tmp_path, build=grpc) as rig:
            large = await rig.destination.send(request("large", body="x" * 70_000_000))
            assert large.verdict is Verdict.TOO_LARGE
            assert await rig.destination.send(request("a")) == Outcome(Verdict.DELIVERED)
            assert await rig.peer.arrived(1) == ["a"]

    asyncio.run(main())
