"""The generated classes, where they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bridge import proto


@pytest.mark.parametrize("name", proto.__all__)
def test_every_name_is_there(name: str) -> None:
    """Each name leads to the class or function of that name, the same one each time."""
    found = getattr(proto, name)
    assert getattr(found, "__name__", name) == name
    assert getattr(proto, name) is found


def test_other_names_are_not() -> None:
    """A name that is none is missed as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'LogRecords'"):
        proto.LogRecords  # type: ignore[attr-defined] # noqa: B018 - to be refused


def test_nothing_is_loaded_before() -> None:
    """Who only imports it does without protobuf."""
    look = "import sys, bridge.proto; sys.exit('google.protobuf' in sys.modules)"
    subprocess.run([sys.executable, "-c", look], check=True)
