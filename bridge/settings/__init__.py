"""The settings: read from a YAML file and the environment, here and nowhere else.

`load` is the way in; it gives frozen `Settings` or one `ConfigError` that names everything that
is wrong. Secrets are `SecretStr` or callables without a telling repr, and stand in no message.
"""

from bridge.settings.changes import changes
from bridge.settings.keys import FileKey, FixedKey, KeySource
from bridge.settings.loading import DEFAULT_CONFIG, load, quieten_grpc
from bridge.settings.sections import (
    Admin,
    App,
    Console,
    Destination,
    Fal,
    File,
    Journal,
    Otlp,
    Poll,
    Settings,
    Syslog,
    Telemetry,
    Tls,
)
from bridge.settings.shaping import Shape
from bridge.settings.units import (
    Start,
    StartAt,
    StartBack,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    parse_start,
)

__all__ = [
    "DEFAULT_CONFIG",
    "Admin",
    "App",
    "Console",
    "Destination",
    "Fal",
    "File",
    "FileKey",
    "FixedKey",
    "Journal",
    "KeySource",
    "Otlp",
    "Poll",
    "Settings",
    "Shape",
    "Start",
    "StartAt",
    "StartBack",
    "Syslog",
    "Telemetry",
    "Tls",
    "changes",
    "format_duration",
    "format_size",
    "load",
    "parse_duration",
    "parse_size",
    "parse_start",
    "quieten_grpc",
]
