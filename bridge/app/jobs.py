"""What is told of backfills wherever they are shown."""

from __future__ import annotations

from bridge.model import Backfill, Json
from bridge.timestamps import format_tick


def job_json(job: Backfill, *, words: bool = True) -> Json:
    """What the journal tells of a job; without ``words`` not what fal said of what holds it."""
    return {
        "backfill": job.name,
        "state": job.state.value,
        "since": format_tick(job.floor),
        "until": format_tick(job.ceiling),
        "share": round(job.share, 4),
        "destinations": list(job.audience) or None,
        "own_stream": job.own_stream,
        "created_at": format_tick(job.created_at),
        "finished_at": None if job.finished_at is None else format_tick(job.finished_at),
        "apps": [
            {
                "app": app.name,
                "position": format_tick(app.position),
                "added": app.added,
                "known": app.known,
                "gaps": app.gaps,
                "note": (app.note or None) if words else None,
            }
            for app in job.apps
        ],
    }
