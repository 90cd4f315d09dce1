"""``fal-log-bridge check``: tries the config out and shows what to mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bridge.cli.options import AsJson, Config
from bridge.cli.output import writable

if TYPE_CHECKING:
    from bridge.app.check import Row
    from bridge.settings import Settings

_MARKS: Final = {"ok": "✓", "failed": "✗", "unknown": "?"}
_PLAIN_MARKS: Final = {"ok": "ok", "failed": "FAILED", "unknown": "?"}
_STYLES: Final = {"ok": "green", "failed": "bold red", "unknown": "yellow"}


def check(
    *,
    app: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this app, by name, no destination; may be repeated."
        ),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Also send each destination one marked test record.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Try the config, the key, every app and destination out, and see how the API behaves.

    Reads a few pages of logs, connects to the destinations and changes nothing, but for the test
    records of --send. Exits with 0 if all is fine, with 1 if something has to be mended, with 2 if
    the config cannot be used.

    Example: fal-log-bridge check --app startup-timeout

    Example: fal-log-bridge check --send
    """
    import asyncio  # noqa: PLC0415 - keeps --help quick
    import json  # noqa: PLC0415

    from bridge import settings  # noqa: PLC0415
    from bridge.app import check as work  # noqa: PLC0415

    if send and app:
        raise typer.BadParameter(
            "goes to the destinations, which --app leaves out", param_hint="--send"
        )
    loaded = settings.load(config)
    with _waiting():
        rows = asyncio.run(_tried(loaded, app or [], send=send))
    if as_json:
        typer.echo(json.dumps(work.as_json(rows), indent=2))
    else:
        _show(rows)
    raise typer.Exit(1 if work.failed(rows) else 0)


async def _tried(config: Settings, names: list[str], *, send: bool) -> list[Row]:
    import sys  # noqa: PLC0415 - keeps --help quick

    from msgspec.structs import replace  # noqa: PLC0415

    from bridge.app import check as work  # noqa: PLC0415
    from bridge.app.parts import real_world  # noqa: PLC0415

    # What the API does is in the rows: the events that `run` would log would only repeat it.
    # Standard output is for the rows: a console's test record must not stand among them.
    world = replace(real_world(lambda _: None), out=sys.stderr.buffer)
    return [row async for row in work.check(config, world, names, send=send)]


@contextmanager
def _waiting() -> Iterator[None]:
    """A sign of life on standard error, if that is a terminal."""
    import sys  # noqa: PLC0415 - keeps --help quick

    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True).status("trying things out"):
        yield


def _show(rows: Sequence[Row]) -> None:
    """A table on a terminal, a line for each row elsewhere."""
    import sys  # noqa: PLC0415 - keeps --help quick

    known = "".join(_MARKS.values())
    marks = _MARKS if writable(known) == known else _PLAIN_MARKS
    if not sys.stdout.isatty():
        for row in rows:
            mend = f" ({row.mend})" if row.mend else ""
            line = f"{marks[row.mark]} {row.target}: {row.check}: {row.finding}{mend}"
            typer.echo(writable(line))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("", "check", "finding", "note"):
        table.add_column(column, overflow="fold")
    target = ""
    for row in rows:
        if row.target != target:
            target = row.target
            table.add_section()
            table.add_row("", Text(writable(target), style="bold"))
        mark = Text(marks[row.mark], style=_STYLES[row.mark])
        table.add_row(mark, *(Text(writable(t)) for t in (row.check, row.finding, row.mend)))
    Console().print(table)
