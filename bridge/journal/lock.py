"""One process at a time: a lock file beside the journal.

It says who holds it: the process id and, where that does one task and takes no orders, the task.
"""

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
        self._path = _file(journal)
        self._fd: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._fd)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").partition("\n")[0]
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
        fd = os.open(_file(journal), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def say_task(journal: Path, task: str) -> None:
    """Say, as the process that holds the journal, that this task is all it does.

    Raises:
        OSError: the lock file cannot be written.
    """
    with _file(journal).open("a", encoding="utf-8") as file:
        file.write(f"{task}\n")


def task_of(journal: Path) -> str:
    """What the process that holds the journal does, and nothing else; empty for a bridge, or none.

    Raises:
        OSError: the lock file is there but cannot be read.
    """
    if not is_held(journal):
        return ""
    return _file(journal).read_text("utf-8", "replace").partition("\n")[2].strip()


def _file(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.lock")


def _take(fd: int) -> None:
    """Lock for one alone; who only looks (`is_held`) shares it for a moment and is no rival."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        else:
            return
