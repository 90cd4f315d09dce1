"""A file: one line a record for people and programs, or one OTLP request a line."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from bridge.destinations.plain import json_line
from bridge.errors import ConfigError
from bridge.model import Outcome, Verdict
from bridge.payload import Request, records_of, to_json

Format = Literal["jsonl", "otlp_json"]

_MODE: Final = 0o640
_LOOK: Final = 65_536
_OUR_BEGINNING: Final = b"{"
_LONGEST: Final = 67_108_864
"""Bytes of a line beyond which it is none of ours, and not read to be looked at."""
_MENDS: Final = {
    errno.ENOENT: "make the folder, or mount it",
    errno.ENOTDIR: "a part of the path is no folder",
    errno.EISDIR: "the path is a folder: name a file in it",
    errno.EACCES: "let this process write the file and its folder",
    errno.EPERM: "let this process write the file and its folder",
    errno.EROFS: "the file system is read-only: mount it writable, or name another path",
    errno.ELOOP: "the path goes round in a circle of links",
    errno.ENAMETOOLONG: "shorten the path",
}
"""What no waiting mends, and what does."""


def json_lines(raw: bytes) -> bytes:
    """One JSON object a record, as the console prints it to a program."""
    return "".join(json_line(logs, record) for logs, _, record in records_of(raw)).encode()


def otlp_json_line(raw: bytes) -> bytes:
    """One request as one line of OTLP/JSON (OTLP specification, "File Exporter")."""
    return to_json(raw) + b"\n"


_FORMATS: Final[Mapping[Format, Callable[[bytes], bytes]]] = {
    "jsonl": json_lines,
    "otlp_json": otlp_json_line,
}


class File:
    """Appends to a file; delivered means that the lines are on the disk (fsync).

    The file is made with mode 0640 and opened again when it was moved or removed, or after
    `reopen`. Where a crash or a full disk left part of a line, that part was never acknowledged
    and is cut off again; a whole line that only lacks its end gets it. One process
    writes a file at a time.
    """

    acknowledged: Final = True

    def __init__(self, name: str, path: Path, *, format_: Format = "jsonl") -> None:
        """Prepare; the file is opened at the first send.

        Raises:
            ConfigError: the path is relative to nowhere in particular.
        """
        if not path.is_absolute():
            raise ConfigError(
                "the path of a file destination is relative", where=str(path), hint="begin with /"
            )
        self._name = name
        self._path = path
        self._render = _FORMATS[format_]
        self._descriptor: int | None = None
        self._reopen = False
        self._writing = threading.Lock()

    @property
    def name(self) -> str:
        """See `Destination.name`."""
        return self._name

    def reopen(self) -> None:
        """Open the file anew at the next send, as after a rotation."""
        self._reopen = True

    def too_large(self, request: Request) -> Outcome | None:  # noqa: ARG002 - it has no limit
        """See `Destination.too_large`."""
        return None

    async def send(self, request: Request) -> Outcome:
        """See `Destination.send`; a cancelled one may still be written."""
        return await asyncio.to_thread(self._append, request)

    async def probe(self) -> Outcome:
        """See `Destination.probe`: whether the file can be written, or made; it is not touched."""
        return await asyncio.to_thread(self._writable)

    async def aclose(self) -> None:
        """See `Destination.aclose`."""
        await asyncio.to_thread(self._close_in_turn)

    def _append(self, request: Request) -> Outcome:
        with self._writing:
            try:
                self._write(self._opened(), self._render(request.raw))
            except OSError as error:
                self._close()
                return self._failure(error)
        return Outcome(Verdict.DELIVERED)

    def _writable(self) -> Outcome:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            place = self._path.parent
        except OSError as error:
            return self._failure(error)
        else:
            if not stat.S_ISREG(there.st_mode):
                return self._failure(_NoFile())
            place = self._path
        if not place.exists():
            return self._failure(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else os.R_OK)):
            return self._failure(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        return Outcome(Verdict.DELIVERED)

    def _write(self, descriptor: int, lines: bytes) -> None:
        """Write and sync all of it, or leave the file as it was."""
        before = os.fstat(descriptor).st_size
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):  # then the next open sees to the torn line
                os.ftruncate(descriptor, before)
            raise

    def _opened(self) -> int:
        """The open file, if it is still the one at the path; else that one, mended."""
        if self._descriptor is not None and (self._reopen or self._moved(self._descriptor)):
            self._close()
        self._reopen = False
        if self._descriptor is None:
            self._descriptor = self._open()
            _mend(self._descriptor)
        return self._descriptor

    def _open(self) -> int:
        is_new = not self._path.exists()
        # Not blocking: a pipe without a reader would hold the thread for ever.
        flags = os.O_APPEND | os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, _MODE)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _NoFile
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_new:
                _sync_folder(self._path.parent)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _moved(self, descriptor: int) -> bool:
        ours = os.fstat(descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):  # a network file system tells a failed write again here
                os.close(descriptor)

    def _close_in_turn(self) -> None:
        with self._writing:
            self._close()

    def _failure(self, error: OSError) -> Outcome:
        """What waiting mends is tried again; for the rest the mend is named."""
        if isinstance(error, _NoFile):
            why = f"{self._path} is not a regular file (type: console writes to standard output)"
            return Outcome(Verdict.BLOCKED, why)
        if isinstance(error, BlockingIOError):
            why = f"{self._path} is being written by another process or destination"
            return Outcome(Verdict.BLOCKED, why)
        said = f"cannot write {self._path}: {error.strerror or error}"
        if mend := _MENDS.get(error.errno or 0):
            return Outcome(Verdict.BLOCKED, f"{said} ({mend})")
        return Outcome(Verdict.RETRY, said)


class _NoFile(OSError):
    """The path leads to a device, a pipe or a socket."""


def _mend(descriptor: int) -> None:
    """Cut off a last line that was never finished.

    Every line of ours begins with a brace and is whole JSON, or is torn. Anything else is someone
    else's, or whole but for its end, and is only ended.
    """
    size = os.fstat(descriptor).st_size
    begin = _last_line(descriptor, size)
    if begin == size:
        return
    if _is_torn(descriptor, begin, size):
        os.ftruncate(descriptor, begin)
    else:
        os.write(descriptor, b"\n")


def _is_torn(descriptor: int, begin: int, size: int) -> bool:
    """Whether the last line is a part of one of ours."""
    if size - begin > _LONGEST or os.pread(descriptor, 1, begin) != _OUR_BEGINNING:
        return False
    try:
        with os.fdopen(os.dup(descriptor), "rb") as reading:
            reading.seek(begin)
            json.loads(reading.read(size - begin))
    except ValueError:
        return True
    except RecursionError:  # deeper than any of ours
        return False
    return False


def _last_line(descriptor: int, size: int) -> int:
    """Where the last line begins; the size where it was finished."""
    end = size
    while end:
        begin = max(0, end - _LOOK)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as what it holds."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
