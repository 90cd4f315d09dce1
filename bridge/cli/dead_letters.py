"""``fal-log-bridge dead-letters``: what destinations refused for good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, TypeAlias

import typer

from bridge.cli import plain_typer
from bridge.cli.options import AsJson, Config
from bridge.cli.output import console, moment, say_json, size, table

if TYPE_CHECKING:
    from bridge.app.dead_letters import Listing
    from bridge.journal.ledger import KeptLetter
    from bridge.model import Json

app = plain_typer(no_args_is_help=True)

Uids: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[UID]...", help="A uid, or at least 8 digits of it.")
]
Destination: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only those of this destination.")
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All of them.")]

_MOST = 1_000_000
_START = 60
_REASON = 100


@app.callback()
def _group() -> None:
    """List, show, replay, drop or export what destinations refused.

    Example: fal-log-bridge dead-letters list
    """


@app.command("list")
def list_(
    *,
    destination: Destination = None,
    limit: Annotated[
        int, typer.Option(min=1, max=_MOST, help="The most to list, the oldest first.")
    ] = 50,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """List dead letters: which destination refused what, when and why.

    Example: fal-log-bridge dead-letters list --destination collector
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import dead_letters as work  # noqa: PLC0415

    listing = work.listed(settings.load(config), destination=destination, limit=limit)
    if as_json:
        say_json(work.listing_json(listing))
    else:
        _show_listing(listing)


@app.command()
def show(
    uid: Annotated[str, typer.Argument(metavar="UID", help="A uid, or at least 8 digits of it.")],
    *,
    destination: Destination = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show one record that was refused, whole, with the destination's own answer.

    Example: fal-log-bridge dead-letters show 9f86d081
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import dead_letters as work  # noqa: PLC0415
    from bridge.telemetry.log import safe  # noqa: PLC0415

    found = work.shown(settings.load(config), uid, destination=destination)
    if as_json:
        say_json({"dead_letters": [work.as_json(one) for one in found]})
        return
    for one in found:
        for line in _lines(one, work.as_json(one)["record"]):
            typer.echo(safe(line))


@app.command()
def replay(
    uids: Uids = None,
    *,
    destination: Destination = None,
    everything: All = False,
    config: Config = None,
) -> None:
    """Have dead letters sent again: some, those of a destination, or all.

    Example: fal-log-bridge dead-letters replay --destination collector
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import dead_letters as work  # noqa: PLC0415

    _check_choice(uids, destination, everything)
    done = work.replay(settings.load(config), uids or (), destination=destination)
    when = (
        "the running bridge sends them within seconds"
        if done.held
        else "the bridge sends them when it runs next"
    )
    typer.echo(f"{done.letters:,} to be sent again{f'; {when}' if done.going else ''}.")
    for name in done.missing:
        typer.echo(f"{name} is not configured: nothing is sent to it until it is again.")
    for name in done.paused:
        typer.echo(f"{name} is paused: it sends nothing until it is resumed.")


@app.command()
def drop(
    uids: Uids = None,
    *,
    destination: Destination = None,
    everything: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
) -> None:
    """Give dead letters up for good: some, those of a destination, or all.

    Example: fal-log-bridge dead-letters drop 9f86d081 --yes
    """
    import sys  # noqa: PLC0415 - keeps --help quick

    from bridge import settings  # noqa: PLC0415
    from bridge.app import dead_letters as work  # noqa: PLC0415

    _check_choice(uids, destination, everything)
    loaded = settings.load(config)
    letters = work.count(loaded, uids or (), destination=destination)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter(f"{letters:,} would be lost for good: confirm it with --yes")
        typer.confirm(f"Drop {letters:,} dead letters for good?", abort=True)
    dropped = work.drop(loaded, uids or (), destination=destination)
    typer.echo(f"{dropped:,} dropped.")


@app.command()
def export(
    *,
    destination: Destination = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A new file. [default: standard output]")
    ] = None,
    config: Config = None,
) -> None:
    """Write dead letters as JSON lines: each with its reason, and its record as OTLP/JSON.

    They stay where they are.

    Example: fal-log-bridge dead-letters export --output refused.jsonl
    """
    from bridge import settings  # noqa: PLC0415 - keeps --help quick
    from bridge.app import dead_letters as work  # noqa: PLC0415

    lines = work.exported(settings.load(config), destination=destination)
    letters = 0
    first = next(lines, None)  # what is wrong is told before a file is made
    with _written(output) as out:
        while first is not None:
            typer.echo(first, file=out)
            letters += 1
            first = next(lines, None)
    typer.echo(f"{letters:,} exported.", err=True)


def _check_choice(uids: Sequence[str] | None, destination: str | None, everything: bool) -> None:
    if everything and (uids or destination is not None):
        raise typer.BadParameter("--all takes neither UIDs nor --destination")
    if not everything and not uids and destination is None:
        raise typer.BadParameter("say which: UIDs, --destination NAME or --all")


@contextmanager
def _written(output: Path | None) -> Iterator[TextIO | None]:
    """A new file that only its owner reads, or standard output."""
    import os  # noqa: PLC0415 - keeps --help quick

    from bridge.errors import BridgeError  # noqa: PLC0415

    if output is None:
        yield None
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BridgeError(
            f"cannot be written: {error.strerror or error}",
            where=str(output),
            hint="name a file that is not there yet, in a folder that is",
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        yield out


def _show_listing(listing: Listing) -> None:
    from bridge.app.dead_letters import message_of  # noqa: PLC0415 - keeps --help quick
    from bridge.telemetry.log import safe  # noqa: PLC0415

    if not listing.total:
        typer.echo("No dead letters.")
        return
    rows = table("destination", "uid", "refused", "size", "reason", "message")
    for one in listing.letters:
        letter = one.letter
        rows.add_row(
            safe(letter.destination),
            safe(letter.uid),
            moment(letter.refused_at) + (" (to be sent again)" if one.replay else ""),
            size(one.size),
            _short(safe(letter.reason), _REASON),
            _short(safe(message_of(letter)), _START),
        )
    console().print(rows)
    if rest := listing.total - len(listing.letters):
        typer.echo(f"and {rest:,} more; --limit shows more of them")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _lines(kept: KeptLetter, record: Json) -> Iterator[str]:
    letter = kept.letter
    yield f"{letter.uid}  {letter.destination}"
    yield f"  refused    {moment(letter.refused_at)}: {letter.reason}"
    yield from _block("answer", letter.answer)
    again = ", to be sent again" if kept.replay else ""
    yield f"  kept       from batch {letter.seq}, {size(kept.size)}{again}"
    if record is None:
        yield "  its record cannot be read; export writes the bytes as they are"
        return
    yield f"  time       {record['time']}"
    yield f"  severity   {record['severity']}"
    yield from _block("body", _text(record["body"]))
    yield from _values("attributes", record["attributes"])
    yield from _values("resource", record["resource"])


def _block(title: str, text: str) -> Iterator[str]:
    """A text of any number of lines, set in."""
    for number, line in enumerate(text.split("\n")) if text else ():
        yield f"  {'' if number else title:<10} {line}"


def _values(title: str, values: Mapping[str, Json]) -> Iterator[str]:
    if values:
        yield f"  {title}"
    for key, value in values.items():
        yield f"    {key} = {_text(value)}"


def _text(value: Json) -> str:
    import json  # noqa: PLC0415 - keeps --help quick

    return value if isinstance(value, str) else json.dumps(value)
