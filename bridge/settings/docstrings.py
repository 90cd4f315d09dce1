"""What a section's fields mean, from the texts that stand under them in its source.

Pydantic can read them too, but would at every start; only the reference needs them.
"""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

from pydantic import BaseModel


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field, its bases' included."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if BaseModel in part.__mro__ and part.__module__.startswith(__package__):
            found |= _written_in(part)
    return {name: text for name, text in found.items() if name in model.model_fields}


def _written_in(part: type) -> dict[str, str]:
    definition = ast.parse(inspect.getsource(part)).body[0]
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - the source of a class
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
