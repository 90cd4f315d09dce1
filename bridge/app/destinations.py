"""A person's orders for destinations, beside a running bridge or without one."""

from __future__ import annotations

from bridge import settings
from bridge.journal import Backlog
from bridge.journal.orders import Orders


def forget(config: settings.Settings, name: str) -> Backlog:
    """Forget a destination; what it held, which is given up.

    Raises:
        JournalError: a running bridge delivers to it, it has dead letters, or it is not known.
        JournalUnusable: there is no journal, or it cannot be used.
    """
    with Orders.open(config.journal.path) as orders:
        return orders.forget(name)


def pause(config: settings.Settings, name: str, *, paused: bool) -> bool:
    """Let a destination rest, or go on; False where that is so already.

    Raises:
        JournalError: it is not known.
        JournalUnusable: there is no journal, or it cannot be used.
    """
    with Orders.open(config.journal.path) as orders:
        return orders.pause(name, paused=paused)
