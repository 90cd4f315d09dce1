"""The names that fields and labels get on a record and on its resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RESOURCE_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "app": ("service.name", "faas.name"),
    "revision": ("service.version", "faas.version"),
}
RESOURCE_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "fal_env": ("deployment.environment.name",),
    "fal_job_id": ("faas.instance", "fal.job.id"),
    "fal_node_id": ("host.id",),
    "fal_user_nickname": ("fal.user.nickname",),
}
RECORD_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "fal_request_id": ("faas.invocation_id", "fal.request.id"),
    "fal_endpoint": ("fal.endpoint",),
    "isolate_source": ("fal.isolate.source",),
    "source": ("fal.source",),
    "fal_worker_id": ("fal.worker.id",),
    "fal_multiplexing_app": ("fal.multiplexing_app",),
    "fal_public_logs": ("fal.public_logs",),
    "app_id": ("fal.app_id",),
}
MAPPED_FIELDS: Final = frozenset({"timestamp", "level", "message", "labels"})
DOCUMENTED_FIELDS: Final = MAPPED_FIELDS.union(RESOURCE_FIELDS)
WORKER_LABELS: Final = frozenset({*RESOURCE_LABELS, *RECORD_LABELS} - {"fal_request_id"})
"""Labels that are the same on most lines of one worker."""
REPEATING_LABELS: Final = ("app", "level", "message")
"""Labels that most often say what the entry's field of that name says; so does ``logged_at``."""
TRACE_LABELS: Final = frozenset({"traceback", "traceparent", "trace_id"})
"""Labels that speak of traces."""
TRACEBACK_HEADER: Final = "Traceback (most recent call last):"
"""What Python prints first."""
