"""``fal-log-bridge status``: what the journal tells of apps and destinations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.model import SECOND

if TYPE_CHECKING:
    from rich.table import Table

    from bridge.app.status import AppStatus, Status

_WIDE = 200
"""Columns where the output is no terminal: lines are for programs to cut."""
_MINUTE = 60


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="Config file; else BRIDGE_CONFIG, else the one in /etc, if there."),
    ] = None,
) -> None:
    """Show where every app and every destination stands.

    Reads the journal only, and works beside a running bridge.

    Example: fal-log-bridge status --json
    """
    import json  # noqa: PLC0415 - keeps --help quick

    from bridge import settings  # noqa: PLC0415
    from bridge.app import status as work  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415

    now = work.status(settings.load(config), SystemClock())
    if as_json:
        typer.echo(json.dumps(work.as_json(now), indent=2))
    else:
        _show(now)


def _show(now: Status) -> None:
    import sys  # noqa: PLC0415 - keeps --help quick

    from rich.console import Console  # noqa: PLC0415
    from rich.filesize import decimal  # noqa: PLC0415

    width = None if sys.stdout.isatty() else _WIDE
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    console.print(_apps(now))
    console.print()
    console.print(_destinations(now))
    console.print()
    for app in now.apps:
        for line in _gaps(app):
            console.print(line, soft_wrap=True)
    held = "a bridge runs on it" if now.held else "no bridge runs on it"
    size = f"{decimal(now.live_bytes)} of {decimal(now.max_bytes)}"
    console.print(f"journal {now.path}: {size} waiting, {held}", soft_wrap=True)


def _apps(now: Status) -> Table:
    table = _table("app", "position", "lag", "swept up to", "came late", "gaps")
    for app in now.apps:
        record, late = app.standing.record, app.lateness
        swept = [
            f"{_ago(age / SECOND)}: {_ago(now.age(cursor))} ago"
            for age, cursor in sorted(record.swept.items())
        ]
        table.add_row(
            record.name,
            _moment(record.position),
            _ago(now.age(record.position)),
            "\n".join(swept) or "-",
            "-"
            if late is None
            else f"{late.entries:,}, median {_ago(late.median / SECOND)}, "
            f"latest {_ago(late.latest / SECOND)}",
            f"{app.standing.open_gaps:,}",
        )
    return table


def _destinations(now: Status) -> Table:
    from rich.filesize import decimal  # noqa: PLC0415 - keeps --help quick

    table = _table("destination", "cursor", "waiting", "size", "oldest", "dead letters")
    for one in now.destinations:
        table.add_row(
            one.name if one.in_use else f"{one.name} (not in use)",
            f"{one.cursor}",
            f"{one.records:,}",
            decimal(one.bytes),
            "-" if one.oldest is None else f"{_ago(now.age(one.oldest))} ago",
            f"{one.dead_letters:,}",
        )
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table  # noqa: PLC0415 - keeps --help quick

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _gaps(app: AppStatus) -> list[str]:
    return [
        f"{app.standing.record.name}: cannot be proved complete ({one.gap.kind}): "
        f"{_moment(one.gap.floor)} to {_moment(one.gap.ceiling)}, "
        f"at least {one.gap.at_least:,} entries"
        for one in app.gaps
    ]


def _moment(tick: int) -> str:
    from bridge.timestamps import format_tick  # noqa: PLC0415 - keeps --help quick

    return format_tick(tick)


def _ago(seconds: float) -> str:
    from bridge.settings import format_duration  # noqa: PLC0415 - keeps --help quick

    return format_duration(round(seconds, 1) if seconds < _MINUTE else float(round(seconds)))
