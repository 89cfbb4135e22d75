"""What is counted and timed, for Prometheus."""

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

METRICS_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is asked for when somebody looks: one, or one for each value of a label."""

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
        self.requests = self._counter(
            "rerank_requests", "Requests answered, by dialect, model and HTTP status.", "dialect", "model", "status"
        )
        self.request_seconds = self._seconds(
            "rerank_request_seconds", "Time from a request's first byte to its answer.", "dialect"
        )
        self.stage_seconds = self._seconds(
            "rerank_stage_seconds",
            "Time of a request in each stage: model (waiting for it to be in memory), tokenise, queue (until the first "
            "of its pairs is in a batch), device (until the last is scored).",
            "stage",
        )
        self.documents = self._counter("rerank_documents", "Documents scored.", "model")
        self.tokens = self._counter("rerank_tokens", "Tokens read, without padding.", "model")
        self.key_requests = self._counter("rerank_key_requests", "Requests answered, by key.", "key", "status")
        self.key_tokens = self._counter("rerank_key_tokens", "Tokens read, by key.", "key")
        self._cache = self._counter("rerank_cache_pairs", "Pairs looked up in the cache.", "model", "found")
        self.batch_pairs = self._histogram("rerank_batch_pairs", "Pairs of a batch.", _PAIRS, "device")
        self.batch_tokens = self._histogram("rerank_batch_tokens", "Tokens of a batch, unpadded.", _TOKENS, "device")
        self.padding = self._counter(
            "rerank_padding_tokens",
            "Padding of batches; BGE and Qwen3 models see it in attention only.",
            "device",
        )
        self.errors = self._counter("rerank_errors", "Requests that ended in an error, by its class.", "error")
        self.cancellations = self._counter("rerank_cancellations", "Requests whose client left before the answer.")
        self.connections_closed = self._counter(
            "rerank_connections_closed", "Connections that the server closed because of a limit, by which.", "reason"
        )
        self.loop_delay = self._seconds(
            "rerank_event_loop_delay_seconds", "How long the event loop took to answer, asked once a second."
        )
        self.models = self._counter("rerank_model_events", "Models loaded, failed or unloaded.", "model", "event")

    def add_gauges(self, *gauges: Gauge) -> None:
        """Have these read whenever somebody looks."""
        self._registry.register(_Gauges(gauges))

    def note_cache(self, model: str, found: int, missing: int) -> None:
        """Pairs have been looked up in the cache."""
        self._cache.labels(model, "yes").inc(found)
        self._cache.labels(model, "no").inc(missing)

    def exposition(self, caller: Caller = Caller()) -> bytes:  # noqa: B008
        """Everything that concerns the caller, in Prometheus' text format: a key for some models sees no others of
        them, and of keys only itself."""
        return generate_latest(self._registry if caller.models is None else _Visible(self._registry, caller))

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self._registry)

    def _seconds(self, name: str, help_text: str, *labels: str) -> Histogram:
        return self._histogram(name, help_text, _SECONDS, *labels)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self._registry)


class _Visible(CollectorRegistry):
    """What is counted of a caller's models, of itself, and of the server as a whole."""

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
