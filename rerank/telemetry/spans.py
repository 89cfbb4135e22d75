"""Spans of requests and their stages, through OpenTelemetry's SDK; imported only if tracing is on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

import rerank
from rerank.telemetry import Stage

_CLOSING_SECONDS = 5
_SECONDS_BETWEEN_COMPLAINTS = 60


class Tracing:
    """Export of spans. FastAPI begins and ends a request's span; facts and stages are added here."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        """Sampling, limits and batch sizes follow the SDK's environment variables."""
        named = Resource({"service.name": "rerank-gateway", "service.version": rerank.__version__})
        resource = Resource.create(named.merge(OTELResourceDetector().detect()).attributes)
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(_WithoutQuery())
        for exporter in exporters:
            logging.getLogger(type(exporter).__module__).addFilter(_Seldom())
            self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("rerank", rerank.__version__)

    def describe(self, facts: Mapping[str, str | int], stages: Iterable[Stage]) -> None:
        """Add facts to the current request's span, and a child span per stage."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        span.set_attributes({f"rerank.{name}": value for name, value in facts.items()})
        # spans have wall-clock times
        offset = time.time() - time.perf_counter()
        for stage in stages:
            child = self._tracer.start_span(stage.name, start_time=_nanoseconds(stage.began + offset))
            child.end(_nanoseconds(stage.ended + offset))

    def close(self) -> None:
        """Export pending spans, within a few seconds."""
        closing = threading.Thread(target=self.provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(_CLOSING_SECONDS)


def exporter_named(name: str) -> SpanExporter:
    """The exporter that an installed package registers under this name. Raises ImportError if none does."""
    found = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        raise ImportError(f"no package exports to {name!r}")
    exporter: SpanExporter = next(iter(found)).load()()
    return exporter


class _WithoutQuery(SpanProcessor):
    """Removes the query string from a request's span: it may contain a key."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """See the SDK."""
        if span.attributes and "url.query" in span.attributes:
            span.set_attribute("url.query", "REDACTED")


class _Seldom(logging.Filter):
    """Lets one line per minute through: an exporter without its collector logs four per batch."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self._next:
            return False
        self._next = record.created + _SECONDS_BETWEEN_COMPLAINTS
        return True


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
