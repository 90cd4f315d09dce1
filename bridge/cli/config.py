"""``fal-log-bridge config``: about the config file."""

from __future__ import annotations

import json

import typer

from bridge.cli import plain_typer

app = plain_typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """About the config file.

    Example: fal-log-bridge config schema
    """


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config file.

    Example: fal-log-bridge config schema
    """
    from bridge.settings.reference import json_schema  # noqa: PLC0415 - keeps --help quick

    typer.echo(json.dumps(json_schema(), indent=2))
