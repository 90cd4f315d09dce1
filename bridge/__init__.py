"""The fal log bridge: fal.ai app logs, complete, in any OpenTelemetry or syslog backend."""

__version__ = "0.1.0"
