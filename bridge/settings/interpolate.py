"""Placeholders in the values of a config file. Pure but for the two look-ups it is given.

``${env:NAME}`` is a variable, ``${env:NAME:-default}`` one with a default for when it is unset or
empty, ``${file:PATH}`` the text of a file less one trailing newline, ``$$`` a dollar. What was put
in is not looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

_TOKEN: Final = re.compile(r"\$\$|\$\{([^}]*)\}|\$\{")
_VARIABLE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?\Z", re.DOTALL)


class PlaceholderError(ValueError):
    """A placeholder that cannot be filled in, and why."""


def has_placeholder(text: str) -> bool:
    """Whether filling in would put anything in."""
    return "${" in text.replace("$$", "")


def interpolate(text: str, environ: Mapping[str, str], read_file: Callable[[str], str]) -> str:
    """Fill in every placeholder of a value.

    Raises:
        PlaceholderError: an unset variable without a default, an unreadable file, or a
            placeholder of no known kind.
    """

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] is None:
            raise PlaceholderError("has a ${ without its }; write $$ for a dollar")
        return _resolve(match[1], environ, read_file)

    return _TOKEN.sub(fill, text)


def _resolve(inside: str, environ: Mapping[str, str], read_file: Callable[[str], str]) -> str:
    """What stands for one placeholder, given what is between its braces."""
    if variable := _VARIABLE.match(inside):
        name, default = variable.groups()
        value = environ.get(name)
        if default is not None:
            if "${" in default:
                raise PlaceholderError(f"the default of ${{env:{name}:-…}} is a placeholder itself")
            return value or default
        if value is None:
            raise PlaceholderError(f"the variable {name} is not set and has no default")
        return value
    kind, _, path = inside.partition(":")
    if kind == "file" and path:
        return _read(path, read_file)
    raise PlaceholderError(
        "has an unknown placeholder: use ${env:NAME}, ${env:NAME:-default} or ${file:PATH}, "
        "and $$ for a dollar"
    )


def _read(path: str, read_file: Callable[[str], str]) -> str:
    try:
        text = read_file(path)
    except OSError as error:
        raise PlaceholderError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PlaceholderError(f"cannot read {path}: it is not UTF-8 text") from error
    except ValueError as error:  # a NUL character
        raise PlaceholderError(f"cannot read {path!r}: {error}") from error
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
