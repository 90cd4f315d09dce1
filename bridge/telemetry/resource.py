"""What the bridge's own telemetry says that it is of."""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from bridge import __version__

_SERVICE: Final = "fal-log-bridge"


def described() -> Resource:
    """The bridge, by its name and version, and as `OTEL_SERVICE_NAME` and its like say."""
    ours = Resource({"service.name": _SERVICE, "service.version": __version__})
    return ours.merge(OTELResourceDetector().detect())
