"""A port for another process to listen on, which has to be named before that process has it."""

from __future__ import annotations

import socket
from random import SystemRandom

_BELOW_OUTGOING = range(12_000, 32_000)
"""Not among those that systems hand out to outgoing connections, of which tests make thousands:
one of them could take the port before the process listens on it."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of the loopback address that nobody listens on just now."""
    while True:
        port = SystemRandom().choice(_BELOW_OUTGOING)
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
