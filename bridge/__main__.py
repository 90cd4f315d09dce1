"""The way in: ``fal-log-bridge`` and ``python -m bridge``.

Exit codes: 0 done, 1 failed, 2 bad usage or config, 130 interrupted (``run`` drains at the first
Ctrl-C, so it takes two). A user's mistake is one message on standard error, never a traceback; an
output that is closed, broken or full changes none of this.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
from importlib.util import find_spec
from typing import Final, NoReturn

import typer

from bridge.cli import PROGRAM, app
from bridge.errors import BridgeError, ConfigError, JournalUnusable

_FAILED: Final = 1
_UNUSABLE: Final = 2
_INTERRUPTED: Final = 130
_OBJECTS: Final = 250_000
"""More than a start makes, of which nothing is garbage; a service asks for less once it is built
(`bridge.app.service`)."""
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE, errno.EBADF)


def main() -> NoReturn:
    """Run the command line and leave with its exit code.

    Usage errors, Ctrl-C within a command and a reader that closed the pipe are typer's to answer.
    """
    _travel_light()
    _open_closed_streams()
    try:
        app(prog_name=PROGRAM)
    except BridgeError as error:
        sys.exit(_report(error))
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        _say(f"cannot write the output: {error.strerror or error}")
        sys.exit(_FAILED)
    except BaseExceptionGroup as group:
        # A task group's errors: people's ones are said; anything else is a defect and stays one.
        expected, defects = group.split(BridgeError)
        if expected is None or defects is not None:
            raise
        sys.exit(max(_report(error) for error in _leaves(expected)))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        _abandon_broken_streams()
    sys.exit(0)


def _travel_light() -> None:
    """What makes the start quicker and the rest cheaper (docs/decisions/0025)."""
    gc.set_threshold(_OBJECTS)
    # Where a module is None, its import fails at once: that of httpx's own command line, and that
    # which httpcore tries at each request for an anyio of old.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    if find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]


def _open_closed_streams() -> None:
    """Python has None for a standard stream that was closed: what is written there goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, open(nowhere, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - a standard stream


def _abandon_broken_streams() -> None:
    """Flush, and send elsewhere what cannot be written.

    Python would otherwise fail on it once more at the very end, with exit code 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except ValueError:  # somebody closed it
            continue


def _say(text: str) -> None:
    """One line for people, if anybody can still read it."""
    with contextlib.suppress(OSError):
        typer.echo(f"{PROGRAM}: {text}", err=True)


def _report(error: BridgeError) -> int:
    """Say what went wrong; the exit code it means."""
    _say(str(error))
    return _UNUSABLE if isinstance(error, ConfigError | JournalUnusable) else _FAILED


def _leaves(group: BaseExceptionGroup[BridgeError]) -> list[BridgeError]:
    """The errors of a group, each once."""
    leaves: list[BridgeError] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


if __name__ == "__main__":
    main()
