"""The status page: three files beside this one, sent as one document that asks for nothing else."""

from __future__ import annotations

import base64
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Self

from msgspec import Struct

HEADERS: Final = MappingProxyType(
    {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
)
"""Headers of every answer of the admin server."""

_PAGE_HEADERS: Final = MappingProxyType(
    {
        "x-frame-options": "DENY",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
    }
)


class Page(Struct, frozen=True):
    """The document, and the headers it is sent with."""

    html: str
    headers: dict[str, str]

    @classmethod
    def load(cls) -> Self:
        """Put it together. Its policy allows this very style and script, and no others."""
        style, script = _text("style.css"), _text("script.js")
        html = _text("index.html").replace("/* style */", style).replace("/* script */", script)
        policy = "; ".join(
            (
                "default-src 'none'",
                f"script-src {_hash(script)}",
                f"style-src {_hash(style)}",
                "img-src data:",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
                "trusted-types 'none'",
            )
        )
        return cls(html, {**HEADERS, **_PAGE_HEADERS, "content-security-policy": policy})


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """How a policy names an inline element (CSP Level 3, 6.7.2): the hash of all it holds."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}'"
