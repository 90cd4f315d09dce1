"""``fal-log-bridge destinations``: those that the journal knows, and orders for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bridge.cli import plain_typer
from bridge.cli.options import AsJson, Config
from bridge.cli.output import console, say_json, size
from bridge.cli.status import destination_notes, destinations_table

app = plain_typer(no_args_is_help=True)

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The destination.")]


@app.callback()
def _group() -> None:
    """List, pause, resume or forget destinations.

    Example: fal-log-bridge destinations list
    """


@app.command("list")
def list_(
    *,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show every destination that the journal knows, and what it keeps for it.

    Example: fal-log-bridge destinations list
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import status as work  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415

    now = work.status(settings.load(config), SystemClock())
    if as_json:
        say_json({"destinations": work.destinations_json(now)})
        return
    out = console()
    out.print(destinations_table(now))
    for line in destination_notes(now):
        out.print(line, soft_wrap=True)


@app.command()
def forget(name: Name, *, config: Config = None) -> None:
    """Forget a destination, and give up what is kept for it alone.

    Refused while a running bridge delivers to it, and while it has dead letters.

    Example: fal-log-bridge destinations forget old-collector
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import destinations as work  # noqa: PLC0415

    loaded = settings.load(config)
    held = work.forget(loaded, name)
    waiting = f"{held.records:,} undelivered entries ({size(held.bytes)})"
    typer.echo(f"{name} is forgotten; it held {waiting if held.records else 'nothing'}.")
    if any(one.name == name for one in loaded.destinations):
        typer.echo(f"{name} is still configured: at the next start it is a new one.")


@app.command()
def pause(name: Name, *, config: Config = None) -> None:
    """Send nothing to a destination until it is resumed; what comes is kept for it.

    Example: fal-log-bridge destinations pause collector
    """
    _pause(name, config, paused=True)


@app.command()
def resume(name: Name, *, config: Config = None) -> None:
    """Let a paused destination go on.

    Example: fal-log-bridge destinations resume collector
    """
    _pause(name, config, paused=False)


def _pause(name: str, config: Path | None, *, paused: bool) -> None:
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import destinations as work  # noqa: PLC0415

    changed = work.pause(settings.load(config), name, paused=paused)
    if not changed:
        typer.echo(f"{name} was paused already." if paused else f"{name} was not paused.")
    elif paused:
        typer.echo(f"{name} is paused; a running bridge stops sending to it within seconds.")
    else:
        typer.echo(f"{name} goes on; a running bridge sends to it again within seconds.")
