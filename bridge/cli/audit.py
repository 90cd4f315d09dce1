"""``fal-log-bridge audit``: proves a closed window complete, or names what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge import settings
    from bridge.app.audit import Progress as Told
    from bridge.source.audit import Result


def audit(
    *,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="From here: an ISO 8601 time, or so long ago.")
    ],
    until: Annotated[
        str, typer.Option(metavar="TIME", help="Up to here, exclusive; written like --since.")
    ],
    app: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this app, by name; may be repeated."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Journal what is missing. The bridge must not run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="Config file; else BRIDGE_CONFIG, else the one in /etc, if there."),
    ] = None,
) -> None:
    """Read a closed window again and compare it with what was journaled.

    Works beside a running bridge. Exits with 0 if nothing is missing, with 1 if something is.

    Example: fal-log-bridge audit --since 2h --until 30m
    """
    import asyncio  # noqa: PLC0415 - keeps --help quick
    import json  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from bridge import settings  # noqa: PLC0415
    from bridge.app import audit as work  # noqa: PLC0415
    from bridge.app.parts import real_world  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415
    from bridge.telemetry.log import LogWriter  # noqa: PLC0415

    asked = work.Asked(
        since=start(since, "--since"),
        until=start(until, "--until"),
        apps=app or (),
        repair=repair,
    )
    loaded = settings.load(config)
    with _progress() as progress:
        emit = LogWriter(sys.stderr, SystemClock(), human=sys.stderr.isatty())
        results = asyncio.run(work.run(loaded, real_world(emit), asked, progress))
    if as_json:
        typer.echo(json.dumps(work.as_json(results), indent=2))
    else:
        for line in _lines(results):
            typer.echo(line)
    raise typer.Exit(0 if all(result.complete for result in results) else 1)


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


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar for each app on standard error, if that is a terminal."""
    import sys  # noqa: PLC0415 - keeps --help quick

    if not sys.stderr.isatty():
        yield lambda _app, _done: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, TaskID  # noqa: PLC0415

    tasks: dict[str, TaskID] = {}
    console = Console(stderr=True, markup=False)
    with Progress(console=console, transient=True) as bars:

        def show(app: str, done: float) -> None:
            if app not in tasks:
                tasks[app] = bars.add_task(app, total=1.0)
            bars.update(tasks[app], completed=done)

        yield show


def _lines(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        yield from _result_lines(result)
    missing = sum(result.missing for result in results)
    repaired = sum(result.repaired for result in results)
    if not missing:
        yield "Nothing is missing."
    elif repaired == missing:
        yield f"{missing:,} were missing and are journaled now; the next run delivers them."
    else:
        yield f"{missing - repaired:,} missing. Stop the bridge and add --repair to journal them."


def _result_lines(result: Result) -> Iterator[str]:
    from bridge.app.audit import entry_json  # noqa: PLC0415 - keeps --help quick
    from bridge.telemetry.log import safe  # noqa: PLC0415
    from bridge.timestamps import format_tick  # noqa: PLC0415

    yield f"{result.app}, {format_tick(result.floor)} to {format_tick(result.ceiling)}"
    yield f"  in the API       {result.in_api:>12,}"
    yield f"  journaled        {result.journaled:>12,}"
    yield f"  dropped by rule  {result.dropped_by_rule:>12,}"
    yield f"  missing          {result.missing:>12,}"
    yield f"  surplus          {result.surplus:>12,}{_surplus_note(result)}"
    for share in result.shares:
        unknown = f", {share.unknown:,} not known" if share.unknown else ""
        yield (
            f"  {share.destination}: {share.delivered:,} delivered, {share.waiting:,} waiting, "
            f"{share.dead_lettered:,} dead-lettered{unknown}"
        )
    for gap in result.gaps:
        yield (
            f"  cannot be proved ({gap.kind}): {format_tick(gap.floor)} to "
            f"{format_tick(gap.ceiling)}, at least {gap.at_least:,} entries"
        )
    yield from _more(result.unproved, len(result.gaps), "such stretches")
    for item in result.first_missing:
        shown = entry_json(item.entry)
        level = shown["level"] or ""
        yield safe(f"  missing: {shown['time'] or 'no time'} {level} {shown['message']}")
    yield from _more(result.missing, len(result.first_missing), "missing")
    yield ""


def _surplus_note(result: Result) -> str:
    if not result.surplus:
        return ""
    return "  (journaled, but the API shows it no longer: it keeps entries for a time only)"


def _more(count: int, listed: int, what: str) -> Iterator[str]:
    if count > listed:
        yield f"  and {count - listed:,} more {what}"
