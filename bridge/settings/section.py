"""What every section of the config file is, and the values that several of them have. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


def _no_boolean(value: object) -> object:
    # Python counts true as 1; nobody who writes true for a number means that.
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic's protocol
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


NUMBER: Final = BeforeValidator(_no_boolean)
Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(_upper),
    WithJsonSchema(
        {
            "x-type": ", ".join(f"`{level}`" for level in LEVELS),
            "enum": [*LEVELS, *map(str.lower, LEVELS)],
        }
    ),
]


class Section(BaseModel):
    """A mapping of the config file: frozen, no unknown keys, null means the default."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
        defer_build=True,  # the whole is validated at once, and is built at its first use
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}
