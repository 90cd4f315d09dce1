"""The command line: one file per sub-command, imported when it is used.

A command file ``bridge/cli/NAME.py`` (with ``_`` for ``-``) has a function ``NAME``, or for a group
of commands a `typer.Typer` named ``app``; it imports what it works with inside the function, so
that ``--help`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from bridge import __version__

PROGRAM: Final = "fal-log-bridge"
COMMANDS: Final = MappingProxyType(
    {
        "run": "Read the configured apps and deliver every entry.",
        "demo": "Watch the bridge at work on a simulated fal account.",
        "simulate": "Serve a simulated fal account.",
        "check": "Try the config, every app and every destination out.",
        "status": "Show where every app and every destination stands.",
        "tail": "Show entries as they come, straight from fal.",
        "backfill": "Read a window of the past, beside the live stream.",
        "positions": "List where apps stand, or have one read again.",
        "audit": "Prove a past window complete, or name what is missing.",
        "explain": "Tell when an entry was read and who has it.",
        "dead-letters": "List, replay, drop or export what destinations refused.",
        "destinations": "List, pause, resume or forget destinations.",
        "config": "Print the JSON Schema of the config file.",
    }
)
"""Every command, with a word about it for the list of them: no file is loaded to print that."""


class _LazyGroup(TyperGroup):
    """Loads a command's file when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's hook
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's hook
        """A command by name; None where there is none."""
        # The group suggests the nearest of the commands it knows: for an unknown one, know all.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's hook
        """List the commands without loading any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def plain_typer(**options: Any) -> typer.Typer:
    """A typer without decorated help or decorated tracebacks; completion is the root's to offer."""
    given = {"add_completion": False, **options}
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **given)


def _load(name: str) -> Any:
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    group = getattr(module, "app", None)
    if not isinstance(group, typer.Typer):
        group = plain_typer()
        group.command(name)(getattr(module, name))
    command = get_command(group)
    command.name = name
    return command


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


app = plain_typer(cls=_LazyGroup, no_args_is_help=True, add_completion=True)


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Read fal.ai app logs and deliver every entry, at least once, to your backends.

    Example: fal-log-bridge check

    Example: fal-log-bridge run --config my.yaml
    """
