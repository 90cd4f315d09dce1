"""``fal-log-bridge backfill``: a window of the past read beside the live stream, as a named job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from bridge.cli import plain_typer
from bridge.cli.options import AsJson, Config
from bridge.cli.output import ago, console, moment, say_json, start, writable
from bridge.cli.status import backfill_notes, backfills_table

if TYPE_CHECKING:
    from bridge.app.backfill import Asked, Ended, Plan, Sight
    from bridge.model import Backfill

    Show: TypeAlias = Callable[[Sight], None]

app = plain_typer(invoke_without_command=True)

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The backfill.")]

_LINE_EVERY = 5.0
_INTERRUPTED = 130


@app.callback()
def backfill(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From here: an ISO 8601 time, or so long ago."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Up to here, exclusive; written like --since."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--app", metavar="NAME", help="Only these apps, by name or glob; repeatable."),
    ] = None,
    destination: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only for these destinations; repeatable."),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The job's name. [default: the time]"),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Go on with this job, in place of a new one."),
    ] = None,
    own_stream: Annotated[
        bool,
        typer.Option(
            "--own-stream/--same-stream",
            help="Mark the records by service.instance.id, as backends need that refuse old "
            "entries behind new ones of a stream (Loki); or leave them like live ones.",
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be read, and for whom.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it to the bridge, and do not wait.")
    ] = False,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="Give up waiting after so long a standstill.")
    ] = "5m",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Read a window of the past again, beside the live stream, and deliver what is not known.

    A running bridge does it, with the requests that live reading leaves over; without one it is
    done here. Ctrl-C stops it where it is: the same command, or --resume, goes on.

    Example: fal-log-bridge backfill --since 7d --until 1d

    Example: fal-log-bridge backfill --since 30d --until now --destination new

    Example: fal-log-bridge backfill list
    """
    import asyncio  # noqa: PLC0415 - keeps --help quick
    import sys  # noqa: PLC0415

    from bridge import settings  # noqa: PLC0415
    from bridge.app import backfill as work  # noqa: PLC0415
    from bridge.app.parts import real_world  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415
    from bridge.telemetry.log import LogWriter  # noqa: PLC0415

    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    asked = _asked(
        since=since,
        until=until,
        resume=resume,
        apps=name,
        destinations=destination,
        name=job,
        own_stream=own_stream,
    )
    patience = _duration(timeout)
    loaded, clock = settings.load(config), SystemClock()
    if dry_run:
        if isinstance(asked, str):
            raise typer.BadParameter("says nothing of a job that is there", param_hint="--dry-run")
        _say_plan(work.planned(loaded, asked, clock.now()), as_json=as_json)
        return
    for caution in () if isinstance(asked, str) else work.cautions(loaded, asked, clock.now()):
        typer.echo(caution, err=True)
    with _progress() as show:
        emit = LogWriter(sys.stderr, clock, human=sys.stderr.isatty())
        world = real_world(emit)

        async def main() -> Ended:
            stop = work.Stop()
            stop.listen()
            return await work.run(
                *(loaded, world, asked),
                show=show,
                stop=stop,
                patience=patience,
                detach=detach,
            )

        ended = asyncio.run(main())
    if as_json:
        say_json({**work.as_json(ended.sight), "obstacles": list(ended.obstacles)})
    else:
        for line in _told(ended, detached=detach):
            typer.echo(writable(line))
    raise typer.Exit(_INTERRUPTED if ended.interrupted else int(bool(ended.obstacles)))


@app.command("list")
def list_(*, as_json: AsJson = False, config: Config = None) -> None:
    """Show every backfill that is not forgotten.

    Example: fal-log-bridge backfill list
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import backfill as work  # noqa: PLC0415

    sights = work.listed(settings.load(config))
    if as_json:
        say_json({"backfills": [work.as_json(sight) for sight in sights]})
        return
    jobs = [sight.job for sight in sights]
    console().print(backfills_table(jobs))
    for line in backfill_notes(jobs):
        typer.echo(writable(line))


@app.command()
def cancel(name: Name, *, config: Config = None) -> None:
    """Stop a backfill where it is; --resume lets it go on.

    Example: fal-log-bridge backfill cancel 20250919T120000
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import backfill as work  # noqa: PLC0415
    from bridge.model import BackfillState  # noqa: PLC0415

    job = work.cancel(settings.load(config), name)
    if job.state is BackfillState.DONE:
        typer.echo(f"{name} is done; there is nothing to stop.")
    else:
        typer.echo(f"{name} is stopped at {job.share:.0%}; {_go_on(job)} lets it go on.")


