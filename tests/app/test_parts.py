"""What the settings of a destination become."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import settings
from bridge.app.parts import destination_of, real_world
from bridge.destinations.rfc5424 import Layout
from bridge.destinations.syslog import Syslog


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("max_message_bytes", "4KB", 4_000),
        ("max_message_bytes", 8_000, 8_000),
        ("on_long", "split", "split"),
        ("facility", "auth", "auth"),
        ("hostname", "host.name, host.id", ("host.name", "host.id")),
        ("structured_data", ["fal.*"], ("fal.*",)),
        ("enterprise_number", 4711, "4711"),
        ("bom", True, True),
    ],
)
def test_the_layout_of_a_syslog_message(key: str, written: Any, value: Any) -> None:
    """Each key, given in the configuration, arrives as a value of its type."""
    described = {"name": "siem", "type": "syslog", "endpoint": "relp://localhost:2514"}
    one = settings.Syslog.model_validate({**described, key: written})
    built = destination_of(one, real_world(lambda _: None))
    assert isinstance(built, Syslog)
    assert built._layout == Layout(**{key: value})
