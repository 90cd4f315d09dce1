r"""Patterns for what is secret nearly everywhere, by name.

Each is a list of (pattern, replacement). They rather hide too much than too little, and keep what
tells people what was there: the name of a parameter, the id of a key. They know a quote that was
escaped once more (``\"``), as in JSON within JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_UUID: Final = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_IS: Final = r"""\\*["']?\s*[:=]\s*"""
_SCHEMES: Final = "(?:bearer|basic|digest|key|token|apikey)"
_PEM: Final = "[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?"
_WORD: Final = r"\w\-\x{80}-\x{10FFFF}"
_TOP_LEVEL: Final = r"(?:[A-Za-z\x{80}-\x{10FFFF}]{2,}|xn--[A-Za-z0-9-]+)"
_PERCENT_ENCODED: Final = r"""(?:[^\s"'<>&\\#%]|%[013-9A-F][0-9A-F]|%2[0-57-9A-F])+"""
_KEY_NAMES: Final = (
    r"(?:api[-_]?key|access[-_]?key|secret[-_]?key|private[-_]?key|account[-_]?key|auth[-_]?key"
    r"|(?:access|auth|refresh|id|session|security|bearer|api)[-_]?token"
    r"|secret|fal[-_]key(?:[-_]secret)?)"
)
_QUERY_NAMES: Final = (
    r"(?:x-(?:amz|goog|oss)-(?:signature|credential|security-token)|signature|sig|token|policy"
    r"|(?:access|auth|id|security|session)[-_]?token|api[-_]?key|key|key-pair-id|hdnts|hdnea"
    r"|awsaccesskeyid|googleaccessid|ossaccesskeyid|client_secret|secret)"
)


def _assigned(names: str) -> list[tuple[str, str]]:
    """The value that is given to a name, quoted or not, in prose, JSON, YAML or a command line."""
    name = rf"(?i)({names}{_IS}"
    return [
        (rf'{name}")(?:[^"\\]|\\[\s\S])+', r"\1***"),
        (rf"{name}')(?:[^'\\]|\\[\s\S])+", r"\1***"),
        (rf"""{name}\\+["'])[^"'\\]+""", r"\1***"),
        (rf"""{name})[^\s"'&\\]+""", r"\1***"),
    ]


PRESETS: Final[Mapping[str, list[tuple[str, str]]]] = {
    "bearer": [
        (rf"""(?i)(authorization{_IS}\\*["']?(?:{_SCHEMES}\s+)?)[^\s"'\\][^"'\\\r\n]*""", r"\1***"),
        (r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=:-]{8,}", r"\1***"),
    ],
    "api_key": [
        *_assigned(_KEY_NAMES),
        (r"\b(sk|pk|rk)[-_][A-Za-z0-9_-]{16,}", r"\1-***"),
        (r"\b(hf|gh[opsur]|github_pat|r8|npm|pypi|dop_v1)[-_][A-Za-z0-9_-]{16,}", r"\1_***"),
        (r"\b(xox[a-z]|xapp|glpat|glsa)[-_][A-Za-z0-9_-]{10,}", r"\1-***"),
        (r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", r"\1***"),
        (r"\b(AIza)[A-Za-z0-9_-]{30,}", r"\1***"),
    ],
    "password": [
        *_assigned("(?:password|passwd|passphrase|pwd)"),
        (r"""(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:@"']*:)[^\s/@"']+@""", r"\1***@"),
    ],
    "jwt": [(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*", "***")],
    "private_key": [(rf"(?s)(-----BEGIN {_PEM}-----).*?(?:-----END {_PEM}-----|\z)", r"\1***")],
    "email": [(rf"[{_WORD}.%+']+(?:@|%40)(?:[{_WORD}]+\.)+{_TOP_LEVEL}", "***")],
    "signed_url": [
        (rf"""(?i)((?:\b|\\u0026|%26|%3F){_QUERY_NAMES}=)[^\s"'<>&\\#]+""", r"\1***"),
        (rf"(?i)((?:%26|%3F){_QUERY_NAMES}%3D){_PERCENT_ENCODED}", r"\1***"),
    ],
    "fal_key": [
        (rf"({_UUID}(?::|%3[Aa]))[0-9a-fA-F]{{16,}}", r"\1***"),
        (rf"""(?i)(\bkey\s+{_UUID}:)[^\s"'\\]+""", r"\1***"),
        *_assigned("fal[-_]key(?:[-_]secret)?"),
    ],
}
