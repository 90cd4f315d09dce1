"""What the contract suite asks of a destination's surroundings: a peer that it can direct.

To join the suite, write a `Peer` and an ``Open`` around it, and name both by a `Case` in
``test_contract.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol, TypeAlias

import pytest

from bridge.destinations import Destination
from bridge.model import Verdict

SECRET = "hunter2-hunter2"
"""A credential for destinations that have one; no reason may show it."""


class Met(Enum):
    """How a peer meets one request, by what it carries."""

    TAKEN = auto()
    TROUBLED = auto()
    """Not taken, for a reason that passes."""
    TOO_LARGE = auto()
    REJECTED = auto()
    BLOCKED = auto()
    """Not taken, for a reason that only a person mends."""
    UNANSWERED = auto()
    """Taken, and the connection ends before that is said."""
    SILENT = auto()
    """Neither taken nor answered, ever."""


Decide: TypeAlias = Callable[[Sequence[str]], Met]
"""How a request is met, by the uids of its records."""


def takes(_: Sequence[str]) -> Met:
    """All is well."""
    return Met.TAKEN


def script(mets: Iterable[Met]) -> Decide:
    """The next requests are met like this; then all is well."""
    plan = iter(mets)
    return lambda _: next(plan, Met.TAKEN)


class Peer(Protocol):
    """What stands behind a destination; it runs when the suite gets it."""

    decide: Decide
    """Asked about each request that comes; may be replaced at any time."""

    async def start(self) -> None:
        """Be there again, at the same address, with what has arrived so far."""
        ...

    async def stop(self) -> None:
        """Be gone, and every connection with it."""
        ...

    async def reached(self) -> None:
        """Return once a request has come, since the peer began or since the last call."""
        ...

    async def arrived(self, records: int) -> list[str]:
        """The uids taken so far, with repeats; waits for so many if that takes time."""
        ...

    async def shown(self, uid: str) -> str:
        """The text of a record that has arrived, as people find it there."""
        ...


@dataclass(frozen=True)
class Rig:
    """A destination named ``backend`` and its peer."""

    destination: Destination
    peer: Peer


Open: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Rig]]
"""Builds and starts both, in a folder of their own, and closes them."""


@dataclass(frozen=True)
class Case:
    """One kind of destination; ``meets`` is what its peer can do besides taking.

    ``marks`` name the servers that it needs. ``acknowledged`` is whether it is more than best
    effort, ``notices`` whether a probe can tell that the peer is away, ``away`` the verdict on a
    request while it is. Requests to one that ``takes_turns`` wait for each other. One that
    ``rewrites`` shows control characters by name and cuts what is too long.
    """

    open: Open
    meets: frozenset[Met] = frozenset(Met) - {Met.TAKEN}
    marks: tuple[pytest.MarkDecorator, ...] = ()
    acknowledged: bool = True
    notices: bool = True
    away: Verdict = Verdict.RETRY
    takes_turns: bool = False
    rewrites: bool = False
