"""``fal-log-bridge tail``: entries as they come, straight from the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bridge.cli.options import Config
from bridge.cli.output import console, start, writable

if TYPE_CHECKING:
    from bridge.app.tail import Line, Unproved
    from bridge.patterns import Pattern

_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_COLOURS: Final = (
    (21, "\x1b[1;31m"),
    (17, "\x1b[31m"),
    (13, "\x1b[33m"),
    (9, "\x1b[32m"),
    (0, _DIM),
)
"""By the least severity number."""
_LEVEL_WIDTH: Final = 8
_TAB: Final = 4


def tail(
    apps: Annotated[
        list[str] | None,
        typer.Argument(metavar="APP", help="Apps by their configured names; else all."),
    ] = None,
    *,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="From here: so long ago, 'now', or an ISO 8601 time."),
    ] = "10m",
    level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="Only entries at least so severe, as in WARNING."),
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Only messages with this pattern (RE2)."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more, or end with what is there.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line: app, uid and entry.")
    ] = False,
    config: Config = None,
) -> None:
    """Show entries as they come, straight from fal, until Ctrl-C (exit code 130).

    Needs no journal and moves no position, so it works beside a running bridge. Entries are shown
    as fal gives them: rules that mask or drop apply to what the bridge stores only.

    Example: fal-log-bridge tail startup-timeout --level warning

    Example: fal-log-bridge tail --since 1h --no-follow --grep timeout --json
    """
    import asyncio  # noqa: PLC0415 - keeps --help quick
    import logging  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from bridge import settings  # noqa: PLC0415
    from bridge.app import tail as work  # noqa: PLC0415
    from bridge.app.parts import real_world  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415
    from bridge.telemetry import Event  # noqa: PLC0415
    from bridge.telemetry.log import LogWriter  # noqa: PLC0415

    asked = work.Asked(
        apps=apps or (),
        since=start(since, "--since"),
        min_severity=_severity(level),
        grep=_pattern(grep),
        follow=follow,
    )
    loaded = settings.load(config)
    writer = LogWriter(sys.stderr, SystemClock(), human=sys.stderr.isatty())

    def emit(event: Event) -> None:
        """Only why nothing comes is worth a word between the entries."""
        if event.level >= logging.WARNING:
            writer(event)

    named = len(set(apps or (app.name for app in loaded.apps))) > 1
    named = named or any(app.app_id is None for app in loaded.apps)
    show = _printer(as_json=as_json, named=named)
    asyncio.run(work.tail(loaded, real_world(emit), asked, show))


def _severity(level: str | None) -> int:
    from bridge.mapping import severity  # noqa: PLC0415 - keeps --help quick

    if level is None:
        return severity.UNSPECIFIED
    number = severity.severity_number(level, stderr=severity.INFO)
    if number == severity.UNSPECIFIED:
        raise typer.BadParameter(
            f"{level!r} is no level; there are TRACE, DEBUG, INFO, WARNING, ERROR and CRITICAL",
            param_hint="--level",
        )
    return number


def _pattern(text: str | None) -> Pattern | None:
    from bridge.patterns import Pattern, PatternError  # noqa: PLC0415 - keeps --help quick

    try:
        return None if text is None else Pattern(text)
    except PatternError as error:
        raise typer.BadParameter(str(error), param_hint="--grep") from error


def _printer(*, as_json: bool, named: bool) -> Callable[[Sequence[Line | Unproved]], None]:
    """What prints entries as they come, and says on standard error what cannot be proved."""
    import json  # noqa: PLC0415 - keeps --help quick
    import sys  # noqa: PLC0415

    from bridge.app import tail as work  # noqa: PLC0415
    from bridge.gaps import sentence  # noqa: PLC0415
    from bridge.telemetry.log import safe  # noqa: PLC0415

    out = console()
    colour = out.color_system is not None and not out.no_color

    def text(line: Line) -> str:
        if as_json:
            # DEL is the one character that drives a terminal and that JSON leaves as it is.
            return json.dumps(work.as_json(line)).replace("\x7f", "\\u007f")
        return "\n".join(_pieces(line, named=named, colour=colour))

    def show(lines: Sequence[Line | Unproved]) -> None:
        for line in lines:
            if isinstance(line, work.Unproved):
                typer.echo(safe(f"{line.app}: {sentence(line.gap)}"), err=True)
            else:
                sys.stdout.write(f"{text(line)}\n")
        sys.stdout.flush()

    return show


def _pieces(line: Line, *, named: bool, colour: bool) -> Iterator[str]:
    """One entry for people: time, level, app, message; its further lines set in."""
    shade = next(code for floor, code in _COLOURS if line.severity >= floor)
    first, *others = line.message.expandtabs(_TAB).split("\n")
    parts = [
        _coloured(line.time, _DIM, colour=colour),
        _coloured(line.level.ljust(_LEVEL_WIDTH), shade, colour=colour),
        *([_coloured(line.app, _DIM, colour=colour)] if named else []),
        writable(first.removesuffix("\r")),
    ]
    yield " ".join(parts).rstrip()
    for other in others:
        yield f"    {writable(other.removesuffix(chr(13)))}".rstrip()


def _coloured(text: str, code: str, *, colour: bool) -> str:
    shown = writable(text)
    return f"{code}{shown}{_RESET}" if colour else shown
