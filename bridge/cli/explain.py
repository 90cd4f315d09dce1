"""``fal-log-bridge explain``: the way of one entry, or of the newest ones with a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import AsJson, Config

if TYPE_CHECKING:
    from bridge.app.explain import Explained, ExplainedGap, Explanation, Fate, Journaled


def explain(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|UID", help="A log.record.uid or its beginning (8 digits), or a text."
        ),
    ],
    *,
    app: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this app, by name; may be repeated."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Search for the text from here on: an ISO 8601 time, or so long ago. "
            "[default: as far back as the journal knows]",
        ),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Tell which read fetched an entry, when it was journaled, and who acknowledged it when.

    Works beside a running bridge. A uid is looked up in the journal; for a text the API is asked.
    Exits with 0 if anything was found and every app could be asked, else with 1.

    Example: fal-log-bridge explain "CUDA out of memory" --since 2h
    """
    import asyncio  # noqa: PLC0415 - keeps --help quick
    import json  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from bridge import settings  # noqa: PLC0415
    from bridge.app import explain as work  # noqa: PLC0415
    from bridge.app.parts import real_world  # noqa: PLC0415
    from bridge.cli.output import start  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415
    from bridge.telemetry.log import LogWriter  # noqa: PLC0415

    if not text.strip():
        raise typer.BadParameter("must not be empty", param_hint="TEXT")
    begin = None if since is None else start(since, "--since")
    loaded = settings.load(config)
    world = real_world(LogWriter(sys.stderr, SystemClock(), human=sys.stderr.isatty()))
    explanation = asyncio.run(work.explain(loaded, world, text, apps=app or (), since=begin))
    if as_json:
        typer.echo(json.dumps(work.as_json(explanation), indent=2))
    else:
        for line in _lines(explanation, text):
            typer.echo(line)
    raise typer.Exit(0 if explanation.found and not explanation.failed else 1)


def _lines(explanation: Explanation, text: str) -> Iterator[str]:
    from bridge.telemetry.log import safe  # noqa: PLC0415 - keeps --help quick

    for one in explanation.entries:
        yield from _entry_lines(one)
    for gap in explanation.gaps:
        yield from _gap_lines(gap)
    for app, error in explanation.failed.items():
        yield safe(f"{app} could not be searched: {error}")
    if not explanation.found:
        yield _nothing(explanation, text)
    if explanation.stopped:
        apps = ", ".join(explanation.stopped)
        yield f"Not everything was looked through ({apps}): give a later --since."


def _nothing(explanation: Explanation, text: str) -> str:
    if explanation.by_uid:
        return "Nothing found: neither in the journal by uid, nor at the API by text."
    hint = ""
    if all(digit in "0123456789abcdef" for digit in text.lower()):
        hint = " A uid is looked up by 8 to 32 of its digits."
    return f"Nothing found at the API by text.{hint}"


def _gap_lines(one: ExplainedGap) -> Iterator[str]:
    from bridge.gaps import sentence  # noqa: PLC0415 - keeps --help quick
    from bridge.timestamps import format_tick  # noqa: PLC0415

    record = one.record
    end = "still open" if record.closed_at is None else f"closed {format_tick(record.closed_at)}"
    yield f"{one.uid.hex()}  {record.app}"
    yield f"  no entry but a gap: {sentence(record.gap)}"
    yield f"  found      {format_tick(record.found_at)}, in batch {record.seq}; {end}"
    for fate in one.fates:
        yield f"  {fate.destination}: {_fate(fate)}"
    yield ""


def _entry_lines(one: Explained) -> Iterator[str]:
    from bridge.cli.audit import entry_line  # noqa: PLC0415 - keeps --help quick

    yield f"{one.uid.hex()}  {one.app}"
    if one.entry is not None:
        yield f"  {entry_line(one.entry)}"
    if one.journaled is None:
        yield f"  shown by the API but not journaled: {one.reason}"
    else:
        yield from _journaled_lines(one.journaled)
    yield ""


def _journaled_lines(journaled: Journaled) -> Iterator[str]:
    from bridge.timestamps import format_tick  # noqa: PLC0415 - keeps --help quick

    place, record = journaled.place, journaled.read
    borrowed = "" if place.dated else " (borrowed: it has no readable time)"
    yield f"  time       {format_tick(place.tick)}{borrowed}"
    if place.dropped:
        yield "  dropped    by rule: it is in no batch and was sent nowhere"
    elif record is None:
        batch = f"in batch {place.seq}" if place.seq else "before batches were noted"
        yield f"  journaled  {batch}; which read that was is no longer known"
    else:
        read = record.read
        yield (
            f"  fetched    by a {read.kind} read of {format_tick(read.floor)} to "
            f"{format_tick(read.ceiling)}, begun {format_tick(read.at)}, pages: {read.pages}"
        )
        yield f"  journaled  {format_tick(record.journaled_at)}, in batch {place.seq}"
    if place.audience:
        yield f"  for        {place.audience} alone, by a backfill"
    for fate in journaled.fates:
        yield f"  {fate.destination}: {_fate(fate)}"


def _fate(fate: Fate) -> str:
    from bridge.journal.ledger import State  # noqa: PLC0415 - keeps --help quick
    from bridge.telemetry.log import safe  # noqa: PLC0415
    from bridge.timestamps import format_tick  # noqa: PLC0415

    if fate.state is State.UNKNOWN:
        return "not known; it was not there then, or such times were not noted yet"
    if fate.state is State.LOST:
        return "lost: its batch left the journal before anyone acknowledged it"
    at = "" if fate.at is None else f" {format_tick(fate.at)}"
    reason = f": {safe(fate.reason)}" if fate.reason else ""
    return f"{fate.state}{at}{reason}"
