"""A gRPC server on a loopback port that does what a test wants with each export."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import grpc
from grpc import aio

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


@dataclass(frozen=True)
class Call:
    """One export: the bytes and metadata that came."""

    body: bytes
    metadata: dict[str, str | bytes]
    _context: aio.ServicerContext[bytes, bytes]

    async def fail(
        self, code: grpc.StatusCode, said: str = "", *trailers: tuple[str, str | bytes]
    ) -> NoReturn:
        """End it with a status."""
        await self._context.abort(code, said, trailers)

    async def never(self) -> NoReturn:
        """Leave it without an answer until the other side or this server goes."""
        await asyncio.Event().wait()
        raise AssertionError

    def time_left(self) -> float:
        """Seconds that the client gave it."""
        left = self._context.time_remaining()
        assert left is not None
        return float(left)


class GrpcReceiver:
    """The server; it keeps its port when it is started again."""

    def __init__(
        self,
        answer: Callable[[Call], Awaitable[bytes]],
        credentials: grpc.ServerCredentials | None = None,
        *options: tuple[str, Any],
        method: str = METHOD,
    ) -> None:
        """``method`` is the only one there is."""
        self.port = 0
        self._answer = answer
        self._credentials = credentials
        self._options = options
        self._method = method
        self._server: aio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = aio.server(options=self._options)
        self._server.add_generic_rpc_handlers((_Handler(self._answer, self._method),))
        address = f"127.0.0.1:{self.port}"
        self.port = (
            self._server.add_secure_port(address, self._credentials)
            if self._credentials
            else self._server.add_insecure_port(address)
        )
        await self._server.start()

    async def stop(self) -> None:
        """Go, and every connection with it."""
        assert self._server is not None
        await self._server.stop(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, answer: Callable[[Call], Awaitable[bytes]], method: str) -> None:
        self._answer = answer
        self._method = method

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        async def export(body: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
            metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
            return await self._answer(Call(body, metadata, context))

        if handler_call_details.method != self._method:
            return None
        return grpc.unary_unary_rpc_method_handler(export)
