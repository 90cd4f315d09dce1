"""Terminal escapes, taken out of a text (ECMA-48, "Control functions", and xterm's strings)."""

from __future__ import annotations

import re
from typing import Final

# Strings (titles, links) end with BEL or ST and hold no escape and no control of 8 bits: a terminal
# too takes that as the end, or as the beginning of another. One without an end is not a string, and
# only an introducer that begins with an escape goes. So nothing is looked at from two introducers,
# and the time is linear.
_ESCAPE: Final = re.compile(
    r"""
      (?: \x1b\] | \x9d ) [^\x07\x1b\x80-\x9f]* (?: \x07 | \x1b\\ | \x9c )        # OSC
    | (?: \x1b[PX^_] | [\x90\x98\x9e\x9f] ) [^\x07\x1b\x80-\x9f]* (?: \x07 | \x1b\\ | \x9c )
    | (?: \x1b\[ | \x9b ) [0-?]* [\x20-/]* [@-~]                             # CSI
    | \x1b [\x20-/]* [0-~]                                                  # two characters
    """,
    re.VERBOSE,
)
_C1: Final = ("\x1b", "\x9b", "\x9d", "\x90", "\x98", "\x9e", "\x9f")


def strip_ansi(text: str) -> str:
    """The text as a terminal would show it, without colours, links and cursor movements."""
    if not any(introducer in text for introducer in _C1):
        return text
    return _ESCAPE.sub("", text)
