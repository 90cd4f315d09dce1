"""The data that ``BRIDGE_`` variables give, read by pydantic-settings. Pure: they are given.

A module of its own because the library takes 15 ms to load: it is where any of them is set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from bridge.model import Json
from bridge.settings.document import scalar
from bridge.settings.environment import DELIMITER, PREFIX
from bridge.settings.sections import Settings


class _Overrides(Settings, BaseSettings):
    """The config file's keys as variables: ``BRIDGE_POLL__INTERVAL``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=DELIMITER)


class _Environment(EnvSettingsSource):
    """pydantic-settings' own reading of variables, of the given ones."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(_Overrides)
        self.env_vars = {name.lower(): value for name, value in given.items()}

    def decode_complex_value(
        self,
        field_name: str,  # noqa: ARG002 - the hook's signature
        field: FieldInfo,  # noqa: ARG002 - the hook's signature
        value: Any,
    ) -> Any:
        """JSON where it is JSON, else the text, for the type to take or to refuse."""
        try:
            decoded = json.loads(value, parse_float=scalar)
        except ValueError:
            return value
        return decoded if isinstance(decoded, dict | list) else value


def read(given: Mapping[str, str]) -> dict[str, Json]:
    """The data of variables that have a value and stand for keys of the config file."""
    return _Environment(given)()
