"""The way in: ``fal-log-bridge`` and ``python -m bridge``.

Exit codes: 0 done, 1 failed, 2 bad usage or config. A user's mistake is one message on standard
error, never a traceback.
"""

from __future__ import annotations

import sys
from typing import Final, NoReturn

import typer

from bridge.cli import PROGRAM, app
from bridge.errors import BridgeError, ConfigError, JournalUnusable

_FAILED: Final = 1
_UNUSABLE: Final = 2
_INTERRUPTED: Final = 130


def main() -> NoReturn:
    """Run the command line and leave with its exit code.

    Usage errors, Ctrl-C within a command and a reader that closed the pipe are typer's to answer.
    """
    try:
        app(prog_name=PROGRAM)
    except BridgeError as error:
        sys.exit(_report(error))
    except BaseExceptionGroup as group:
        # A task group's errors: people's ones are said; anything else is a defect and stays one.
        expected, defects = group.split(BridgeError)
        if expected is None or defects is not None:
            raise
        sys.exit(max(_report(error) for error in _leaves(expected)))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    sys.exit(0)


def _report(error: BridgeError) -> int:
    """Say what went wrong; the exit code it means."""
    typer.echo(f"{PROGRAM}: {error}", err=True)
    return _UNUSABLE if isinstance(error, ConfigError | JournalUnusable) else _FAILED


def _leaves(group: BaseExceptionGroup[BridgeError]) -> list[BridgeError]:
    """The errors of a group, each once."""
    leaves: list[BridgeError] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


if __name__ == "__main__":
    main()
