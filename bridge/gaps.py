"""What is said of a gap, wherever it is told: in the log, downstream, by a command. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from bridge.model import Gap, GapKind
from bridge.timestamps import format_tick

_UID_BYTES: Final = 16
_WHY: Final[Mapping[GapKind, str]] = {
    GapKind.CROWDED: "at least {n:,} entries are in {stretch}, more than the API shows on a page, "
    "and it may hold others",
    GapKind.RETENTION: "entries of {stretch} may have left the API before they were read",
    GapKind.UNREADABLE: "the API fails for {stretch} while it answers for other times; it is "
    "asked again every hour",
}


def stretch(gap: Gap) -> str:
    """When, in words."""
    if gap.ceiling - gap.floor == 1:
        return format_tick(gap.floor)
    return f"{format_tick(gap.floor)} to {format_tick(gap.ceiling)}"


def sentence(gap: Gap) -> str:
    """What is not proved, and why."""
    return _WHY[gap.kind].format(n=gap.at_least, stretch=stretch(gap))


def gap_uid(app: str, gap: Gap) -> bytes:
    """The `log.record.uid` of the gap's record: the same however often it is found."""
    identity = "\0".join(["gap", app, gap.kind, str(gap.floor), str(gap.ceiling)])
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=_UID_BYTES).digest()
