"""Ways to load settings from a text, as every test here does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.settings import ENVIRON, MINIMAL, Loaded

from bridge.errors import ConfigError
from bridge.settings import Settings, load


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """`load` of a text; HOME is set unless given otherwise."""

    def loaded(text: str = MINIMAL, environ: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(text, "utf-8")
        return load(path, {**ENVIRON, **(environ or {})})

    return loaded


@pytest.fixture
def refused(loaded: Loaded) -> Callable[..., str]:
    """The message of the `ConfigError` that a text comes to."""

    def refused(text: str = MINIMAL, environ: Mapping[str, str] | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            loaded(text, environ)
        # The error stands alone: what pydantic raised could show what it was given.
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        return str(caught.value)

    return refused


@pytest.fixture
def with_app(refused: Callable[..., str]) -> Callable[..., str]:
    """The message that a minimal file with one app of these keys comes to."""

    def with_app(keys: str) -> str:
        return refused(MINIMAL.replace("app_id: an-app", keys))

    return with_app
