"""``fal-log-bridge status``: what the journal tells of apps and destinations."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from bridge.cli.options import AsJson, Config
from bridge.cli.output import ago, console, moment, say_json, size, table, writable
from bridge.model import SECOND

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from bridge.app.status import AppStatus, Status
    from bridge.model import Backfill

_FULL: Final = 0.9
"""The share of room for dead letters from which on they are called full: they come in lots."""
_LEAST_PAUSE: Final = 0.1


def status(
    *,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again on a terminal, until Ctrl-C.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="With --watch: so often. [default: 2s]"),
    ] = None,
    config: Config = None,
) -> None:
    """Show where every app and every destination stands.

    Reads the journal only, and works beside a running bridge.

    Example: fal-log-bridge status --json

    Example: fal-log-bridge status --watch --every 5s
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import status as work  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415

    pause = _pause(every, watch=watch, as_json=as_json)
    loaded, clock = settings.load(config), SystemClock()
    now = work.status(loaded, clock)
    if as_json:
        say_json(work.as_json(now))
    elif watch:
        _watch(now, lambda: work.status(loaded, clock), pause)
    else:
        _show(now, console())


def _pause(every: str | None, *, watch: bool, as_json: bool) -> float:
    """The seconds between two looks.

    Raises:
        typer.BadParameter: the options make no sense together, or there.
    """
    import sys  # noqa: PLC0415 - keeps --help quick

    from bridge import settings  # noqa: PLC0415

    if every is not None and not watch:
        raise typer.BadParameter("only means something together with --watch", param_hint="--every")
    if watch and (as_json or not sys.stdout.isatty()):
        raise typer.BadParameter(
            "needs a terminal to redraw; scripts ask for --json as often as they like",
            param_hint="--watch",
        )
    try:
        pause = settings.parse_duration(every or "2s")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--every") from error
    if pause < _LEAST_PAUSE:
        raise typer.BadParameter("must be at least 100ms", param_hint="--every")
    return pause


def _watch(now: Status, again: Callable[[], Status], pause: float) -> NoReturn:
    """Redraw the whole screen for each look; Ctrl-C ends it and gives the screen back."""
    import time  # noqa: PLC0415 - keeps --help quick

    from rich.control import Control  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    out = console()
    with out.screen(hide_cursor=True) as screen:
        while True:
            with out.capture() as drawn:
                _show(now, out)
            said = f"{moment(now.now)}, every {ago(pause)}; Ctrl-C ends it"
            out.control(Control.home())
            screen.update(Text.from_ansi(f"{said}\n\n{drawn.get()}", no_wrap=True))
            time.sleep(pause)
            now = again()


def _show(now: Status, out: Console) -> None:
    out.print(_apps(now))
    out.print()
    out.print(destinations_table(now))
    out.print()
    if now.backfills:
        out.print(backfills_table(now.backfills))
        out.print()
    for line in backfill_notes(now.backfills):
        out.print(writable(line), soft_wrap=True)
    for app in now.apps:
        for line in _gaps(app):
            out.print(line, soft_wrap=True)
    for line in destination_notes(now):
        out.print(line, soft_wrap=True)
    for line in _dead_letters(now):
        out.print(line, soft_wrap=True)
    held = "a bridge runs on it" if now.held else "no bridge runs on it"
    share = f"{size(now.live_bytes)} of {size(now.max_bytes)}"
    out.print(f"journal {now.path}: {share} waiting, {held}", soft_wrap=True)


def _apps(now: Status) -> Table:
    rows = table("app", "position", "lag", "swept up to", "came late", "gaps")
    for app in now.apps:
        record, late = app.standing.record, app.lateness
        swept = [
            f"{ago(age / SECOND)}: {ago(now.age(cursor))} ago"
            for age, cursor in sorted(record.swept.items())
        ]
        rows.add_row(
            record.name,
            moment(record.position),
            ago(now.age(record.position)),
            "\n".join(swept) or "-",
            "-"
            if late is None
            else f"{late.entries:,}, median {ago(late.median / SECOND)}, "
            f"latest {ago(late.latest / SECOND)}",
            f"{app.standing.open_gaps:,}",
        )
    return rows


def destinations_table(now: Status) -> Table:
    """A row for each destination."""
    rows = table("destination", "cursor", "waiting", "size", "oldest", "dead letters")
    for one in now.destinations:
        notes = now.notes(one)
        letters = f" ({size(one.dead_letter_bytes)})" if one.dead_letters else ""
        rows.add_row(
            f"{one.name} ({', '.join(notes)})" if notes else one.name,
            f"{one.cursor}",
            f"{one.records:,}",
            size(one.bytes),
            "-" if one.oldest is None else f"{ago(now.age(one.oldest))} ago",
            f"{one.dead_letters:,}{letters}",
        )
    return rows


def backfills_table(jobs: Sequence[Backfill]) -> Table:
    """A row for each backfill."""
    rows = table("backfill", "state", "from", "to", "done", "new", "known", "gaps", "for")
    for job in jobs:
        rows.add_row(
            *(job.name, job.state.value, moment(job.floor), moment(job.ceiling)),
            f"{job.share:.0%}",
            f"{sum(app.added for app in job.apps):,}",
            f"{sum(app.known for app in job.apps):,}",
            f"{sum(app.gaps for app in job.apps):,}",
            ", ".join(job.audience) or "all",
        )
    return rows


def backfill_notes(jobs: Sequence[Backfill]) -> Iterator[str]:
    """What holds backfills up."""
    for job in jobs:
        yield from (f"backfill {job.name}: {app.name}: {app.note}" for app in job.apps if app.note)


def destination_notes(now: Status) -> Iterator[str]:
    """What to do about destinations that nothing delivers to."""
    for one in now.destinations:
        name = shlex.quote(one.name)
        if one.name not in now.configured:
            yield (
                f"{one.name}: no longer configured, and {one.records:,} entries are kept for it; "
                f"put it back or run `fal-log-bridge destinations forget {name}`"
            )
        elif one.paused:
            yield (f"{one.name}: paused; `fal-log-bridge destinations resume {name}` lets it go on")


def _dead_letters(now: Status) -> Iterator[str]:
    """How much room they take, where there are any, and what to do when little is left."""
    used, most = sum(one.dead_letter_bytes for one in now.destinations), now.dead_letters_max_bytes
    if not used:
        return
    full = (
        ", as good as full: a destination whose dead letters no longer fit is held until they do; "
        "replay, or export and drop, what `fal-log-bridge dead-letters list` shows, "
        "or raise journal.dead_letters_max_bytes"
    )
    yield f"dead letters: {size(used)} of {size(most)}{full if used >= _FULL * most else ''}"


def _gaps(app: AppStatus) -> list[str]:
    return [
        f"{app.standing.record.name}: cannot be proved complete ({one.gap.kind}): "
        f"{moment(one.gap.floor)} to {moment(one.gap.ceiling)}, "
        f"at least {one.gap.at_least:,} entries"
        for one in app.gaps
    ]
