"""What metrics read from the running house."""

from __future__ import annotations

from rerank.engine import ObserveBatch
from rerank.gateway.gateway import Gateway
from rerank.scheduling.batch import BatchSize
from rerank.scheduling.scheduler import Scheduler
from rerank.telemetry.metrics import Gauge, Metrics


def gauges(gateway: Gateway, scheduler: Scheduler) -> tuple[Gauge, ...]:
    """What is in work and in memory at the moment."""
    admission = gateway.admission

    def model_bytes() -> dict[str, float]:
        return {model.card.id: sum(model.size.values()) for model in gateway.registry.loaded()}

    def working() -> dict[str, float]:
        return dict(scheduler.working())

    return (
        Gauge("rerank_waiting_pairs", "Pairs in line that no batch has taken.", lambda: scheduler.waiting_pairs),
        Gauge("rerank_longest_wait_seconds", "How long the request at the head waits.", lambda: scheduler.longest_wait),
        Gauge("rerank_documents_in_work", "Documents of requests in work.", lambda: admission.in_work.documents),
        Gauge("rerank_tokens_in_work", "Tokens of the same, as estimated.", lambda: admission.in_work.tokens),
        Gauge("rerank_requests_in_work", "Requests in work.", lambda: admission.requests),
        Gauge("rerank_device_working", "1 while a device scores, 0 once it hangs or is lost.", working, label="device"),
        Gauge("rerank_model_bytes", "Memory of each model that is loaded.", model_bytes, label="model"),
    )


def observe_batches(metrics: Metrics) -> ObserveBatch:
    """Counts the batches of each device."""

    def observe(device: str, size: BatchSize) -> None:
        metrics.batch_pairs.labels(device).observe(size.pairs)
        metrics.batch_tokens.labels(device).observe(size.tokens)
        metrics.padding.labels(device).inc(size.computed - size.tokens)

    return observe
