"""The error tree: every error says what failed, where, and what to do about it.

Only these cross a room's border; foreign exceptions are translated once, at the edge where they
appear, ``from`` the original. None of them may carry a secret.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from errno import errorcode
from typing import Final

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class BridgeError(Exception):
    """What failed, where (a file, a URL, a setting), and the mend as a hint for people."""

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.what}{mend}"


class ConfigError(BridgeError):
    """The configuration cannot be used; the process ends with exit code 2."""


class ApiError(BridgeError):
    """The Logs API did not give a usable page. ``status`` is its HTTP status, if there was one."""

    def __init__(
        self, what: str, *, where: str = "", hint: str = "", status: int | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status


class ApiUnavailable(ApiError):
    """No answer, a 5xx, or an answer that is not a whole JSON array: ask again later."""


class ApiThrottled(ApiError):
    """A 429. ``retry_after`` is the wait the server asked for, in seconds, if it named one."""

    def __init__(self, what: str, *, where: str = "", retry_after: float | None = None) -> None:
        super().__init__(what, where=where, status=429)
        self.retry_after = retry_after


class ApiUnauthorized(ApiError):
    """A 401 or 403: the key is wrong, revoked, or may not read logs."""


class ApiRefused(ApiError):
    """Another 4xx: the request itself is not accepted; the server's ``detail`` says why."""


class ApiLimitRefused(ApiRefused):
    """The request's ``limit`` is more than the server accepts: ask with a smaller one."""


class ApiAnswerTooLarge(ApiError):
    """The answer passed the size cap: ask again with a smaller ``limit``."""


class ApiContractBroken(ApiError):
    """A page that is not newest first or reaches outside its bounds: reading on would lose."""


class JournalError(BridgeError):
    """The journal could not store or read; nothing that was not committed counts."""


class JournalUnusable(JournalError):
    """The file is corrupt, foreign, of a newer schema, locked or not writable: start refused."""


class JournalFull(JournalError):
    """Live batches fill ``max_bytes``; ``held_by`` names the destination that keeps them."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", held_by: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.held_by = held_by


class DeadLettersFull(JournalError):
    """New dead letters do not fit in their bound; nothing of the call was stored."""


class BackfillStopped(JournalError):
    """The backfill was stopped or forgotten by command; nothing of the call was stored."""


def proxy_error(error: Exception) -> ConfigError:
    """What building an HTTP client came to because of the proxy that the environment names.

    Args:
        error: httpx's own: ``ImportError`` (a SOCKS proxy and no socksio), ``ValueError`` or
            ``httpx.InvalidURL``. Its text is not shown, since it may quote a proxy's password.
    """
    unsupported = isinstance(error, ImportError)
    return ConfigError(
        "a SOCKS proxy is not supported" if unsupported else "the proxy's address cannot be used",
        where="the proxy variables (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)",
        hint="give the address of an HTTP proxy, as in http://proxy.example.com:3128",
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that stands behind it, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from causes(inner)
        error = error.__cause__ or error.__context__


def network_error_in(error: BaseException) -> str:
    """What the operating system said behind an error, such as "Connection refused"; else empty.

    Where every address of a host was tried, asyncio joins the texts of several errors in one.
    """
    for link in causes(error):
        if not isinstance(link, OSError) or isinstance(link, ssl.SSLError):
            continue
        if link.errno:
            return os.strerror(link.errno) if link.errno in errorcode else link.strerror or ""
        if among_several := _ERRNO.search(str(link)):
            return os.strerror(int(among_several[1]))
    return ""
