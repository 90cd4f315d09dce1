"""``fal-log-bridge run``: the service, or with ``--once`` one complete pass."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.options import Config


def run(
    *,
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Forward everything up to now, then exit.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(help="With --once: give up after this long without progress. [default: 5m]"),
    ] = None,
) -> None:
    """Read the configured apps and deliver every entry, until SIGTERM or Ctrl-C.

    SIGHUP has the config file read again, and file destinations open their files anew.

    Example: fal-log-bridge run --config my.yaml

    Example: fal-log-bridge run --once --timeout 5m
    """
    import asyncio  # noqa: PLC0415 - keeps --help quick
    import sys  # noqa: PLC0415
    from functools import partial  # noqa: PLC0415

    from bridge import settings  # noqa: PLC0415
    from bridge.app import service  # noqa: PLC0415
    from bridge.clock import SystemClock  # noqa: PLC0415
    from bridge.telemetry.log import LogWriter  # noqa: PLC0415

    if timeout is not None and not once:
        raise typer.BadParameter(
            "only means something together with --once", param_hint="--timeout"
        )
    try:
        patience = settings.parse_duration(timeout or "5m")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error
    if not patience:
        raise typer.BadParameter("must be more than 0", param_hint="--timeout")
    load = partial(settings.load, config)
    emit = LogWriter(sys.stderr, SystemClock(), human=sys.stderr.isatty())
    work = service.run_once(load(), emit, patience) if once else service.run(load, emit)
    raise typer.Exit(asyncio.run(work))
