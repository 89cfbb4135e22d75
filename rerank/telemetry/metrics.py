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
    CacheFailed,
    CacheLookup,
    ConnectionClosed,
    DocumentsTruncated,
    Event,
    LoopAnswered,
    ModelChanged,
    RequestRecord,
    Shadowed,
    StateFailed,
    UpstreamCalled,
)

METRICS_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)

_DISAGREEMENT = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2)

_STAGES = (
    "Time of a request in each stage: model (waiting for it to load), tokenise, queue (until a batch takes the first "
    "of its pairs), device (until the last is scored), upstream (until another server has answered)."
)
_PADDING = "Padding tokens of batches; BERT and language models compute them in attention only."


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
        self._registry = registry = _Registry()
        self._requests = _RequestMetrics(registry)
        self._batches = _BatchMetrics(registry)
        self._stores = _StoreMetrics(registry)
        self._truncated = registry.counter(
            "rerank_documents_truncated", "Documents that were not read to their end.", "model"
        )
        self._upstream_calls = registry.counter(
            "rerank_upstream_calls", "Calls of upstreams, retries included, by what came of them.", "model", "outcome"
        )
        self._shadows = _ShadowMetrics(registry)
        self._connections_closed = registry.counter(
            "rerank_connections_closed", "Connections that the server closed because of a limit.", "reason"
        )
        self._loop_delay = registry.histogram(
            "rerank_event_loop_delay_seconds", "Delay of the event loop, measured once per second.", _SECONDS
        )
        self._models = registry.counter("rerank_model_events", "Models loaded, failed or unloaded.", "model", "event")

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
            case CacheLookup() | CacheFailed() | StateFailed():
                self._stores.observe(event)
            case DocumentsTruncated(model, documents):
                self._truncated.labels(model).inc(documents)
            case UpstreamCalled(model, outcome):
                self._upstream_calls.labels(model, outcome).inc()
            case Shadowed():
                self._shadows.observe(event)
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


class _Registry(CollectorRegistry):
    """Metrics of one server, by name."""

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """A new counter."""
        return Counter(name, help_text, labels, registry=self)

    def histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        """A new histogram."""
        return Histogram(name, help_text, labels, buckets=buckets, registry=self)


class _RequestMetrics:
    """Metrics of requests."""

    def __init__(self, registry: _Registry) -> None:
        counter, histogram = registry.counter, registry.histogram
        self._answered = counter("rerank_requests", "Requests answered.", "dialect", "model", "status")
        self._cancelled = counter("rerank_cancellations", "Requests whose client left before the answer.")
        self._errors = counter("rerank_errors", "Requests that ended in an error.", "error")
        self._documents = counter("rerank_documents", "Documents scored.", "model")
        self._tokens = counter("rerank_tokens", "Tokens scored, without padding.", "model")
        self._attempts = counter("rerank_attempts", "Models asked for scores, by what came of it.", "model", "outcome")
        self._degraded = counter("rerank_degraded", "Answers of another model than the first choice.", "model")
        self._of_keys = counter("rerank_key_requests", "Requests answered, by key.", "key", "status")
        self._tokens_of_keys = counter("rerank_key_tokens", "Tokens scored, by key.", "key")
        self._seconds = histogram(
            "rerank_request_duration_seconds", "Time from a request's first byte to its answer.", _SECONDS, "dialect"
        )
        self._stages = histogram("rerank_stage_duration_seconds", _STAGES, _SECONDS, "stage")

    def observe(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self._answered.labels(record.dialect, record.model, str(record.status)).inc()
        if record.key:
            self._of_keys.labels(record.key, str(record.status)).inc()
            self._tokens_of_keys.labels(record.key).inc(record.tokens or 0)
        for attempt in record.route:
            self._attempts.labels(attempt.model, attempt.outcome).inc()
        if record.degraded:
            self._degraded.labels(record.model).inc()
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

    def __init__(self, registry: _Registry) -> None:
        self._pairs = registry.histogram("rerank_batch_pairs", "Pairs per batch.", _PAIRS, "device")
        self._tokens = registry.histogram("rerank_batch_tokens", "Unpadded tokens per batch.", _TOKENS, "device")
        self._padding = registry.counter("rerank_padding_tokens", _PADDING, "device")

    def observe(self, batch: BatchStarted) -> None:
        """Count a batch."""
        self._pairs.labels(batch.device).observe(batch.pairs)
        self._tokens.labels(batch.device).observe(batch.tokens)
        self._padding.labels(batch.device).inc(batch.padding)


class _StoreMetrics:
    """Metrics of the cache, and of the state that servers share."""

    def __init__(self, registry: _Registry) -> None:
        counter = registry.counter
        self._pairs = counter("rerank_cache_pairs", "Pairs looked up in the cache.", "model", "store", "found")
        self._errors = counter(
            "rerank_cache_errors", "Failed or late calls of the cache's store.", "store", "operation"
        )
        self._state_errors = counter("rerank_state_errors", "Failed or late calls of the state that servers share.")

    def observe(self, event: CacheLookup | CacheFailed | StateFailed) -> None:
        """Count a lookup or a failure."""
        match event:
            case CacheLookup(model, store, found, missing):
                self._pairs.labels(model, store, "yes").inc(found)
                self._pairs.labels(model, store, "no").inc(missing)
            case CacheFailed(store, operation):
                self._errors.labels(store, operation).inc()
            case StateFailed():
                self._state_errors.inc()


class _ShadowMetrics:
    """Metrics of shadows, per pair of models that the models file names."""

    def __init__(self, registry: _Registry) -> None:
        names = ("model", "shadow")
        self._shadows = registry.counter(
            "rerank_shadows", "Requests for a model's shadow, by what came of them.", *names, "outcome"
        )
        # a histogram's sum must not fall, and agreement may be negative
        self._disagreement = registry.histogram(
            "rerank_shadow_disagreement",
            "1 less the agreement of a model's ranking with its shadow's: 0 for the same, 2 for the reverse.",
            _DISAGREEMENT,
            *names,
            "measure",
        )

    def observe(self, event: Shadowed) -> None:
        """Count a shadow."""
        self._shadows.labels(event.model, event.shadow, event.outcome).inc()
        for measure, value in event.agreement.items():
            self._disagreement.labels(event.model, event.shadow, measure).observe(1 - value)


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
        models = filter(None, (labels.get("model"), labels.get("shadow")))
        key = labels.get("key", self._caller.name)
        return all(map(self._caller.may_use, models)) and key == self._caller.name


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
