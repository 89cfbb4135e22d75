"""Load of a server: what is in memory, and how long the work in flight takes. Read without a lock, once per second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rerank.gateway.admission import Admission
from rerank.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """Load of one model."""

    in_memory: bool = False
    """True if a request need not wait for it."""
    tokens: int = 0
    """Estimated tokens of its requests, running and waiting."""
    backlog_seconds: float = 0.0
    """Expected seconds until its requests are answered: until it is in memory, and for their tokens."""
    load_seconds: float | None = None
    """Duration of its last load; None if it was not in memory since the start."""


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """Load of a server at one moment."""

    models: Mapping[str, ModelLoad] = field(default_factory=dict)
    """By id: every model that is or was in memory, is loading, or has requests."""
    backlog_seconds: float = 0.0
    """Expected seconds for the tokens of all requests, loads apart: a load holds up the requests of its model only."""
    tokens_per_second: float | None = None
    """Measured rate while there is work; None before the first few requests."""
    free_bytes: int | None = None
    """What the models in memory leave of the memory budget, on the device with the least; None without a budget."""
    requests: int = 0
    """Requests in flight, those that wait for a model included."""
    tokens: int = 0
    """Estimated tokens of these requests."""


def server_load(admission: Admission, registry: Registry) -> ServerLoad:
    """The load now. Called on the event loop's thread."""
    tokens, arrivals, seconds = admission.tokens_of_models, registry.arrivals(), registry.load_seconds()
    ready, rate = registry.ready(), admission.tokens_per_second
    unmeasured = admission.busy_seconds

    def backlog(of: int) -> float:
        # while no rate is known: as long again as it has been busy
        return of / rate if rate else unmeasured if of else 0.0

    models = {
        name: ModelLoad(
            in_memory=name in ready,
            tokens=tokens.get(name, 0),
            backlog_seconds=arrivals.get(name, 0.0) + backlog(tokens.get(name, 0)),
            load_seconds=seconds.get(name),
        )
        for name in sorted({*tokens, *arrivals, *seconds, *ready})
    }
    total = sum(tokens.values())
    return ServerLoad(
        models=models,
        backlog_seconds=backlog(total),
        tokens_per_second=rate,
        free_bytes=min(registry.free_bytes().values(), default=None),
        requests=admission.requests,
        tokens=total,
    )
