"""A config text that is enough, and what loads one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bridge.settings import Settings

MINIMAL = """\
fal: {key: "id:the-secret-of-fal"}
apps: [{app_id: an-app}]
destinations: [{name: out, type: console}]
"""
ENVIRON = {"HOME": "/home-of-nobody"}


class Loaded(Protocol):
    """Loads a config text under some variables."""

    def __call__(self, text: str = MINIMAL, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings."""
        ...
