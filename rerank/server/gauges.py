"""Gauges of a running server."""

from __future__ import annotations

from rerank.gateway.admission import Work
from rerank.gateway.gateway import Gateway
from rerank.scheduling.scheduler import Scheduler
from rerank.shared_state.state import SharedState
from rerank.telemetry.metrics import Gauge


def gauges(gateway: Gateway, scheduler: Scheduler, state: SharedState | None = None) -> tuple[Gauge, ...]:
    """Work in flight, waiting pairs, devices, models in memory and the state that servers share."""
    admission = gateway.admission

    def model_bytes() -> dict[str, float]:
        return {model.card.id: sum(model.size.values()) for model in gateway.registry.loaded()}

    def upstreams_up() -> dict[str, float]:
        loaded = ((model.card.id, model.remote) for model in gateway.registry.loaded())
        return {name: float(remote.breaker() == "closed") for name, remote in loaded if remote}

    def backlog() -> dict[str, float]:
        return {name: model.backlog_seconds for name, model in gateway.load().models.items()}

    def state_up() -> dict[str, float]:
        return {"redis": float(state.up)} if state else {}

    def in_flight() -> Work:
        return admission.in_flight

    def working() -> dict[str, float]:
        return dict(scheduler.working())

    return (
        Gauge("rerank_waiting_pairs", "Pairs waiting for a batch.", lambda: scheduler.waiting_pairs),
        Gauge(
            "rerank_longest_wait_seconds",
            "Waiting time of the oldest request.",
            lambda: scheduler.longest_wait,
        ),
        Gauge(
            "rerank_documents_in_flight",
            "Documents of requests being processed.",
            lambda: in_flight().documents,
        ),
        Gauge(
            "rerank_tokens_in_flight",
            "Estimated tokens of requests being processed.",
            lambda: in_flight().tokens,
        ),
        Gauge("rerank_requests_in_flight", "Requests being processed.", lambda: admission.requests),
        Gauge(
            "rerank_backlog_seconds",
            "Expected time until a model's requests are answered, its load included.",
            backlog,
            label="model",
        ),
        Gauge("rerank_device_up", "1 while the device scores, 0 once it is stuck or lost.", working, label="device"),
        Gauge("rerank_upstream_up", "1 while an upstream answers, 0 once it fails.", upstreams_up, label="model"),
        Gauge(
            "rerank_state_up", "1 while the state that servers share answers, 0 once it fails.", state_up, label="store"
        ),
        Gauge("rerank_model_bytes", "Memory of each loaded model.", model_bytes, label="model"),
    )
