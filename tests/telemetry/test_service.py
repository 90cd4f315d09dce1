"""Events of the process itself."""

from __future__ import annotations

import json
import logging

import msgspec
import pytest

from bridge.telemetry import Event
from bridge.telemetry.log import json_line
from bridge.telemetry.service import (
    ConfigWarning,
    DestinationsNotConfigured,
    InternalError,
    Progress,
    Started,
    Stopped,
    Stopping,
)

STARTED = Started("1.2.3", ("a", "b"), ("out",), "/var/lib/j.sqlite")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            STARTED,
            (
                "fal-log-bridge 1.2.3 reads a, b, delivers to out, "
                "keeps its journal in /var/lib/j.sqlite"
            ),
        ),
        (
            msgspec.structs.replace(STARTED, apps=tuple("abcd"), destinations=tuple("wxyz")),
            (
                "fal-log-bridge 1.2.3 reads 4 apps, delivers to 4 destinations, "
                "keeps its journal in /var/lib/j.sqlite"
            ),
        ),
        (Stopping("SIGTERM"), "stopping on SIGTERM: finishing what is in flight"),
        (Stopped(0), "stopped; everything read is delivered"),
        (Stopped(1234), "stopped; 1,234 undelivered entries wait in the journal"),
        (ConfigWarning("x: odd"), "configuration: x: odd"),
        (
            DestinationsNotConfigured(("a", "b"), 1234),
            (
                "no longer configured, and entries are kept for them until the journal is full "
                "(1,234 by now): a, b; put them back or run "
                "`fal-log-bridge destinations forget NAME`"
            ),
        ),
        (Progress(12.34, 1234.5, "", 0, "", 0, 0), "read 12.3/s, delivered 1,234.5/s"),
        (
            Progress(0, 0, "app", 5, "out", 61.25, 2000),
            (
                "read 0.0/s, delivered 0.0/s; app is 5.0s behind; "
                "out is 61.2s behind with 2,000 entries to take"
            ),
        ),
    ],
)
def test_texts(event: Event, text: str) -> None:
    """Each event says in one sentence what it is."""
    assert event.text == text
    assert json.loads(json_line(event, 0))["text"] == text


def test_levels() -> None:
    """What deserves a look is above INFO."""
    assert STARTED.level == logging.INFO
    assert ConfigWarning.level == logging.WARNING
    assert InternalError.level == logging.ERROR


def test_internal_error() -> None:
    """A defect is reported with its traceback as text."""
    try:
        raise KeyError("gone")  # noqa: TRY301 - the traceback is what is looked at
    except KeyError as error:
        event = InternalError.of("the tailer of app", error)
    assert event.text == "internal error in the tailer of app: KeyError: 'gone'"
    assert event.traceback.startswith("Traceback (most recent call last)")
    assert "test_internal_error" in event.traceback