@app.command()
def forget(name: Name, *, config: Config = None) -> None:
    """Forget a backfill, and which entries it delivered: a later one may deliver them again.

    Example: fal-log-bridge backfill forget 20250919T120000
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import backfill as work  # noqa: PLC0415

    work.forget(settings.load(config), name)
    typer.echo(f"{name} is forgotten.")


def _refuse_options(ctx: typer.Context) -> None:
    """Options before a sub-command would say nothing: its own come behind it."""
    for param in ctx.command.params:
        source = ctx.get_parameter_source(param.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"stands before {ctx.invoked_subcommand}, whose own options come behind it",
                param_hint=param.opts[0],
            )


def _asked(
    *,
    since: str | None,
    until: str | None,
    resume: str | None,
    apps: list[str] | None,
    destinations: list[str] | None,
    name: str | None,
    own_stream: bool,
) -> Asked | str:
    """What to do, or the name of the job to go on with."""
    from bridge.app.backfill import Asked  # noqa: PLC0415 - keeps --help quick

    if resume is not None:
        if since or until or apps or destinations or name or not own_stream:
            raise typer.BadParameter(
                "goes on with a job as it was asked for; give it alone", param_hint="--resume"
            )
        return resume
    if since is None or until is None:
        missing = "--since" if since is None else "--until"
        raise typer.BadParameter(
            "is needed; a backfill has two ends: fal-log-bridge backfill --since 7d --until 1d",
            param_hint=missing,
        )
    return Asked(
        since=start(since, "--since"),
        until=start(until, "--until"),
        apps=apps or (),
        destinations=destinations or (),
        name=name,
        own_stream=own_stream,
    )


def _duration(text: str) -> float:
    from bridge import settings  # noqa: PLC0415 - keeps --help quick

    try:
        seconds = settings.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error
    if not seconds:
        raise typer.BadParameter("must be more than 0", param_hint="--timeout")
    return seconds


def _say_plan(plan: Plan, *, as_json: bool) -> None:
    from bridge.app.jobs import job_json  # noqa: PLC0415 - keeps --help quick

    if as_json:
        say_json({**job_json(plan.job), "resumed": plan.resumed, "held": plan.held})
        return
    for line in _planned(plan):
        typer.echo(line)


def _planned(plan: Plan) -> Iterator[str]:
    """What an order would come to."""
    from bridge.model import SECOND  # noqa: PLC0415 - keeps --help quick

    job = plan.job
    length = ago((job.ceiling - job.floor) / SECOND)
    yield f"{moment(job.floor)} to {moment(job.ceiling)} is read ({length})."
    if plan.resumed:
        yield f"The backfill {job.name} goes on with it; {job.share:.0%} is done."
    for part in plan.apps:
        known = f"{part.known:,} entries of it are known, and not sent again"
        if part.whole_from is None:
            known = "no bridge has read it yet"
        elif part.whole_from > job.floor:
            before = min(part.whole_from, job.ceiling)
            known += (
                f"; before {moment(before)} only what backfills brought is known: what was "
                "delivered from there long ago is sent again, with the same uids"
            )
        yield f"{part.name}: {known}."
    yield f"For: {', '.join(plan.destinations)}."
    yield from plan.cautions
    if plan.busy:
        yield f"Another command holds the journal, {plan.busy}: it can begin when that has ended."
    else:
        yield "The running bridge reads it." if plan.held else "It is read here: no bridge runs."
    yield "Nothing was changed."


def _told(ended: Ended, *, detached: bool) -> Iterator[str]:
    """What it came to."""
    from bridge.model import BackfillState  # noqa: PLC0415 - keeps --help quick

    sight, job = ended.sight, ended.sight.job
    added, known = sum(a.added for a in job.apps), sum(a.known for a in job.apps)
    yield (
        f"backfill {job.name}: {job.share:.0%} of {moment(job.floor)} to {moment(job.ceiling)}, "
        f"{added:,} entries journaled, {known:,} were known"
    )
    gaps = sum(part.gaps for part in job.apps)
    if gaps:
        yield (
            f"{gaps:,} stretch{'' if gaps == 1 else 'es'} of it cannot be proved complete: what "
            "fal no longer shows, or cannot; `fal-log-bridge status` lists them"
        )
    for obstacle in ended.obstacles:
        yield f"not done: {obstacle}"
    if sight.resting:
        yield f"nothing is sent at the moment to {', '.join(sight.resting)}; it is kept for them"
    if job.state is BackfillState.ACTIVE and (sight.held or detached):
        who = "the bridge goes on" if sight.held else "the next run of the bridge begins"
        yield f"{who} with it; `fal-log-bridge backfill cancel {job.name}` stops it"
    elif job.state is not BackfillState.DONE:
        yield f"{_go_on(job)} goes on"


def _go_on(job: Backfill) -> str:
    return f"`fal-log-bridge backfill --resume {job.name}`"


class _Pace:
    """How quickly a job comes on, since it was first looked at here."""

    def __init__(self) -> None:
        self._first: tuple[float, Sight] | None = None

    def line(self, sight: Sight, now: float) -> str:
        """Entries, rate and time left."""
        began, first = self._first = self._first or (now, sight)
        seconds = now - began
        rate = (sight.entries - first.entries) / seconds if seconds else 0.0
        gained = sight.job.share - first.job.share
        left = ago(seconds * (1 - sight.job.share) / gained) if gained else "?"
        waiting = sum(sight.waiting.values())
        if sight.job.share == 1:
            return f"{sight.entries:,} entries, all read; {waiting:,} still to be delivered"
        notes = "; ".join(f"{part.name}: {part.note}" for part in sight.job.apps if part.note)
        return f"{sight.entries:,} entries, {rate:,.0f}/s, {left} left{notes and f'; {notes}'}"


@contextmanager
def _progress() -> Iterator[Show]:
    """Shows a job on standard error: a bar on a terminal, now and then a line elsewhere."""
    import sys  # noqa: PLC0415 - keeps --help quick
    from time import monotonic  # noqa: PLC0415

    from bridge.telemetry.log import safe  # noqa: PLC0415

    pace = _Pace()
    if not sys.stderr.isatty():
        said = float("-inf")

        def say(sight: Sight) -> None:
            nonlocal said
            now = monotonic()
            line = safe(pace.line(sight, now))
            if now - said >= _LINE_EVERY:
                said = now
                share = f"{sight.job.share:.0%}"
                typer.echo(f"backfill {sight.job.name}: {share}, {line}", err=True)

        yield say
        return

    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )
    out = Console(stderr=True, markup=False, emoji=False, highlight=False)
    with Progress(*columns, console=out, transient=True) as bars:
        bar = bars.add_task("backfill", total=1.0, line="")

        def show(sight: Sight) -> None:
            line = safe(pace.line(sight, monotonic()))
            name = sight.job.name
            bars.update(bar, completed=sight.job.share, description=name, line=line)

        yield show
