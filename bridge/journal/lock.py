"""One process at a time: a lock file beside the journal."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bridge.errors import JournalUnusable


class Lock:
    """Held from construction to `release`, or until the process ends, however it ends.

    The file stays when the lock goes: unlinking it would let two processes hold two files of one
    name. What counts is the lock on it (flock(2)), not its presence.
    """

    def __init__(self, journal: Path) -> None:
        """Take the lock of a journal file.

        Raises:
            JournalUnusable: another process holds it.
            OSError: the lock file cannot be made or locked.
        """
        self._path = journal.with_name(f"{journal.name}.lock")
        self._fd: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._fd)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise JournalUnusable(
                f"in use by another process (pid {holder or 'unknown'})",
                where=str(journal),
                hint="stop that one, or give this one a journal.path of its own",
            ) from error
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let the next process in. Does nothing the second time."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def is_held(journal: Path) -> bool:
    """Does a process hold the journal at this moment?

    Raises:
        OSError: the lock file is there but cannot be opened.
    """
    try:
        fd = os.open(journal.with_name(f"{journal.name}.lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _take(fd: int) -> None:
    """Lock for one alone; who only looks (`is_held`) shares it for a moment and is no rival."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        else:
            return
