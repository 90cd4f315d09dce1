r"""Patterns for what is secret nearly everywhere, by name.

Each is a list of (pattern, replacement). They rather hide too much than too little, and keep what
tells people what was there: the name of a parameter, the id of a key. They know a quote that was
escaped once more (``\"``), as in JSON within JSON, and Python's prefixes of one (``b'…'``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_UUID: Final = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_IS: Final = r"""\\*["']?\s*(?:=>|[:=])\s*"""
_LITERAL: Final = "[bBrRuUfF]{0,2}"
_DOUBLE: Final = r'(?:[^"\\]|\\[\s\S])+'
_SINGLE: Final = r"(?:[^'\\]|\\[\s\S])+"
_ESCAPED_DOUBLE: Final = r"""(?:[^"\\]|\\+[^"\\])*(?:\\+"|\z)"""
_ESCAPED_SINGLE: Final = r"""(?:[^'\\]|\\+[^'\\])*(?:\\+'|\z)"""
_ITEM: Final = (
    rf"""(?:\\+"{_ESCAPED_DOUBLE}|\\+'{_ESCAPED_SINGLE}"""
    rf"""|"(?:{_DOUBLE})?(?:"|\z)|'(?:{_SINGLE})?(?:'|\z))"""
)
_ITEMS: Final = (
    rf"""[\[({{\s]*{_LITERAL}(?:(?P<a>")(?:{_DOUBLE})?(?:"|\z)|(?P<b>')(?:{_SINGLE})?(?:'|\z)"""
    rf"""|(?P<c>\\+"){_ESCAPED_DOUBLE}|(?P<d>\\+'){_ESCAPED_SINGLE})(?:{_ITEM}|[^\])}}"'])*"""
)
_PLAIN: Final = r"""(?:[\[({][^\])}\r\n"']*[\])}][^\s"'\\]*|[^\s"'\\]+)"""
_QUOTE: Final = r"\g<a>\g<b>\g<c>\g<d>"
_HIDDEN: Final = rf"\g<double>\g<single>\g<escaped>\g<other>\g<list>{_QUOTE}***{_QUOTE}"
_LINE_START: Final = r"(?m:^)[ \t]*(?:- )?[\w.-]*"
_BLOCK: Final = r"""(?:(?:(?:\r?\n)+[ \t]+[^\r\n]*)+|(?:\\+[rn])+[ \t][^"'\r\n]*)"""
_SCHEME: Final = r"(?:(?:bearer|basic|digest|key|token|apikey)(?:\s|%20|\+)+)?"
_CREDENTIALS: Final = rf"""(?P<scheme>{_SCHEME})[^\s"'\\][^"'\\\r\n]*"""
_PEM: Final = "[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?"
_WORD: Final = r"\w\-\x{80}-\x{10FFFF}"
_TOP_LEVEL: Final = r"(?:[A-Za-z\x{80}-\x{10FFFF}]{2,}|xn--[A-Za-z0-9-]+)"
_QUOTED_LOCAL: Final = r"""\\*"[^"\\\r\n@]{1,64}\\*\""""
_IP: Final = r"\[(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?i:ipv6):[0-9a-fA-F:.]+)\]"
_PERCENT_ENCODED: Final = r"""(?:[^\s"'<>&\\#%]|%[013-9A-F][0-9A-F]|%2[0-57-9A-F])+"""
_KEY_NAMES: Final = (
    r"(?:api[-_]?key|access[-_]?key|secret[-_]?key|private[-_]?key|account[-_]?key|auth[-_]?key"
    r"|(?:access|auth|refresh|id|session|security|bearer|api|private)[-_]?token"
    r"|(?-i:\b[A-Z][A-Z0-9_]*_TOKEN)|secret|fal[-_]key(?:[-_]secret)?)"
)
_LOGIN_NAMES: Final = r"(?:password|passwd|passphrase|pwd|(?-i:\b[A-Z][A-Z0-9_]*_PASS))"
_FAL_NAMES: Final = "fal[-_]key(?:[-_]secret)?"
_OPAQUE: Final = r"""[0-9]*[a-z_./+~$!*#@%^-][^\s"'\\<>|]{5,}"""
"""A token that may be a secret: no number, no short word, and no mark as language models use."""
_RANDOM: Final = (
    r"(?:[A-Za-z][\w.~+/-]{2,}[0-9][\w.~+/=-]{4,}|[A-Za-z][\w.~+/-]{6,}[0-9]"
    r"|[A-Za-z][0-9][\w.~+/=-]{6,}|[0-9]+[A-Za-z][\w.~+/=-]{6,})"
)
"""A word of eight letters and digits or more that is no word: where a name alone tells little."""
_MIXED: Final = "(?:[a-z][A-Z]|[A-Za-z][0-9]|[0-9][A-Za-z])"
_SPACED_NAMES: Final = r"\b(?:api|access|secret|private|auth|account)[-_ ]key"
_SIGNED_NAMES: Final = "x-(?:amz|goog|oss)-(?:signature|credential|security-token)"
_QUERY_NAMES: Final = (
    rf"(?:{_SIGNED_NAMES}|signature|sig|token|policy|jwt|hdntl"
    r"|(?:access|auth|id|security|session)[-_]?token|api[-_]?key|key|key-pair-id|hdnts|hdnea"
    r"|awsaccesskeyid|googleaccessid|ossaccesskeyid|client_secret|secret)"
)


def _assigned(names: str) -> list[tuple[str, str]]:
    """What is given to a name: in prose, JSON, YAML, a repr, a URL or a command line."""
    in_url = rf"""((?:[?&]|amp;|\\u0026|%26|%3F)[\w.-]*{names}=)[^\s"'&\\]+"""
    in_quotes = r"""["'][\w.-]*"""
    before = rf"(?:{_LINE_START}|{in_quotes})?"
    block = rf"""({before}{names}\\*["']?[ \t]*:[ \t]*[|>][-+0-9]*[ \t]*){_BLOCK}"""
    line = rf"""({_LINE_START}{names}[ \t]*:[ \t]+)[^\s"'\\\[({{][^\r\n]*"""
    quoted_line = rf"""({in_quotes}{names}[ \t]*:[ \t]+)[^\s"'\\\[({{][^"'\\\r\n]*"""
    return [
        (
            rf"(?i)(?:{in_url}|{block}|{line}|{quoted_line}|({names}{_IS}){_value(_PLAIN)})",
            rf"\1\2\3\4\5{_HIDDEN}",
        ),
        _option(names),
        _paired(names),
        _set(names),
    ]


def _set(names: str) -> tuple[str, str]:
    """A shell's ``set NAME value``; without quotes only what is no word, since prose sets too."""
    before = rf"""\bset(?:env|x)?\s+(?:--?\w+\s+)*[\w.-]*{names}\s+"""
    return rf"(?i)({before}){_value(_RANDOM)}", rf"\1{_HIDDEN}"


def _value(plain: str, scheme: str = "") -> str:
    """A value, quoted or not, or all of a list, with groups for what opens it."""
    return (
        rf"""(?:(?P<double>{_LITERAL}"{scheme}){_DOUBLE}|(?P<single>{_LITERAL}'{scheme}){_SINGLE}"""
        rf"""|(?P<escaped>{_LITERAL}\\+"{scheme})[^"\\]+|(?P<other>{_LITERAL}\\+'{scheme})[^'\\]+"""
        rf"""|[\w.]*(?P<list>[\[({{]){_ITEMS}|{plain})"""
    )


def _option(names: str) -> tuple[str, str]:
    """An option of a command line and the argument behind it, also in a list of arguments."""
    plain = r"""[^\s"'\\-][^\s"'\\]*"""
    behind = rf"""(--[\w-]*{names}(?:\s+|\\*["']\s*,\s*))"""
    return rf"(?i){behind}{_value(plain)}", rf"\1{_HIDDEN}"


def _paired(names: str) -> tuple[str, str]:
    """A tuple or list of a name and its value, as headers are printed."""
    opening = rf"""[\[(]\s*{_LITERAL}\\*["'][\w-]*{names}\\*["']\s*,\s*"""
    double = rf"""({_LITERAL}"){_DOUBLE}("\s*[\])]|\z)"""
    single = rf"""({_LITERAL}'){_SINGLE}('\s*[\])]|\z)"""
    escaped = rf"""({_LITERAL}\\+["'])[^"'\\]+(\\+["']\s*[\])]|\z)"""
    return rf"(?i)({opening})(?:{double}|{single}|{escaped})", r"\1\2\4\6***\3\5\7"


PRESETS: Final[Mapping[str, list[tuple[str, str]]]] = {
    "bearer": [
        (
            rf"(?i)(authorization(?:{_IS}|%3A(?:%20|\+)*)){_value(_CREDENTIALS, _SCHEME)}",
            rf"\1\g<scheme>{_HIDDEN}",
        ),
        _paired("authorization"),
        (r"(?i)(\bbearer(?:\s+|%20|\+))[A-Za-z0-9._~+/=:%-]{8,}", r"\1***"),
        (
            (
                r"(\b(?:Basic|basic|BASIC)(?:\s+|%20|\+))"
                rf"[A-Za-z0-9+/_-]*{_MIXED}[A-Za-z0-9+/_-]*{_MIXED}[A-Za-z0-9+/_-]+(?:=|%3D)*"
            ),
            r"\1***",
        ),
    ],
    "api_key": [
        *_assigned(_KEY_NAMES),
        (rf"""(?i)(token{_IS}{_LITERAL}\\*["']?){_OPAQUE}""", r"\1***"),
        (rf"""(?i)(--[\w-]*token\s+){_OPAQUE}""", r"\1***"),
        (rf"(?i)({_SPACED_NAMES}\\*\s*[:=]\s*){_value(_RANDOM)}", rf"\1{_HIDDEN}"),
        (rf"(?i)({_SPACED_NAMES}(?:\s+is)?\s+){_RANDOM}", r"\1***"),
        (r"\b(sk|pk|rk)[-_][A-Za-z0-9_-]{16,}", r"\1-***"),
        (
            (
                r"\b(hf|gh[opsur]|github_pat|r8|npm|pypi|do[opr]_v1|gsk|whsec|lin_api|dckr_pat|figd|ntn"
                r"|sbp|sb_secret|sntrys|rpa|shp(?:at|ss|ca|pa))[-_][A-Za-z0-9_-]{16,}"
            ),
            r"\1_***",
        ),
        (
            (
                r"\b(xox[a-z]|xapp|glpat|glsa|glrt|gldt|glcbt|glptt|GOCSPX|nvapi|xai|pplx|tvly"
                r"|sq0(?:atp|csp))[-_][A-Za-z0-9_-]{10,}"
            ),
            r"\1-***",
        ),
        (r"\b(SG|ya29|hv[sb])\.[A-Za-z0-9_.-]{16,}", r"\1.***"),
        (r"\b(dapi)[0-9a-f]{32}\b", r"\1***"),
        (r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", r"\1***"),
        (r"\b(AIza)[A-Za-z0-9_-]{30,}", r"\1***"),
    ],
    "password": [
        *_assigned(_LOGIN_NAMES),
        (r"""(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:"']*:)[^\s/"']+@""", r"\1***@"),
    ],
    "jwt": [(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*", "***")],
    "private_key": [(rf"(?s)(-----BEGIN {_PEM}-----).*?(?:-----END {_PEM}-----|\z)", r"\1***")],
    "email": [
        (
            rf"(?:[{_WORD}.%+']+|{_QUOTED_LOCAL})(?:@|%40)(?:(?:[{_WORD}]+\.)+{_TOP_LEVEL}|{_IP})",
            "***",
        )
    ],
    "signed_url": [
        (rf"""(?i)((?:\b|\\u0026|%26|%3F){_QUERY_NAMES}=)[^\s"'<>&\\#]+""", r"\1***"),
        (
            rf"""(?i)({_SIGNED_NAMES}\\*["']?\s*(?:=>|:)\s*){_value(_PLAIN)}""",
            rf"\1{_HIDDEN}",
        ),
        _paired(_SIGNED_NAMES),
        (rf"(?i)((?:%26|%3F){_QUERY_NAMES}%3D){_PERCENT_ENCODED}", r"\1***"),
    ],
    "fal_key": [
        (rf"({_UUID}(?::|%3[Aa]))[0-9a-fA-F]{{16,}}", r"\1***"),
        (rf"""(?i)(\bkey\s+{_UUID}:)[^\s"'\\]+""", r"\1***"),
        *_assigned(_FAL_NAMES),
    ],
}
