"""Spans on the OpenTelemetry SDK, kept until they are exported.

Importing this module imports the SDK and the encoder, which are heavy: only who exports spans does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace import StatusCode

from bridge import __version__
from bridge.telemetry.metrics import PREFIX
from bridge.telemetry.resource import described
from bridge.telemetry.spans import Note, SpanKind, Tracer, Value

MOST_KEPT: Final = 2048
"""Spans that wait for the next export, the newest; where it fails, nothing piles up."""


class Tracing(Tracer):
    """Traces a share of the polls and sends; a poll's requests go with it."""

    def __init__(self, share: float) -> None:
        """``share`` is how many of 1 are traced."""
        self._ended = _Ended()
        provider = TracerProvider(
            ParentBased(TraceIdRatioBased(share)), described(), shutdown_on_exit=False
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer(PREFIX, __version__)

    @contextmanager
    def span(self, kind: SpanKind, **attributes: Value) -> Iterator[Note]:
        """See `Tracer.span`."""
        with self._tracer.start_as_current_span(
            kind.name,
            kind=OtelKind.CLIENT if kind.client else OtelKind.INTERNAL,
            attributes={attribute(name): value for name, value in attributes.items()},
            # Both would keep the exception's text, which may quote a server.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            def note(name: str, value: Value) -> None:
                span.set_attribute(attribute(name), value)

            try:
                yield note
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    def otlp(self) -> bytes:
        """What has ended since the last call, as one encoded ``ExportTraceServiceRequest``."""
        ended = self._ended.taken()
        return encode_spans(ended).SerializeToString() if ended else b""


def attribute(name: str) -> str:
    """An attribute's whole name."""
    return f"{PREFIX}.{name}"


class _Ended(SpanProcessor):
    """Keeps sampled spans as they end. Without a thread, unlike the SDK's own."""

    def __init__(self) -> None:
        self._spans: deque[ReadableSpan] = deque(maxlen=MOST_KEPT)

    def on_end(self, span: ReadableSpan) -> None:
        """See `SpanProcessor.on_end`; what is not sampled does not come here."""
        self._spans.append(span)

    def taken(self) -> list[ReadableSpan]:
        """All that is kept, which is kept no more."""
        spans = list(self._spans)
        self._spans.clear()
        return spans
