"""The script that a person writes instead: httpx, and the OpenTelemetry SDK's batch processor.

It keeps no position, retries nothing and journals nothing, and it pages in the obvious way: each
page ends where the one before began. Since the API's bounds are exclusive, entries that share
their timestamp with a page's oldest one are lost, and nobody is told.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

_SEVERITIES: Final = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "STDOUT": SeverityNumber.INFO,
    "WARNING": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
}


def pages(api: str, key: str, app: str, since: str) -> Iterator[list[dict[str, Any]]]:
    """Pages from the newest entry back to ``since``."""
    params = {"app_id": app, "since": since, "limit": "1000"}
    with httpx.Client(headers={"Authorization": f"Key {key}"}) as client:
        while True:
            response = client.post(f"{api}/logs/", params=params, json={})
            response.raise_for_status()
            page: list[dict[str, Any]] = response.json()
            if not page:
                return
            yield page
            params["until"] = page[-1]["timestamp"] + "Z"


def forward(api: str, key: str, app: str, since: str, otlp: str) -> None:
    """Read everything and hand it to the SDK."""
    provider = LoggerProvider(Resource.create({"service.name": app}))
    exporter = OTLPLogExporter(f"{otlp}/v1/logs", compression=Compression.Gzip)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("fal-logs")
    for page in pages(api, key, app, since):
        for entry in page:
            moment = datetime.fromisoformat(entry["timestamp"]).replace(tzinfo=UTC)
            logger.emit(
                timestamp=int(moment.timestamp() * 1_000_000) * 1_000,
                severity_text=entry["level"],
                severity_number=_SEVERITIES.get(entry["level"]),
                body=entry["message"],
                attributes=entry["labels"],
            )
        provider.force_flush()  # or the processor's queue of 2,048 overflows, and drops
    provider.shutdown()


def main() -> None:
    """Forward as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.script", description=__doc__)
    for name in ("api", "key", "app", "since", "otlp"):
        parser.add_argument(f"--{name}", required=True)
    forward(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
