"""Spans in memory."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from rerank.telemetry.spans import Tracing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


class Traces:
    """Spans that were sent."""

    def __init__(self) -> None:
        self._sent = InMemorySpanExporter()
        self.tracing = Tracing([self._sent])

    def spans(self) -> Sequence[ReadableSpan]:
        self.tracing.provider.force_flush()
        return self._sent.get_finished_spans()

    def request(self) -> ReadableSpan:
        """The only request's span."""
        (span,) = (span for span in self.spans() if span.kind is SpanKind.SERVER)
        return span
