"""``fal-log-bridge audit``: proves a closed window complete, or names what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import AsJson, Config
from bridge.cli.output import start

if TYPE_CHECKING:
    from bridge.app.audit import Audited
    from bridge.app.audit import Progress as Told
    from bridge.model import Entry
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
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Read a closed window again and compare it with what was journaled.

    Works beside a running bridge. Exits with 0 if everything is proved to be there, else with 1.

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
        otherwise=_given(config, repair=repair, as_json=as_json),
    )
    loaded = settings.load(config)
    with _progress() as progress:
        emit = LogWriter(sys.stderr, SystemClock(), human=sys.stderr.isatty())
        audited = asyncio.run(work.run(loaded, real_world(emit), asked, progress))
    if as_json:
        typer.echo(json.dumps(work.as_json(audited), indent=2))
    else:
        for line in _lines(audited):
            typer.echo(line)
    raise typer.Exit(0 if audited.complete else 1)


def _given(config: Path | None, *, repair: bool, as_json: bool) -> str:
    """The options that say nothing of window and apps, as they were given."""
    import shlex  # noqa: PLC0415 - keeps --help quick

    flags = [("--repair", repair), ("--json", as_json)]
    place = [f"--config {shlex.quote(str(config))}"] if config else []
    return " ".join([*(name for name, wanted in flags if wanted), *place])


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


def entry_line(entry: Entry) -> str:
    """One entry for people: its time, level and message, with nothing that drives a terminal."""
    from bridge.app.rereading import glimpse  # noqa: PLC0415 - keeps --help quick
    from bridge.telemetry.log import safe  # noqa: PLC0415

    seen = glimpse(entry)
    return safe(f"{seen.time or 'no time'} {seen.level or ''} {seen.message}")


def _lines(audited: Audited) -> Iterator[str]:
    for result in audited.results:
        yield from _result_lines(result)
        yield ""
    yield from _summary(audited)


def _summary(audited: Audited) -> Iterator[str]:
    """What it comes to, and what is to be done; whether anything is missing is the last line."""
    results = audited.results
    failed = sum(bool(result.error) for result in results)
    if failed:
        yield f"{_number(failed, 'app')} of {len(results):,} not audited to the end, see above."
    if lost := sum(result.lost for result in results):
        yield (
            f"{_number(lost, 'delivery', 'deliveries')} lost: journaled, but gone from the journal "
            "before anyone acknowledged them. No repair brings them back; a bridge with a new "
            "journal reads again what fal still shows."
        )
    missing = sum(result.missing for result in results)
    left = missing - sum(result.repaired for result in results)
    unproved = sum(result.unproved for result in results)
    doubt = f"; {_number(unproved, 'stretch', 'stretches')} cannot be proved" if unproved else ""
    if left:
        stop = "Stop the bridge and add" if audited.held else "Add"
        yield f"{left:,} missing{doubt}. {stop} --repair to journal them."
    elif missing:
        yield f"{missing:,} were missing and are journaled now; the next run delivers them{doubt}."
    elif failed:
        yield f"Nothing is missing of what was read{doubt}."
    elif unproved:
        yield f"Nothing is missing of what the API shows{doubt}."
    else:
        yield "Nothing is missing."


def _number(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def _result_lines(result: Result) -> Iterator[str]:
    from bridge.telemetry.log import safe  # noqa: PLC0415 - keeps --help quick
    from bridge.timestamps import format_tick  # noqa: PLC0415

    yield f"{result.app}, {format_tick(result.floor)} to {format_tick(result.ceiling)}"
    if result.error:
        yield safe(f"  not audited: {result.error}")
        if result.reached == result.ceiling:
            return
        yield f"  the figures are of {format_tick(result.reached)} on"
    yield f"  in the API       {result.in_api:>12,}"
    yield f"  journaled        {result.journaled:>12,}"
    yield f"  dropped by rule  {result.dropped_by_rule:>12,}"
    yield f"  missing          {result.missing:>12,}"
    yield f"  surplus          {result.surplus:>12,}{_surplus_note(result)}"
    for share in result.shares:
        lost = f", {share.lost:,} lost" if share.lost else ""
        unknown = f", {share.unknown:,} not known" if share.unknown else ""
        yield (
            f"  {share.destination}: {share.delivered:,} delivered, {share.waiting:,} waiting, "
            f"{share.dead_lettered:,} dead-lettered{lost}{unknown}"
        )
    for gap in result.gaps:
        yield (
            f"  cannot be proved ({gap.kind}): {format_tick(gap.floor)} to "
            f"{format_tick(gap.ceiling)}, at least {gap.at_least:,} entries"
        )
    yield from _more(result.unproved, len(result.gaps), "such stretches")
    for item in result.first_missing:
        yield f"  missing: {entry_line(item.entry)}"
    yield from _more(result.missing, len(result.first_missing), "missing")


def _surplus_note(result: Result) -> str:
    if not result.surplus:
        return ""
    return "  (journaled, but the API shows it no longer: it keeps entries for a time only)"


def _more(count: int, listed: int, what: str) -> Iterator[str]:
    if count > listed:
        yield f"  and {count - listed:,} more {what}"
