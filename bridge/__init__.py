"""The fal log bridge: fal.ai app logs, complete, in OpenTelemetry backends."""

__version__ = "0.1.0"
