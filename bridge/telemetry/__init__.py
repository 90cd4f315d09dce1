"""The bridge's own telemetry: one frozen struct per event, formatted here and nowhere else.

A room reports by calling the `Emit` it was given with an event from the module named after what
the room does (`reading`, `delivering`, `service`). The event's fields are the variables, its
class gives the constant name and the level, its `text` the sentence for people.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from msgspec import Struct


class Event(Struct, frozen=True):
    """Something worth knowing. Subclasses are frozen too and carry no secrets."""

    level: ClassVar[int] = logging.INFO

    @property
    def text(self) -> str:
        """One sentence for people, without the level and the time."""
        return type(self).__name__


Emit: TypeAlias = Callable[[Event], None]
