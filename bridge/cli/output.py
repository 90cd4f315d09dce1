"""What commands share that show or ask for something: tables, times, text, one JSON document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from bridge import settings
    from bridge.model import Json

_WIDE: Final = 200
"""Columns where the output is no terminal: lines are for programs to cut."""
_MINUTE: Final = 60


def say_json(document: Json) -> None:
    """Print a document; nothing in it can drive a terminal."""
    import json  # noqa: PLC0415 - keeps --help quick

    # DEL is the one character that drives a terminal and that JSON leaves as it is.
    typer.echo(json.dumps(document, indent=2).replace("\x7f", "\\u007f"))


def console() -> Console:
    """Standard output for tables: as wide as the terminal, or wide where it is none."""
    import sys  # noqa: PLC0415 - keeps --help quick

    from rich.console import Console  # noqa: PLC0415

    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, markup=False, emoji=False, highlight=False)


def table(*columns: str) -> Table:
    """An empty table without lines."""
    from rich.table import Table  # noqa: PLC0415 - keeps --help quick

    rows = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        rows.add_column(column, overflow="fold")
    return rows


def moment(tick: int) -> str:
    """A time, ISO 8601, UTC."""
    from bridge.timestamps import format_tick  # noqa: PLC0415 - keeps --help quick

    return format_tick(tick)


def ago(seconds: float) -> str:
    """A length of time, to the second above a minute."""
    from bridge.settings import format_duration  # noqa: PLC0415 - keeps --help quick

    return format_duration(round(seconds, 1) if seconds < _MINUTE else float(round(seconds)))


def size(count: int) -> str:
    """A number of bytes, for people."""
    from rich.filesize import decimal  # noqa: PLC0415 - keeps --help quick

    return decimal(count)


def writable(text: str) -> str:
    """Text that standard output can show and that cannot steer it: servers' words are part of it.

    What does not print, or is not of the output's encoding, is written out.
    """
    import sys  # noqa: PLC0415 - keeps --help quick

    from bridge.telemetry.log import safe  # noqa: PLC0415

    encoding = sys.stdout.encoding or "utf-8"
    return safe(text).encode(encoding, "backslashreplace").decode(encoding)


def start(text: str, option: str) -> settings.Start:
    """A moment as an option gives it.

    Raises:
        typer.BadParameter: it is none.
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick

    try:
        return settings.parse_start(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
