"""``fal-log-bridge positions``: where apps stand in their logs, and moving one back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import plain_typer
from bridge.cli.options import AsJson, Config
from bridge.cli.output import ago, console, moment, say_json, start, table
from bridge.model import SECOND

if TYPE_CHECKING:
    from bridge.app.positions import Plan

app = plain_typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """List where apps stand, or have one read again from an earlier time.

    Example: fal-log-bridge positions list
    """


@app.command("list")
def list_(
    *,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show up to where each app is read, and from where on its entries are known.

    Example: fal-log-bridge positions list
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import positions as work  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415

    listing = work.listed(settings.load(config), SystemClock())
    if as_json:
        say_json(work.as_json(listing))
        return
    rows = table("app", "position", "lag", "ledger from", "known entries")
    for one in listing.apps:
        record = one.record
        name = record.name if record.name in listing.configured else f"{record.name} (not read)"
        rows.add_row(
            name,
            moment(record.position),
            ago(listing.age(record.position)),
            moment(record.whole_from),
            f"{one.fingerprints:,}",
        )
    console().print(rows)


@app.command()
def rewind(
    name: Annotated[str, typer.Argument(metavar="APP", help="The app, by its configured name.")],
    time: Annotated[
        str, typer.Argument(metavar="TIME", help="Back to here: an ISO 8601 time, or so long ago.")
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be read again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
) -> None:
    """Have an app read again from an earlier time on, at the next run.

    Says what that means and asks before anything is changed. The bridge must not run. Entries that
    the ledger knows are not sent again.

    Example: fal-log-bridge positions rewind my-app 2h --dry-run

    Example: fal-log-bridge positions rewind my-app 2025-09-19T12:00:00Z --yes
    """
    import sys  # noqa: PLC0415 - keeps --help quick

    from bridge import settings  # noqa: PLC0415
    from bridge.app import positions as work  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415

    to = start(time, "TIME").resolve(SystemClock().now())
    loaded = settings.load(config)
    plan = work.planned(loaded, name, to)
    for line in _told(plan):
        typer.echo(line)
    if dry_run:
        typer.echo("Nothing was changed.")
        return
    if not (yes or plan.held):
        if not sys.stdin.isatty():
            raise typer.BadParameter("nothing was changed: confirm it with --yes")
        typer.confirm("Rewind?", abort=True)
    work.rewind(loaded, name, to)
    typer.echo(f"{name} stands at {moment(to)}; the next run reads on from there.")


def _told(plan: Plan) -> Iterator[str]:
    """What a rewind means."""
    length = ago((plan.ceiling - plan.floor) / SECOND)
    yield f"{plan.app}: {moment(plan.floor)} to {moment(plan.ceiling)} is read again ({length})."
    yield f"{plan.known:,} entries of it are known: they are not sent again."
    if plan.unknown_below is not None:
        yield (
            f"Before {moment(plan.unknown_below)} nothing is known: what was delivered from there "
            "is sent again, with the same uids."
        )
    if plan.held:
        yield "A bridge runs on this journal: it must be stopped for the rewind."
    if not plan.configured:
        yield f"{plan.app} is not configured: nothing is read until it is."
