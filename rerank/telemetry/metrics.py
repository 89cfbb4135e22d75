"""Prometheus metrics: one way in for events, and gauges that are read at every scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rerank.core import Caller
from rerank.telemetry.events import (
    CLIENT_LEFT,
    BatchStarted,
    CacheLookup,
    ConnectionClosed,
    Event,
    LoopAnswered,
    ModelChanged,
    RequestRecord,
)

METRICS_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is read at every scrape: one, or one for each value of a label."""

    name: str
    help: str
    read: Callable[[], float | Mapping[str, float]]
    label: str = ""


class Metrics:
    """Every metric of one server. Safe to use from any thread."""

    def __init__(self) -> None:
        # when each counter began says nothing that a restart does not
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = _RequestMetrics(self._registry)
        self._batches = _BatchMetrics(self._registry)
        self._cache = Counter(
            "rerank_cache_pairs", "Pairs looked up in the cache.", ("model", "found"), registry=self._registry
        )
        self._connections_closed = Counter(
            "rerank_connections_closed",
            "Connections that the server closed because of a limit.",
            ("reason",),
            registry=self._registry,
        )
        self._loop_delay = Histogram(
            "rerank_event_loop_delay_seconds",
            "Delay of the event loop, measured once per second.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._models = Counter(
            "rerank_model_events", "Models loaded, failed or unloaded.", ("model", "event"), registry=self._registry
        )

    def add_gauges(self, *gauges: Gauge) -> None:
        """Read these at every scrape."""
        self._registry.register(_Gauges(gauges))

    def observe(self, event: Event) -> None:
        """Count an event."""
        match event:
            case RequestRecord():
                self._requests.observe(event)
            case BatchStarted():
                self._batches.observe(event)
            case CacheLookup(model, found, missing):
                self._cache.labels(model, "yes").inc(found)
                self._cache.labels(model, "no").inc(missing)
            case ModelChanged(model, change):
                self._models.labels(model, change).inc()
            case ConnectionClosed(reason):
                self._connections_closed.labels(reason).inc()
            case LoopAnswered(delay):
                self._loop_delay.observe(delay)

    def exposition(self, caller: Caller = Caller()) -> bytes:  # noqa: B008
        """Everything that concerns the caller, in Prometheus' text format.

        A key for some models sees only these models, and of keys only itself.
        """
        return generate_latest(self._registry if caller.models is None else _Visible(self._registry, caller))


class _RequestMetrics:
    """Metrics of requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "rerank_requests",
            "Requests answered, by dialect, model and HTTP status.",
            ("dialect", "model", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "rerank_request_duration_seconds",
            "Time from a request's first byte to its answer.",
            ("dialect",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "rerank_stage_duration_seconds",
            "Time of a request in each stage: model (waiting for it to load), tokenise, queue (until a batch takes the "
            "first of its pairs), device (until the last is scored).",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._documents = Counter("rerank_documents", "Documents scored.", ("model",), registry=registry)
        self._tokens = Counter("rerank_tokens", "Tokens scored, without padding.", ("model",), registry=registry)
        self._of_keys = Counter(
            "rerank_key_requests", "Requests answered, by key.", ("key", "status"), registry=registry
        )
        self._tokens_of_keys = Counter("rerank_key_tokens", "Tokens scored, by key.", ("key",), registry=registry)
        self._errors = Counter("rerank_errors", "Requests that ended in an error.", ("error",), registry=registry)
        self._cancelled = Counter(
            "rerank_cancellations", "Requests whose client left before the answer.", registry=registry
        )

    def observe(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self._answered.labels(record.dialect, record.model, str(record.status)).inc()
        if record.key:
            self._of_keys.labels(record.key, str(record.status)).inc()
            self._tokens_of_keys.labels(record.key).inc(record.tokens or 0)
        if record.model:
            self._observe_scoring(record)
        if record.error:
            self._errors.labels(record.error_class).inc()
        if record.status == CLIENT_LEFT:
            self._cancelled.inc()

    def _observe_scoring(self, record: RequestRecord) -> None:
        self._seconds.labels(record.dialect).observe(record.seconds)
        self._documents.labels(record.model).inc(record.documents or 0)
        self._tokens.labels(record.model).inc(record.tokens or 0)
        for stage, seconds in record.stages.items():
            self._stages.labels(stage).observe(seconds)


class _BatchMetrics:
    """Metrics of batches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pairs = Histogram(
            "rerank_batch_pairs", "Pairs per batch.", ("device",), buckets=_PAIRS, registry=registry
        )
        self._tokens = Histogram(
            "rerank_batch_tokens",
            "Tokens per batch, without padding.",
            ("device",),
            buckets=_TOKENS,
            registry=registry,
        )
        self._padding = Counter(
            "rerank_padding_tokens",
            "Padding tokens of batches; BGE and Qwen3 models compute them in attention only.",
            ("device",),
            registry=registry,
        )

    def observe(self, batch: BatchStarted) -> None:
        """Count a batch."""
        self._pairs.labels(batch.device).observe(batch.pairs)
        self._tokens.labels(batch.device).observe(batch.tokens)
        self._padding.labels(batch.device).inc(batch.padding)


class _Visible(CollectorRegistry):
    """The metrics of a caller's models, of its own key, and of the server as a whole."""

    def __init__(self, everything: CollectorRegistry, caller: Caller) -> None:
        super().__init__()
        self._everything = everything
        self._caller = caller

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        for metric in self._everything.collect():
            metric.samples = [sample for sample in metric.samples if self._shows(sample.labels)]
            yield metric

    def _shows(self, labels: Mapping[str, str]) -> bool:
        model, key = labels.get("model"), labels.get("key", self._caller.name)
        return (not model or self._caller.may_use(model)) and key == self._caller.name


class _Gauges(Collector):
    def __init__(self, gauges: tuple[Gauge, ...]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        for gauge in self._gauges:
            value = gauge.read()
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=[gauge.label] if gauge.label else None)
            for label, number in value.items() if isinstance(value, Mapping) else [("", value)]:
                family.add_metric([label] if gauge.label else [], number)
            yield family
